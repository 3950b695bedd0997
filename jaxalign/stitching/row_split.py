"""Examples to fit on and examples to report on."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxalign._core.checks import describe
from jaxalign._core.typing import Array


def two_sides(
    function: str, examples: int, held_out: Any, mask: Any, key: Array | None
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers to fit on and to report on, in order; one and the same array when nothing is held out.

    Args:
      function: for the message.
      examples: how many rows there are.
      held_out: a share of those that count, row numbers, or a mask.
      mask: which rows count, all by default.
      key: draws the rows of a share; None takes them evenly spaced, for a share of 0.2 every fifth.

    Raises:
      ValueError: for what cannot be held out, and fewer than two rows on either side, or in all.
    """
    usable = np.arange(examples)
    if mask is not None:
        chosen = np.asarray(mask)
        if chosen.dtype != bool or chosen.shape != (examples,):
            raise ValueError(f"{function}: mask must be boolean of shape ({examples},), got {describe(chosen)}")
        usable = np.flatnonzero(chosen)
    if isinstance(held_out, (int, float, np.floating)) and not isinstance(held_out, bool):
        if not 0 <= held_out < 1:
            raise ValueError(f"{function}: held_out must be at least 0 and below 1, or row numbers, got {held_out}")
        if held_out == 0:
            if len(usable) < 2:
                where = "x must hold" if mask is None else "mask must leave"
                raise ValueError(f"{function}: {where} at least 2 examples, got {len(usable)}")
            return usable, usable
        count = round(float(held_out) * len(usable))
        if key is None:
            places = (1 + np.arange(count)) * len(usable) // max(count, 1) - 1
        else:
            places = np.asarray(jax.random.permutation(key, len(usable)))[:count]
        reported = usable[places]
    else:
        reported = _row_numbers(function, examples, held_out)
    sides = np.setdiff1d(usable, reported), np.intersect1d(usable, reported)
    if min(map(len, sides)) < 2:
        raise ValueError(
            f"{function}: held_out must leave at least 2 examples on both sides, "
            f"got {len(sides[0])} to fit on and {len(sides[1])} to report on"
        )
    return sides


def _row_numbers(function: str, examples: int, held_out: Any) -> np.ndarray:
    """Rows that are given by number, or by a mask."""
    rows = np.asarray(held_out)
    if rows.dtype == bool and rows.shape == (examples,):
        return np.flatnonzero(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or not ((rows >= 0) & (rows < examples)).all():
        raise ValueError(
            f"{function}: held_out must be a share, row numbers from 0 to {examples - 1}, or a mask of the "
            f"{examples} examples, got {describe(held_out)}"
        )
    return rows
