"""Comparisons of dissimilarity matrices of samples in which examples have weights.

The pair of examples `i` and `j` is there `w_i w_j` times. Copies of one example are no pair: their dissimilarity
of 0 is no finding.
"""

from __future__ import annotations

from dataclasses import field

import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import matmul, safe_divide, safe_sqrt, take_rows
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.alignment.rdm_comparisons import RDMScore
from jaxalign.signatures.rdm import RDM, ends_of_groups, pairs_once, symmetric_matrix


@pytree_dataclass
class ReweightedRDMs:
    """The correlation or cosine of two dissimilarity matrices as a function of weights of the examples.

    Attributes:
      x: one matrix, `(n, n)`, 0 on the diagonal.
      y: the other.
      defined: no entry that counts is NaN.
      centered: the mean of all pairs is taken off.
    """

    x: Float[Array, "n n"]
    y: Float[Array, "n n"]
    defined: Bool[Array, ""]
    centered: bool = field(metadata={"static": True})

    def __call__(self, weights: Float[Array, "n"]) -> Scalar:
        """The score of one weighted sample."""
        return self.many(weights[None])[0]

    def many(self, weights: Float[Array, "b n"]) -> Float[Array, "b"]:
        """The scores of several weighted samples."""
        w = weights.astype(self.x.dtype).T
        count = jnp.sum(w, axis=0)
        pairs = count * count - jnp.sum(w * w, axis=0)
        totals = [jnp.sum(w * matmul(m, w), axis=0) for m in (self.x, self.y)]
        xy, xx, yy = (jnp.sum(w * matmul(m, w), axis=0) for m in (self.x * self.y, self.x * self.x, self.y * self.y))

        def inner(raw: Array, one: Array, other: Array) -> Array:
            return raw - safe_divide(one * other, pairs) if self.centered else raw

        norms = jnp.ones_like(count)
        for raw, total in ((xx, totals[0]), (yy, totals[1])):
            own = inner(raw, total, total)
            # What rounding leaves of equal entries is no spread.
            norms = norms * jnp.where(own > 64 * jnp.finfo(own.dtype).eps * raw, safe_sqrt(own), 0)
        score = safe_divide(inner(xy, *totals), norms, otherwise=jnp.nan)
        return jnp.where(self.defined, score, jnp.nan)


@pytree_dataclass
class ReweightedRanks:
    """The rank correlation of two dissimilarity matrices as a function of weights of the examples.

    Pairs are put in order once; with other weights they have other ranks in the same order.

    Attributes:
      x: one matrix.
      y: the other.
      orders: the places of the entries of each, smallest first, `(m,)`.
      groups: first and last place in that order of the equals of each entry.
      score: the comparison.
    """

    x: RDM
    y: RDM
    orders: tuple[Int[Array, "m"], Int[Array, "m"]]
    groups: tuple[tuple[Array, Array], tuple[Array, Array]]
    score: RDMScore

    def __call__(self, weights: Float[Array, "n"]) -> Scalar:
        """The score of one weighted sample."""
        w = weights.astype(self.x.entries.dtype)
        columns, once = pairs_once(w.shape[0])
        counts = once.astype(w.dtype) * w[:, None] * take_rows(w, columns)
        one, other = (
            RDM(_ranks(counts, order, ends), counts, rdm.defined)
            for rdm, order, ends in zip((self.x, self.y), self.orders, self.groups, strict=True)
        )
        return self.score(one, other)

    def many(self, weights: Float[Array, "b n"]) -> Float[Array, "b"]:
        """The scores of several weighted samples."""
        return lax.map(self, weights)


def _ranks(counts: Float[Array, "n h"], order: Int[Array, "m"], ends: tuple[Array, Array]) -> Float[Array, "n h"]:
    """Ranks from 0 to 1 of entries that are there `counts` times, multiples of 1/2; equals share their mean."""
    flat = counts.reshape(-1)
    doubled = jnp.cumsum((2 * jnp.take(flat, order)).astype(jnp.int32))
    before = jnp.concatenate([jnp.zeros(1, jnp.int32), doubled]).astype(flat.dtype)
    shared = (jnp.take(before, ends[0]) + jnp.take(before, ends[1] + 1)) / 4
    found = jnp.zeros_like(flat).at[order].set(shared / jnp.maximum(jnp.sum(flat), 1), unique_indices=True)
    return jnp.where(flat > 0, found, 0).reshape(counts.shape)


def reweighted_rdms(score: RDMScore, x: RDM, y: RDM) -> ReweightedRDMs | ReweightedRanks:
    """The score of two dissimilarity matrices, for `"pearson"`, `"cosine"`, `"spearman"` and `"rho_a"`."""
    if score.comparison in ("spearman", "rho_a"):
        orders, groups = zip(*(_order(rdm) for rdm in (x, y)), strict=True)
        return ReweightedRanks(x, y, orders, groups, score)
    centered = score.comparison == "pearson"
    one, other = (full_matrix(rdm, centered=centered) for rdm in (x, y))
    return ReweightedRDMs(one, other, x.defined & y.defined, centered)


def _order(rdm: RDM) -> tuple[Int[Array, "m"], tuple[Array, Array]]:
    """The order of the entries that count, which are ranks, and the ends of groups of equals in it."""
    flat = jnp.where(rdm.weights > 0, rdm.entries, jnp.inf).reshape(-1)
    key, order = lax.sort((flat, lax.iota(jnp.int32, flat.shape[0])), num_keys=1, is_stable=False)
    return order, ends_of_groups(key[1:] != key[:-1])


def full_matrix(rdm: RDM, *, centered: bool) -> Float[Array, "n n"]:
    """The whole matrix, 0 on the diagonal and for examples that do not count; less the mean of all pairs if wanted."""
    entries = rdm.entries
    if centered:
        mean = jnp.sum(entries * rdm.weights) / jnp.maximum(jnp.sum(rdm.weights), 1)
        entries = jnp.where(rdm.weights > 0, entries - mean, 0)
    return symmetric_matrix(entries)
