"""Penalties of ridge regressions: a path of them, as it may be passed, and one to take if none is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxalign._core.checks import describe
from jaxalign._core.typing import Array

#: Penalties by default, as shares of the largest variance along any direction of the inputs.
SHARES = np.logspace(-7, 1, 24)


def checked_penalties(
    function: str, penalties: Array | np.ndarray | Sequence[float], *, positive: bool = False
) -> Array:
    """A vector of penalties; those whose values are known are looked at.

    Args:
      function: for the message.
      penalties: what came.
      positive: 0 is none.

    Raises:
      TypeError: when they are no numbers.
      ValueError: when they are no vector of at least one, or too small.
    """
    if isinstance(penalties, Tracer):
        values: Any = penalties
    else:
        try:
            values = np.asarray(penalties, dtype=float)
        except (TypeError, ValueError):
            raise TypeError(f"{function}: penalties must be numbers, got {describe(penalties)}") from None
    if values.ndim != 1 or values.shape[0] == 0:
        raise ValueError(f"{function}: penalties must be a vector of at least one, got {describe(values)}")
    if isinstance(values, np.ndarray):
        fine = values > 0 if positive else values >= 0
        if not fine.all():
            least = "positive" if positive else "at least 0"
            raise ValueError(f"{function}: penalties must be {least}, got {values[~fine][0]}")
    return jnp.asarray(values)
