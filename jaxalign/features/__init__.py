"""Activations from and to files: one matrix a layer, memory-mapped, never unpickled."""

from jaxalign.features.errors import FeatureFileError as FeatureFileError
from jaxalign.features.files import load as load
from jaxalign.features.files import save as save
from jaxalign.features.finite import check_finite as check_finite
from jaxalign.features.finite import finite_mask as finite_mask
from jaxalign.features.finite import nonfinite_rows as nonfinite_rows
from jaxalign.features.layers import Layers as Layers
