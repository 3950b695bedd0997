"""Representational similarity analysis: dissimilarity matrices, and how alike two of them are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType

import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_choice, check_pair, check_rows
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.pairs import score_pairs
from jaxalign.signatures.rdm import DISSIMILARITIES, RDM, RDMSignature, dissimilarities

#: Entries of one matrix that are compared with all others at a time, for Kendall's tau.
BLOCK_ENTRIES = 64


def _centered(x: RDM) -> Float[Array, "n h"]:
    total = jnp.maximum(jnp.sum(x.weights), 1)
    # Twice, as for any mean: what the first leaves is the same everywhere.
    once = x.entries - jnp.sum(x.entries * x.weights) / total
    return once - jnp.sum(once * x.weights) / total


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


#: By the name that `rsa` takes; and what of the entries is compared.
COMPARISONS: Mapping[str, tuple[Callable[[RDM, RDM], Scalar], str]] = MappingProxyType(
    {
        "spearman": (_pearson, "rank"),
        "pearson": (_pearson, "value"),
        "cosine": (_plain_cosine, "value"),
        "kendall": (_tau_b, "order"),
        "tau_a": (_tau_a, "order"),
        "rho_a": (_rho_a, "rank"),
    }
)


@pytree_dataclass
class RDMScore:
    """How alike two dissimilarity matrices are.

    Attributes:
      comparison: one of `COMPARISONS`.
    """

    comparison: str = field(default="spearman", metadata={"static": True})

    def __call__(self, x: RDM, y: RDM) -> Scalar:
        """The score of one pair."""
        return jnp.where(x.defined & y.defined, COMPARISONS[self.comparison][0](x, y), jnp.nan)

    def matrix(self, a: Sequence[RDM], b: Sequence[RDM] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return score_pairs(self, a, b, symmetric=True)


def rsa_parts(metric: str, comparison: str) -> tuple[RDMSignature, RDMScore]:
    """Signature and score behind `rsa`.

    Raises:
      ValueError: for an unknown metric or comparison.
    """
    check_choice("rsa", "comparison", comparison, COMPARISONS)
    return RDMSignature(metric, COMPARISONS[comparison][1]), RDMScore(comparison)


@jit(static=("metric",))
def rdm(
    x: Float[Array, "n d"], *, metric: str = "correlation", mask: Bool[Array, "n"] | None = None
) -> Float[Array, "n n"]:
    r"""Representational dissimilarity matrix: a dissimilarity for every two examples.

    `"correlation"` 1 - Pearson correlation of two rows over features; `"cosine"` 1 - their cosine;
    `"euclidean"` their distance; `"sqeuclidean"` its square (not divided by the number of features).

    Args:
      x: activations, shape `(n, d)`; row `i` is example `i`.
      metric: as above.
      mask: shape `(n,)`; `False` rows are padding, may hold any value, and are NaN in the matrix.

    Returns:
      Shape `(n, n)`, symmetric, 0 on the diagonal. NaN against a row without direction: constant
      by correlation, 0 by cosine.

    Raises:
      ValueError: at trace time, when `x` is not an `(n, d)` matrix, or for an unknown metric.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> rdm(jnp.array([[0., 1.], [1., 0.], [0., 2.]]), metric="cosine").tolist()
      [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]

    Reference:
      Kriegeskorte, Mur and Bandettini (2008), Representational similarity analysis.
    """
    check_rows("rdm", x, mask)
    check_choice("rdm", "metric", metric, DISSIMILARITIES)
    found = dissimilarities(x, metric, mask)
    return found if mask is None else jnp.where(mask[:, None] & mask[None, :], found, jnp.nan)


@jit(static=("metric", "comparison"))
def rsa(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    metric: str = "correlation",
    comparison: str = "spearman",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Representational similarity analysis: how alike the dissimilarities of examples are in two inputs.

    Each two different examples count once. `"spearman"` and `"kendall"` (tau-b) correct for ties,
    `"rho_a"` and `"tau_a"` do not, so that a matrix with many ties cannot win by them; `"pearson"` and
    `"cosine"` compare the dissimilarities themselves. Cosine with squared Euclidean distances is not linear
    CKA, which centers the matrices.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      metric: dissimilarity of rows: `"correlation"`, `"cosine"`, `"euclidean"`, `"sqeuclidean"`.
      comparison: as above.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[-1, 1]`. NaN when all dissimilarities of an input are equal, or one is not defined (a
      constant row, by correlation; a zero row, by cosine). Where only the order counts, the last 6 bits of
      dissimilarities are dropped first, so that rounding breaks few ties; of those that differ by less
      than 1e-5 in float32, some become ties. Ranks take a sort of `n² / 2` numbers an input. Kendall's tau takes a
      time of order `n⁴`: for a few hundred examples. The gradient is 0 by ranks.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, an unknown metric or comparison.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0., 1., 4.], [1., 0., 2.], [2., 2., 1.], [0., 3., 1.]])
      >>> round(float(rsa(x, 2 * x)), 4)
      1.0

    Reference:
      Kriegeskorte, Mur and Bandettini (2008); comparisons: Nili et al. (2014), A toolbox for
      representational similarity analysis; rho-a: Schütt et al. (2023).
    """
    check_pair("rsa", x, y, mask)
    signature, score = rsa_parts(metric, comparison)
    dtype = accum_dtype(x, y)
    return score(signature(x.astype(dtype), mask), signature(y.astype(dtype), mask))
