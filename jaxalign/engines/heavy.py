"""Rows far longer than the others, which sums over all rows must treat apart.

To a sum of squares or products one such row contributes more than all others together, and
the digits of those are lost. A few of them are common: tokens with massive activations.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import safe_divide
from jaxalign._core.typing import Array, Bool, Float, Int

#: How many of the longest rows are treated apart.
HEAVY_ROWS = 16


def row_lengths(layers: Sequence[Float[Array, "n _d"]]) -> Float[Array, "L n"]:
    """Squared lengths of all rows of all layers; no gradient flows."""
    return lax.stop_gradient(jnp.stack([jnp.sum(x * x, axis=1) for x in layers]))


def heaviest_rows(lengths: Float[Array, "L n"]) -> Int[Array, "h"]:
    """Indices of the rows that are longest in any layer, for their layer, from finite `row_lengths`."""
    typical = jnp.mean(lengths, axis=1, keepdims=True)
    most = jnp.max(safe_divide(lengths, typical), axis=0)
    # At most half of them: the others say what is typical.
    return lax.top_k(most, min(HEAVY_ROWS, max(1, lengths.shape[1] // 2)))[1]


def leave_out(heavy: Int[Array, "h"], n: int, mask: Bool[Array, "n"] | None = None) -> Bool[Array, "n"]:
    """Which of `n` rows count and are not among the heavy ones."""
    light = jnp.ones(n, bool).at[heavy].set(False)
    return light if mask is None else light & mask
