"""Kernel matrices of many representations, seen one square tile at a time.

One pass yields every pairwise inner product. A matrix is symmetric, so only one of each
two mirrored tiles is visited; centering is algebra on sums gathered on the way, which is
safe in float32 because a typical entry has been taken off first. Memory: `L · size²` for
the tiles and `L · n` for the row sums, whatever the number of examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import contract
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Int
from jaxalign.engines.products import WITHOUT_DIAGONAL, Products, finish_cross, finish_self, hollow_levels
from jaxalign.kernels.gram import Gram, Grams

#: Rows of a tile, at most: `L · size²` floats of up to some dozen layers stay in cache.
TILE_ROWS = 256


@pytree_dataclass
class TileSums:
    """What tiles add up to; states of disjoint sets of tiles merge by addition.

    Layers are in the order of their stacks.

    Attributes:
      cross: `Σ K_a K_b`, `(La, Lb)`.
      own: `Σ K_l²` for the layers of both sides, `(La + Lb,)`, or `(La,)` when they are the same.
      sums: row sums `(len(own), n)`.
    """

    cross: Float[Array, "La Lb"]
    own: Float[Array, "L"]
    sums: Float[Array, "L n"]


def init(a: Grams, b: Grams | None) -> TileSums:
    """Sums over no tiles."""
    stacks = [*a.stacks, *(b.stacks if b else ())]
    chex.assert_equal_shape_prefix([stack.raw[0] for stack in stacks], 1)
    layers, dtype = len(a) + len(b or ()), stacks[0].raw.dtype
    return TileSums(
        cross=jnp.zeros((len(a), len(a if b is None else b)), dtype),
        own=jnp.zeros(layers, dtype),
        sums=jnp.zeros((layers, a.examples), dtype),
    )


def merge(one: TileSums, other: TileSums) -> TileSums:
    """Sums over two disjoint sets of tiles."""
    return jax.tree.map(jnp.add, one, other)


def update(
    state: TileSums, a: Grams, b: Grams | None, row: Int[Array, ""], column: Int[Array, ""], *, hollow: bool
) -> TileSums:
    """Add the tile in block row `row` and block column `column`, and its mirror image.

    Args:
      state: sums so far.
      a: layers of one side.
      b: layers of the other, or None when both sides are the same.
      row: which block of rows, as `tile_plan` cuts them.
      column: which block of columns.
      hollow: leave the diagonal of the matrices out, static.
    """
    n = a.examples
    size, blocks = tile_plan(n)
    # The last blocks are moved up to fit; rows that the block before them had count once.
    starts = [jnp.minimum(block * size, n - size) for block in (row, column)]
    diagonal = row == column

    def cut(gram: Gram, block: Array, start: Array) -> Gram:
        part = gram.block(start, size)
        if blocks * size == n:
            return part
        fresh = start + jnp.arange(size, dtype=start.dtype) >= block * size
        return replace(part, mask=fresh if part.mask is None else part.mask & fresh)

    def tile(gram: Gram) -> Float[Array, "b b"]:
        one, other = (cut(gram, block, start) for block, start in zip((row, column), starts, strict=True))
        entries = one.tile(other)
        return jnp.where(diagonal & jnp.eye(size, dtype=bool), 0, entries) if hollow else entries

    # Tiles are recomputed in the backward pass: kept, they would be the n × n matrices.
    @jax.checkpoint
    def parts(a: Grams, b: Grams | None) -> tuple[Array, Array, Array, Array]:
        sides = [side.map(tile) for side in (a, b) if side is not None]
        flat = [tiles.reshape(tiles.shape[0], -1) for tiles in sides]
        cross = contract(flat[0], flat[-1], (1, 1))
        own = jnp.diagonal(cross) if b is None else jnp.concatenate([jnp.sum(f * f, axis=1) for f in flat])
        row_sums, column_sums = (jnp.concatenate([jnp.sum(tiles, axis=i) for tiles in sides]) for i in (2, 1))
        return cross, own, row_sums, column_sums

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


def finish(state: TileSums, a: Grams, b: Grams | None, centering: str) -> Products:
    """Inner products of the centered matrices, once every tile has been added."""
    other = a if b is None else b
    sums_a, sums_b = state.sums[: len(a)], state.sums if b is None else state.sums[len(a) :]
    levels, sides = None, None
    if centering == "hollow":
        diagonals = jnp.concatenate([side.map(lambda gram: gram.diagonal) for side in (a, b) if side is not None])
        levels = hollow_levels(state.sums, diagonals, a.counted, a.mask)
        sides = levels[: len(a)], levels if b is None else levels[len(a) :]
    own = finish_self(state.own, state.sums, a.counted, centering, levels)
    cross = finish_cross(state.cross, sums_a, sums_b, a.counted, centering, sides)
    return Products(
        cross=a.in_order(other.in_order(cross, axis=1)),
        self_a=a.in_order(own[: len(a)]),
        self_b=other.in_order(own[-len(other) :]),
        units_a=a.units,
        units_b=other.units,
        count=a.counted,
    )


def tile_products(a: Sequence[Gram], b: Sequence[Gram] | None, *, centering: str) -> Products:
    """Sweep over all tiles of the layers' matrices.

    Args:
      a: layers of one side, over the same `n` examples.
      b: layers of the other, or None to compare `a` with itself.
      centering: one of `CENTERINGS`, static.
    """
    a, b = Grams.of(a), None if b is None else Grams.of(b)
    state = advance(init(a, b), a, b, 0, tile_count(a.examples), centering=centering)
    return finish(state, a, b, centering)


def advance(
    state: TileSums,
    a: Grams,
    b: Grams | None,
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
    _, blocks = tile_plan(a.examples)

    def visit(step: Array, state: TileSums) -> TileSums:
        row, column = tile_at(step, blocks)
        return update(state, a, b, row, column, hollow=centering in WITHOUT_DIAGONAL)

    return lax.fori_loop(first, end, visit, state)


def tile_at(step: Any, blocks: int) -> tuple[Any, Any]:
    """Block row and block column of a tile: a row `i` with `i`, `i + 1`, ..., `i + (blocks - 1) / 2`, cyclically.

    For an odd number of blocks that is one of every two mirrored tiles, in a loop of fixed length.
    """
    row = step % blocks
    return row, (row + step // blocks) % blocks


def tile_count(n: int) -> int:
    """How many tiles a sweep over `n` examples visits."""
    _, blocks = tile_plan(n)
    return blocks * (blocks // 2 + 1)


def tile_plan(n: int) -> tuple[int, int]:
    """Rows of a tile and number of block rows, odd, for `n` examples."""
    blocks = -(-n // TILE_ROWS)
    blocks += 1 - blocks % 2
    return -(-n // blocks), blocks
