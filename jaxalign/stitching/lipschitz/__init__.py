"""How much a network can stretch distances: certified upper bounds from its layers, and constants of a sample."""

from jaxalign.stitching.lipschitz.blocks import given as given
from jaxalign.stitching.lipschitz.blocks import mean_pool as mean_pool
from jaxalign.stitching.lipschitz.blocks import residual as residual
from jaxalign.stitching.lipschitz.bound import lipschitz_bound as lipschitz_bound
from jaxalign.stitching.lipschitz.convolution import convolution_norm_bound as convolution_norm_bound
from jaxalign.stitching.lipschitz.local import local_lipschitz as local_lipschitz
from jaxalign.stitching.lipschitz.norms import matrix_norm_bound as matrix_norm_bound
from jaxalign.stitching.lipschitz.result import LayerBound as LayerBound
from jaxalign.stitching.lipschitz.result import LipschitzBound as LipschitzBound
