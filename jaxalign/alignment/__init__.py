"""Floor 3: scores between two signatures, and the one-shot functions users call."""

from jaxalign.alignment.kernel import KernelScore as KernelScore
from jaxalign.alignment.kernel import cka as cka
from jaxalign.alignment.kernel import hsic as hsic
from jaxalign.alignment.kernel import kernel_alignment as kernel_alignment
from jaxalign.alignment.neighbors import OverlapScore as OverlapScore
from jaxalign.alignment.neighbors import mutual_knn as mutual_knn
