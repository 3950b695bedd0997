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
#: How many of the longest rows are kept out of the sums over all rows, and added last.
HEAVY_ROWS = 16


def moment_products(a: Sequence[Gram], b: Sequence[Gram] | None, *, centering: str) -> Products:
    """Inner products of the layers' linear kernel matrices.

    Args:
      a: layers of one side, over the same `n` examples, with dot-product kernels.
      b: layers of the other, or None to compare `a` with itself.
      centering: one of `CENTERINGS`, static.
    """
    layers = [gram.rows for gram in [*a, *(b or ())]]
    one, other = slice(len(a)), slice(0 if b is None else len(a), None)
    heavy = _heaviest(layers)
    light = jnp.ones(layers[0].shape[0], bool).at[heavy].set(False)
    if centering == "unbiased":
        # It may be taken about any point; about this one, heavy rows bring nothing large to cancel.
        light = light if a[0].mask is None else light & a[0].mask
        layers = [mask_rows(x - column_mean(x, light)[None, :], a[0].mask) for x in layers]
    few = [take_rows(x, heavy) for x in layers]
    across, within = _in_blocks(layers[one], None if b is None else layers[other], light)
    if centering != "unbiased":
        of_heavy = _moments(few[one], None if b is None else few[other])
        across, within = jax.tree.map(jnp.add, (across, within), of_heavy)
    widths = [x.shape[1] for x in layers]
    cross = _mirror(across) if b is None else block_norms(across[0], widths[one], widths[other])
    within = within or [row[:, : row.shape[0]] for row in across]
    own = jnp.stack([block_norms(c, [c.shape[0]], [c.shape[1]])[0, 0] for c in within])
    count = a[0].count
    if centering == "unbiased":
        hollow, sums = _hollow(layers, few, heavy, light)
        cross = finish_cross(cross + hollow[one, other], sums[one], sums[other], count, centering)
        own = finish_self(own + jnp.diagonal(hollow), sums, count, centering)
    units = jnp.stack([gram.units for gram in [*a, *(b or ())]])
    return Products(
        cross=cross, self_a=own[one], self_b=own[other], units_a=units[one], units_b=units[other], count=count
    )


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


def _moments(
    a: list[Float[Array, "n d"]], b: list[Float[Array, "n d"]] | None
) -> tuple[list[Float[Array, "p q"]], list[Float[Array, "d d"]]]:
    """Second moments across layers and within each.

    Between two sides, the moments across are one `(ΣD_a, ΣD_b)` matrix and those within
    come separately. Of one side with itself only the upper triangle is formed: row `l` holds
    layer `l` against `l, l + 1, ...`, and its first columns are those within.
    """
    if b is None:
        return [cross_matmul(x, jnp.concatenate(a[i:], axis=1)) for i, x in enumerate(a)], []
    across = cross_matmul(jnp.concatenate(a, axis=1), jnp.concatenate(b, axis=1))
    return [across], [cross_matmul(x, x) for x in [*a, *b]]


def _in_blocks(
    a: list[Float[Array, "n d"]], b: list[Float[Array, "n d"]] | None, light: Bool[Array, "n"]
) -> tuple[list[Float[Array, "p q"]], list[Float[Array, "d d"]]]:
    """`_moments` of the light rows, summed over blocks of rows."""
    n = a[0].shape[0]
    if n <= BLOCK_ROWS:
        return _moments(*jax.tree.map(lambda x: jnp.where(light[:, None], x, 0), (a, b)))
    blocks = -(-n // BLOCK_ROWS)
    size = -(-n // blocks)

    def add(block: Array, sums: tuple[list[Array], list[Array]]) -> tuple[list[Array], list[Array]]:
        start = jnp.minimum(block * size, n - size)
        # The last block is moved up to fit; rows that the block before it had count once.
        fresh = start + jnp.arange(size, dtype=start.dtype) >= block * size
        counted = (fresh & lax.dynamic_slice_in_dim(light, start, size))[:, None]
        rows = jax.tree.map(lambda x: jnp.where(counted, lax.dynamic_slice_in_dim(x, start, size), 0), (a, b))
        return jax.tree.map(jnp.add, sums, _moments(*rows))

    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(_moments, a, b))
    return lax.fori_loop(0, blocks, add, zeros)


def block_norms(matrix: Float[Array, "p q"], rows: list[int], columns: list[int]) -> Float[Array, "La Lb"]:
    """Squared Frobenius norm of every block of a matrix cut into blocks of these sizes.

    Summed by products with ones: XLA's own sums of small arrays run in one accumulator, where
    the entry of a far outlier swallows all others.
    """

    def members(sizes: list[int]) -> Float[Array, "L d"]:
        owner = np.repeat(np.arange(len(sizes)), sizes)
        return jnp.asarray(owner[None, :] == np.arange(len(sizes))[:, None], matrix.dtype)

    return matmul(members(rows), contract(matrix * matrix, members(columns), (1, 1)))


def _mirror(across: list[Float[Array, "p q"]]) -> Float[Array, "L L"]:
    """Squared block norms as a symmetric matrix, from its upper triangle of blocks."""
    widths = [row.shape[0] for row in across]
    upper = [block_norms(row, [row.shape[0]], widths[i:])[0] for i, row in enumerate(across)]
    upper = jnp.stack([jnp.pad(row, (len(widths) - row.shape[0], 0)) for row in upper])
    return upper + jnp.triu(upper, 1).T


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
