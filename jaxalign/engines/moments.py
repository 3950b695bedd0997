"""Products of linear kernels through moments of the features: no n × n matrix at all.

`⟨XXᵀ, YYᵀ⟩ = ‖XᵀY‖²`, so linear scores need only `XᵀY` of centered features, and the
unbiased ones the products of squared row lengths besides. There are two forms:

- `moment_products`: arrays in memory, centered in advance;
- `Moments`: a state that takes blocks of rows as they come and merges with others. Every
  block is centered by its own mean, and states are merged by adding what their means
  differ by, so that no large numbers cancel, wherever the data lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxalign._core.numerics import center_columns, column_mean, contract, cross_matmul, matmul, row_count, widen
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.engines.products import Products, combine, drop_rounding
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
    layers = [gram.rows for gram in [*a, *(b or ())]]
    across, within = _in_blocks(layers[: len(a)], None if b is None else layers[len(a) :])
    lengths = jnp.stack([jnp.sum(x * x, axis=1) for x in layers])
    lengths_a, lengths_b = lengths[: len(a)], lengths if b is None else lengths[len(a) :]
    count = a[0].count
    if b is None:
        cross = _mirror(across)
    else:
        cross = _block_norms(across[0], [gram.rows.shape[1] for gram in a], [gram.rows.shape[1] for gram in b])
    own = jnp.stack([jnp.sum(jnp.sum(c * c, axis=1)) for c in within])
    units = jnp.stack([gram.units for gram in [*a, *(b or ())]])
    own = center_self(own, lengths, count, centering)
    return Products(
        cross=center_cross(cross, lengths_a, lengths_b, count, centering),
        self_a=own[: len(a)],
        self_b=own if b is None else own[len(a) :],
        units_a=units[: len(a)],
        units_b=units if b is None else units[len(a) :],
        count=count,
    )


def _in_blocks(
    a: list[Float[Array, "n d"]], b: list[Float[Array, "n d"]] | None
) -> tuple[list[Float[Array, "p q"]], list[Float[Array, "d d"]]]:
    """Second moments across layers and within each, summed over blocks of rows.

    Between two sides, the moments across are one `(ΣD_a, ΣD_b)` matrix and those within
    come separately. Of one side with itself only the upper triangle is formed: row `l` holds
    layer `l` against `l, l + 1, ...`, and its first columns are those within.
    """
    n = a[0].shape[0]

    def products(a: list[Array], b: list[Array] | None) -> tuple[list[Array], list[Array]]:
        if b is None:
            return [cross_matmul(x, jnp.concatenate(a[i:], axis=1)) for i, x in enumerate(a)], []
        return (
            [cross_matmul(jnp.concatenate(a, axis=1), jnp.concatenate(b, axis=1))],
            [cross_matmul(x, x) for x in [*a, *b]],
        )

    if n <= BLOCK_ROWS:
        across, within = products(a, b)
    else:
        blocks = -(-n // BLOCK_ROWS)
        size = -(-n // blocks)

        def add(block: Array, sums: tuple[list[Array], list[Array]]) -> tuple[list[Array], list[Array]]:
            start = jnp.minimum(block * size, n - size)
            # The last block is moved up to fit; rows that the block before it had count once.
            fresh = (start + jnp.arange(size, dtype=start.dtype) >= block * size)[:, None]

            def rows(layers: list[Array]) -> list[Array]:
                return [jnp.where(fresh, lax.dynamic_slice_in_dim(x, start, size), 0) for x in layers]

            return jax.tree.map(jnp.add, sums, products(rows(a), None if b is None else rows(b)))

        shapes = jax.eval_shape(products, a, b)
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        across, within = lax.fori_loop(0, blocks, add, zeros)
    return across, within or [row[:, : row.shape[0]] for row in across]


def _block_norms(matrix: Float[Array, "p q"], rows: list[int], columns: list[int]) -> Float[Array, "La Lb"]:
    """Squared Frobenius norm of every block of a matrix cut into blocks of these sizes."""
    squares = matrix * matrix
    by_column = jnp.stack([jnp.sum(part, axis=1) for part in jnp.split(squares, np.cumsum(columns)[:-1], axis=1)])
    return jnp.stack([jnp.sum(part, axis=1) for part in jnp.split(by_column, np.cumsum(rows)[:-1], axis=1)])


def _mirror(across: list[Float[Array, "p q"]]) -> Float[Array, "L L"]:
    """Squared block norms as a symmetric matrix, from its upper triangle of blocks."""
    widths = [row.shape[0] for row in across]
    upper = [_block_norms(row, [row.shape[0]], widths[i:])[0] for i, row in enumerate(across)]
    upper = jnp.stack([jnp.pad(row, (len(widths) - row.shape[0], 0)) for row in upper])
    return upper + jnp.triu(upper, 1).T


def center_cross(raw: Array, lengths_a: Array, lengths_b: Array, count: Scalar, centering: str) -> Array:
    """Inner products of `K_a` and `K_b` under a centering, from centered features.

    Rows of `K` then sum to 0, and without its diagonal, to minus the squared row lengths.

    Args:
      raw: `‖X_aᵀX_b‖²`, `(La, Lb)`.
      lengths_a: squared row lengths of each `X_a`, `(La, n)`.
      lengths_b: of each `X_b`, `(Lb, n)`.
      count: number of examples.
      centering: one of `CENTERINGS`.
    """
    if centering != "unbiased":
        return raw
    diagonals = contract(lengths_a, lengths_b, (1, 1))
    totals = jnp.sum(lengths_a, axis=1)[:, None] * jnp.sum(lengths_b, axis=1)[None, :]
    return combine(raw - diagonals, diagonals, totals, count, centering)


def center_self(raw: Array, lengths: Array, count: Scalar, centering: str) -> Array:
    """The diagonal of `center_cross`, and 0 where only rounding is left."""
    if centering != "unbiased":
        return raw
    diagonals = jnp.sum(lengths * lengths, axis=1)
    total = jnp.sum(lengths, axis=1)
    return drop_rounding(combine(raw - diagonals, diagonals, total * total, count, centering), raw)
