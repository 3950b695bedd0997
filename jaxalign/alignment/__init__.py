"""Floor 3: scores between two signatures, and the one-shot functions users call."""

from jaxalign.alignment.kernel import KernelScore as KernelScore
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
from jaxalign.alignment.second_order import second_order_cosine as second_order_cosine
