"""Comparisons of dissimilarity matrices that are inner products, under very many orders of the examples of one side."""

from __future__ import annotations

from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Int
from jaxalign.alignment.kernel_reordering import ByMatrices
from jaxalign.alignment.reordering import Finished, turned


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
        return self.finish(self.cross(indices))

    def finish(self, cross: Float[Array, "La Lb"]) -> Float[Array, "La Lb"]:
        """The scores from inner products."""
        return cross * self.factors

    def turned(self, orders: Int[Array, "m n"]) -> Finished:
        """The scores when the first side is in each of the orders as well."""
        return Finished(self, turned(self.cross, orders))
