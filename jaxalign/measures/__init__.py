"""Measures as values: a signature, a score and what is known about them.

Each factory takes the keywords of the function of the same name:
`measures.cka(kernel=RBF())(x, y) == cka(x, y, kernel=RBF())`.
"""

from jaxalign.measures.catalogue import MEASURES as MEASURES
from jaxalign.measures.dependence import constrained_covariance as constrained_covariance
from jaxalign.measures.dependence import kernel_canonical_correlation as kernel_canonical_correlation
from jaxalign.measures.dependence import kernel_mutual_information as kernel_mutual_information
from jaxalign.measures.dissimilarity import distance_alignment as distance_alignment
from jaxalign.measures.dissimilarity import rsa as rsa
from jaxalign.measures.dissimilarity import rsm_distance as rsm_distance
from jaxalign.measures.distance import distance_correlation as distance_correlation
from jaxalign.measures.distance import distance_covariance as distance_covariance
from jaxalign.measures.geometry import concentricity_difference as concentricity_difference
from jaxalign.measures.geometry import effective_rank_difference as effective_rank_difference
from jaxalign.measures.geometry import intrinsic_dimension_difference as intrinsic_dimension_difference
from jaxalign.measures.geometry import magnitude_difference as magnitude_difference
from jaxalign.measures.geometry import participation_ratio_difference as participation_ratio_difference
from jaxalign.measures.geometry import uniformity_difference as uniformity_difference
from jaxalign.measures.heat import imd as imd
from jaxalign.measures.kernel import angular_cka as angular_cka
from jaxalign.measures.kernel import cka as cka
from jaxalign.measures.kernel import deconfounded_cka as deconfounded_cka
from jaxalign.measures.kernel import hsic as hsic
from jaxalign.measures.kernel import kernel_alignment as kernel_alignment
from jaxalign.measures.linear import cca as cca
from jaxalign.measures.linear import eigenspace_overlap as eigenspace_overlap
from jaxalign.measures.linear import gulp as gulp
from jaxalign.measures.linear import linear_predictivity as linear_predictivity
from jaxalign.measures.linear import pls_svd as pls_svd
from jaxalign.measures.linear import pwcca as pwcca
from jaxalign.measures.linear import ridge_cca as ridge_cca
from jaxalign.measures.linear import svcca as svcca
from jaxalign.measures.measure import INVARIANCES as INVARIANCES
from jaxalign.measures.measure import Measure as Measure
from jaxalign.measures.measure import Score as Score
from jaxalign.measures.measure import Signature as Signature
from jaxalign.measures.neighbors import cknna as cknna
from jaxalign.measures.neighbors import cycle_knn as cycle_knn
from jaxalign.measures.neighbors import edit_distance_knn as edit_distance_knn
from jaxalign.measures.neighbors import jaccard_knn as jaccard_knn
from jaxalign.measures.neighbors import joint_rank_jaccard_knn as joint_rank_jaccard_knn
from jaxalign.measures.neighbors import lcs_knn as lcs_knn
from jaxalign.measures.neighbors import mutual_knn as mutual_knn
from jaxalign.measures.neighbors import rank_similarity_knn as rank_similarity_knn
from jaxalign.measures.neighbors import second_order_cosine as second_order_cosine
from jaxalign.measures.neighbors import soft_knn as soft_knn
from jaxalign.measures.outputs import cohen_kappa as cohen_kappa
from jaxalign.measures.outputs import disagreement as disagreement
from jaxalign.measures.outputs import jensen_shannon as jensen_shannon
from jaxalign.measures.outputs import kl_divergence as kl_divergence
from jaxalign.measures.shape import angular_procrustes as angular_procrustes
from jaxalign.measures.shape import correlation_match as correlation_match
from jaxalign.measures.shape import permutation_distance as permutation_distance
from jaxalign.measures.shape import procrustes_distance as procrustes_distance
