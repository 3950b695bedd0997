"""Centered kernel matrices, stored: for work that looks at the same one very often."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.numerics import mask_rows
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.engines.products import WITHOUT_DIAGONAL
from jaxalign.kernels.gram import Gram


def centered_matrix(gram: Gram, centering: str) -> Float[Array, "n n"]:
    """The matrix of which scores take inner products, `O(n²)` memory; 0 for rows that do not count.

    In units of its own: `gram.units` times it is in the user's.

    Args:
      gram: of one representation.
      centering: one of `CENTERINGS`, static.
    """
    entries, mask, count = gram.tile(gram), gram.mask, gram.count
    if centering == "none":
        return entries
    n = entries.shape[0]
    diagonal = jnp.eye(n, dtype=bool)
    if centering == "unbiased":
        entries = _center(jnp.where(diagonal, 0, entries), count - 2, (count - 1) * (count - 2), mask)
    else:
        # Twice, as for any mean: what rounding left of the first is taken off by the second.
        entries = _center(_center(entries, count, count * count, mask), count, count * count, mask)
    return jnp.where(diagonal, 0, entries) if centering in WITHOUT_DIAGONAL else entries


def _center(entries: Float[Array, "n n"], rows: Array, total: Array, mask: Bool[Array, "n"] | None) -> Array:
    """Without row sums over `rows` and column sums over it, and with the sum of all over `total`."""
    sums = jnp.sum(entries, axis=1) / jnp.maximum(rows, 1)
    everything = jnp.sum(entries) / jnp.maximum(total, 1)
    centered = entries - sums[:, None] - sums[None, :] + everything
    return mask_rows(mask_rows(centered, mask).T, mask)
