"""Features in files of PyTorch, such as those of platonic-rep; read without running any code in them."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxalign.features.errors import FeatureFileError, parsing
from jaxalign.features.layers import BFLOAT16, Contents

#: Facts that platonic-rep has under other names.
_FACTS = {"num_params": "parameters", "bpb": "bits_per_byte"}


def read(path: Path) -> Contents:
    """The features of a model: `{"feats": (n, layers, d), or a list of (n, d), "num_params": ..., "bpb": ...}`.

    Layers are named `layer0`, `layer1` and so on; one matrix is one layer. A mapping without `feats` has a layer in
    every matrix of floating point. Plain numbers and texts are facts, `num_params` as `parameters`, `bpb` as
    `bits_per_byte`, and `loss`, if it is one of each example, as its mean. Other tensors are left out.

    Raises:
      FeatureFileError: for a file that is none, is damaged or holds other objects than tensors and plain values, and
        one without features.
      ImportError: without torch.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(f'{path}: .pt files need PyTorch; install it with: pip install "jaxalign[torch]"') from error
    with parsing(path, "PyTorch"):
        try:
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
        except pickle.UnpicklingError as error:  # whose text tells how to run what is in the file
            raise FeatureFileError(
                f"{path}: is damaged, or holds other objects than tensors and plain values, which are not read: they "
                "could run code"
            ) from error
        if isinstance(found, torch.Tensor):
            found = {"feats": found}
        if not isinstance(found, Mapping):
            raise FeatureFileError(f"{path}: must hold a mapping with 'feats', or a tensor, got {type(found).__name__}")
        if "feats" in found:
            arrays = _layers(path, found["feats"])
        else:
            tensors = {str(name): z for name, z in found.items() if isinstance(z, torch.Tensor)}
            if len(tensors) < sum(isinstance(z, torch.Tensor) for z in found.values()):
                raise FeatureFileError(f"{path}: names of matrices must differ as texts, got {list(found)}")
            arrays = {name: _array(z) for name, z in tensors.items() if z.ndim == 2 and z.is_floating_point()}
        if not arrays:
            raise FeatureFileError(f"{path}: there are no features: 'feats', or matrices by name, got {list(found)}")
        facts = {_FACTS.get(str(name), str(name)): value for name, value in _facts(found).items()}
    return Contents(arrays, facts=facts)


def _is_zip(path: Path) -> bool:
    """Whether numbers can be mapped: files of before PyTorch 1.6 cannot."""
    with open(path, "rb") as file:
        return file.read(2) == b"PK"


def _layers(path: Path, feats: Any) -> dict[str, np.ndarray]:
    if isinstance(feats, (list, tuple)):
        if not all(getattr(z, "ndim", 0) == 2 for z in feats):
            shapes = [tuple(z.shape) if hasattr(z, "shape") else type(z).__name__ for z in feats]
            raise FeatureFileError(f"{path}: feats must be a list of (examples, features), got {shapes}")
        matrices = [_array(z) for z in feats]
    elif getattr(feats, "ndim", 0) == 3:
        matrices = [_array(z) for z in feats.unbind(1)]
    elif getattr(feats, "ndim", 0) == 2:
        matrices = [_array(feats)]
    else:
        got = tuple(feats.shape) if hasattr(feats, "shape") else type(feats).__name__
        raise FeatureFileError(f"{path}: feats must be (examples, layers, features), or a list of layers, got {got}")
    return {f"layer{i}": matrix for i, matrix in enumerate(matrices)}


def _array(tensor: Any) -> np.ndarray:
    """As NumPy has it; bfloat16 by way of its bits."""
    import torch

    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(BFLOAT16)
    return tensor.numpy()


def _facts(found: Mapping[Any, Any]) -> dict[Any, Any]:
    facts = {}
    for name, value in found.items():
        if name == "loss" and hasattr(value, "mean") and getattr(value, "ndim", 0):
            value = float(value.float().mean())
        elif hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
            value = value.item()
        if isinstance(value, (str, bool, int)) or (isinstance(value, float) and not math.isnan(value)):
            facts[name] = value
    return facts
