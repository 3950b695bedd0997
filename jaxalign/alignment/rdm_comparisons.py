"""Comparisons of dissimilarity matrices: correlations of values and ranks, and inner products of second moments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from jax import lax

from jaxalign._core.inversions import count_inversions, exact_sum
from jaxalign._core.linalg import nuclear_norm
from jaxalign._core.numerics import matmul, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Scalar
from jaxalign.alignment.kernel_reordering import ByMatrices
from jaxalign.alignment.pairs import score_pairs, stack
from jaxalign.alignment.rdm_reordering import OfProducts
from jaxalign.alignment.reordering import OfSignatures
from jaxalign.signatures.dissimilarities import Dissimilarity
from jaxalign.signatures.pair_orders import PairOrder, PairOrderSignature
from jaxalign.signatures.rdm import RDM, SCALES, RDMSignature, ends_of_groups, symmetric_matrix
from jaxalign.signatures.second_moments import SecondMoment, SecondMomentSignature

#: What may be kept of a representation.
Kept = RDM | PairOrder | SecondMoment


def _centered(x: RDM) -> Float[Array, "n h"]:
    total = jnp.maximum(jnp.sum(x.weights), 1)
    # Twice, as for any mean: what the first leaves is the same everywhere.
    once = x.entries - jnp.sum(x.entries * x.weights) / total
    centered = once - jnp.sum(once * x.weights) / total
    spread, size = (safe_sqrt(jnp.sum(v * v * x.weights)) for v in (centered, x.entries))
    # What rounding leaves of equal entries is no spread.
    return jnp.where(spread > 64 * jnp.finfo(size.dtype).eps * size, centered, 0)


def _cosine(x: Array, y: Array, weights: Array) -> Scalar:
    norms = safe_sqrt(jnp.sum(x * x * weights)) * safe_sqrt(jnp.sum(y * y * weights))
    return safe_divide(jnp.sum(x * y * weights), norms, otherwise=jnp.nan)


def _pearson(x: RDM, y: RDM) -> Scalar:
    return _cosine(_centered(x), _centered(y), x.weights)


def _plain_cosine(x: RDM, y: RDM) -> Scalar:
    return _cosine(x.entries, y.entries, x.weights)


def _rho_a(x: RDM, y: RDM) -> Scalar:
    """Spearman's coefficient without a correction for ties: that of random ranks among equals, on average."""
    total = jnp.maximum(jnp.sum(x.weights), 1)
    covariance = jnp.sum(_centered(x) * _centered(y) * x.weights)
    # Ranks go up to 1: the sum of squares of `total` different ones is (total² - 1) / (12 total).
    return jnp.where(total > 1, covariance * 12 * total / jnp.maximum(total * total - 1, 1), jnp.nan)


def _agreement(x: PairOrder, y: PairOrder) -> Scalar:
    """Pairs of dissimilarities in the same order, less those in opposite orders."""
    place = lax.iota(jnp.int32, x.order.shape[0])
    pairs = x.count * (x.count - 1) / 2

    def without_ties() -> tuple[Scalar, Scalar]:
        return count_inversions(y.ranks[x.order], pairs.dtype), jnp.zeros_like(pairs)

    def with_ties() -> tuple[Scalar, Scalar]:
        # Equals of one are in the order of the other: they then are no inversions.
        _, by_x = lax.sort((x.ranks[y.order], y.order), num_keys=1, is_stable=True)
        _, by_y = lax.sort((y.ranks[x.order], x.order), num_keys=1, is_stable=True)
        at = jnp.zeros_like(place).at[by_y].set(place, unique_indices=True)
        one, other = x.ranks[by_x], y.ranks[by_x]
        _, last = ends_of_groups((one[1:] != one[:-1]) | (other[1:] != other[:-1]))
        return count_inversions(at[by_x], pairs.dtype), exact_sum(last - place, pairs.dtype)

    tied = (x.untied < pairs) | (y.untied < pairs)
    opposite, equal_in_both = lax.cond(tied, with_ties, without_ties)
    return x.untied + y.untied - pairs + equal_in_both - 2 * opposite


def _tau_a(x: PairOrder, y: PairOrder) -> Scalar:
    return safe_divide(_agreement(x, y), x.count * (x.count - 1) / 2, otherwise=jnp.nan)


def _tau_b(x: PairOrder, y: PairOrder) -> Scalar:
    return safe_divide(_agreement(x, y), safe_sqrt(x.untied) * safe_sqrt(y.untied), otherwise=jnp.nan)


def _inner(x: SecondMoment, y: SecondMoment) -> Scalar:
    return jnp.sum(x.entries * y.entries)


