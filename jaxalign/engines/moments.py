"""Products of linear kernels through moments of the features: no n × n matrix at all.

`⟨XXᵀ, YYᵀ⟩ = ‖XᵀY‖²`, so linear scores need only `XᵀY` of centered features, and the
unbiased ones the products of squared row lengths besides. There are two forms:

- `moment_products`: arrays in memory, centered in advance;
- `running_moments`: a state that takes blocks of rows as they come and merges with others. Every
  block is centered by its own mean, and states are merged by adding what their means
  differ by, so that no large numbers cancel, wherever the data lie.
"""

from __future__ import annotations

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxalign._core.numerics import (
    column_mean,
    contract,
    cross_matmul,
    gram_matmul,
    mask_rows,
    matmul,
    safe_divide,
    take_rows,
)
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.engines.products import Products, combine, finish_cross, finish_self
from jaxalign.kernels.gram import Gram

#: Rows multiplied at a time, so that a block of the layers stays near the cores.
BLOCK_ROWS = 1024
#: Columns of a band of a symmetric matrix: half of its entries need not be computed, narrow products are slow.
BAND_COLUMNS = 128
#: How many of the longest rows are kept out of the sums over all rows, and added last.
HEAVY_ROWS = 16


def moment_products(a: Sequence[Gram], b: Sequence[Gram] | None, *, centering: str) -> Products:
    """Inner products of the layers' linear kernel matrices.

    Args:
      a: layers of one side, over the same `n` examples, with dot-product kernels.
      b: layers of the other, or None to compare `a` with itself.
      centering: one of `CENTERINGS`, static.
    """
    grams = [*a, *(b or ())]
    layers = [gram.rows for gram in grams]
    chex.assert_equal_shape_prefix(layers, 1)
    one, other = slice(len(a)), slice(0 if b is None else len(a), None)
    count = a[0].count
    if centering == "unbiased":
        cross, own, sums = _off_diagonal(layers, len(a), b is None, a[0].mask)
        cross = finish_cross(cross, sums[one], sums[other], count, centering)
        own = finish_self(own, sums, count, centering)
    else:
        cross, own = _squared_moments(layers, len(a), b is None)
    units = jnp.stack([gram.units for gram in grams])
    return Products(
        cross=cross, self_a=own[one], self_b=own[other], units_a=units[one], units_b=units[other], count=count
    )


def _squared_moments(
    layers: list[Float[Array, "n d"]], split: int, same: bool
) -> tuple[Float[Array, "La Lb"], Float[Array, "L"]]:
    """`‖X_aᵀX_b‖²` of all pairs, and `‖XᵀX‖²` of all layers.

    Args:
      layers: those of one side, then those of the other.
      split: how many belong to the first side, static.
      same: there is no other side: only pairs above the diagonal are computed, static.
    """
    own = jnp.stack([gram_norm(x) for x in layers])
    widths = [x.shape[1] for x in layers]
    if not same:
        sides = [jnp.concatenate(side, axis=1) for side in (layers[:split], layers[split:])]
        return block_norms(blocked_cross(*sides), widths[:split], widths[split:]), own
    rows = [jnp.zeros(0, own.dtype)] * len(layers)
    for index in range(len(layers) - 1):
        rest = jnp.concatenate(layers[index + 1 :], axis=1)
        rows[index] = block_norms(blocked_cross(layers[index], rest), widths[index : index + 1], widths[index + 1 :])[0]
    upper = jnp.stack([jnp.pad(row, (len(layers) - row.shape[0], 0)) for row in rows])
    return upper + upper.T + jnp.diag(own), own


