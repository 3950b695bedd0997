"""Representational dissimilarity matrices: every pair of examples once, as one vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_choice
from jaxalign._core.numerics import binary_scale, take_rows
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.signatures.dissimilarities import Dissimilarity, OfDissimilarities, counted_entries

#: What becomes of the entries: as they are, in units of their own; without the digits that are rounding, to
#: be put in order; or their ranks.
SCALES = ("value", "order", "rank")
#: Bits at the end of a number that rounding has made.
ROUNDING_BITS = 6


@pytree_dataclass
class RDM:
    """A dissimilarity for every pair of examples.

    Attributes:
      entries: `(n, h)` with `h = n // 2`: in row `i` those of `i` with `i + 1`, ..., `i + h` (cyclically);
        for an even `n` the last column holds every pair twice.
      weights: `(n, h)`, 1 for entries that count, 0 for others, 1/2 for those that are there twice.
      defined: no entry that counts is NaN.
    """

    entries: Float[Array, "n h"]
    weights: Float[Array, "n h"]
    defined: Bool[Array, ""]

    def permute(self, indices: Int[Array, "n"]) -> RDM:
        """Example `i` of the result is example `indices[i]`."""
        entries, weights = (
            take_rows(values.reshape(-1), places_of_pairs(indices)) for values in (self.entries, self.weights)
        )
        _, once = pairs_once(indices.shape[0])
        return RDM(entries, jnp.where(weights > 0, once.astype(weights.dtype), 0), self.defined)


@pytree_dataclass
class RDMSignature(OfDissimilarities):
    """Makes the `RDM` of a representation.

    Args:
      dissimilarity: how two examples are compared.
      scale: one of `SCALES`; ranks go from 0 to 1, and equal entries share their mean rank.
    """

    dissimilarity: Dissimilarity = Dissimilarity()
    scale: str = field(default="value", metadata={"static": True})

    def __post_init__(self):
        check_choice("RDMSignature", "scale", self.scale, SCALES)

    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> list[RDM]:
        """The signatures of several representations of the same examples."""
        return self.dissimilarity.map(self._of_matrix, layers, mask, rescaled=True)

    def _of_matrix(self, matrix: Float[Array, "n n"], mask: Bool[Array, "n"] | None) -> RDM:
        columns, weights = pairs_once(matrix.shape[0])
        if mask is not None:
            weights = weights * (mask[:, None] & take_rows(mask, columns)).astype(weights.dtype)
        weights = weights.astype(matrix.dtype)
        counted, defined = counted_entries(matrix, mask)
        entries = jnp.take_along_axis(counted * binary_scale(counted), columns, axis=1)
        if self.scale != "value":
            entries = drop_rounding_bits(lax.stop_gradient(entries))
        if self.scale == "rank":
            entries = ranks(entries, weights)
        return RDM(entries, weights, defined)


def pairs_once(n: int) -> tuple[Array, Float[Array, "n h"]]:
    """The other example of each entry of an `RDM`, `(n, h)`, and how much the entry counts."""
    half = n // 2
    # Made of iotas: closed over, they would be constants of half a matrix.
    row, column = (lax.broadcasted_iota(jnp.int32, (n, half), axis) for axis in (0, 1))
    twice = (column == half - 1) & (n % 2 == 0)
    return (row + column + 1) % n, jnp.where(twice, 0.5, 1.0)


def places_of_pairs(indices: Int[Array, "n"]) -> Int[Array, "n h"]:
    """Where in the flat entries of an `RDM` the pairs are that come next to one another in another order of examples.

    For row `i` and column `c` that is the pair of `indices[i]` and `indices[i + c + 1]`; of one that is there twice,
    the first place.
    """
    n = indices.shape[0]
    half = n // 2
    one, other = indices[:, None], take_rows(indices, pairs_once(n)[0])
    ahead = (other - one) % n - 1
    swapped = (ahead >= half) | ((2 * ahead + 2 == n) & (one > other))
    row, column = jnp.where(swapped, other, one), jnp.where(swapped, n - 2 - ahead, ahead)
    return row * half + column


def symmetric_matrix(values: Float[Array, "n h"]) -> Float[Array, "n n"]:
    """The matrix with these entries, in the places of those of an `RDM`, and 0 on the diagonal."""
    n, half = values.shape
    columns, once = pairs_once(n)
    row = jnp.broadcast_to(jnp.arange(n, dtype=columns.dtype)[:, None], (n, half))
    # Of an entry that is there twice, half in each place: its mirror image is the other half.
    upper = jnp.zeros((n, n), values.dtype).at[row, columns].set(values * once.astype(values.dtype))
    return upper + upper.T


def drop_rounding_bits(values: Float[Array, "..."]) -> Float[Array, "..."]:
    """Rounded to all but the last bits, so that values that are equal on paper are equal."""
    mantissa, exponent = jnp.frexp(values)
    steps = 2.0 ** (jnp.finfo(values.dtype).nmant + 1 - ROUNDING_BITS)
    return jnp.ldexp(jnp.round(mantissa * steps) / steps, exponent)


def ranks(values: Float[Array, "n h"], weights: Float[Array, "n h"]) -> Float[Array, "n h"]:
    """Ranks of the values that count, from 0 to 1, equal values sharing their mean; 0 for the others.

    Values with weight 1/2 are there twice, which leaves the order of all as it is.
    """
    flat, counts = values.reshape(-1), weights.reshape(-1)
    size = flat.shape[0]
    place = lax.iota(jnp.int32, size)
    order_key = jnp.where(counts > 0, flat, jnp.inf)
    key, order = lax.sort((order_key, place), num_keys=1, is_stable=False)
    # How much weight lies before each place; a group of equals shares the mean of its ends.
    before = jnp.concatenate([jnp.zeros(1, counts.dtype), _cumulative(jnp.take(counts, order))])
    first, last = ends_of_groups(key[1:] != key[:-1])
    shared = (jnp.take(before, first) + jnp.take(before, last + 1)) / 2
    found = jnp.zeros(size, flat.dtype).at[order].set(shared.astype(flat.dtype) / jnp.maximum(jnp.sum(counts), 1))
    return jnp.where(counts > 0, found, 0).reshape(values.shape)


def ends_of_groups(differs: Bool[Array, "l"]) -> tuple[Int[Array, "m"], Int[Array, "m"]]:
    """First and last place of the group of equals that each of `m = l + 1` places belongs to.

    Args:
      differs: whether each place but the first begins a group.
    """
    size = differs.shape[0] + 1
    place, edge = lax.iota(jnp.int32, size), jnp.ones(1, bool)
    first = lax.cummax(jnp.where(jnp.concatenate([edge, differs]), place, 0))
    last = lax.cummin(jnp.where(jnp.concatenate([differs, edge]), place, size - 1), reverse=True)
    return first, last


def _cumulative(counts: Float[Array, "m"]) -> Float[Array, "m"]:
    """Sums of weights that are multiples of 1/2, exact as integers."""
    return jnp.cumsum((2 * counts).astype(jnp.int32)).astype(counts.dtype) / 2
