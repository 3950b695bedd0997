"""Matrices of dissimilarities in the user's units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace

from jaxalign._core.numerics import row_count, take_pairs
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.signatures.dissimilarities import Dissimilarity, OfDissimilarities, counted_entries, double_center


@pytree_dataclass
class DistanceMatrix:
    """A dissimilarity for every two examples.

    Attributes:
      entries: `(n, n)`, 0 for examples that do not count.
      count: how many examples count.
      defined: no entry that counts is NaN.
    """

    entries: Float[Array, "n n"]
    count: Scalar
    defined: Bool[Array, ""]

    def permute(self, indices: Int[Array, "n"]) -> DistanceMatrix:
        """Example `i` of the result is example `indices[i]`."""
        return replace(self, entries=take_pairs(self.entries, indices))


@pytree_dataclass
class DistanceMatrixSignature(OfDissimilarities):
    """Makes the `DistanceMatrix` of a representation.

    Args:
      dissimilarity: how two examples are compared.
      centered: take off the mean of every row and column.
    """

    dissimilarity: Dissimilarity = Dissimilarity("euclidean")
    centered: bool = field(default=False, metadata={"static": True})

    @property
    def definition(self) -> str:
        """The dissimilarity, and whether it is centered."""
        return self.dissimilarity.definition + (",centered" if self.centered else "")

    def many(
        self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None
    ) -> list[DistanceMatrix]:
        """The signatures of several representations of the same examples."""
        return self.dissimilarity.map(self._of_matrix, layers, mask)

    def _of_matrix(self, matrix: Float[Array, "n n"], mask: Bool[Array, "n"] | None) -> DistanceMatrix:
        entries, defined = counted_entries(matrix, mask)
        if self.centered:
            entries = double_center(entries, mask)
        return DistanceMatrix(entries, row_count(entries, mask), defined)
