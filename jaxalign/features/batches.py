"""Batches of examples, as a model takes them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jaxalign._core.checks import as_array, describe, nearest
from jaxalign._core.typing import Array, Bool

_FUNCTION = "capture"


@dataclass(frozen=True)
class Batch:
    """One batch.

    Attributes:
      x: what the model takes: an array, a tuple or a mapping of them.
      mask: which tokens are real, `(rows, tokens)`, or None.
      columns: what is known of each example, by name, each `(rows,)`.
    """

    x: Any
    mask: Bool[Array, "n t"] | None = None
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many examples."""
        return jax.tree.leaves(self.x)[0].shape[0]

    @cached_property
    def checksum(self) -> int:
        """Of everything that goes into the model."""
        total = 0
        for leaf in jax.tree.leaves((self.x, self.mask)):
            total = zlib.crc32(np.ascontiguousarray(leaf).view(np.uint8).data, total)
        return total


class Batches(Sized):
    """Batches out of one array, or of an iterable of arrays, tuples or mappings.

    Args:
      batches: as `capture` takes them.
      inputs: entries of a mapping that the model takes: one, several, or all.
      mask: the entry that says which tokens are real.
      columns: entries that say something of each example, such as its id, by name.
      size: rows of a batch out of one array.
      as_input: makes what a model takes out of arrays, tuples and mappings; called with the name of the function, too.

    Raises:
      TypeError: for what is neither an array nor an iterable.
    """

    def __init__(
        self,
        batches: Any,
        *,
        inputs: str | Sequence[str] | None,
        mask: str,
        columns: Mapping[str, str],
        size: int,
        as_input: Callable[[str, Any], Any],
    ) -> None:
        self._batches, self._inputs, self._mask, self._columns, self._size = batches, inputs, mask, columns, size
        self._as_input = as_input
        if not hasattr(batches, "shape") and (isinstance(batches, (str, Mapping)) or not isinstance(batches, Iterable)):
            raise TypeError(
                f"{_FUNCTION}: batches must be an array, or an iterable of arrays, tuples or mappings, "
                f"got {describe(batches)}"
            )

    def __len__(self) -> int:
        """How many, as far as is known; 0 otherwise."""
        if hasattr(self._batches, "shape"):
            return -(-len(self._batches) // self._size)
        return len(self._batches) if isinstance(self._batches, Sized) else 0

    def __iter__(self) -> Iterator[Batch]:
        if hasattr(self._batches, "shape"):
            whole = self._batches
            raw = (whole[start : start + self._size] for start in range(0, len(whole), self._size))
        else:
            raw = self._batches
        for place, batch in enumerate(raw):
            yield self._checked(f"batch {place}", batch)

    def _checked(self, where: str, batch: Any) -> Batch:
        mask, columns = None, {}
        if isinstance(batch, list):  # as a DataLoader of PyTorch makes
            batch = tuple(batch)
        if isinstance(batch, Mapping):
            entries = dict(batch)
            columns = {name: np.asarray(self._entry(where, entries, entry)) for name, entry in self._columns.items()}
            for entry in self._columns.values():
                entries.pop(entry, None)
            if self._mask in entries:
                mask = self._bool_mask(where, as_array(_FUNCTION, "mask", entries[self._mask]))
            if isinstance(self._inputs, str):
                batch = self._entry(where, entries, self._inputs)
            elif self._inputs is not None:
                batch = {name: self._entry(where, entries, name) for name in self._inputs}
            else:
                batch = entries
        else:
            for name, entry in self._columns.items():
                raise ValueError(f"{_FUNCTION}: {name} names an entry, {entry!r}, but {where} is no mapping")
        made = Batch(self._as_input(_FUNCTION, batch), mask, columns)
        leaves = jax.tree.leaves(made.x)
        if not leaves or any(leaf.ndim == 0 or leaf.shape[0] != leaves[0].shape[0] for leaf in leaves) or not made.rows:
            shapes = [tuple(leaf.shape) for leaf in leaves]
            raise ValueError(f"{_FUNCTION}: {where} must hold arrays with one row an example, got shapes {shapes}")
        for name, values in columns.items():
            if values.shape != (made.rows,):
                raise ValueError(f"{_FUNCTION}: {name} of {where} must have shape ({made.rows},), got {values.shape}")
        if mask is not None:
            self._check_mask(where, mask, made.rows)
        return made

    def _entry(self, where: str, entries: Mapping[str, Any], name: str) -> Any:
        if name not in entries:
            known = ", ".join(map(repr, entries))
            raise ValueError(f"{_FUNCTION}: {where} has no entry {name!r}, only {known}{nearest(name, entries)}")
        return entries[name]

    def _bool_mask(self, where: str, mask: Array) -> Bool[Array, "n t"]:
        """As truth values; masks that are added to scores, 0 for real tokens, would mean the opposite."""
        if not np.isin(np.asarray(mask), (0, 1)).all():
            raise ValueError(f"{_FUNCTION}: {self._mask!r} of {where} must be 1 or True for real tokens, 0 for others")
        return mask.astype(bool)

    def _check_mask(self, where: str, mask: Array, rows: int) -> None:
        if mask.ndim != 2 or mask.shape[0] != rows:
            raise ValueError(
                f"{_FUNCTION}: {self._mask!r} of {where} must have shape ({rows}, tokens), got {mask.shape}"
            )
        empty = np.flatnonzero(~np.asarray(mask).any(axis=1))
        if len(empty):
            raise ValueError(f"{_FUNCTION}: {self._mask!r} of {where} has no real token in row {empty[0]}")
