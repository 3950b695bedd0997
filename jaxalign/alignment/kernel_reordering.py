"""Inner products of kernel matrices under very many orders of the examples of one side.

Norms do not depend on the order. Inner products come from whichever costs least: features, where kernels are
inner products of few of them; stored matrices, of which entries are looked up; and where these would not fit in
memory, a sweep for each order like that for the score itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from typing import Any

import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import cross_matmul, take_rows
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Int, Scalar
from jaxalign.alignment.reordering import Composed, Finished, turned
from jaxalign.engines.centered import centered_matrix
from jaxalign.engines.moments import block_norms
from jaxalign.engines.planner import gram_products, moment_cost
from jaxalign.engines.products import WITHOUT_DIAGONAL, Products, drop_rounding
from jaxalign.engines.reordered import (
    FixedMatrices,
    MovedMatrices,
    fixed_matrices,
    moved_matrices,
    reordered_products,
)
from jaxalign.kernels.gram import Gram, Grams

#: Bytes that stored matrices of one comparison may take, and features in several orders.
MATRIX_BYTES = 2 * 2**30
#: What it takes to look up an entry for one of several orders, in multiplications of a product of matrices.
LOOK_UP = 10


@pytree_dataclass
class ByFeatures:
    """From features side by side, of kernels that are inner products of them.

    Attributes:
      rows: those of all layers of each side, `(n, Σp)` and `(n, Σq)`.
      widths: how many columns belong to each layer.
    """

    rows: tuple[Float[Array, "n p"], Float[Array, "n q"]]
    widths: tuple[tuple[int, ...], tuple[int, ...]] = field(metadata={"static": True})

    def __call__(self, indices: Int[Array, "n"]) -> Float[Array, "La Lb"]:
        """Inner products when example `i` of the second side is what was example `indices[i]`."""
        across = cross_matmul(self.rows[0], take_rows(self.rows[1], indices))
        return block_norms(across, list(self.widths[0]), list(self.widths[1]))

    def turned(self, orders: Int[Array, "m n"]) -> Stacked | Composed:
        """The first side in each of the orders, side by side, where there is memory for it."""
        count, n = orders.shape
        if count * self.rows[0].size * self.rows[0].dtype.itemsize > MATRIX_BYTES:
            return Composed(self, orders)
        rows = take_rows(self.rows[0], orders.T.reshape(-1)).reshape(n, -1)
        return Stacked(ByFeatures((rows, self.rows[1]), (self.widths[0] * count, self.widths[1])), count)


@pytree_dataclass
class ByMatrices:
    """From stored matrices, of which those of the second side are looked up.

    Attributes:
      fixed: the matrices of one side, `(La, n, n)`.
      kept: the same as they are multiplied.
      moved: those of the other.
    """

    fixed: Float[Array, "La n n"]
    kept: FixedMatrices
    moved: MovedMatrices

    @classmethod
    def of(cls, a: Float[Array, "La n n"], b: Float[Array, "Lb n n"]) -> ByMatrices:
        """For symmetric matrices of both sides."""
        return cls(a, fixed_matrices(a), moved_matrices(b))

    def __call__(self, indices: Int[Array, "n"]) -> Float[Array, "La Lb"]:
        """Inner products when example `i` of the second side is what was example `indices[i]`."""
        return reordered_products(self.kept, self.moved, indices)

    def turned(self, orders: Int[Array, "m n"]) -> Stacked | Composed:
        """The first side in each of the orders, where there is memory for it."""
        layers, n, _ = self.fixed.shape
        if orders.shape[0] * layers * n * n / 2 * self.fixed.dtype.itemsize > MATRIX_BYTES:
            return Composed(self, orders)
        kept = lax.map(lambda order: fixed_matrices(self.fixed, order), orders)
        entries = jnp.moveaxis(kept.entries, 0, 1).reshape(n, -1, kept.entries.shape[-1])
        kept = FixedMatrices(entries, kept.diagonals.reshape(-1, n))
        return Stacked(ByMatrices(self.fixed[:0], kept, self.moved), orders.shape[0])


@pytree_dataclass
class Stacked:
    """Inner products of the first side in several orders, all at once.

    Attributes:
      cross: those of the first side in one order after the other.
      count: how many orders.
    """

    cross: ByFeatures | ByMatrices
    count: int = field(metadata={"static": True})

    def __call__(self, indices: Int[Array, "n"]) -> Float[Array, "m La Lb"]:
        """Inner products in each of the orders."""
        values = self.cross(indices)
        return values.reshape(self.count, -1, values.shape[1])


@pytree_dataclass
class BySweeps:
    """From a sweep for each order.

    Attributes:
      a: layers of one side.
      b: those of the other.
      centering: as in `gram_products`.
    """

    a: Grams
    b: Grams
    centering: str = field(metadata={"static": True})

    def __call__(self, indices: Int[Array, "n"]) -> Float[Array, "La Lb"]:
        """Inner products when example `i` of the second side is what was example `indices[i]`."""
        moved = [gram.permute(indices) for gram in self.b]
        return gram_products(self.a, moved, centering=self.centering, norms=False).cross


@pytree_dataclass
class OfKernels:
    """Scores that are made of inner products of kernel matrices.

    Attributes:
      score: with a method `finish`.
      products: norms, and inner products that do not count but for NaN.
      cross: inner products in another order.
    """

    score: Any
    products: Products
    cross: ByFeatures | ByMatrices | BySweeps

    def __call__(self, indices: Int[Array, "n"]) -> Float[Array, "La Lb"]:
        """The scores when example `i` of the second side is what was example `indices[i]`."""
        return self.finish(self.cross(indices))

    def finish(self, cross: Float[Array, "La Lb"]) -> Float[Array, "La Lb"]:
        """The scores from inner products; NaN where that of the order that examples came in is."""
        cross = jnp.where(jnp.isnan(self.products.cross), jnp.nan, cross)
        return self.score.finish(replace(self.products, cross=cross))

    def turned(self, orders: Int[Array, "m n"]) -> Finished:
        """The scores when the first side is in each of the orders as well."""
        return Finished(self, turned(self.cross, orders))


def kernel_reordering(score: Any, a: Sequence[Any], b: Sequence[Any], centering: str) -> OfKernels:
    """The reordering of a score of inner products of centered kernel matrices.

    Args:
      score: with a method `finish` from `Products` to scores.
      a: layers of one side.
      b: those of the other.
      centering: one of `engines.CENTERINGS`.
    """
    one, other = Grams.of(a), Grams.of(b)
    n, entry = one.examples, one.stacks[0].raw.dtype.itemsize
    by_matrices = n * n / 2 * (LOOK_UP * len(other) + len(one) * len(other))
    fits = stored_bytes(n, len(one), len(other), entry) <= MATRIX_BYTES
    dot_products = all(stack.kernel.dot_product for side in (one, other) for stack in side.stacks)
    features = dot_products and (not fits or moment_cost(n, one.widths, other.widths, norms=False) <= by_matrices)
    if fits and not features:
        return OfKernels(score, *_by_matrices(one, other, centering))
    products = gram_products(one, other, centering=centering)
    if not features or centering in WITHOUT_DIAGONAL:  # which costs digits, unless done with care
        return OfKernels(score, products, BySweeps(one, other, centering))
    rows = [jnp.concatenate([_without_nan(gram.rows) for gram in side], axis=1) for side in (one, other)]
    return OfKernels(score, products, ByFeatures((rows[0], rows[1]), (one.widths, other.widths)))


def _without_nan(rows: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Rows, or zeros for a layer that is not finite: products of others, summed beside it, would be NaN too."""
    return jnp.where(jnp.isfinite(jnp.sum(rows)), rows, 0)


