"""Comparisons of dissimilarity matrices: correlations of values and ranks, and inner products of second moments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from jax import lax

from jaxalign._core.linalg import nuclear_norm
from jaxalign._core.numerics import matmul, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Scalar
from jaxalign.alignment.pairs import score_pairs
from jaxalign.signatures.dissimilarities import Dissimilarity
from jaxalign.signatures.rdm import RDM, SCALES, RDMSignature
from jaxalign.signatures.second_moments import SecondMoment, SecondMomentSignature

#: Entries of one matrix that are compared with all others at a time, for Kendall's tau.
BLOCK_ENTRIES = 64


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


def _tau(x: RDM, y: RDM, *, corrected: bool) -> Scalar:
    """Kendall's tau: orders of two entries that agree, less those that do not, over all, or over those not tied."""
    one, other, weights = (values.reshape(-1) for values in (x.entries, y.entries, x.weights))

    def against_all(entry: tuple[Array, Array, Array]) -> tuple[Scalar, Scalar, Scalar]:
        signs_x, signs_y = jnp.sign(entry[0] - one), jnp.sign(entry[1] - other)
        weight = entry[2] * weights
        return (
            jnp.sum(signs_x * signs_y * weight),
            jnp.sum(jnp.abs(signs_x) * weight),
            jnp.sum(jnp.abs(signs_y) * weight),
        )

    agreement, untied_x, untied_y = (
        jnp.sum(part) for part in lax.map(against_all, (one, other, weights), batch_size=BLOCK_ENTRIES)
    )
    total = jnp.sum(weights)
    norm = safe_sqrt(untied_x) * safe_sqrt(untied_y) if corrected else total * (total - 1)
    return safe_divide(agreement, norm, otherwise=jnp.nan)


def _tau_a(x: RDM, y: RDM) -> Scalar:
    return _tau(x, y, corrected=False)


def _tau_b(x: RDM, y: RDM) -> Scalar:
    return _tau(x, y, corrected=True)


def _inner(x: SecondMoment, y: SecondMoment) -> Scalar:
    return jnp.sum(x.entries * y.entries)


def _bures(x: SecondMoment, y: SecondMoment) -> Scalar:
    """`tr((G1^½ G2 G1^½)^½)` from the roots."""
    return nuclear_norm(matmul(x.entries, y.entries))


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


def compared_signature(dissimilarity: Dissimilarity, comparison: str) -> RDMSignature | SecondMomentSignature:
    """What is kept of a representation for a comparison."""
    kept = COMPARISONS[comparison][1]
    return RDMSignature(dissimilarity, kept) if kept in SCALES else SecondMomentSignature(dissimilarity, kept)


@pytree_dataclass
class RDMScore:
    """How alike two dissimilarity matrices are.

    Attributes:
      comparison: one of `COMPARISONS`.
    """

    comparison: str = field(default="spearman", metadata={"static": True})

    def __call__(self, x: RDM | SecondMoment, y: RDM | SecondMoment) -> Scalar:
        """The score of one pair."""
        return jnp.where(x.defined & y.defined, COMPARISONS[self.comparison][0](x, y), jnp.nan)

    def matrix(self, a: Sequence[Any], b: Sequence[Any] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return score_pairs(self, a, b, symmetric=True)
