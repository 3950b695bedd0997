"""Squared Euclidean distances between rows."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.numerics import gram_matmul, widen
from jaxalign._core.typing import Array, Float


def squared_distances(x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """`|x_i|² + |y_j|² - 2 x_i·y_j`, with 0 for what the arithmetic cannot tell from 0.

    The identity costs one matrix product instead of `n m d` differences. Its error is some
    roundings of `|x_i|² + |y_j|²` (up to 8 were seen): entries below 16, duplicate rows among them, become
    exactly 0 and carry no gradient, so that roots of them are safe. Center rows first.
    """
    x, y = widen(x), widen(y)
    lengths = jnp.sum(x * x, axis=1)[:, None] + jnp.sum(y * y, axis=1)[None, :]
    squared = lengths - 2 * gram_matmul(x, y)
    resolution = 16 * jnp.finfo(lengths.dtype).eps
    return jnp.where(squared <= resolution * lengths, 0, squared)  # NaN stays NaN
