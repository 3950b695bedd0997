"""Measure, test, explain and train representation alignment in JAX."""

from typing import TYPE_CHECKING

from jaxalign import features as features
from jaxalign import identifiability as identifiability
from jaxalign import inference as inference
from jaxalign import kernels as kernels
from jaxalign import measures as measures
from jaxalign import preprocess as preprocess
from jaxalign import task as task
from jaxalign._core.pytree import pytree_dataclass as pytree_dataclass
from jaxalign._version import __version__ as __version__
from jaxalign.alignment.aligned_cosine import aligned_cosine as aligned_cosine
from jaxalign.alignment.cca import canonical_correlations as canonical_correlations
from jaxalign.alignment.cca import cca as cca
from jaxalign.alignment.cca import eigenspace_overlap as eigenspace_overlap
from jaxalign.alignment.cca import ridge_cca as ridge_cca
from jaxalign.alignment.cca import svcca as svcca
from jaxalign.alignment.cka import angular_cka as angular_cka
from jaxalign.alignment.cka import cka as cka
from jaxalign.alignment.cknna import cknna as cknna
from jaxalign.alignment.deconfounded import deconfounded_cka as deconfounded_cka
from jaxalign.alignment.dependence import constrained_covariance as constrained_covariance
from jaxalign.alignment.dependence import kernel_canonical_correlation as kernel_canonical_correlation
from jaxalign.alignment.dependence import kernel_mutual_information as kernel_mutual_information
from jaxalign.alignment.distance import distance_correlation as distance_correlation
from jaxalign.alignment.distance import distance_covariance as distance_covariance
from jaxalign.alignment.distance_matrices import distance_alignment as distance_alignment
from jaxalign.alignment.distance_matrices import rsm_distance as rsm_distance
from jaxalign.alignment.divergences import jensen_shannon as jensen_shannon
from jaxalign.alignment.divergences import kl_divergence as kl_divergence
from jaxalign.alignment.feature_matching import correlation_match as correlation_match
from jaxalign.alignment.gaussian import gaussian_mutual_information as gaussian_mutual_information
from jaxalign.alignment.gaussian import gaussian_wasserstein_dependence as gaussian_wasserstein_dependence
from jaxalign.alignment.geometry import concentricity as concentricity
from jaxalign.alignment.geometry import effective_rank as effective_rank
from jaxalign.alignment.geometry import magnitude as magnitude
from jaxalign.alignment.geometry import participation_ratio as participation_ratio
from jaxalign.alignment.geometry import uniformity as uniformity
from jaxalign.alignment.gromov_wasserstein import gromov_wasserstein_distance as gromov_wasserstein_distance
from jaxalign.alignment.imd import imd as imd
from jaxalign.alignment.intrinsic import intrinsic_dimension as intrinsic_dimension
from jaxalign.alignment.kernel import hsic as hsic
from jaxalign.alignment.kernel import kernel_alignment as kernel_alignment
from jaxalign.alignment.neighbors import cycle_knn as cycle_knn
from jaxalign.alignment.neighbors import edit_distance_knn as edit_distance_knn
from jaxalign.alignment.neighbors import jaccard_knn as jaccard_knn
from jaxalign.alignment.neighbors import joint_rank_jaccard_knn as joint_rank_jaccard_knn
from jaxalign.alignment.neighbors import lcs_knn as lcs_knn
from jaxalign.alignment.neighbors import mutual_knn as mutual_knn
from jaxalign.alignment.neighbors import rank_similarity_knn as rank_similarity_knn
from jaxalign.alignment.outputs import accuracy as accuracy
from jaxalign.alignment.outputs import accuracy_difference as accuracy_difference
from jaxalign.alignment.outputs import cohen_kappa as cohen_kappa
from jaxalign.alignment.outputs import disagreement as disagreement
from jaxalign.alignment.procrustes_mean import ProcrustesMean as ProcrustesMean
from jaxalign.alignment.procrustes_mean import procrustes_mean as procrustes_mean
from jaxalign.alignment.pwcca import pwcca as pwcca
from jaxalign.alignment.regression import gulp as gulp
from jaxalign.alignment.regression import linear_predictivity as linear_predictivity
from jaxalign.alignment.regression import pls_svd as pls_svd
from jaxalign.alignment.rsa import rdm as rdm
from jaxalign.alignment.rsa import rsa as rsa
from jaxalign.alignment.second_order import second_order_cosine as second_order_cosine
from jaxalign.alignment.shape import angular_procrustes as angular_procrustes
from jaxalign.alignment.shape import permutation_distance as permutation_distance
from jaxalign.alignment.shape import procrustes_distance as procrustes_distance
from jaxalign.alignment.soft_matching import soft_matching_distance as soft_matching_distance
from jaxalign.alignment.soft_neighbors import soft_knn as soft_knn
from jaxalign.alignment.stochastic_shape import stochastic_shape_distance as stochastic_shape_distance
from jaxalign.alignment.topology import geometry_score as geometry_score
from jaxalign.alignment.topology import rtd as rtd
from jaxalign.alignment.two_samples import mmd as mmd
from jaxalign.comparison import BestPair as BestPair
from jaxalign.comparison import Calibrated as Calibrated
from jaxalign.comparison import CalibratedPair as CalibratedPair
from jaxalign.comparison import Comparison as Comparison
from jaxalign.comparison import compare as compare
from jaxalign.comparison import load_comparison as load_comparison
from jaxalign.inference import alignment_difference as alignment_difference
from jaxalign.inference import bootstrap as bootstrap
from jaxalign.inference import calibrate as calibrate
from jaxalign.inference import calibrate_layers as calibrate_layers
from jaxalign.inference import independence_test as independence_test
from jaxalign.inference import permutation_test as permutation_test
from jaxalign.inference import standard_error as standard_error
from jaxalign.kernels import RBF as RBF
from jaxalign.kernels import Cosine as Cosine
from jaxalign.kernels import Distance as Distance
from jaxalign.kernels import Laplacian as Laplacian
from jaxalign.kernels import Linear as Linear
from jaxalign.kernels import Polynomial as Polynomial
from jaxalign.measures import MEASURES as MEASURES
from jaxalign.measures import Measure as Measure
from jaxalign.signatures.whitened import UninformativeWarning as UninformativeWarning

if TYPE_CHECKING:
    from jaxalign import dynamics as dynamics
    from jaxalign import stitching as stitching
    from jaxalign import streaming as streaming
    from jaxalign.report.alignment_page import AlignmentReport as AlignmentReport
    from jaxalign.report.alignment_report import alignment_report as alignment_report

#: Where names are that are imported when first used: they need Flax, which doubles the time that the rest takes.
_LATER = {
    "dynamics": "jaxalign.dynamics",
    "stitching": "jaxalign.stitching",
    "streaming": "jaxalign.streaming",
    "alignment_report": "jaxalign.report.alignment_report",
    "AlignmentReport": "jaxalign.report.alignment_page",
}


def __getattr__(name: str) -> object:
    """A namespace or a function that is imported when first used."""
    if name in _LATER:
        from importlib import import_module

        module = import_module(_LATER[name])
        return getattr(module, name, module)
    raise AttributeError(f"module 'jaxalign' has no attribute {name!r}")
