"""Nearest neighbors together with what a score needs of them: their similarities, or the rows themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_integer
from jaxalign._core.numerics import mask_rows, normalize_rows, take_rows, widen
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.signatures.batching import map_layers
from jaxalign.signatures.neighbors import Neighbors, NeighborSignature

#: Examples whose neighbors' rows are gathered at a time.
BLOCK_ROWS = 256


@pytree_dataclass
class NeighborKernel:
    """A kernel matrix along the nearest neighbors of each example.

    Attributes:
      neighbors: the lists, `(n, k)`.
      entries: the cosine similarities to them, `(k, n)`, 0 for examples that do not count.
    """

    neighbors: Neighbors
    entries: Float[Array, "k n"]

    def permute(self, indices: Int[Array, "n"]) -> NeighborKernel:
        """Example `i` of the result is example `indices[i]`."""
        return NeighborKernel(self.neighbors.permute(indices), jnp.take(self.entries, indices, axis=1, mode="clip"))


@pytree_dataclass
class Neighborhoods:
    """Neighbor lists together with the rows they point to.

    Attributes:
      neighbors: the lists, `(n, k)`.
      rows: rows of length 1, `(n, d)`; 0 for a row of zeros and for rows that do not count.
    """

    neighbors: Neighbors
    rows: Float[Array, "n d"]

    def permute(self, indices: Int[Array, "n"]) -> Neighborhoods:
        """Example `i` of the result is example `indices[i]`."""
        return Neighborhoods(self.neighbors.permute(indices), take_rows(self.rows, indices))


@dataclass(frozen=True)
class _CosineNeighbors(ABC):
    """The `k` nearest neighbors by cosine similarity, self excluded, and more."""

    k: int = field(metadata={"static": True})

    def __post_init__(self):
        check_integer(type(self).__name__, "k", self.k, minimum=1)

    @property
    def ignores_zero_features(self) -> bool:
        """True: they change no angle."""
        return True

    @property
    def definition(self) -> str:
        """The number of neighbors."""
        return f"k={self.k}"

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Any:
        """The signature of one representation, `(n, d)`."""
        rows = normalize_rows(mask_rows(widen(x), mask))
        return self._with(NeighborSignature(self.k)(x, mask), rows)

    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> list[Any]:
        """The signatures of several representations of the same examples."""
        return map_layers(lambda x: self(x, mask), layers)

    @abstractmethod
    def _with(self, neighbors: Neighbors, rows: Float[Array, "n d"]) -> Any:
        """The signature, from the lists and rows of length 1."""


@pytree_dataclass
class NeighborKernelSignature(_CosineNeighbors):
    """Makes the `NeighborKernel` of a representation.

    Args:
      k: number of neighbors.
    """

    #: Two numbers for each neighbor: made once, and worth keeping.
    compact: ClassVar[bool] = True

    def _with(self, neighbors: Neighbors, rows: Float[Array, "n d"]) -> NeighborKernel:
        def along(example: tuple[Array, Array]) -> Float[Array, "k"]:
            own, ids = example
            return jnp.einsum("d,kd->k", own, take_rows(rows, ids), precision="highest")

        return NeighborKernel(neighbors, lax.map(along, (rows, neighbors.ids), batch_size=BLOCK_ROWS).T)


@pytree_dataclass
class NeighborhoodSignature(_CosineNeighbors):
    """Makes the `Neighborhoods` of a representation.

    Args:
      k: number of neighbors.
    """

    #: As large as the representation.
    compact: ClassVar[bool] = False

    def _with(self, neighbors: Neighbors, rows: Float[Array, "n d"]) -> Neighborhoods:
        return Neighborhoods(neighbors, rows)