def stored_bytes(n: int, a: int, b: int, itemsize: int) -> float:
    """What stored matrices of so many layers of both sides take."""
    return n * n * (1.5 * a + b) * itemsize


def _by_matrices(a: Grams, b: Grams, centering: str) -> tuple[Products, ByMatrices]:
    """Stored matrices, and their norms."""

    def stored(gram: Gram) -> tuple[Float[Array, "n n"], Scalar]:
        matrix, entries = centered_matrix(gram, centering), gram.tile(gram)
        own = drop_rounding(jnp.sum(matrix * matrix), jnp.sum(entries * entries))
        enough = gram.count > 3 if centering in WITHOUT_DIAGONAL else gram.count > 0
        return matrix, jnp.where(enough, own, jnp.nan)

    def of_side(side: Grams) -> tuple[Float[Array, "L n n"], Float[Array, "L"]]:
        parts = [lax.map(stored, stack) for stack in side.stacks]
        matrices, own = (jnp.concatenate(values) for values in zip(*parts, strict=True))
        return side.in_order(matrices), side.in_order(own)

    (of_a, self_a), (of_b, self_b) = of_side(a), of_side(b)
    nothing = jnp.zeros((len(a), len(b)), of_a.dtype)
    return Products(nothing, self_a, self_b, a.units, b.units, a.counted), ByMatrices.of(of_a, of_b)
