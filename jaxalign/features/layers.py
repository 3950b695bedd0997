"""`Layers`: the activations of a model, one matrix a layer, which example each row is, and what is known of both."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import as_array, describe
from jaxalign.features.errors import FeatureFileError

BFLOAT16 = np.dtype(jnp.bfloat16)
FLOATING = (BFLOAT16, np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))
BLOCK_BYTES = 1 << 24


class Layers(Mapping[str, np.ndarray]):
    """Layer name -> activations of shape `(n, d)`, in order, with the same `n` examples in every layer.

    Read-only. Arrays are kept as they come, memory-mapped ones included, in float16,
    bfloat16, float32 or float64; only the other byte order is converted (which copies).

    Args:
      arrays: name -> anything with `__array__` or DLPack, shape `(n, d)`, floating point, not empty.
        Names are non-empty strings other than `ids`.
      ids: which example each row is, shape `(n,)`, integers or strings, all different; None when unknown.
      labels: what each example is of, shape `(n,)`, integers or strings; None when unknown.
      facts: what is known of the model, such as `parameters`, `loss` or `bits_per_byte`: name -> text, number, truth
        value or None.
      source: the file or folder that the arrays were read from.

    Raises:
      ValueError: when a layer, ids, labels or facts are not as above; `FeatureFileError` when there is a `source`.
      TypeError: when `arrays` or `facts` is not a mapping, a name is not a string or a value is not an array.

    Example:
      >>> layers = Layers({"block1": np.ones((3, 2), np.float32)}, ids=["a", "b", "c"])
      >>> layers["block1"].shape, layers.rows, layers.ids
      ((3, 2), 3, array(['a', 'b', 'c'], dtype='<U1'))
    """

    __slots__ = ("_arrays", "_facts", "_ids", "_labels", "_source")

    def __init__(
        self,
        arrays: Mapping[str, Any],
        *,
        ids: Any = None,
        labels: Any = None,
        facts: Mapping[str, Any] | None = None,
        source: str | os.PathLike[str] | None = None,
    ) -> None:
        if not isinstance(arrays, Mapping):
            raise TypeError(f"Layers: arrays must be a mapping of layer name to array, got {describe(arrays)}")
        self._source = None if source is None else os.fspath(source)
        self._arrays = {self._checked_name(name): self._checked_layer(name, value) for name, value in arrays.items()}
        if not self._arrays:
            raise self._error("at least one layer is needed, got none")
        rows = {name: len(array) for name, array in self._arrays.items()}
        first = next(iter(rows))
        for name in rows:
            if rows[name] != rows[first]:
                raise self._error(
                    f"all layers must have the same number of rows, one per example: "
                    f"{first!r} has {rows[first]}, {name!r} has {rows[name]}"
                )
        self._ids = None if ids is None else self._checked_ids(ids)
        self._labels = None if labels is None else self._checked_column("labels", labels)
        self._facts = self._checked_facts({} if facts is None else facts)
        for name, kept in (("labels", labels is not None), ("facts", bool(self._facts))):
            if kept and name in self._arrays:
                raise self._error(f"a layer named {name!r} cannot be kept together with {name}")

    @property
    def ids(self) -> np.ndarray | None:
        """Which example each row is, shape `(n,)`, integers or strings; None when unknown."""
        return self._ids

    @property
    def labels(self) -> np.ndarray | None:
        """What each example is of, shape `(n,)`, integers or strings; None when unknown."""
        return self._labels

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is known of the model, by name."""
        return MappingProxyType(self._facts)

    @property
    def source(self) -> str | None:
        """The file or folder that the arrays were read from, if any."""
        return self._source

    @property
    def rows(self) -> int:
        """The number of examples, `n`."""
        return len(next(iter(self._arrays.values())))

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __eq__(self, other: object) -> bool:
        return self is other  # Mapping would compare values with ==, which has no truth value for arrays

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        layers = ", ".join(f"{name!r} {array.dtype} {array.shape}" for name, array in self.items())
        ids = "no ids" if self.ids is None else f"{self.ids.dtype} ids"
        return f"Layers({self.rows} rows, {ids}: {layers})"

    def _error(self, problem: str) -> ValueError:
        """The exception for `problem`: about the file, where there is one."""
        return (
            ValueError(f"Layers: {problem}") if self._source is None else FeatureFileError(f"{self._source}: {problem}")
        )

    def _checked_name(self, name: Any) -> str:
        if not isinstance(name, str):
            raise TypeError(f"Layers: layer names must be strings, got {describe(name)}")
        if name == "ids":
            raise self._error("no layer can be named 'ids': the name is kept for the row ids")
        if not name or "\0" in name or not _is_text(name):
            raise self._error(f"layer names must be non-empty and valid text, got {name!r}")
        return name

    def _checked_layer(self, name: str, value: Any) -> np.ndarray:
        array = _host_array(f"layer {name!r}", value)
        got = f"layer {name!r}: must hold float16, bfloat16, float32 or float64, got {describe(array)}"
        if array.dtype.hasobject:
            raise self._error(f"{got}, Python objects; stack the rows into one numerical array")
        if array.dtype.kind in "iub":
            raise self._error(f"{got}; convert it first if these are activations: array.astype(np.float32)")
        if array.dtype.newbyteorder("=") not in FLOATING:
            raise self._error(got)
        if array.ndim != 2:
            advice = "array[:, None] makes one feature of it" if array.ndim == 1 else "pool or flatten the other axes"
            raise self._error(
                f"layer {name!r}: must have shape (examples, features), got {describe(array)}; "
                f"{advice} (see jaxalign.preprocess)"
            )
        if 0 in array.shape:
            raise self._error(f"layer {name!r}: must not be empty, got {describe(array)}")
        return _read_only(_native(array).view())

    def _checked_column(self, name: str, values: Any) -> np.ndarray:
        """Integers or text, one for each row, of which `name` is said in messages."""
        array = _column(values)
        if array is None:
            raise self._error(f"{name} must be integers or strings, one per row, got {describe(values)}")
        if array.shape != (self.rows,):
            raise self._error(f"{name} must have shape ({self.rows},), one per row, got {describe(array)}")
        if array.dtype.kind == "U" and array.view(np.uint32).max() > sys.maxunicode:
            raise self._error(f"{name} are not valid text")  # as read from a damaged file; NumPy does not look
        return _read_only(array)

    def _checked_facts(self, facts: Any) -> dict[str, Any]:
        if not isinstance(facts, Mapping):
            raise TypeError(f"Layers: facts must be a mapping of names to values, got {describe(facts)}")
        found = {name: value.item() if _is_scalar(value) else value for name, value in facts.items()}
        for name, value in found.items():
            plain = value is None or isinstance(value, (str, bool, int, float))
            if not isinstance(name, str) or not plain:
                raise self._error(
                    f"facts must be texts, numbers, truth values or None by name, got {name!r}: {describe(value)}"
                )
        return found

    def _checked_ids(self, ids: Any) -> np.ndarray:
        array = self._checked_column("ids", ids)
        values, counts = np.unique(array, return_counts=True)
        if len(values) < len(array):
            repeated = values[counts > 1][0]
            raise self._error(
                f"ids must all be different, but {int(np.sum(counts > 1))} occur more than once: "
                f"{repeated.item()!r} is in rows {', '.join(map(str, np.flatnonzero(array == repeated)[:5]))}"
            )
        return array


