"""Row ids: what they may be, and whether two sides hold the same examples in the same order."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxalign._core.checks import describe


def as_ids(owner: str, ids: Any, rows: int) -> np.ndarray:
    """`ids` as an array of `rows` different integers or strings.

    Args:
      owner: whose ids they are, for errors.
      ids: integers or strings, as a sequence, an array or a column of a data frame.
      rows: how many there must be.
    """
    array = np.asarray(ids)
    if array.dtype.kind in "OT" or not hasattr(ids, "dtype"):
        # NumPy would make text of a list such as [1, "a"]; data frames keep text as objects.
        values = array.ravel().tolist() if hasattr(ids, "dtype") else np.asarray(ids, object).ravel().tolist()
        one_kind = all(isinstance(v, str) for v in values) or all(
            isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in values
        )
        if not one_kind:
            kinds = ", ".join(sorted({type(v).__name__ for v in values}))
            raise TypeError(f"compare: ids of {owner} must be all integers or all strings, got {kinds}")
        array = np.array(values).reshape(array.shape)
    if array.size and array.dtype.kind not in "iuUS":
        raise TypeError(f"compare: ids of {owner} must be integers or strings, got {describe(array)}")
    if array.shape != (rows,):
        raise ValueError(f"compare: ids of {owner} must have shape ({rows},), one per row, got {array.shape}")
    values, counts = np.unique(array, return_counts=True)
    if len(values) < len(array):
        repeated = values[counts > 1][0]
        where = ", ".join(map(str, np.flatnonzero(array == repeated)[:5]))
        raise ValueError(
            f"compare: ids of {owner} must all be different, but {repeated.item()!r} stands for rows {where}"
        )
    return array


def check_same_ids(one: str, ids: np.ndarray | None, other: str, other_ids: np.ndarray | None) -> None:
    """Raise `ValueError` unless both lists of ids are equal, saying where they first differ."""
    if ids is None or other_ids is None:
        return
    kinds = [_kind(ids), _kind(other_ids)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"compare: ids must be of one kind to be compared: those of {one} are {kinds[0]}, "
            f"such as {ids[0].item()!r}, those of {other} are {kinds[1]}, such as {other_ids[0].item()!r}"
        )
    differ = ids != other_ids
    if not differ.any():
        return
    row = int(np.argmax(differ))
    text = f"compare: row {row} is example {ids[row].item()!r} in {one} and {other_ids[row].item()!r} in {other}"
    if np.array_equal(np.sort(ids), np.sort(other_ids)):
        raise ValueError(f"{text}; both hold the same examples in different order: reorder one side")
    raise ValueError(
        f"{text}; rows must be the same examples in the same order ({int(differ.sum())} of {len(ids)} rows differ)"
    )


def _kind(ids: np.ndarray) -> str:
    return {"i": "integers", "u": "integers", "U": "strings", "S": "bytes"}[ids.dtype.kind]
