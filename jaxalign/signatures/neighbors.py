"""The nearest neighbors of every example in one representation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import ClassVar

import jax.numpy as jnp

from jaxalign._core.checks import check_choice, check_integer, check_neighbors
from jaxalign._core.numerics import inverse_permutation, mask_rows, take_mask, take_rows
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.engines.neighbors import METRICS, nearest_neighbors
from jaxalign.signatures.batching import map_layers


@pytree_dataclass
class Neighbors:
    """Neighbor lists.

    Attributes:
      ids: `(n, k)` row numbers, nearest first, self excluded, equals by lowest row.
      mask: which rows count, `(n,)`, or None for all; the others are in nobody's list.
      defined: False when all rows that count are equal, or one holds NaN or infinity: the
        lists then mean nothing.
    """

    ids: Int[Array, "n k"]
    mask: Bool[Array, "n"] | None
    defined: Bool[Array, ""]

    def permute(self, indices: Int[Array, "n"]) -> Neighbors:
        """Example `i` of the result is example `indices[i]`, in the lists too."""
        ids = take_rows(inverse_permutation(indices), take_rows(self.ids, indices))
        return Neighbors(ids=ids, mask=take_mask(self.mask, indices), defined=self.defined)


@pytree_dataclass
class NeighborSignature:
    """Makes the `Neighbors` of a representation.

    Args:
      k: number of neighbors, self excluded.
      metric: `"cosine"` or `"euclidean"`.

    Raises:
      TypeError, ValueError: for a `k` that is not a positive integer, an unknown metric, and,
        when called, for `k >= n`.
    """

    k: int = field(metadata={"static": True})
    metric: str = field(default="cosine", metadata={"static": True})

    #: Far smaller than the representation: made once, and worth keeping.
    compact: ClassVar[bool] = True

    def __post_init__(self):
        check_integer("NeighborSignature", "k", self.k, minimum=1)
        check_choice("NeighborSignature", "metric", self.metric, METRICS)

    @property
    def ignores_zero_features(self) -> bool:
        """True: they change no distance and no angle."""
        return True

    @property
    def definition(self) -> str:
        """`k` and metric."""
        return f"k={self.k},metric={self.metric}"

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Neighbors:
        """The signature of one representation, `(n, d)`."""
        return self.many([x], mask)[0]

    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> list[Neighbors]:
        """The signatures of several representations of the same examples."""
        check_neighbors("NeighborSignature", self.k, layers[0].shape[0])
        return map_layers(lambda x: self._find(x, mask), layers)

    def _find(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None) -> Neighbors:
        rows = mask_rows(x, mask)
        example = rows[0] if mask is None else rows[jnp.argmax(mask)]
        differs = rows != example[None, :] if mask is None else (rows != example[None, :]) & mask[:, None]
        return Neighbors(
            ids=nearest_neighbors(x, k=self.k, metric=self.metric, mask=mask),
            mask=mask,
            defined=jnp.any(differs) & jnp.all(jnp.isfinite(rows)),
        )
