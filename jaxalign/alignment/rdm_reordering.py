"""Comparisons of dissimilarity matrices that are inner products, under very many orders of the examples of one side."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Int
from jaxalign.alignment.kernel_reordering import ByMatrices
from jaxalign.signatures.rdm import pairs_once


@pytree_dataclass
class OfProducts:
    """Scores that are inner products of symmetric matrices.

    Attributes:
      cross: the inner products.
      factors: what to multiply each by, `(La, Lb)`; NaN for pairs without a score.
    """

    cross: ByMatrices
    factors: Float[Array, "La Lb"]

    def __call__(self, indices: Int[Array, "n"]) -> Float[Array, "La Lb"]:
        """The scores when example `i` of the second side is what was example `indices[i]`."""
        return self.cross(indices) * self.factors


def symmetric_matrix(values: Float[Array, "n h"]) -> Float[Array, "n n"]:
    """The matrix with these entries in the places of those of an `RDM`, and 0 on the diagonal."""
    n, half = values.shape
    columns, weights = pairs_once(n)
    row = jnp.broadcast_to(jnp.arange(n, dtype=columns.dtype)[:, None], (n, half))
    # One that is there twice is put in both of its places by itself and by its image alike.
    upper = jnp.zeros((n, n), values.dtype).at[row, columns].set(values)
    lower = jnp.zeros((n, n), values.dtype).at[columns, row].set(jnp.where(weights == 1, values, 0))
    return upper + lower
