"""Going on from one model's layer with another model: maps between layers, and what they cost on the task.

Closed forms (`least_squares`, `ridge`, `ridge_path`, `low_rank`, `orthogonal`, `permutation`, `partial_least_squares`)
take activations of two layers on the same examples and return a `LinearStitch`, a map that can be called. Modules
(`Affine`, `Orthogonal`, `MLP`, ...) start from one and are trained with `fit`, with the rest of the other model behind
them. `evaluate_stitch` says what a stitched model costs on held-out rows, beside both models and controls.
`misalignment` says how far a class of maps leaves one layer from another, `misalignment_interval` what an alignment
alone says of that, and `certificate` what it can cost at most.
"""

from jaxalign.stitching.affine import Affine as Affine
from jaxalign.stitching.affine import Conv1x1 as Conv1x1
from jaxalign.stitching.affine import TokenAffine as TokenAffine
from jaxalign.stitching.certificates.agreement import CertifiedAgreement as CertifiedAgreement
from jaxalign.stitching.certificates.agreement import certified_agreement as certified_agreement
from jaxalign.stitching.certificates.bound import stitching_bound as stitching_bound
from jaxalign.stitching.certificates.certificate import Certificate as Certificate
from jaxalign.stitching.certificates.certificate import certificate as certificate
from jaxalign.stitching.certificates.gram_misalignment import GramMisalignment as GramMisalignment
from jaxalign.stitching.certificates.gram_misalignment import gram_misalignment as gram_misalignment
from jaxalign.stitching.certificates.interval import misalignment_interval as misalignment_interval
from jaxalign.stitching.certificates.interval import required_alignment as required_alignment
from jaxalign.stitching.certificates.layers import LayerCertificates as LayerCertificates
from jaxalign.stitching.certificates.layers import layer_certificates as layer_certificates
from jaxalign.stitching.certificates.lipschitz_losses import LIPSCHITZ_LOSSES as LIPSCHITZ_LOSSES
from jaxalign.stitching.certificates.lipschitz_losses import LipschitzLoss as LipschitzLoss
from jaxalign.stitching.certificates.misalignment import Misalignment as Misalignment
from jaxalign.stitching.certificates.misalignment import misalignment as misalignment
from jaxalign.stitching.certificates.path import StitchingPath as StitchingPath
from jaxalign.stitching.certificates.path import stitching_path as stitching_path
from jaxalign.stitching.certificates.spectrum import layer_spectrum as layer_spectrum
from jaxalign.stitching.controls import best_ridge as best_ridge
from jaxalign.stitching.controls import control_maps as control_maps
from jaxalign.stitching.evaluation import MapEvaluation as MapEvaluation
from jaxalign.stitching.evaluation import StitchEvaluation as StitchEvaluation
from jaxalign.stitching.evaluation import evaluate_stitch as evaluate_stitch
from jaxalign.stitching.fit import FitResult as FitResult
from jaxalign.stitching.fit import fit as fit
from jaxalign.stitching.fit_many import FitMany as FitMany
from jaxalign.stitching.fit_many import fit_many as fit_many
from jaxalign.stitching.fit_pairs import PairMaps as PairMaps
from jaxalign.stitching.fit_pairs import fit_pairs as fit_pairs
from jaxalign.stitching.linear_head import LinearHeadRisk as LinearHeadRisk
from jaxalign.stitching.linear_head import linear_stitching_risk as linear_stitching_risk
from jaxalign.stitching.lipschitz import LayerBound as LayerBound
from jaxalign.stitching.lipschitz import LipschitzBound as LipschitzBound
from jaxalign.stitching.lipschitz import convolution_norm_bound as convolution_norm_bound
from jaxalign.stitching.lipschitz import given as given
from jaxalign.stitching.lipschitz import lipschitz_bound as lipschitz_bound
from jaxalign.stitching.lipschitz import local_lipschitz as local_lipschitz
from jaxalign.stitching.lipschitz import matrix_norm_bound as matrix_norm_bound
from jaxalign.stitching.lipschitz import mean_pool as mean_pool
from jaxalign.stitching.lipschitz import residual as residual
from jaxalign.stitching.losses import cross_entropy as cross_entropy
from jaxalign.stitching.losses import kl_divergence as kl_divergence
from jaxalign.stitching.losses import squared as squared
from jaxalign.stitching.losses import zero_one as zero_one
from jaxalign.stitching.low_rank import low_rank as low_rank
from jaxalign.stitching.maps import LinearStitch as LinearStitch
from jaxalign.stitching.matrix import StitchMatrix as StitchMatrix
from jaxalign.stitching.matrix import stitch_matrix as stitch_matrix
from jaxalign.stitching.nonlinear_modules import MLP as MLP
from jaxalign.stitching.nonlinear_modules import Residual as Residual
from jaxalign.stitching.partial_least_squares import partial_least_squares as partial_least_squares
from jaxalign.stitching.permutation_map import permutation as permutation
from jaxalign.stitching.permutation_module import Permutation as Permutation
from jaxalign.stitching.regression import least_squares as least_squares
from jaxalign.stitching.regression import ridge as ridge
from jaxalign.stitching.relative import relative as relative
from jaxalign.stitching.relative import relative_stitch as relative_stitch
from jaxalign.stitching.restricted_modules import LowRank as LowRank
from jaxalign.stitching.restricted_modules import Orthogonal as Orthogonal
from jaxalign.stitching.ridge_path import RidgePath as RidgePath
from jaxalign.stitching.ridge_path import ridge_path as ridge_path
from jaxalign.stitching.risk import MeanRisk as MeanRisk
from jaxalign.stitching.risk import stitching_error as stitching_error
from jaxalign.stitching.rotation import orthogonal as orthogonal
