"""P-values: how many scores of random orders are as extreme as that of the data."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.typing import Array, Bool, Float
from jaxalign.measures import Measure

#: Differences that are rounding, in units of the last digit of the largest score.
ROUNDING = 16


def closeness(
    measure: Measure, null: Float[Array, "B ..."], statistic: Float[Array, "..."]
) -> tuple[Float[Array, "B ..."], Float[Array, "..."]]:
    """Scores with a sign that makes the closest largest.

    Distances that are what rounding makes of 0 are 0: of a root or an angle that is far more than the last digit.
    """
    if measure.larger_is_closer:
        return null, statistic
    zero = jnp.sqrt(_rounding(null, statistic) * _size(null, statistic))
    null, statistic = (jnp.where(jnp.abs(values) <= zero, 0, values) for values in (null, statistic))
    return -null, -statistic


def at_least(
    values: Float[Array, "B ..."], statistic: Float[Array, "..."], null: Float[Array, "B ..."]
) -> Bool[Array, "B ..."]:
    """Where values are as large as a statistic, or equal to it but for rounding; or undefined.

    Args:
      values: to be compared.
      statistic: the score of the data.
      null: scores of random orders, of which the largest says what rounding is.
    """
    return ~(values < statistic[None] - _rounding(null, statistic)[None])


def share_at_least(null: Float[Array, "B ..."], statistic: Float[Array, "..."]) -> Float[Array, "..."]:
    """The p-value of a statistic of which large values are extreme, itself counted among them; NaN where it is NaN."""
    count = jnp.sum(at_least(null, statistic, null), axis=0, dtype=jnp.int32).astype(null.dtype)
    return jnp.where(jnp.isnan(statistic), jnp.nan, (1 + count) / (1 + null.shape[0]))


def _rounding(null: Float[Array, "B ..."], statistic: Float[Array, "..."]) -> Float[Array, "..."]:
    return ROUNDING * jnp.finfo(null.dtype).eps * _size(null, statistic)


def _size(null: Float[Array, "B ..."], statistic: Float[Array, "..."]) -> Float[Array, "..."]:
    """The largest magnitude that is finite."""
    finite = jnp.where(jnp.isfinite(null), jnp.abs(null), 0)
    return jnp.maximum(jnp.max(finite, axis=0), jnp.where(jnp.isfinite(statistic), jnp.abs(statistic), 0))
