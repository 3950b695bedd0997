"""The arguments that tests and intervals share."""

from __future__ import annotations

from typing import Any

from jaxalign._core.checks import as_array, check_pair, describe
from jaxalign._core.numerics import accum_dtype
from jaxalign._core.typing import Array
from jaxalign.measures import Measure


def check_measure(function: str, measure: Any) -> None:
    """Raise `TypeError` unless it is a measure."""
    if not isinstance(measure, Measure):
        raise TypeError(
            f"{function}: measure must be a Measure, such as jaxalign.measures.cka(), got {describe(measure)}"
        )


def checked_pair(
    function: str, measure: Any, x: Any, y: Any, mask: Any, *, other: str = "y"
) -> tuple[Array, Array, Array | None]:
    """Two representations of the same examples as arrays of one dtype, and the mask.

    Raises:
      TypeError, ValueError: for what is no measure, and no such representations.
    """
    check_measure(function, measure)
    x, y = as_array(function, "x", x), as_array(function, other, y)
    mask = None if mask is None else as_array(function, "mask", mask)
    check_pair(function, x, y, mask, other=other)
    dtype = accum_dtype(x, y)
    return x.astype(dtype), y.astype(dtype), mask
