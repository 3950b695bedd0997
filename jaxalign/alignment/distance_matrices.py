"""Differences of two matrices of dissimilarities, entry by entry."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType

import jax.numpy as jnp

from jaxalign._core.checks import check_choice, check_pair
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype, binary_scale, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.pairs import score_pairs
from jaxalign.signatures.dissimilarities import DISSIMILARITIES, Dissimilarity
from jaxalign.signatures.distance_matrix import DistanceMatrix, DistanceMatrixSignature

#: What `rsm_distance` compares rows by: all that need no repeats.
METRICS = tuple(metric for metric in DISSIMILARITIES if metric != "crossnobis")
#: Whether `distance_alignment` looks at directions of rows, or at rows as they are.
ROWS = ("unit", "raw")


def _frobenius(matrix: Float[Array, "n n"]) -> Scalar:
    return safe_sqrt(jnp.sum(matrix * matrix))


def _spectral(matrix: Float[Array, "n n"]) -> Scalar:
    return jnp.max(jnp.abs(jnp.linalg.eigvalsh(matrix)))


def _vector(matrix: Float[Array, "n n"]) -> Scalar:
    return _frobenius(matrix) / math.sqrt(2)


#: Of a symmetric matrix with 0 on the diagonal.
NORMS: Mapping[str, Callable[[Array], Scalar]] = MappingProxyType(
    {"frobenius": _frobenius, "spectral": _spectral, "vector": _vector}
)


@pytree_dataclass
class DifferenceNorm:
    """The norm of the difference of two matrices.

    Attributes:
      norm: one of `NORMS`.
    """

    norm: str = field(default="frobenius", metadata={"static": True})

    def __call__(self, x: DistanceMatrix, y: DistanceMatrix) -> Scalar:
        """The score of one pair."""
        difference = x.entries - y.entries
        scale = binary_scale(difference)
        return jnp.where(x.defined & y.defined, NORMS[self.norm](difference * scale) / scale, jnp.nan)

    def matrix(self, a: Sequence[DistanceMatrix], b: Sequence[DistanceMatrix] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return score_pairs(self, a, b, symmetric=True)


@pytree_dataclass
class MeanSquaredDifference:
    """The mean of the squared differences of all entries, those on the diagonal as well.

    Attributes:
      factor: what entries are multiplied by first.
    """

    factor: float = field(default=1.0, metadata={"static": True})

    def __call__(self, x: DistanceMatrix, y: DistanceMatrix) -> Scalar:
        """The score of one pair."""
        root = self.factor * safe_divide(DifferenceNorm()(x, y), x.count, otherwise=jnp.nan)
        return root * root

    def matrix(self, a: Sequence[DistanceMatrix], b: Sequence[DistanceMatrix] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return score_pairs(self, a, b, symmetric=True)


def rsm_distance_parts(norm: str, metric: str) -> tuple[DistanceMatrixSignature, DifferenceNorm]:
    """Signature and score behind `rsm_distance`.

    Raises:
      ValueError: for an unknown norm or metric.
    """
    check_choice("rsm_distance", "norm", norm, NORMS)
    check_choice("rsm_distance", "metric", metric, METRICS)
    return DistanceMatrixSignature(Dissimilarity(metric)), DifferenceNorm(norm)


def distance_alignment_parts(rows: str, centered: bool) -> tuple[DistanceMatrixSignature, MeanSquaredDifference]:
    """Signature and score behind `distance_alignment`.

    Raises:
      ValueError: for other rows.
    """
    check_choice("distance_alignment", "rows", rows, ROWS)
    # The squared distance of unit rows is twice one minus their cosine.
    metric, factor = ("cosine", 2.0) if rows == "unit" else ("sqeuclidean", 1.0)
    return DistanceMatrixSignature(Dissimilarity(metric), centered), MeanSquaredDifference(factor)


@jit(static=("norm", "metric"))
def rsm_distance(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    norm: str = "frobenius",
    metric: str = "euclidean",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Norm of the difference of two dissimilarity matrices.

    $$\|D_x - D_y\|$$

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      norm: `"frobenius"`; `"vector"`, with every two examples once, smaller by the root of 2; `"spectral"`, the
        largest magnitude of an eigenvalue.
      metric: dissimilarity of rows, as for `rdm`, except crossnobis.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, at least 0, in the units of the dissimilarities, which grow with those of the inputs by
      `"euclidean"`, `"sqeuclidean"` and `"poisson"`: a metric on matrices. It grows with the number of examples, and
      takes matrices of `n × n`.
      NaN when a dissimilarity is not defined. The gradient is finite, and 0 at distance 0; the spectral norm
      has none where two eigenvalues have the largest magnitude, and one of those between is returned.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, an unknown norm or metric.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0.], [1.], [3.]])
      >>> round(float(rsm_distance(x, 2 * x, norm="vector")), 4)
      3.7417

    Reference:
      Klabunde et al. (2025), arXiv:2305.06329. Their code returns the spectral norm where it says the norm of the
      vector of entries.
    """
    check_pair("rsm_distance", x, y, mask)
    signature, score = rsm_distance_parts(norm, metric)
    dtype = accum_dtype(x, y)
    return score(signature(x.astype(dtype), mask), signature(y.astype(dtype), mask))


@jit(static=("rows", "centered"))
def distance_alignment(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    rows: str = "unit",
    centered: bool = False,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Distance alignment: the mean squared difference of squared distances; 0 for inputs that are alike.

    $$D = \frac{1}{n^2} \sum_{ij} \big(d_x(i, j)^2 - d_y(i, j)^2\big)^2$$

    For unit rows it is $4 (N_x^2 + N_y^2 - 2 A N_x N_y)$ with the uncentered alignment $A$ of the kernel
    matrices and $N = \|K\|_F / n$, so $8 N^2 (1 - A)$ where these are equal. Centered, the same holds for any
    rows with CKA and the norms of centered kernel matrices.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      rows: `"unit"` divides every row by its length first, `"raw"` does not.
      centered: take off the means of rows and columns of squared distances first.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, at least 0, larger is farther: at most 8 for unit rows, in the fourth power of the inputs' units
      for raw ones. NaN for unit rows when one is 0. The gradient is finite. It takes matrices of `n × n`.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, or unknown `rows`.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[1., 0.], [0., 1.], [0., 2.]])
      >>> float(distance_alignment(x, -x)), float(distance_alignment(x, x[:, :1] + 1))
      (0.0, 1.7777779...)

    Reference:
      Insulla, Huang and Rosasco (2025), arXiv:2502.14047, whose relation to alignment, `8 C (1 - A)`, holds for
      `C` the square of the norm; the general and the centered form are derived for this project.
    """
    check_pair("distance_alignment", x, y, mask)
    signature, score = distance_alignment_parts(rows, centered)
    dtype = accum_dtype(x, y)
    return score(signature(x.astype(dtype), mask), signature(y.astype(dtype), mask))