def blocked_cross(x: Float[Array, "n p"], y: Float[Array, "n q"]) -> Float[Array, "p q"]:
    """`XᵀY`, summed over blocks of rows, which is faster on a CPU than one long product."""
    n = x.shape[0]
    blocks = -(-n // BLOCK_ROWS)
    if blocks == 1:
        return cross_matmul(x, y)
    size = -(-n // blocks)

    def add(block: Array, total: Array) -> Array:
        start = jnp.minimum(block * size, n - size)
        # The last block is moved up to fit; rows that the block before it had count once.
        fresh = start + jnp.arange(size, dtype=start.dtype) >= block * size
        rows = jnp.where(fresh[:, None], lax.dynamic_slice_in_dim(x, start, size), 0)
        return total + cross_matmul(rows, lax.dynamic_slice_in_dim(y, start, size))

    return lax.fori_loop(0, blocks, add, jnp.zeros((x.shape[1], y.shape[1]), x.dtype))


@jax.custom_jvp
def gram_norm(x: Float[Array, "n d"]) -> Float[Array, ""]:
    """`‖XᵀX‖²`, from the upper triangle of `XᵀX`; its gradient `4 X XᵀX` takes one product more."""
    return _triangle_norm(_upper_moments(x))


@gram_norm.defjvp
def _gram_norm_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    bands = _upper_moments(x)
    width = bands[0].shape[0]
    full = jnp.concatenate([jnp.pad(band, ((0, 0), (i * width, 0))) for i, band in enumerate(bands)])
    full = jnp.triu(full) + jnp.triu(full, 1).T
    return _triangle_norm(bands), 4 * jnp.sum(matmul(x, full) * dx)


def _upper_moments(x: Float[Array, "n d"]) -> list[Float[Array, "c e"]]:
    """Bands of `XᵀX`: some columns of `X` against themselves and all later ones."""
    return [blocked_cross(x[:, i : i + BAND_COLUMNS], x[:, i:]) for i in range(0, x.shape[1], BAND_COLUMNS)]


def _triangle_norm(bands: list[Float[Array, "c e"]]) -> Float[Array, ""]:
    """Squared norm of the symmetric matrix with these bands: what is right of the diagonal block counts twice."""
    total = jnp.zeros((), bands[0].dtype)
    for band in bands:
        height, width = band.shape
        norms = block_norms(band, [height], [height, width - height] if width > height else [height])[0]
        total = total + norms[0] + 2 * jnp.sum(norms[1:])
    return total


def _off_diagonal(
    layers: list[Float[Array, "n d"]], split: int, same: bool, mask: Bool[Array, "n"] | None
) -> tuple[Float[Array, "La Lb"], Float[Array, "L"], Float[Array, "L n"]]:
    """`Σ K_a K_b` and `Σ K²` off the diagonal, and row sums off the diagonal.

    Rows that are far longer than the others are left out of the moments and compared with
    all rows one by one: on the diagonal their entries would be large, and their digits lost
    when it is taken off. The mean is that of the other rows; U-centering allows any.
    """
    heavy = _heaviest(layers)
    light = jnp.ones(layers[0].shape[0], bool).at[heavy].set(False)
    if mask is not None:
        light = light & mask
    layers = [mask_rows(x - column_mean(x, light)[None, :], mask) for x in layers]
    cross, own = _squared_moments([mask_rows(x, light) for x in layers], split, same)
    few = [take_rows(x, heavy) for x in layers]
    hollow, sums = _hollow(layers, few, heavy, light)
    return cross + hollow[:split, 0 if same else split :], own + jnp.diagonal(hollow), sums


def _hollow(
    layers: list[Float[Array, "n d"]], few: list[Float[Array, "h d"]], heavy: Int[Array, "h"], light: Bool[Array, "n"]
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


def _heaviest(layers: list[Float[Array, "n d"]]) -> Int[Array, "h"]:
    """The rows that are longest in any layer, for their layer.

    Sums to which one row contributes far more than the others lose the digits of those, and
    a few such rows are common in transformers: they are added last.
    """
    lengths = lax.stop_gradient(jnp.stack([jnp.sum(x * x, axis=1) for x in layers]))
    typical = jnp.mean(lengths, axis=1, keepdims=True)
    most = jnp.max(safe_divide(lengths, typical), axis=0)
    return lax.top_k(most, min(HEAVY_ROWS, lengths.shape[1]))[1]


def block_norms(matrix: Float[Array, "p q"], rows: list[int], columns: list[int]) -> Float[Array, "La Lb"]:
    """Squared Frobenius norm of every block of a matrix cut into blocks of these sizes.

    Summed by products with ones: XLA's own sums of small arrays run in one accumulator, where
    the entry of a far outlier swallows all others.
    """

    def members(sizes: list[int]) -> Float[Array, "L d"]:
        owner = np.repeat(np.arange(len(sizes)), sizes)
        return jnp.asarray(owner[None, :] == np.arange(len(sizes))[:, None], matrix.dtype)

    return matmul(members(rows), contract(matrix * matrix, members(columns), (1, 1)))


def center_products(raw: Array, diagonals: Array, totals: Array, count: Scalar, centering: str) -> Array:
    """Inner products of kernel matrices under a centering, from those of centered features.

    Rows of `K` then sum to 0, and without its diagonal, to minus the squared row lengths `q`.

    Args:
      raw: `‖X_aᵀX_b‖²`.
      diagonals: `Σ_i q_a,i q_b,i`.
      totals: `(Σ q_a)(Σ q_b)`.
      count: number of examples.
      centering: one of `CENTERINGS`.
    """
    if centering != "unbiased":
        return raw
    return combine(raw - diagonals, diagonals, totals, count, centering)
