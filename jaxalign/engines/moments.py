"""Products of linear kernels through moments of the features: no n × n matrix at all.

`⟨XXᵀ, YYᵀ⟩ = ‖XᵀY‖²`, so linear scores need only `XᵀY` of centered features, and the
unbiased ones the products of squared row lengths besides. There are two forms:

- `moment_products`: arrays in memory, centered in advance;
- `running_moments`: a state that takes blocks of rows as they come and merges with others. Every
  block is centered by its own mean, and states are merged by adding what their means
  differ by, so that no large numbers cancel, wherever the data lie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxalign._core.numerics import (
    BAND_COLUMNS,
    column_mean,
    contract,
    cross_matmul,
    gram_matmul,
    mask_rows,
    matmul,
    take_rows,
)
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.engines.heavy import heaviest_rows, leave_out, row_lengths
from jaxalign.engines.products import WITHOUT_DIAGONAL, Products, finish_cross, finish_self, hollow_levels
from jaxalign.kernels.gram import Gram

#: Rows multiplied at a time, so that a block of the layers stays near the cores.
BLOCK_ROWS = 1024


def moment_products(a: Sequence[Gram], b: Sequence[Gram] | None, *, centering: str) -> Products:
    """Inner products of the layers' linear kernel matrices.

    Args:
      a: layers of one side, over the same `n` examples, with dot-product kernels.
      b: layers of the other, or None to compare `a` with itself.
      centering: one of `CENTERINGS`, static.
    """
    a, b = list(a), None if b is None else list(b)
    grams = [*a, *(b or ())]
    layers = [gram.rows for gram in grams]
    chex.assert_equal_shape_prefix(layers, 1)
    one, other = slice(len(a)), slice(0 if b is None else len(a), None)
    count = a[0].count
    lengths = row_lengths(layers)
    sound = jnp.ones(len(layers), bool)
    if len(layers) > 2:  # of one pair, nobody else is spoiled
        sound = jnp.isfinite(jnp.sum(lengths, axis=1))
        layers = [jnp.where(fine, x, 0) for fine, x in zip(sound, layers, strict=True)]
        lengths = jnp.where(sound[:, None], lengths, 0)
    heavy = heaviest_rows(lengths)
    if centering in WITHOUT_DIAGONAL:
        mask = a[0].mask
        cross, own, sums, diagonals = _off_diagonal(layers, len(a), b is None, mask, heavy)
        levels = hollow_levels(sums, diagonals, count, mask) if centering == "hollow" else None
        sides = None if levels is None else (levels[one], levels[other])
        cross = finish_cross(cross, sums[one], sums[other], count, centering, sides)
        own = finish_self(own, sums, count, centering, levels)
    else:
        cross, own = squared_moments(layers, len(a), b is None, heavy)
    units = jnp.stack([gram.units for gram in grams])
    products = Products(
        cross=cross, self_a=own[one], self_b=own[other], units_a=units[one], units_b=units[other], count=count
    )
    return products.only_of(sound[one], sound[other])


def squared_moments(
    layers: list[Float[Array, "n _d"]],
    split: int,
    same: bool,
    heavy: Int[Array, "h"] | None,
    own: Float[Array, "L"] | None = None,
) -> tuple[Float[Array, "La Lb"], Float[Array, "L"]]:
    """`‖X_aᵀX_b‖²` of all pairs, and `‖XᵀX‖²` of all layers.

    Args:
      layers: those of one side, then those of the other.
      split: how many belong to the first side, static.
      same: there is no other side: only pairs above the diagonal are computed, static.
      heavy: rows to add last, if any.
      own: `‖XᵀX‖²` of all layers, where that is known.
    """
    own = jnp.stack([gram_norm(x, heavy) for x in layers]) if own is None else own
    widths = [x.shape[1] for x in layers]
    if not same:
        across = cross_moments([(layers[:split], layers[split:])], heavy)[0]
        return block_norms(across, widths[:split], widths[split:]), own
    if len(layers) == 1:
        return own[:, None], own
    # Layer i against all later ones side by side.
    across = cross_moments([([x], layers[i + 1 :]) for i, x in enumerate(layers[:-1])], heavy)
    rows = [block_norms(c, widths[i : i + 1], widths[i + 1 :])[0] for i, c in enumerate(across)]
    rows.append(jnp.zeros(0, own.dtype))
    upper = jnp.stack([jnp.pad(row, (len(layers) - row.shape[0], 0)) for row in rows])
    return upper + upper.T + jnp.diag(own), own


@jax.custom_jvp
def cross_moments(
    sides: list[tuple[list[Float[Array, "n _p"]], list[Float[Array, "n _q"]]]], heavy: Int[Array, "h"] | None
) -> list[Float[Array, "_p _q"]]:
    """`XᵀY` of each pair of sides, each side being some layers put side by side.

    The derivative does not care in which order rows are added.
    """
    return _over_blocks(_side_by_side, sides, heavy)


@cross_moments.defjvp
def _cross_moments_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[list[Array], list[Array]]:
    (sides, heavy), (moves, _) = primals, tangents
    moved_a = _side_by_side([(da, b) for (_, b), (da, _) in zip(sides, moves, strict=True)])
    moved_b = _side_by_side([(a, db) for (a, _), (_, db) in zip(sides, moves, strict=True)])
    return cross_moments(sides, heavy), jax.tree.map(jnp.add, moved_a, moved_b)


def _side_by_side(sides: list[tuple[list[Array], list[Array]]]) -> list[Array]:
    return [cross_matmul(jnp.concatenate(a, axis=1), jnp.concatenate(b, axis=1)) for a, b in sides]


@jax.custom_jvp
def gram_norm(x: Float[Array, "n d"], heavy: Int[Array, "h"] | None) -> Float[Array, ""]:
    """`‖XᵀX‖²`, from the upper triangle of `XᵀX`; its gradient `4 X XᵀX` takes one product more."""
    return _triangle_norm(_upper_moments(x, heavy))


@gram_norm.defjvp
def _gram_norm_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    (x, heavy), (dx, _) = primals, tangents
    bands = _upper_moments(x, heavy)
    width = x.shape[1]
    full = jnp.concatenate([jnp.pad(band, ((0, 0), (width - band.shape[1], 0))) for band in bands])
    full = jnp.triu(full) + jnp.triu(full, 1).T
    return _triangle_norm(bands), 4 * jnp.sum(matmul(x, full) * dx)


def _upper_moments(x: Float[Array, "n d"], heavy: Int[Array, "h"] | None) -> list[Float[Array, "c _e"]]:
    """Bands of `XᵀX`: some columns of `X` against themselves and all later ones."""
    starts = range(0, x.shape[1], BAND_COLUMNS)
    return _over_blocks(lambda x: [cross_matmul(x[:, i : i + BAND_COLUMNS], x[:, i:]) for i in starts], x, heavy)


def _over_blocks(products: Callable[[Any], Any], rows: Any, heavy: Int[Array, "h"] | None) -> Any:
    """The sum of `products` over blocks of rows, which on a CPU is faster than one long product.

    Args:
      products: from arrays of some rows to a pytree of sums over them, 0 for rows of zeros.
      rows: a pytree of arrays with `n` rows.
      heavy: rows to add last, so that the others keep their digits.
    """
    n = jax.tree.leaves(rows)[0].shape[0]
    light = jnp.ones(n, bool) if heavy is None else leave_out(heavy, n)
    blocks = -(-n // BLOCK_ROWS)
    size = -(-n // blocks)

    def add(block: Array, total: Any) -> Any:
        start = jnp.minimum(block * size, n - size)
        # The last block is moved up to fit; rows that the block before it had count once.
        fresh = start + jnp.arange(size, dtype=start.dtype) >= block * size
        counted = fresh & lax.dynamic_slice_in_dim(light, start, size)
        some = jax.tree.map(lambda x: mask_rows(lax.dynamic_slice_in_dim(x, start, size), counted), rows)
        return jax.tree.map(jnp.add, total, products(some))

    if blocks == 1:
        total = products(jax.tree.map(lambda x: mask_rows(x, None if heavy is None else light), rows))
    else:
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(products, rows))
        total = lax.fori_loop(0, blocks, add, zeros)
    if heavy is None:
        return total
    return jax.tree.map(jnp.add, total, products(jax.tree.map(lambda x: take_rows(x, heavy), rows)))


def _triangle_norm(bands: list[Float[Array, "c _e"]]) -> Float[Array, ""]:
    """Squared norm of the symmetric matrix with these bands: what is right of the diagonal block counts twice."""
    total = jnp.zeros((), bands[0].dtype)
    for band in bands:
        height, width = band.shape
        norms = block_norms(band, [height], [height, width - height] if width > height else [height])[0]
        total = total + norms[0] + 2 * jnp.sum(norms[1:])
    return total


def _off_diagonal(
    layers: list[Float[Array, "n _d"]], split: int, same: bool, mask: Bool[Array, "n"] | None, heavy: Int[Array, "h"]
) -> tuple[Float[Array, "La Lb"], Float[Array, "L"], Float[Array, "L n"], Float[Array, "L n"]]:
    """`Σ K_a K_b` and `Σ K²` off the diagonal, row sums off the diagonal, and the diagonals.

    Heavy rows are left out of the moments and compared with all rows one by one: on the
    diagonal their entries would be large, and digits of others lost when it is taken off.
    """
    light = leave_out(heavy, layers[0].shape[0], mask)
    # Their means over exactly the light rows: each layer may have had outliers of its own.
    layers = [mask_rows(x - column_mean(x, light)[None, :], mask) for x in layers]
    cross, own = squared_moments([mask_rows(x, light) for x in layers], split, same, None)
    few = [take_rows(x, heavy) for x in layers]
    hollow, sums = _hollow(layers, few, heavy, light)
    diagonals = jnp.stack([jnp.sum(x * x, axis=1) for x in layers])
    return cross + hollow[:split, 0 if same else split :], own + jnp.diagonal(hollow), sums, diagonals


def _hollow(
    layers: list[Float[Array, "n _d"]], few: list[Float[Array, "h _d"]], heavy: Int[Array, "h"], light: Bool[Array, "n"]
) -> tuple[Float[Array, "L L"], Float[Array, "L n"]]:
    """What turns squared moments of the light rows into `Σ K K'` off the diagonal, and row sums off the diagonal."""
    lengths = jnp.stack([jnp.where(light, jnp.sum(x * x, axis=1), 0) for x in layers])
    own = heavy[:, None] == jnp.arange(light.shape[0], dtype=heavy.dtype)[None, :]
    strips = jnp.stack([jnp.where(own, 0, gram_matmul(rows, x)) for rows, x in zip(few, layers, strict=True)])
    # An entry of a heavy and a light row has a mirror image, which no strip holds.
    doubled = jnp.where(light[None, None, :], 2 * strips, strips)
    flat, flat_doubled = (v.reshape(len(layers), -1) for v in (strips, doubled))
    hollow = contract(flat_doubled, flat, (1, 1)) - contract(lengths, lengths, (1, 1))
    totals = [jnp.sum(jnp.where(light[:, None], x, 0), axis=0, keepdims=True) for x in layers]
    sums = jnp.stack([gram_matmul(x, total)[:, 0] for x, total in zip(layers, totals, strict=True)])
    return hollow, sums - lengths + jnp.sum(strips, axis=1)


def block_norms(matrix: Float[Array, "p q"], rows: list[int], columns: list[int]) -> Float[Array, "La Lb"]:
    """Squared Frobenius norm of every block of a matrix cut into blocks of these sizes.

    Summed by products with ones: XLA's own sums of small arrays run in one accumulator, where
    the entry of a far outlier swallows all others.
    """

    def members(sizes: list[int]) -> Float[Array, "L d"]:
        owner = np.repeat(np.arange(len(sizes)), sizes)
        return jnp.asarray(owner[None, :] == np.arange(len(sizes))[:, None], matrix.dtype)

    return matmul(members(rows), contract(matrix * matrix, members(columns), (1, 1)))
