"""The order of all dissimilarities of a representation, for Kendall's tau."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import jax.numpy as jnp
from jax import lax

from jaxalign._core.inversions import exact_sum
from jaxalign._core.numerics import take_rows
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.signatures.dissimilarities import Dissimilarity, OfDissimilarities
from jaxalign.signatures.rdm import RDM, RDMSignature, ends_of_groups, pairs_once, places_of_pairs


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

    def permute(self, indices: Int[Array, "n"]) -> PairOrder:
        """Example `i` of the result is example `indices[i]`."""
        ranks = take_rows(self.ranks, places_of_pairs(indices).reshape(-1))
        counted = first_places(indices.shape[0]) & (ranks < self.count.astype(ranks.dtype))
        order, first, _ = put_in_order(ranks, counted)
        return replace(self, ranks=jnp.zeros_like(ranks).at[order].set(first, unique_indices=True), order=order)


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
    entries = rdm.entries.reshape(-1)
    counted = first_places(rdm.entries.shape[0]) & (rdm.weights.reshape(-1) > 0)
    order, first, last = put_in_order(entries, counted)
    place, count = lax.iota(jnp.int32, entries.shape[0]), jnp.sum(counted, dtype=jnp.int32)
    # Greater than each that counts are those after its group.
    untied = exact_sum(jnp.where(place < count, jnp.maximum(count - 1 - last, 0), 0), entries.dtype)
    ranks = jnp.zeros_like(place).at[order].set(first, unique_indices=True)
    return PairOrder(ranks, order, untied, count.astype(entries.dtype), rdm.defined)


def first_places(n: int) -> Bool[Array, "m"]:
    """Of an entry that is there twice, with half the weight, the first; all others."""
    _, weights = pairs_once(n)
    row = lax.broadcasted_iota(jnp.int32, weights.shape, 0)
    return ((weights == 1) | (row < n // 2)).reshape(-1)


def put_in_order(values: Array, counted: Bool[Array, "m"]) -> tuple[Int[Array, "m"], Int[Array, "m"], Int[Array, "m"]]:
    """The places of values in order, those that count first, and the ends of the group of equals of each of these."""
    place = lax.iota(jnp.int32, values.shape[0])
    largest = jnp.iinfo(values.dtype).max if jnp.issubdtype(values.dtype, jnp.integer) else jnp.inf
    key, order = lax.sort((jnp.where(counted, values, largest), place), num_keys=1, is_stable=True)
    count = jnp.sum(counted, dtype=jnp.int32)
    return order, *ends_of_groups((key[1:] != key[:-1]) | (place[1:] >= count))
