"""Measures as values: a signature, a score and what is known about them.

Each factory takes the keywords of the function of the same name:
`measures.cka(kernel=RBF())(x, y) == cka(x, y, kernel=RBF())`.
"""

from jaxalign.measures.catalogue import MEASURES as MEASURES
from jaxalign.measures.kernel import cka as cka
from jaxalign.measures.kernel import hsic as hsic
from jaxalign.measures.kernel import kernel_alignment as kernel_alignment
from jaxalign.measures.measure import INVARIANCES as INVARIANCES
from jaxalign.measures.measure import Measure as Measure
from jaxalign.measures.measure import Score as Score
from jaxalign.measures.measure import Signature as Signature
from jaxalign.measures.neighbors import cycle_knn as cycle_knn
from jaxalign.measures.neighbors import edit_distance_knn as edit_distance_knn
from jaxalign.measures.neighbors import jaccard_knn as jaccard_knn
from jaxalign.measures.neighbors import joint_rank_jaccard_knn as joint_rank_jaccard_knn
from jaxalign.measures.neighbors import lcs_knn as lcs_knn
from jaxalign.measures.neighbors import mutual_knn as mutual_knn
from jaxalign.measures.neighbors import rank_similarity_knn as rank_similarity_knn
from jaxalign.measures.neighbors import second_order_cosine as second_order_cosine
