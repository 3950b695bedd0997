"""What a score is on average over all permutations of the examples, where that is known, and scores above it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from jaxalign._core.numerics import cross_matmul, row_count
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.cca import OF_SQUARES, CorrelationScore
from jaxalign.alignment.kernel import KernelScore
from jaxalign.alignment.neighbors import NeighborScore
from jaxalign.alignment.outputs import PredictionScore
from jaxalign.alignment.regression import PredictivityScore
from jaxalign.engines.planner import gram_products
from jaxalign.inference.arguments import checked_pair
from jaxalign.kernels.gram import Gram
from jaxalign.measures.measure import Measure
from jaxalign.signatures.neighbors import Neighbors
from jaxalign.signatures.outputs import Predictions
from jaxalign.signatures.whitened import Regressor, Whitened


def chance_level(
    measure: Measure, x: Float[Array, "n p"], y: Float[Array, "n q"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    r"""The mean of a score over all `n!` permutations of the examples of one input, exactly.

    | score | mean |
    |---|---|
    | kernel matrices $K$, $L$, as centered | $\frac{\mathrm{tr}K\,\mathrm{tr}L}{n} + \frac{s_K s_L}{n(n-1)}$ |
    | `mutual_knn` | $k / (n-1)$ |
    | `linear_predictivity`, in sample | $(2\,\mathrm{tr}P - \mathrm{tr}P^2) / (n-1)$, $r_x / (n-1)$ without a ridge |
    | `cca(reduce="mean_squared")`, `"yanai"` | $r_x r_y / (n-1)$ over $\min(r_x, r_y)$, $\sqrt{r_x r_y}$ |
    | `eigenspace_overlap` | $s_x s_y + (r_x - s_x)(r_y - s_y) / (n-1)$ over $\max(r_x, r_y)$ |
    | `disagreement`, `cohen_kappa` | $1 - \sum_c p_c q_c$, 0 |

    The first is divided by what the score divides by; $s$ is the sum of the entries off the diagonal. Of a centered
    matrix it is $-\mathrm{tr}K$, and the mean $\mathrm{tr}K\,\mathrm{tr}L / (n-1)$; of a U-centered one both are 0.
    Ranks are $r$, the hat matrix is $P$, $s_x$ the share of the constant vector that lies in a span, and $p_c$ how
    often a class is predicted.

    Args:
      measure: `cka` (biased, unbiased, lange), `kernel_alignment`, `hsic`, the unbiased `distance_correlation` and
        `distance_covariance`, or one of the table. Not a root or an angle.
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      mask: shape `(n,)`; `False` rows are padding and may hold any value. They are not permuted.

    Returns:
      A scalar in the units of the score; NaN where the score is. A kernel that is no inner product
      takes a matrix of `n × n` for it.

    Raises:
      ValueError: for another measure, whose mean `calibrate` estimates; and on rank or row-count mismatch.
      TypeError: on non-floating input, or when `measure` is not a measure.

    Example:
      >>> from jaxalign import measures
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [3., 1.], [1., 5.]])
      >>> round(float(chance_level(measures.cka(), x, x[:, :1] ** 2)), 3)
      0.318

    Reference:
      RV and CKA: Kazi-Aoual et al. (1995); mutual kNN: Gröger et al. (2026), arXiv:2602.14486. The others follow from
      the mean of $\langle A, \Pi B \Pi^\top \rangle$ for two symmetric matrices, which is the first row.
    """
    checked = checked_pair("chance_level", measure, x, y, mask)
    _mean_of("chance_level", measure)
    return _level(measure, *checked)


def chance_adjusted(
    measure: Measure, x: Float[Array, "n p"], y: Float[Array, "n q"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    r"""A score with its chance level taken off: 0 at chance, 1 at best.

    $$(s - c) / (s_\mathrm{best} - c)$$

    with the `chance_level` $c$ of these inputs. For a distance $s_\mathrm{best}$ is its lower bound. Cohen's kappa
    and the adjusted Rand index are made this way.

    Args:
      measure: one that `chance_level` takes, with a finite bound.
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, at most 1; negative below chance. NaN where the score is, and where chance is already best.

    Raises:
      ValueError: for a measure without a known chance level or without a bound, and on rank or row-count mismatch.
      TypeError: on non-floating input, or when `measure` is not a measure.

    Example:
      >>> from jaxalign import measures
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [3., 1.], [1., 5.]])
      >>> round(float(chance_adjusted(measures.cka(), x, x[:, :1])), 3)
      0.025

    Reference:
      Vinh, Epps and Bailey (2010), Information theoretic measures for clusterings comparison; for
      representations: Gröger et al. (2026), arXiv:2602.14486.
    """
    function = "chance_adjusted"
    checked = checked_pair(function, measure, x, y, mask)
    _mean_of(function, measure)
    best = _best(measure)
    if not math.isfinite(best):
        raise ValueError(f"{function}: measure must have a best value, got {measure.definition}, which has no bound")
    return _adjusted(measure, *checked)


def _best(measure: Measure) -> float:
    return measure.bounds[1] if measure.larger_is_closer else measure.bounds[0]


@jax.jit
def _level(measure: Measure, x: Array, y: Array, mask: Array | None) -> Scalar:
    return _score_and_level(measure, x, y, mask)[1]


@jax.jit
def _adjusted(measure: Measure, x: Array, y: Array, mask: Array | None) -> Scalar:
    score, level = _score_and_level(measure, x, y, mask)
    room = _best(measure) - level
    apart = jnp.abs(room) > 8 * jnp.finfo(room.dtype).eps
    return jnp.where(apart, (score - level) / jnp.where(apart, room, 1), jnp.nan)


def _score_and_level(measure: Measure, x: Array, y: Array, mask: Array | None) -> tuple[Scalar, Scalar]:
    one = measure.signature(x, mask)
    other = (measure.signature_y or measure.signature)(y, mask)
    score = measure.score(one, other)
    level = _mean_of("chance_level", measure)(measure.score, one, other, row_count(x, mask))
    return score, jnp.where(jnp.isnan(score), jnp.nan, level)


Mean = Callable[[Any, Any, Any, Scalar], Scalar]


def _mean_of(function: str, measure: Measure) -> Mean:
    """What computes the mean from score, signatures and number of examples.

    Raises:
      ValueError: where it is not known.
    """
    score = measure.score
    known = {
        KernelScore: (getattr(score, "form", "value") == "value", _kernel_mean),
        NeighborScore: (getattr(score, "agreement", "") == "overlap", _overlap_mean),
        PredictivityScore: (True, _predictivity_mean),
        CorrelationScore: (getattr(score, "reduce", "") in OF_SQUARES, _correlation_mean),
        PredictionScore: (True, _prediction_mean),
    }
    holds, mean = known.get(type(score), (False, _kernel_mean))
    if not holds:
        raise ValueError(
            f"{function}: no closed form is known for the mean of {measure.definition} over permutations; "
            "calibrate estimates it for every measure"
        )
    return mean


def _kernel_mean(score: KernelScore, x: Gram, y: Gram, n: Scalar) -> Scalar:
    products = gram_products([x], [y], centering=score.centering, norms=score.scaling == "cosine")
    (trace_x, rest_x), (trace_y, rest_y) = (_sums(gram, score.centering, n) for gram in (x, y))
    mean = trace_x * trace_y / n + rest_x * rest_y / (n * jnp.maximum(n - 1, 1))
    expected = jnp.where(jnp.isnan(products.cross), jnp.nan, mean[None, None])
    return score.finish(replace(products, cross=expected))[0, 0]


def _sums(gram: Gram, centering: str, n: Scalar) -> tuple[Scalar, Scalar]:
    """The trace of the centered matrix, and the sum of its other entries, in the units of its tiles."""
    zero = jnp.zeros((), gram.raw.dtype)
    if centering == "unbiased":
        return zero, zero
    trace = jnp.sum(gram.diagonal)
    if gram.kernel.dot_product:
        total = jnp.sum(jnp.sum(gram.rows, axis=0) ** 2)
    else:
        total = jnp.sum(jnp.sum(gram.tile(gram), axis=1))
    if centering == "none":
        return trace, total - trace
    centered = trace - total / n
    return (zero if centering == "hollow" else centered), -centered


def _overlap_mean(_: NeighborScore, x: Neighbors, y: Neighbors, n: Scalar) -> Scalar:
    return x.ids.shape[1] / jnp.maximum(n - 1, 1)


def _predictivity_mean(_: PredictivityScore, x: Regressor, y: Regressor, n: Scalar) -> Scalar:
    basis = x.whitened.rows
    product = cross_matmul(basis, basis)
    return (2 * jnp.trace(product) - jnp.sum(product * product)) / jnp.maximum(n - 1, 1)


def _correlation_mean(score: CorrelationScore, x: Whitened, y: Whitened, n: Scalar) -> Scalar:
    # How much of the projector is that on the constant vector: 0 when columns were centered.
    level_x, level_y = (jnp.sum(jnp.sum(side.rows, axis=0) ** 2) / n for side in (x, y))
    squares = level_x * level_y + (x.rank - level_x) * (y.rank - level_y) / jnp.maximum(n - 1, 1)
    return squares / jnp.maximum(OF_SQUARES[score.reduce](x.rank, y.rank), 1)


def _prediction_mean(score: PredictionScore, x: Predictions, y: Predictions, n: Scalar) -> Scalar:
    agreement = jnp.sum(x.shares * y.shares)
    return {"disagreement": 1 - agreement, "cohen_kappa": jnp.zeros_like(agreement)}[score.agreement]
