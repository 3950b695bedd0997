"""Inner products of symmetric matrices under very many orders of the examples of some of them.

`Σ_ij K_ij L_π(i)π(j)` needs one of every two mirrored entries. Those of `K` are kept in rows of half length,
`K_i,i+1`, `K_i,i+2`, ... (cyclically): for row `i`, the columns of `L` that are looked up then are one piece of the
permutation. All layers are looked up together, so that what is read from memory lies side by side.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import matmul, take_rows
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Int

#: Rows looked up at a time where not one by one.
BLOCK_ROWS = 256


@pytree_dataclass
class FixedMatrices:
    """One of every two mirrored entries of symmetric matrices.

    Attributes:
      entries: `(n, L, h)` with `h = n // 2`: for row `i` those of `i` with `i + 1`, ..., `i + h` (cyclically), times
        how often they are in the matrix over how often they are here.
      diagonals: `(L, n)`.
    """

    entries: Float[Array, "n L h"]
    diagonals: Float[Array, "L n"]


@pytree_dataclass
class MovedMatrices:
    """Symmetric matrices side by side.

    Attributes:
      entries: `(n, n, L)`.
      diagonals: `(n, L)`.
    """

    entries: Float[Array, "n n L"]
    diagonals: Float[Array, "n L"]


def fixed_matrices(matrices: Float[Array, "L n n"], order: Int[Array, "n"] | None = None) -> FixedMatrices:
    """Of symmetric matrices, what is kept of those that stay as they are, or are in one order of the examples."""
    n = matrices.shape[1]
    if order is None:
        order = jnp.arange(n, dtype=jnp.int32)
    twice = jnp.concatenate([order, order])
    column = jnp.arange(n // 2)
    weights = jnp.where((column == n // 2 - 1) & (n % 2 == 0), 1, 2).astype(matrices.dtype)

    def row(place: Array) -> Float[Array, "L h"]:
        columns = lax.dynamic_slice_in_dim(twice, place + 1, n // 2)
        return jnp.take(matrices[:, order[place]], columns, axis=1, mode="clip") * weights[None, :]

    entries = lax.map(row, jnp.arange(n, dtype=jnp.int32))
    return FixedMatrices(entries, jnp.take(jnp.diagonal(matrices, axis1=1, axis2=2), order, axis=1, mode="clip"))


def moved_matrices(matrices: Float[Array, "L n n"]) -> MovedMatrices:
    """Of symmetric matrices, what is kept of those whose examples are reordered."""
    return MovedMatrices(jnp.moveaxis(matrices, 0, 2), jnp.diagonal(matrices, axis1=1, axis2=2).T)


def reordered_products(fixed: FixedMatrices, moved: MovedMatrices, indices: Int[Array, "n"]) -> Float[Array, "La Lb"]:
    """`Σ_ij K_ij L_π(i)π(j)` of all pairs.

    Args:
      fixed: each `K`.
      moved: each `L`.
      indices: `π`.
    """
    n = indices.shape[0]
    places, twice = jnp.arange(n, dtype=jnp.int32), jnp.concatenate([indices, indices])

    def row(place: Array) -> Float[Array, "La Lb"]:
        columns = lax.dynamic_slice_in_dim(twice, place + 1, n // 2)
        return matmul(fixed.entries[place], take_rows(moved.entries[twice[place]], columns))

    def one_by_one() -> Float[Array, "La Lb"]:
        """Each row in the nearest cache."""
        return lax.fori_loop(1, n, lambda place, total: total + row(place), row(places[0]))

    def in_blocks() -> Float[Array, "La Lb"]:
        return jnp.sum(lax.map(row, places, batch_size=BLOCK_ROWS), axis=0)

    alone = matmul(fixed.diagonals, take_rows(moved.diagonals, indices))
    return alone + lax.platform_dependent(cpu=one_by_one, default=in_blocks)
