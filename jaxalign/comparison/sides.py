"""What a user hands to `compare`, read as one flat list of named layers of the same examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import as_array, check_matrix, describe
from jaxalign._core.typing import Array
from jaxalign.comparison.ids import as_ids, check_same_ids


@dataclass(frozen=True)
class Layer:
    """One representation; its array is not touched before it is needed."""

    model: str
    layer: str
    array: Any

    @property
    def name(self) -> str:
        """`model/layer`, or the layer alone when there is one nameless model."""
        return f"{self.model}/{self.layer}" if self.model else self.layer

    @property
    def shape(self) -> tuple[int, int]:
        """Examples and features."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype:
        """What numbers it will be computed from: without 64-bit types, float64 becomes float32."""
        return np.dtype(jax.dtypes.canonicalize_dtype(self.array.dtype))

    def load(self, *, width: int | None = None) -> Array:
        """The activations on the device, with zero features up to `width`.

        What is on the host is padded there and put on the device as it is: done by JAX, either is
        a program to compile for each width.
        """
        missing = 0 if width is None else width - self.shape[1]
        padding = ((0, 0), (0, missing))
        if isinstance(self.array, jax.Array):
            return jnp.pad(self.array, padding) if missing else self.array
        host = np.asarray(self.array)
        if not host.dtype.isnative:
            host = host.astype(host.dtype.newbyteorder("="))
        return jax.device_put(np.pad(host, padding) if missing else host)


@dataclass(frozen=True)
class Side:
    """All layers of one side of a comparison.

    Attributes:
      layers: in the order they came.
      ids: ids of the rows, or None when nothing brought any.
      identified: every layer's rows are known to be those of `ids`.
    """

    layers: tuple[Layer, ...]
    ids: np.ndarray | None
    identified: bool

    @property
    def rows(self) -> int:
        """Number of examples."""
        return self.layers[0].shape[0]

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of features of every layer."""
        return tuple(layer.shape[1] for layer in self.layers)


def read_side(argument: str, reps: Any, ids: Any) -> Side:
    """Layers and ids of one side.

    Args:
      argument: its name, for errors.
      reps: a list of `(n, d)` arrays, a mapping from layer to array, or a mapping from model
        to either. A value with an attribute `ids` (as `features.load` returns) brings its own.
      ids: ids of the rows, `(n,)`, or None.

    Raises:
      ValueError, TypeError: naming the layer that is not a floating matrix, has another number
        of rows, or another order of ids.
    """
    layers = tuple(_walk(argument, reps))
    if not layers:
        raise ValueError(f"compare: {argument} must hold at least one layer, got an empty {type(reps).__name__}")
    for layer in layers:
        _check_layer(argument, layer, layers[0])
    rows = layers[0].shape[0]
    known, owner = (None if ids is None else as_ids(argument, ids, rows)), argument
    owners = list(_owners(argument, reps))
    for name, own in owners:
        if own is None:
            continue
        own = as_ids(name, own, rows)
        check_same_ids(owner, known, name, own)
        if known is None:
            known, owner = own, name
    identified = ids is not None or all(own is not None for _, own in owners)
    return Side(layers, known, identified)


def _walk(argument: str, reps: Any) -> Iterator[Layer]:
    """Layers in order; a mapping whose values are collections is one of models."""
    if isinstance(reps, Mapping):
        nested = [_is_collection(value) for value in reps.values()]
        if any(nested) and not all(nested):
            raise TypeError(f"compare: {argument} must map either layers to arrays or models to layers, not both")
        for key, value in reps.items():
            if not isinstance(key, str):
                raise TypeError(f"compare: {argument} must have names that are strings, got {describe(key)}")
            if not _is_collection(value):
                yield Layer("", key, _with_shape(f"{argument}[{key!r}]", value))
                continue
            if not value:
                raise ValueError(f"compare: model {key!r} of {argument} has no layers")
            for layer in _walk(f"{argument}[{key!r}]", value):
                if layer.model:
                    raise TypeError(f"compare: {argument} must be nested at most as model, layer, array")
                yield Layer(key, layer.layer, layer.array)
    elif isinstance(reps, Sequence) and not isinstance(reps, (str, bytes)):
        for index, value in enumerate(reps):
            if isinstance(value, Mapping):
                raise TypeError(
                    f"compare: {argument}[{index}] must be an array, got {describe(value)}; "
                    'several models go by name: {"one": ..., "other": ...}'
                )
            yield Layer("", f"{index}", _with_shape(f"{argument}[{index}]", value))
    else:
        raise TypeError(
            f"compare: {argument} must be a list of arrays, a dict of layers or a dict of models, "
            f"got {describe(reps)}" + ("; put it in a list" if hasattr(reps, "shape") else "")
        )


def _is_collection(value: Any) -> bool:
    return isinstance(value, (Mapping, list, tuple))


def _with_shape(owner: str, value: Any) -> Any:
    """The value itself when it knows its shape and dtype as NumPy does, else as an array."""
    if hasattr(value, "__array__"):
        if isinstance(getattr(value, "dtype", None), np.dtype) and hasattr(value, "ndim"):
            return value
        try:  # on the host, where it keeps its precision and takes no device memory
            host = np.asarray(value)
        except (TypeError, RuntimeError):  # bfloat16 tensors of other libraries have DLPack, but no NumPy form
            host = None
        if host is not None and host.dtype != object:
            return host
    return as_array("compare", owner, value)


def _check_layer(argument: str, layer: Layer, first: Layer) -> None:
    check_matrix("compare", f"{argument} layer {layer.name!r}", layer.array)
    if np.dtype(layer.array.dtype).itemsize > 8:
        raise TypeError(
            f"compare: {argument} layer {layer.name!r} must be float64 or narrower, got {describe(layer.array)}"
        )
    if layer.shape[0] != first.shape[0]:
        raise ValueError(
            f"compare: all layers of {argument} must have the same number of rows, one per example: "
            f"{first.name!r} has {first.shape[0]}, {layer.name!r} has {layer.shape[0]}"
        )


def _owners(argument: str, reps: Any) -> Iterator[tuple[str, Any]]:
    """Collections that hold layers, each by its name with the ids that it brings along or None."""
    models = isinstance(reps, Mapping) and any(map(_is_collection, reps.values()))
    if getattr(reps, "ids", None) is not None or not models:
        yield argument, getattr(reps, "ids", None)
        return
    for key, value in reps.items():
        yield f"model {key!r} of {argument}", getattr(value, "ids", None)
