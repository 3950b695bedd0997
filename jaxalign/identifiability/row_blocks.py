"""Wide matrices a few rows at a time: what one row gives needs no copy of the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import accum_dtype, mask_rows
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar

#: Entries of one matrix that are worked on at a time; temporaries are some times as large.
BLOCK_ENTRIES = 1 << 22


def by_row_blocks(
    function: Callable[..., Array], arrays: tuple[Float[Array, "n _c"], ...], mask: Bool[Array, "n"] | None = None
) -> Float[Array, "n"]:
    """One number for each row, by a function of blocks `(b, c)` that gives `(b,)`.

    Blocks come in the accumulation dtype, padded rows as 0. Where all rows fit one block there is no loop.

    Args:
      function: of as many blocks as there are arrays.
      arrays: of the same number of rows.
      mask: which rows count.
    """
    dtype = accum_dtype(*arrays)
    n = arrays[0].shape[0]
    rows = max(1, BLOCK_ENTRIES // max(array.shape[1] for array in arrays))

    def of_block(blocks: tuple[Array, ...], part: Array | None) -> Array:
        return function(*(mask_rows(block.astype(dtype), part) for block in blocks))

    if rows >= n:
        return of_block(arrays, mask)
    count = -(-n // rows)
    # The last block starts early enough to be full.
    starts = jnp.minimum(jnp.arange(count, dtype=jnp.int32) * rows, n - rows)

    @jax.checkpoint
    def step(carry: None, start: Array) -> tuple[None, Array]:
        blocks = tuple(lax.dynamic_slice_in_dim(array, start, rows) for array in arrays)
        part = None if mask is None else lax.dynamic_slice_in_dim(mask, start, rows)
        return carry, of_block(blocks, part)

    _, values = lax.scan(step, None, starts)
    last = n - (count - 1) * rows
    return jnp.concatenate([values[:-1].reshape(-1), values[-1, rows - last :]])


def log_partitions(logp: Float[Array, "n c"], mask: Bool[Array, "n"] | None = None) -> Float[Array, "n"]:
    """The logarithm of the sum of exponentials of every row: 0 for log-probabilities, up to rounding."""
    return by_row_blocks(lambda z: jax.nn.logsumexp(z, axis=1), (logp,), mask)


def row_mean(values: Float[Array, "n"], mask: Bool[Array, "n"] | None) -> Scalar:
    """The mean over the rows that count; NaN when none does."""
    if mask is None:
        return jnp.mean(values)
    return jnp.sum(jnp.where(mask, values, 0)) / jnp.sum(mask, dtype=values.dtype)


def map_in_groups(function: Callable[[Array], Any], items: Int[Array, "s *axes"], together: int) -> Any:
    """`function` of every item, so many at a time; of few items without a loop."""
    if items.shape[0] <= together:
        return jax.vmap(function)(items)
    return lax.map(jax.checkpoint(function), items, batch_size=together)
