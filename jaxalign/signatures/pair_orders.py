"""The order of all dissimilarities of a representation, for Kendall's tau."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from jaxalign._core.inversions import exact_sum
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.signatures.dissimilarities import Dissimilarity, OfDissimilarities
from jaxalign.signatures.rdm import RDM, RDMSignature, ends_of_groups


@pytree_dataclass
class PairOrder:
    """The order of the dissimilarities of all pairs of examples.

    Attributes:
      ranks: `(m,)`, how many are smaller than that of each pair; pairs that do not count come last, one by one.
      order: `(m,)`, the pairs in the order of their dissimilarity, equal ones in that of their number.
      untied: how many pairs of dissimilarities differ.
      count: how many dissimilarities count.
      defined: none of them is NaN.
    """

    ranks: Int[Array, "m"]
    order: Int[Array, "m"]
    untied: Scalar
    count: Scalar
    defined: Bool[Array, ""]


@pytree_dataclass
class PairOrderSignature(OfDissimilarities):
    """Makes the `PairOrder` of a representation.

    Args:
      dissimilarity: how two examples are compared.
    """

    dissimilarity: Dissimilarity = Dissimilarity()

    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> list[PairOrder]:
        """The signatures of several representations of the same examples."""
        return [_order(rdm) for rdm in RDMSignature(self.dissimilarity, "order").many(layers, mask)]


def _order(rdm: RDM) -> PairOrder:
    examples = rdm.entries.shape[0]
    # Of an entry that is there twice, with half the weight, the first.
    once = (rdm.weights == 1) | ((rdm.weights > 0) & (jnp.arange(examples) < examples // 2)[:, None])
    counted, entries = once.reshape(-1), rdm.entries.reshape(-1)
    place = lax.iota(jnp.int32, entries.shape[0])
    key, order = lax.sort((jnp.where(counted, entries, jnp.inf), place), num_keys=1, is_stable=True)
    count = jnp.sum(counted, dtype=jnp.int32)
    first, last = ends_of_groups((key[1:] != key[:-1]) | (place[1:] >= count))
    # Greater than each that counts are those after its group.
    untied = exact_sum(jnp.where(place < count, jnp.maximum(count - 1 - last, 0), 0), entries.dtype)
    ranks = jnp.zeros_like(place).at[order].set(first, unique_indices=True)
    return PairOrder(ranks, order, untied, count.astype(entries.dtype), rdm.defined)
