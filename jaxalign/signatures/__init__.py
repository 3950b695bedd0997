"""Floor 2: what is kept of one representation, so that a pair costs only a score."""

from jaxalign.kernels.gram import Gram as Gram
from jaxalign.signatures.gram import GramSignature as GramSignature
from jaxalign.signatures.neighbors import Neighbors as Neighbors
from jaxalign.signatures.neighbors import NeighborSignature as NeighborSignature
