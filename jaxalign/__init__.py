"""Measure, test, explain and train representation alignment in JAX."""

from jaxalign import features as features
from jaxalign import kernels as kernels
from jaxalign import measures as measures
from jaxalign import preprocess as preprocess
from jaxalign._core.pytree import pytree_dataclass as pytree_dataclass
from jaxalign._version import __version__ as __version__
from jaxalign.alignment.kernel import cka as cka
from jaxalign.alignment.kernel import hsic as hsic
from jaxalign.alignment.kernel import kernel_alignment as kernel_alignment
from jaxalign.alignment.neighbors import mutual_knn as mutual_knn
from jaxalign.comparison import BestPair as BestPair
from jaxalign.comparison import Comparison as Comparison
from jaxalign.comparison import compare as compare
from jaxalign.comparison import load_comparison as load_comparison
from jaxalign.kernels import RBF as RBF
from jaxalign.kernels import Cosine as Cosine
from jaxalign.kernels import Distance as Distance
from jaxalign.kernels import Laplacian as Laplacian
from jaxalign.kernels import Linear as Linear
from jaxalign.kernels import Polynomial as Polynomial
from jaxalign.measures import MEASURES as MEASURES
from jaxalign.measures import Measure as Measure
