"""Floor 2: kernels as callable pytrees; their hyperparameters are leaves."""

from jaxalign.kernels.bandwidth import BandwidthRule as BandwidthRule
from jaxalign.kernels.bandwidth import MeanDistance as MeanDistance
from jaxalign.kernels.bandwidth import MedianDistance as MedianDistance
from jaxalign.kernels.base import Kernel as Kernel
from jaxalign.kernels.base import Product as Product
from jaxalign.kernels.base import Sum as Sum
from jaxalign.kernels.dot_product import Cosine as Cosine
from jaxalign.kernels.dot_product import Linear as Linear
from jaxalign.kernels.dot_product import Polynomial as Polynomial
from jaxalign.kernels.radial import RBF as RBF
from jaxalign.kernels.radial import Distance as Distance
from jaxalign.kernels.radial import Laplacian as Laplacian