def _bures(x: SecondMoment, y: SecondMoment) -> Scalar:
    """`tr((G1^½ G2 G1^½)^½)` from the roots."""
    return nuclear_norm(matmul(x.entries, y.entries))


def _as_cosine(x: RDM, entries: Float[Array, "n h"]) -> tuple[Float[Array, "n n"], Scalar]:
    """A symmetric matrix and a factor: products of matrices, times their factors, are cosines of entries."""
    entries = jnp.where(x.weights > 0, entries, 0)
    # The matrix holds every pair twice.
    norm = safe_sqrt(2 * jnp.sum(entries * entries * x.weights))
    return symmetric_matrix(entries), safe_divide(jnp.ones_like(norm), norm, otherwise=jnp.nan)


def _as_correlation(x: RDM) -> tuple[Float[Array, "n n"], Scalar]:
    return _as_cosine(x, _centered(x))


def _as_plain_cosine(x: RDM) -> tuple[Float[Array, "n n"], Scalar]:
    return _as_cosine(x, x.entries)


def _as_rho_a(x: RDM) -> tuple[Float[Array, "n n"], Scalar]:
    total = jnp.maximum(jnp.sum(x.weights), 1)
    variance = jnp.where(total > 1, (total * total - 1) / (12 * total), jnp.nan)
    return _as_correlation(x)[0], 1 / safe_sqrt(2 * variance)


def _as_inner(x: SecondMoment) -> tuple[Float[Array, "n n"], Scalar]:
    return x.entries, jnp.ones((), x.entries.dtype)


#: Comparisons that are inner products of symmetric matrices, of which each has a factor.
AS_PRODUCTS: Mapping[str, Callable[[Any], tuple[Array, Scalar]]] = MappingProxyType(
    {
        "spearman": _as_correlation,
        "pearson": _as_correlation,
        "cosine": _as_plain_cosine,
        "rho_a": _as_rho_a,
        "whitened_cosine": _as_inner,
        "whitened_correlation": _as_inner,
    }
)
#: By the name that `rsa` takes; and what of the matrices is compared.
COMPARISONS: Mapping[str, tuple[Callable[[Any, Any], Scalar], str]] = MappingProxyType(
    {
        "spearman": (_pearson, "rank"),
        "pearson": (_pearson, "value"),
        "cosine": (_plain_cosine, "value"),
        "kendall": (_tau_b, "order"),
        "tau_a": (_tau_a, "order"),
        "rho_a": (_rho_a, "rank"),
        "whitened_cosine": (_inner, "moment"),
        "whitened_correlation": (_inner, "deviation"),
        "bures": (_bures, "root"),
    }
)


def compared_signature(
    dissimilarity: Dissimilarity, comparison: str
) -> RDMSignature | PairOrderSignature | SecondMomentSignature:
    """What is kept of a representation for a comparison."""
    kept = COMPARISONS[comparison][1]
    if kept == "order":
        return PairOrderSignature(dissimilarity)
    return RDMSignature(dissimilarity, kept) if kept in SCALES else SecondMomentSignature(dissimilarity, kept)


@pytree_dataclass
class RDMScore:
    """How alike two dissimilarity matrices are.

    Attributes:
      comparison: one of `COMPARISONS`.
    """

    comparison: str = field(default="spearman", metadata={"static": True})

    def __call__(self, x: Kept, y: Kept) -> Scalar:
        """The score of one pair."""
        return jnp.where(x.defined & y.defined, COMPARISONS[self.comparison][0](x, y), jnp.nan)

    def matrix(self, a: Sequence[Any], b: Sequence[Any] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return score_pairs(self, a, b, symmetric=True)

    def reordering(self, a: Sequence[Any], b: Sequence[Any]) -> OfProducts | OfSignatures:
        """Scores as a function of the order of the examples of `b`; no entry is ranked anew."""
        if self.comparison not in AS_PRODUCTS:
            return OfSignatures(self, list(a), list(b))
        (matrices_a, factors_a), (matrices_b, factors_b) = (self._as_products(side) for side in (a, b))
        return OfProducts(ByMatrices.of(matrices_a, matrices_b), factors_a[:, None] * factors_b[None, :])

    def _as_products(self, side: Sequence[Any]) -> tuple[Float[Array, "L n n"], Float[Array, "L"]]:
        """Matrices, and the factor of each; NaN where there is no score."""
        layers = stack(side, range(len(side)))
        matrices, factors = lax.map(AS_PRODUCTS[self.comparison], layers)
        return matrices, jnp.where(layers.defined, factors, jnp.nan)
