"""The times at which a trajectory is wanted."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxalign._core.checks import as_array, describe
from jaxalign._core.typing import Array, Float


def as_times(function: str, t: Any, dtype: Any) -> Float[Array, "*t"]:
    """Times as an array of `dtype`: one number, or one axis on which they increase.

    Raises:
      ValueError: for more than one axis, none at all, and times that are negative, not finite or not in order.
      TypeError: for what holds no real numbers.
    """
    times = jnp.asarray(t) if isinstance(t, (int, float)) and not isinstance(t, bool) else as_array(function, "t", t)
    if not (jnp.issubdtype(times.dtype, jnp.floating) or jnp.issubdtype(times.dtype, jnp.integer)):
        raise TypeError(f"{function}: t must hold real numbers, got {describe(times)}")
    if times.ndim > 1 or times.size == 0:
        raise ValueError(f"{function}: t must be one time or have shape (times,), got {describe(times)}")
    if not isinstance(times, Tracer):
        values = np.atleast_1d(np.asarray(times))
        if not np.all(np.isfinite(values)) or values[0] < 0:
            raise ValueError(f"{function}: t must be finite and at least 0, got {values.min():g}")
        wrong = np.flatnonzero(np.diff(values) <= 0)
        if wrong.size:
            i = int(wrong[0])
            raise ValueError(
                f"{function}: t must increase, got {values[i]:g} and then {values[i + 1]:g} at index {i + 1}"
            )
    return times.astype(dtype)
