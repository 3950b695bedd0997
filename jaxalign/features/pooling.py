"""From activations at many positions to one row for each example."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp

from jaxalign._core.checks import describe
from jaxalign._core.typing import Array, Float
from jaxalign.preprocess import pool_tokens

#: The name of a pooling, or a function from activations and mask (None without) to rows.
Pool = str | Callable[[Array, Array | None], Array]


def pooled_rows(
    name: str, values: Array, mask: Array | None, pool: Pool, *, channels_first: bool
) -> Float[Array, "n p"]:
    """One row for each example.

    Args:
      name: of the layer, for the message.
      values: activations, `(n, ..., features)`, or `(n, features, ...)` with `channels_first`.
      mask: which tokens are real; used where there is a position for each token.
      pool: as in `capture`.
      channels_first: whether positions come after features.

    Raises:
      ValueError: for a function that returns something else.
    """
    rows = values.shape[0]
    if channels_first and values.ndim > 2:
        values = jnp.moveaxis(values, 1, -1)
    mask = mask if values.ndim == 3 and mask is not None and mask.shape == values.shape[:2] else None
    if callable(pool):
        pooled = pool(values, mask)
        if getattr(pooled, "ndim", 0) != 2 or pooled.shape[0] != rows:
            raise ValueError(f"capture: pool must return ({rows}, features) for layer {name!r}, got {describe(pooled)}")
        return pooled
    if values.ndim <= 2 or pool == "flatten":
        return values.reshape(rows, -1)
    return pool_tokens(values.reshape(rows, -1, values.shape[-1]), mask, how=pool)
