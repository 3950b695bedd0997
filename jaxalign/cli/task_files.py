"""The head of a model and the labels of its examples, read from files."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxalign._core.checks import nearest
from jaxalign.cli.errors import Problem, bad_input
from jaxalign.features import Layers


@dataclass(frozen=True)
class HeadFile:
    """A linear layer: `z @ kernel + bias`.

    Attributes:
      kernel: `(features, outputs)`.
      bias: `(outputs,)`.
    """

    kernel: np.ndarray
    bias: np.ndarray


def chosen_layers(option: str, names: Sequence[str], layers: Layers) -> list[str]:
    """The layers that were named, all by default.

    Raises:
      Problem: when there is no such layer.
    """
    for name in names:
        if name not in layers:
            known = ", ".join(layers)
            raise Problem(f"{option}: {layers.source} has no layer {name!r}{nearest(name, layers)}; it has {known}")
    return list(dict.fromkeys(names)) or list(layers)


def head_for(path: str, layer: str, layers: Layers, *, option: str) -> HeadFile:
    """The head in a file, found to fit the layer that it stands behind.

    Args:
      path: the file.
      layer: of `layers`.
      layers: those of the model.
      option: what names the layer on the command line.

    Raises:
      Problem: when it cannot be read, or does not fit.
    """
    head = load_head(path)
    features = head.kernel.shape[0]
    if layers[layer].shape[1] != features:
        fitting = [name for name, array in layers.items() if array.shape[1] == features]
        hint = f"; {option} may be {' or '.join(fitting)}" if fitting else ""
        if head.kernel.shape[1] == layers[layer].shape[1]:
            hint = "; 'kernel' is (features, outputs), which it would be transposed"
        raise Problem(
            f"{path}: the head takes {features} features, layer {layer!r} of {layers.source} has "
            f"{layers[layer].shape[1]}{hint}"
        )
    return head


def load_head(path: str) -> HeadFile:
    """The linear layer in a .npz file with `kernel` `(features, outputs)` and, if it has one, `bias` `(outputs,)`.

    Raises:
      Problem: when there is no such file, or something else in it.
    """
    arrays = _arrays(path)
    kernel = arrays.get("kernel")
    if kernel is None:
        raise Problem(f"{path}: a head is a .npz file with 'kernel' and 'bias', got {_listed(arrays)}")
    if kernel.ndim != 2 or kernel.dtype.kind != "f" or kernel.size == 0:
        raise Problem(f"{path}: 'kernel' must be floating point of shape (features, outputs), got {_described(kernel)}")
    bias = arrays.get("bias", np.zeros(kernel.shape[1], kernel.dtype))
    if bias.shape != kernel.shape[1:] or bias.dtype.kind != "f":
        raise Problem(
            f"{path}: 'bias' must be floating point of shape ({kernel.shape[1]},), one number for each column of "
            f"'kernel', got {_described(bias)}"
        )
    for name, array in (("kernel", kernel), ("bias", bias)):
        if not np.isfinite(array).all():
            raise Problem(f"{path}: {name!r} holds NaN or infinity")
    return HeadFile(kernel, bias)


def load_labels(path: str, *, rows: int, outputs: int | None) -> np.ndarray:
    """Integer labels, one for each example: the array of a .npy file, or `labels` or the only one in a .npz file.

    Args:
      path: the file.
      rows: how many examples there are.
      outputs: how many outputs the head has; labels name one. None without a head: then they may be any from 0 on.

    Raises:
      Problem: when there is no such file, or something else in it.
    """
    arrays = _arrays(path)
    labels = arrays.get("labels", next(iter(arrays.values())) if len(arrays) == 1 else None)
    if labels is None:
        raise Problem(f"{path}: labels are the array 'labels' of a .npz file, or the only one, got {_listed(arrays)}")
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise Problem(f"{path}: labels must be integers of shape ({rows},), got {_described(labels)}")
    if len(labels) != rows:
        raise Problem(f"{path}: has {len(labels)} labels, the activations have {rows} examples")
    wrong = (labels < 0) if outputs is None else (labels < 0) | (labels >= outputs)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        known = "from 0 on" if outputs is None else f"from 0 to {outputs - 1}, the outputs of the head"
        raise Problem(f"{path}: labels must be {known}, got {labels[row]} in row {row}")
    return labels


def load_label_numbers(path: str, *, labels: int) -> np.ndarray:
    """Which labels to look at: different integers, in the array of a .npy file, or `labels` or the only one of a .npz.

    Args:
      path: the file.
      labels: how many there are.

    Raises:
      Problem: when there is no such file, or something else in it.
    """
    arrays = _arrays(path)
    numbers = arrays.get("labels", next(iter(arrays.values())) if len(arrays) == 1 else None)
    if numbers is None:
        raise Problem(f"--labels {path}: must be the array 'labels' of a .npz file, or the only one")
    if numbers.dtype.kind not in "iu" or numbers.ndim != 1 or numbers.size == 0:
        raise Problem(f"--labels {path}: must be integers of shape (count,), got {_described(numbers)}")
    wrong = (numbers < 0) | (numbers >= labels)
    if wrong.any():
        raise Problem(f"--labels {path}: must be in 0..{labels - 1}, got {numbers[wrong][0]}")
    if np.unique(numbers).size < numbers.size:
        raise Problem(
            f"--labels {path}: must all be different: they are the labels to compare on, "
            "not the right output of each example"
        )
    return numbers.astype(np.int32)


def _arrays(path: str) -> Mapping[str, Any]:
    """All arrays of a .npz file, or the one of a .npy file, by name."""
    try:
        with bad_input():
            content = np.load(path, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return {Path(path).stem: content}
            with content:
                return {name: content[name] for name in content.files}
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise Problem(f"{path}: is no .npy or .npz file of numbers, or it is damaged") from None


def _listed(arrays: Mapping[str, np.ndarray]) -> str:
    return ", ".join(map(repr, arrays)) or "no array"


def _described(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"