class Contents(NamedTuple):
    """What a file holds: layers by name, and what it says of rows and of the model, if anything."""

    arrays: dict[str, np.ndarray]
    ids: Any = None
    labels: Any = None
    facts: dict[str, Any] | None = None


def contents_of(path: Path, arrays: dict[str, np.ndarray]) -> Contents:
    """Tell layers from what is kept beside them under a name: `ids`, a column of `labels`, a text of `facts`.

    Raises:
      FeatureFileError: for facts that are no JSON object.
    """
    arrays = dict(arrays)
    labels = arrays.pop("labels") if "labels" in arrays and arrays["labels"].ndim == 1 else None
    facts = arrays.pop("facts") if "facts" in arrays and arrays["facts"].ndim == 0 else None
    text = None if facts is None else facts.item()
    return Contents(arrays, arrays.pop("ids", None), labels, None if text is None else facts_of(path, text))


def _is_scalar(value: Any) -> bool:
    """Whether it is one number of NumPy or JAX."""
    return isinstance(value, np.generic) or (hasattr(value, "dtype") and getattr(value, "ndim", None) == 0)


def facts_of(path: Path, text: Any) -> dict[str, Any]:
    """Facts out of JSON.

    Raises:
      FeatureFileError: when it is none, or no object.
    """
    try:
        facts = json.loads(text)
    except (TypeError, ValueError):
        facts = None
    if not isinstance(facts, dict):
        raise FeatureFileError(f"{path}: the facts must be a JSON object, got {text!r:.80}")
    return facts


def row_blocks(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Consecutive rows of `array` in views of about 16 MiB, each with the index of its first row."""
    step = max(1, BLOCK_BYTES * len(array) // max(1, array.nbytes))
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


def natural_key(name: str) -> tuple[Any, ...]:
    """Sort key that reads digits as numbers: `layer2` before `layer10`."""
    parts = re.split(r"([0-9]+)", name)  # text and digits in turn, so that only like meets like
    return (*(int(part) if i % 2 else part for i, part in enumerate(parts)), name)


def _is_text(name: str) -> bool:
    """Whether `name` can be encoded; half of a surrogate pair cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _host_array(argument: str, value: Any) -> np.ndarray:
    """`value` as a NumPy array of the same dtype, without a copy where possible; memory maps stay memory maps."""
    if isinstance(value, np.memmap):
        return value
    if hasattr(value, "__array__"):
        try:
            return np.asarray(value)
        except (TypeError, RuntimeError):  # bfloat16 tensors of other libraries have DLPack, but no NumPy form
            pass
    return np.asarray(as_array("Layers", argument, value))


def _column(ids: Any) -> np.ndarray | None:
    """A new array of integers or fixed-width text in native byte order, or None when `ids` hold anything else."""
    array = np.asarray(ids)
    if array.ndim == 1 and (not hasattr(ids, "dtype") or array.dtype.kind in "OT"):
        # NumPy would make text of a list such as [1, "a"]; data frames keep text as objects.
        values = array.tolist() if hasattr(ids, "dtype") else list(ids)
        if not all(isinstance(value, str) for value in values) and not all(_is_integer(value) for value in values):
            return None
        array = np.array(values)
    return _native(array).copy() if array.dtype.kind in "iuU" else None


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _native(array: np.ndarray) -> np.ndarray:
    """`array` in the byte order of the machine; JAX takes no other."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
