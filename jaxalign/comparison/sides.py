"""What a user hands to `compare`, read as one flat list of named layers of the same examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxalign._core.checks import as_array, check_matrix, describe
from jaxalign._core.typing import Array


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

    def load(self, function: str) -> Array:
        """The activations on the device."""
        return as_array(function, self.name, self.array)


@dataclass(frozen=True)
class Side:
    """All layers of one side of a comparison."""

    layers: tuple[Layer, ...]
    ids: np.ndarray | None

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
    side = Side(layers, None if ids is None else _as_ids(argument, ids, layers[0].shape[0]))
    for owner, own in _own_ids(argument, reps):
        own = _as_ids(owner, own, side.rows)
        if side.ids is None:
            side = Side(layers, own)
        else:
            check_same_ids(f"{argument} so far", side.ids, owner, own)
    return side


def check_same_ids(one: str, ids: np.ndarray | None, other: str, other_ids: np.ndarray | None) -> None:
    """Raise `ValueError` unless both lists of ids are equal, saying where they first differ."""
    if ids is None or other_ids is None:
        return
    if ids.dtype.kind == other_ids.dtype.kind or {ids.dtype.kind, other_ids.dtype.kind} <= set("iu"):
        differ = ids != other_ids
    else:
        differ = np.ones(len(ids), bool)
    if not differ.any():
        return
    row = int(np.argmax(differ))
    text = f"compare: row {row} is example {ids[row].item()!r} in {one} and {other_ids[row].item()!r} in {other}"
    if sorted(map(str, ids)) == sorted(map(str, other_ids)):
        raise ValueError(f"{text}; both hold the same examples in different order: reorder one side")
    raise ValueError(f"{text}; rows must be the same examples in the same order ({int(differ.sum())} rows differ)")


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
    elif isinstance(reps, Sequence) and not isinstance(reps, str):
        for index, value in enumerate(reps):
            yield Layer("", f"{index}", _with_shape(f"{argument}[{index}]", value))
    else:
        raise TypeError(
            f"compare: {argument} must be a list of arrays, a dict of layers or a dict of models, got {describe(reps)}"
        )


def _is_collection(value: Any) -> bool:
    return isinstance(value, (Mapping, list, tuple))


def _with_shape(owner: str, value: Any) -> Any:
    """The value itself when it knows its shape and dtype as NumPy does, else as an array."""
    if isinstance(value, (np.ndarray, jax.Array)):
        return value
    return as_array("compare", owner, value)


def _check_layer(argument: str, layer: Layer, first: Layer) -> None:
    check_matrix("compare", f"{argument} layer {layer.name!r}", layer.array)
    if layer.shape[0] != first.shape[0]:
        raise ValueError(
            f"compare: all layers of {argument} must have the same number of rows, one per example: "
            f"{first.name!r} has {first.shape[0]}, {layer.name!r} has {layer.shape[0]}"
        )


def _own_ids(argument: str, reps: Any) -> Iterator[tuple[str, Any]]:
    """Ids that the collections bring along, with a name for each owner."""
    if getattr(reps, "ids", None) is not None:
        yield argument, reps.ids
    elif isinstance(reps, Mapping):
        for key, value in reps.items():
            if getattr(value, "ids", None) is not None:
                yield f"{argument} model {key!r}", value.ids


def _as_ids(owner: str, ids: Any, rows: int) -> np.ndarray:
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iuUS":
        raise TypeError(f"compare: ids of {owner} must be integers or strings, got dtype {ids.dtype}")
    if ids.shape != (rows,):
        raise ValueError(f"compare: ids of {owner} must have shape ({rows},), one per row, got {ids.shape}")
    return ids
