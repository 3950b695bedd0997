"""Activations out of models, from and to files: one matrix a layer, memory-mapped, never unpickled."""

from typing import TYPE_CHECKING

from jaxalign.features.errors import FeatureFileError as FeatureFileError
from jaxalign.features.files import load as load
from jaxalign.features.files import save as save
from jaxalign.features.finite import check_finite as check_finite
from jaxalign.features.finite import finite_mask as finite_mask
from jaxalign.features.finite import nonfinite_rows as nonfinite_rows
from jaxalign.features.layers import Layers as Layers

if TYPE_CHECKING:
    from jaxalign.features.capturing import capture as capture
    from jaxalign.features.capturing import list_layers as list_layers


def __getattr__(name: str) -> object:
    """What needs Flax is imported when first used: comparing files does not."""
    if name in ("capture", "list_layers"):
        from importlib import import_module

        return getattr(import_module("jaxalign.features.capturing"), name)
    raise AttributeError(f"module 'jaxalign.features' has no attribute {name!r}")
