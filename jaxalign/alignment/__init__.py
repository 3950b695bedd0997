"""Floor 3: scores between two signatures, and the one-shot functions users call."""

from jaxalign.alignment.cca import canonical_correlations as canonical_correlations
from jaxalign.alignment.cca import cca as cca
from jaxalign.alignment.cca import eigenspace_overlap as eigenspace_overlap
from jaxalign.alignment.cca import ridge_cca as ridge_cca
from jaxalign.alignment.cca import svcca as svcca
from jaxalign.alignment.cknna import cknna as cknna
from jaxalign.alignment.distance import distance_correlation as distance_correlation
from jaxalign.alignment.distance import distance_covariance as distance_covariance
from jaxalign.alignment.kernel import KernelScore as KernelScore
from jaxalign.alignment.kernel import angular_cka as angular_cka
from jaxalign.alignment.kernel import cka as cka
from jaxalign.alignment.kernel import hsic as hsic
from jaxalign.alignment.kernel import kernel_alignment as kernel_alignment
from jaxalign.alignment.neighbors import NeighborScore as NeighborScore
from jaxalign.alignment.neighbors import cycle_knn as cycle_knn
from jaxalign.alignment.neighbors import edit_distance_knn as edit_distance_knn
from jaxalign.alignment.neighbors import jaccard_knn as jaccard_knn
from jaxalign.alignment.neighbors import joint_rank_jaccard_knn as joint_rank_jaccard_knn
from jaxalign.alignment.neighbors import lcs_knn as lcs_knn
from jaxalign.alignment.neighbors import mutual_knn as mutual_knn
from jaxalign.alignment.neighbors import rank_similarity_knn as rank_similarity_knn
from jaxalign.alignment.pwcca import pwcca as pwcca
from jaxalign.alignment.regression import gulp as gulp
from jaxalign.alignment.regression import linear_predictivity as linear_predictivity
from jaxalign.alignment.regression import pls_svd as pls_svd
from jaxalign.alignment.second_order import second_order_cosine as second_order_cosine
