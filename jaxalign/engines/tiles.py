"""Kernel matrices of many representations, seen one square tile at a time.

One pass yields every pairwise inner product. A matrix is symmetric, so only one of each
two mirrored tiles is visited; centering is algebra on sums gathered on the way, which is
safe in float32 because a typical entry has been taken off first. Memory: `L · size²` for
the tiles and `L · n` for the row sums, whatever the number of examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import contract
from jaxalign._core.typing import Array, Float, Int
from jaxalign.engines.products import Products, finish_cross, finish_self
from jaxalign.kernels.gram import Gram

#: Rows of a tile, at most: `L · size²` floats of up to some dozen layers stay in cache.
TILE_ROWS = 256


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TileSums:
    """What tiles add up to; states of disjoint sets of tiles merge by addition.

    Attributes:
      cross: `Σ K_a K_b`, `(La, Lb)`.
      own: `Σ K_l²` for the layers of both sides, `(La + Lb,)`, or `(La,)` when they are the same.
      sums: row sums `(len(own), n)`.
    """

    cross: Float[Array, "La Lb"]
    own: Float[Array, "L"]
    sums: Float[Array, "L n"]


def init(a: Sequence[Gram], b: Sequence[Gram] | None) -> TileSums:
    """Sums over no tiles."""
    layers = [*a, *(b or ())]
    chex.assert_equal_shape_prefix([gram.rows for gram in layers], 1)
    n, dtype = layers[0].rows.shape[0], layers[0].rows.dtype
    return TileSums(
        cross=jnp.zeros((len(a), len(a if b is None else b)), dtype),
        own=jnp.zeros(len(layers), dtype),
        sums=jnp.zeros((len(layers), n), dtype),
    )


def merge(one: TileSums, other: TileSums) -> TileSums:
    """Sums over two disjoint sets of tiles."""
    return jax.tree.map(jnp.add, one, other)


def update(
    state: TileSums,
    a: Sequence[Gram],
    b: Sequence[Gram] | None,
    row: Int[Array, ""],
    column: Int[Array, ""],
    *,
    size: int,
    hollow: bool,
) -> TileSums:
    """Add the tile in block row `row` and block column `column`, and its mirror image.

    Args:
      state: sums so far.
      a: layers of one side.
      b: layers of the other, or None when both sides are the same.
      row: which block of `size` rows; the last block may be short.
      column: which block of `size` columns.
      size: rows and columns of a tile, static.
      hollow: leave the diagonal of the matrices out, static.
    """
    n = a[0].rows.shape[0]
    starts = [jnp.minimum(block * size, n - size) for block in (row, column)]
    diagonal = row == column

    # Tiles are recomputed in the backward pass: kept, they would be the n × n matrices.
    @jax.checkpoint
    def parts(a: Sequence[Gram], b: Sequence[Gram] | None) -> tuple[Array, Array, Array, Array]:
        indices = [start + jnp.arange(size, dtype=start.dtype) for start in starts]
        # The last block is moved up to fit; rows that the block before it had count once.
        fresh = [i >= block * size for i, block in zip(indices, (row, column), strict=True)]
        apart = indices[0][:, None] != indices[1][None, :] if hollow else None

        def tile(gram: Gram) -> Float[Array, "b b"]:
            weights = [
                jnp.where(new, lax.dynamic_slice_in_dim(gram.weights, start, size), 0)
                for new, start in zip(fresh, starts, strict=True)
            ]
            entries = gram.tile(starts[0], starts[1], size) * weights[0][:, None] * weights[1][None, :]
            return entries if apart is None else jnp.where(apart, entries, 0)

        tiles = jnp.stack([tile(gram) for gram in [*a, *(b or ())]])
        flat = tiles.reshape(tiles.shape[0], -1)
        cross = contract(flat[: len(a)], flat if b is None else flat[len(a) :], (1, 1))
        own = jnp.diagonal(cross) if b is None else jnp.sum(flat * flat, axis=1)
        return cross, own, jnp.sum(tiles, axis=2), jnp.sum(tiles, axis=1)

    cross, own, row_sums, column_sums = parts(a, b)
    mirrored = jnp.where(diagonal, 0, 1).astype(cross.dtype)
    sums = _add_slice(state.sums, row_sums, starts[0])
    sums = _add_slice(sums, column_sums * mirrored, starts[1])
    return TileSums(
        cross=state.cross + cross * (1 + mirrored),
        own=state.own + own * (1 + mirrored),
        sums=sums,
    )


def _add_slice(sums: Float[Array, "L n"], values: Float[Array, "L b"], start: Array) -> Float[Array, "L n"]:
    """`sums` with `values` added from column `start` on."""
    there = lax.dynamic_slice_in_dim(sums, start, values.shape[1], axis=1)
    return lax.dynamic_update_slice_in_dim(sums, there + values, start, axis=1)


def finish(state: TileSums, a: Sequence[Gram], b: Sequence[Gram] | None, centering: str) -> Products:
    """Inner products of the centered matrices, once every tile has been added."""
    count = a[0].count
    sums_a, sums_b = state.sums[: len(a)], state.sums if b is None else state.sums[len(a) :]
    own = finish_self(state.own, state.sums, count, centering)
    units_a = jnp.stack([gram.units for gram in a])
    return Products(
        cross=finish_cross(state.cross, sums_a, sums_b, count, centering),
        self_a=own[: len(a)],
        self_b=own if b is None else own[len(a) :],
        units_a=units_a,
        units_b=units_a if b is None else jnp.stack([gram.units for gram in b]),
        count=count,
    )


def tile_products(a: Sequence[Gram], b: Sequence[Gram] | None, *, centering: str) -> Products:
    """Sweep over all tiles of the layers' matrices.

    Args:
      a: layers of one side, over the same `n` examples.
      b: layers of the other, or None to compare `a` with itself.
      centering: one of `CENTERINGS`, static.
    """
    state = advance(init(a, b), a, b, 0, tile_count(a[0].rows.shape[0]), centering=centering)
    return finish(state, a, b, centering)


def advance(
    state: TileSums,
    a: Sequence[Gram],
    b: Sequence[Gram] | None,
    first: Int[Array, ""] | int,
    end: Int[Array, ""] | int,
    *,
    centering: str,
) -> TileSums:
    """Add the tiles `first`, ..., `end - 1` of a sweep of `tile_count` tiles.

    Args:
      state: sums so far.
      a: layers of one side.
      b: layers of the other, or None.
      first: Python integers make a loop of fixed length, which has a gradient.
      end: likewise.
      centering: one of `CENTERINGS`, static.
    """
    size, blocks = tile_plan(a[0].rows.shape[0])

    def visit(step: Array, state: TileSums) -> TileSums:
        # Block row i with i, i + 1, ..., i + (blocks - 1) / 2, cyclically: for an odd number of
        # blocks that is one of every two mirrored tiles, in a loop of fixed length.
        row = step % blocks
        column = (row + step // blocks) % blocks
        return update(state, a, b, row, column, size=size, hollow=centering == "unbiased")

    return lax.fori_loop(first, end, visit, state)


def tile_count(n: int) -> int:
    """How many tiles a sweep over `n` examples visits."""
    _, blocks = tile_plan(n)
    return blocks * (blocks // 2 + 1)


def tile_plan(n: int) -> tuple[int, int]:
    """Rows of a tile and number of block rows, odd, for `n` examples."""
    blocks = -(-n // TILE_ROWS)
    blocks += 1 - blocks % 2
    size = -(-n // blocks)
    return min(n, -(-size // 16) * 16), blocks
