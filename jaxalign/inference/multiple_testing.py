"""Many p-values at once: adjusted, so that what is below a level is still seldom an error."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import as_array, check_floating
from jaxalign._core.jit import jit
from jaxalign._core.numerics import widen
from jaxalign._core.typing import Array, Float


@jit()
def benjamini_hochberg(pvalues: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""p-values adjusted for the false discovery rate, by Benjamini and Hochberg.

    $$\tilde p_{(i)} = \min_{j \ge i} \min\!\big(1, \tfrac{m}{j} p_{(j)}\big)$$

    with $m$ p-values in rising order. Calling all with $\tilde p \le q$ significant, the expected share of errors
    among them is at most $q$, for tests that are independent or depend positively on one another.

    Args:
      pvalues: of any shape, in `[0, 1]`; NaN is a test that was not made: it stays NaN and is not counted.

    Returns:
      The adjusted p-values, of the same shape, float32 or wider; none is smaller than it was. NaN for p-values
      outside `[0, 1]`.

    Raises:
      TypeError: at trace time, on non-floating input.

    Example:
      >>> import jax.numpy as jnp
      >>> [f"{p:.2f}" for p in benjamini_hochberg(jnp.array([0.01, 0.04, 0.03, jnp.nan]))]
      ['0.03', '0.04', '0.04', 'nan']

    Reference:
      Benjamini and Hochberg (1995), Controlling the false discovery rate.
    """

    def adjusted(ordered: Float[Array, "m"], place: Float[Array, "m"], count: Array) -> Float[Array, "m"]:
        return lax.cummin(jnp.where(place <= count, ordered * (count / place), 1), reverse=True)

    return _adjust("benjamini_hochberg", pvalues, adjusted)


@jit()
def holm(pvalues: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""p-values adjusted for any error at all, by Holm.

    $$\tilde p_{(i)} = \max_{j \le i} \min\!\big(1, (m - j + 1)\, p_{(j)}\big)$$

    with $m$ p-values in rising order. Calling all with $\tilde p \le \alpha$ significant, the probability of one or
    more errors is at most $\alpha$, however the tests depend on one another.

    Args:
      pvalues: of any shape, in `[0, 1]`; NaN is a test that was not made: it stays NaN and is not counted.

    Returns:
      The adjusted p-values, of the same shape, float32 or wider; none is smaller than it was. NaN for p-values
      outside `[0, 1]`.

    Raises:
      TypeError: at trace time, on non-floating input.

    Example:
      >>> import jax.numpy as jnp
      >>> [f"{p:.2f}" for p in holm(jnp.array([0.01, 0.04, 0.03]))]
      ['0.03', '0.06', '0.06']

    Reference:
      Holm (1979), A simple sequentially rejective multiple test procedure.
    """

    def adjusted(ordered: Float[Array, "m"], place: Float[Array, "m"], count: Array) -> Float[Array, "m"]:
        return lax.cummax(ordered * jnp.maximum(count - place + 1, 0))

    return _adjust("holm", pvalues, adjusted)


def _adjust(function: str, pvalues: Array, adjusted: Callable[[Array, Array, Array], Array]) -> Array:
    """`adjusted` of the p-values that count, in rising order, their places from 1 on, and how many there are."""
    pvalues = as_array(function, "pvalues", pvalues)
    check_floating(function, "pvalues", pvalues)
    flat = widen(pvalues).reshape(-1)
    counted = (flat >= 0) & (flat <= 1)
    count = jnp.sum(counted, dtype=flat.dtype)
    order = jnp.argsort(jnp.where(counted, flat, jnp.inf))
    place = jnp.arange(1, flat.shape[0] + 1, dtype=flat.dtype)
    # Those that do not count come last.
    ordered = jnp.where(place <= count, jnp.take(flat, order), 1)
    found = jnp.where(place <= count, jnp.minimum(adjusted(ordered, place, count), 1), jnp.nan)
    return jnp.zeros_like(flat).at[order].set(found, unique_indices=True).reshape(pvalues.shape)
