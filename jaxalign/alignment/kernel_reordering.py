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

from jaxalign._core.numerics import cross_matmul, inverse_permutation, take_rows
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Int
from jaxalign.engines.centered import centered_matrix
from jaxalign.engines.moments import block_norms
from jaxalign.engines.planner import gram_products, moment_cost
from jaxalign.engines.products import WITHOUT_DIAGONAL, Products
from jaxalign.engines.reordered import (
    FixedMatrices,
    MovedMatrices,
    fixed_matrices,
    moved_matrices,
    reordered_products,
)
from jaxalign.kernels.gram import Grams

#: Bytes that stored matrices of one comparison may take.
MATRIX_BYTES = 2 * 2**30
#: What it takes to look up an entry, in multiplications of a product of matrices.
LOOK_UP = 40


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


@pytree_dataclass
class ByMatrices:
    """From stored matrices; those of the side with fewer layers are looked up.

    Attributes:
      fixed: the matrices of one side.
      moved: those of the other.
      first_moves: the first side is the one that is looked up, in the inverse order.
    """

    fixed: FixedMatrices
    moved: MovedMatrices
    first_moves: bool = field(metadata={"static": True})

    @classmethod
    def of(cls, a: Sequence[Float[Array, "n n"]], b: Sequence[Float[Array, "n n"]]) -> ByMatrices:
        """For symmetric matrices of both sides."""
        first_moves = len(a) < len(b)
        fixed, moved = (b, a) if first_moves else (a, b)
        return cls(fixed_matrices(fixed), moved_matrices(moved), first_moves)

    def __call__(self, indices: Int[Array, "n"]) -> Float[Array, "La Lb"]:
        """Inner products when example `i` of the second side is what was example `indices[i]`."""
        if self.first_moves:
            return reordered_products(self.fixed, self.moved, inverse_permutation(indices)).T
        return reordered_products(self.fixed, self.moved, indices)


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
      products: those of the order that examples came in.
      cross: inner products in another order.
    """

    score: Any
    products: Products
    cross: ByFeatures | ByMatrices | BySweeps

    def __call__(self, indices: Int[Array, "n"]) -> Float[Array, "La Lb"]:
        """The scores when example `i` of the second side is what was example `indices[i]`."""
        return self.score.finish(replace(self.products, cross=self.cross(indices)))


def kernel_reordering(score: Any, a: Sequence[Any], b: Sequence[Any], centering: str) -> OfKernels:
    """The reordering of a score of inner products of centered kernel matrices.

    Args:
      score: with a method `finish` from `Products` to scores.
      a: layers of one side.
      b: those of the other.
      centering: one of `engines.CENTERINGS`.
    """
    one, other = Grams.of(a), Grams.of(b)
    products = gram_products(one, other, centering=centering)
    return OfKernels(score, products, _cheapest(one, other, centering))


def _cheapest(a: Grams, b: Grams, centering: str) -> ByFeatures | ByMatrices | BySweeps:
    n, entry = a.examples, a.stacks[0].raw.dtype.itemsize
    by_matrices = n * n / 2 * (LOOK_UP * min(len(a), len(b)) + len(a) * len(b))
    fits = n * n * (max(len(a), len(b)) / 2 + min(len(a), len(b))) * entry <= MATRIX_BYTES
    dot_products = all(stack.kernel.dot_product for side in (a, b) for stack in side.stacks)
    if dot_products and (not fits or moment_cost(n, a.widths, b.widths, norms=False) <= by_matrices):
        if centering in WITHOUT_DIAGONAL:  # which costs digits, unless done with care
            return BySweeps(a, b, centering)
        rows = [jnp.concatenate([gram.rows for gram in side], axis=1) for side in (a, b)]
        return ByFeatures((rows[0], rows[1]), (a.widths, b.widths))
    if not fits:
        return BySweeps(a, b, centering)
    return ByMatrices.of(*([centered_matrix(gram, centering) for gram in side] for side in (a, b)))
