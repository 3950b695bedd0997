"""Representational similarity analysis: dissimilarity matrices, and how alike two of them are."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.checks import check_choice, check_floating, check_pair, check_rows, describe
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.alignment.rdm_comparisons import COMPARISONS, RDMScore, compared_signature
from jaxalign.signatures.dissimilarities import (
    NOISE_METRICS,
    Dissimilarity,
    check_dissimilarity,
    check_divides,
    dissimilarities,
    examples_that_count,
)
from jaxalign.signatures.pair_orders import PairOrderSignature
from jaxalign.signatures.rdm import RDMSignature
from jaxalign.signatures.second_moments import SecondMomentSignature
from jaxalign.signatures.whitened import warn_if_spanning


def rsa_parts(
    metric: str, comparison: str, repeats: int = 1
) -> tuple[RDMSignature | PairOrderSignature | SecondMomentSignature, RDMScore]:
    """Signature and score behind `rsa`.

    Raises:
      ValueError: for an unknown metric or comparison, or too few repeats for the metric.
      TypeError: for repeats that are no integer.
    """
    check_choice("rsa", "comparison", comparison, COMPARISONS)
    return compared_signature(Dissimilarity(metric, repeats), comparison), RDMScore(comparison)


def _check_noise(metric: str, noise: Array, x: Array) -> None:
    if metric not in NOISE_METRICS:
        raise ValueError(f"rdm: noise is used by {' and '.join(NOISE_METRICS)} only, got metric={metric!r}")
    check_floating("rdm", "noise", noise)
    if noise.shape != (x.shape[1], x.shape[1]):
        raise ValueError(
            f"rdm: noise must be a covariance of shape ({x.shape[1]}, {x.shape[1]}), got {describe(noise)}"
        )


@jit(static=("metric", "repeats"))
def rdm(
    x: Float[Array, "n d"],
    *,
    metric: str = "correlation",
    repeats: int = 1,
    noise: Float[Array, "d d"] | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, "m m"]:
    r"""Representational dissimilarity matrix: a dissimilarity for every two examples.

    - `"correlation"` 1 - Pearson correlation of two rows over features; `"cosine"` 1 - their cosine;
    - `"euclidean"` their distance; `"sqeuclidean"` its square;
    - `"mahalanobis"` their distance in units of a covariance $S$: $\sqrt{(x_i - x_j)^\top S^{-1} (x_i - x_j)}$;
    - `"crossnobis"` the square of that for repeated measurements, cross-validated: the mean over ordered pairs of
      different repeats $a \ne b$ of $(x_i^a - x_j^a)^\top S^{-1} (x_i^b - x_j^b)$, which noise does not raise;
    - `"poisson"` divergence of Poisson rates, both ways: $\sum_c (\lambda_{ic} - \lambda_{jc})
      (\log \lambda_{ic} - \log \lambda_{jc})$ with $\lambda = (x + 0.1) / 1.1$, a count drawn a little to the rate 1.

    None is divided by the number of features.

    Args:
      x: activations, shape `(n, d)`; row `i` is example `i`.
      metric: as above.
      repeats: how often every example was measured: row `b * m + i` is measurement `b` of example `i` of
        `m = n / repeats`. At least 2 for `"crossnobis"`; other metrics take the mean of the repeats.
      noise: $S$, a covariance `(d, d)`, a JAX or NumPy array; only for `"mahalanobis"`, for which it is otherwise the
        covariance of the examples (divided by `m - 1`), and `"crossnobis"`, for which it is otherwise that
        of the measurements about the mean of their example (divided by `m (repeats - 1)`), shrunk to a multiple of the
        identity by the rule of Ledoit and Wolf for all `n` residuals.
      mask: shape `(n,)`; `False` rows are padding and may hold any value. An example counts when all its
        repeats do; others are NaN in the matrix.

    Returns:
      Shape `(m, m)`, symmetric, 0 on the diagonal. `"crossnobis"` is unbiased for a noise that is independent
      between repeats and a given $S$, so it may be negative. NaN against a row for which the metric is not
      defined: constant by correlation, 0 by cosine, with a negative entry by poisson; everywhere by crossnobis when
      there is no noise. Directions without any noise count for nothing. With no more examples than
      features + 1, distances by their own covariance are all equal, and a warning says so.

    Raises:
      ValueError: at trace time, when `x` is not an `(n, d)` matrix, for an unknown metric, repeats that do not divide
        `n` or are too few for crossnobis, a noise of another shape or for a metric that has none.
      TypeError: at trace time, on non-floating input, or repeats that are no integer.

    Example:
      >>> rdm(jnp.array([[0., 1.], [1., 0.], [0., 2.]]), metric="cosine").round(5).tolist()
      [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]

    Reference:
      Kriegeskorte, Mur and Bandettini (2008), Representational similarity analysis; crossnobis: Walther et al. (2016),
      Reliability of dissimilarity measures for multi-voxel pattern analysis; noise: Ledoit and Wolf (2004), A
      well-conditioned estimator for large-dimensional covariance matrices; poisson: Schütt et al. (2023). rsatoolbox
      divides by the number of features, calls the square "euclidean" and "mahalanobis", and takes a precision
      matrix for noise, the identity when there is none.
    """
    check_rows("rdm", x, mask)
    check_dissimilarity("rdm", metric, repeats)
    check_divides("rdm", repeats, x.shape[0])
    if noise is not None:
        _check_noise(metric, noise, x)
        dtype = accum_dtype(x, noise)
        x, noise = x.astype(dtype), noise.astype(dtype)
    elif metric == "mahalanobis":
        warn_if_spanning(x[: x.shape[0] // repeats])
    mask = examples_that_count(mask, repeats)
    found = dissimilarities(x, metric, mask, repeats=repeats, noise=noise)
    return found if mask is None else jnp.where(mask[:, None] & mask[None, :], found, jnp.nan)


@jit(static=("metric", "comparison", "repeats"))
def rsa(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    metric: str = "correlation",
    comparison: str = "spearman",
    repeats: int = 1,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Representational similarity analysis: how alike the dissimilarities of examples are in two inputs.

    Each two different examples count once. `"spearman"` and `"kendall"` (tau-b) correct for ties,
    `"rho_a"` and `"tau_a"` do not, so that a matrix with many ties cannot win by them; `"pearson"` and
    `"cosine"` compare the dissimilarities themselves.

    Dissimilarities that share an example are not independent. The other comparisons take them for squared
    distances $D$ and compare the second moments $G = -HDH / 2$, with $H$ that centers:

    - `"whitened_cosine"` their cosine, $\langle G_1, G_2 \rangle / (\|G_1\|_F \|G_2\|_F)$: linear CKA for
      `"sqeuclidean"`;
    - `"whitened_correlation"` the same after the mean dissimilarity is taken off, the part of $G$ along $H$, so that
      inputs with all examples equally far apart gain nothing by it;
    - `"bures"` their normalized Bures similarity, $\mathrm{tr}\,(G_1^{1/2} G_2\, G_1^{1/2})^{1/2} /
      \sqrt{\mathrm{tr}\,G_1\, \mathrm{tr}\,G_2}$ with negative eigenvalues taken for 0: for `"sqeuclidean"` the cosine
      of `angular_procrustes`, which is cheaper.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      metric: dissimilarity of rows: `"correlation"`, `"cosine"`, `"euclidean"`, `"sqeuclidean"`, `"mahalanobis"`,
        `"crossnobis"`, `"poisson"`; see `rdm`. For a noise covariance of your own multiply the inputs
        by its inverse square root and take `"sqeuclidean"`.
      comparison: as above.
      repeats: how often every example was measured, in both inputs; see `rdm`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[-1, 1]`; `"bures"` in `[0, 1]`, and so `"cosine"` and `"whitened_cosine"`, except with
      `"crossnobis"` and, whitened, with `"poisson"`. NaN when all dissimilarities of an input are equal (by
      `"cosine"`, `"whitened_cosine"`, `"bures"`: are 0), or one is not defined (see `rdm`). Where only the order
      counts, the last 6 bits of dissimilarities are dropped first, so that rounding breaks few ties; of those that
      differ by less than 1e-5 in float32, some become ties. Ranks take a sort of `n² / 2` numbers an input, `"bures"`
      a decomposition of an `n × n` matrix an input and another one a pair. Kendall's tau sorts twice more a pair.
      The gradient is 0 by ranks, finite by the others, and by `"bures"` exact where no eigenvalue is negative.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, an unknown metric or comparison, repeats that do not
        divide the rows or are too few for crossnobis.
      TypeError: at trace time, on non-floating input, or repeats that are no integer.

    Example:
      >>> x = jnp.array([[0., 1., 4.], [1., 0., 2.], [2., 2., 1.], [0., 3., 1.]])
      >>> round(float(rsa(x, 2 * x)), 4)
      1.0

    Reference:
      Kriegeskorte, Mur and Bandettini (2008); comparisons: Nili et al. (2014), A toolbox for
      representational similarity analysis; rho-a: Schütt et al. (2023); whitened: Diedrichsen et al. (2021),
      arXiv:2007.02789.
    """
    check_pair("rsa", x, y, mask)
    signature, score = rsa_parts(metric, comparison, repeats)
    dtype = accum_dtype(x, y)
    return score(signature(x.astype(dtype), mask), signature(y.astype(dtype), mask))
