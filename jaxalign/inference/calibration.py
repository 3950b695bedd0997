"""Calibrated similarity: scores on a scale from what chance gives to the most there can be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from jaxalign._core.checks import as_layers, describe
from jaxalign._core.keys import as_key
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.inference.arguments import checked_pair
from jaxalign.inference.null import check_null, check_orders, check_permutations, null_scores
from jaxalign.inference.pvalues import ROUNDING, at_least, closeness, share_at_least
from jaxalign.inference.schemes import Free, Scheme
from jaxalign.measures import Measure


@pytree_dataclass
class Calibration:
    """A score beside what chance gives.

    Attributes:
      score: the calibrated score, in `[0, 1]`: 0 up to the threshold, 1 at the most there can be. NaN where that
        has no bound.
      pvalue: how often a score as close came up by chance, that of the data counted as one.
      threshold: what chance exceeds with probability `alpha`, in units of the measure.
      statistic: the score of the measure itself.
    """

    score: Scalar
    pvalue: Scalar
    threshold: Scalar
    statistic: Scalar


@pytree_dataclass
class LayerCalibration:
    """Scores of all pairs of layers beside what chance gives, and that of the best pair beside the best by chance.

    Attributes:
      score: calibrated scores, `(La, Lb)`.
      pvalue: of each pair by itself, `(La, Lb)`.
      adjusted: p-values `(La, Lb)` of all pairs at once: how often chance gives, anywhere in the matrix, a score as far
        above what it gives there on average, in standard deviations.
      threshold: `(La, Lb)`.
      statistic: scores of the measure itself, `(La, Lb)`.
      best: the closest pair, calibrated against the closest pair of every random order.
      row: the layer of the first side in that pair.
      column: that of the second.
    """

    score: Float[Array, "La Lb"]
    pvalue: Float[Array, "La Lb"]
    adjusted: Float[Array, "La Lb"]
    threshold: Float[Array, "La Lb"]
    statistic: Float[Array, "La Lb"]
    best: Calibration
    row: Int[Array, ""]
    column: Int[Array, ""]


def calibrate(
    measure: Measure,
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    permutations: int = 1000,
    alpha: float = 0.05,
    key: Any,
    scheme: Scheme = Free(),  # noqa: B008 (immutable)
    batch_size: int | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> Calibration:
    r"""A score on a scale from what chance gives to the most there can be.

    $$\max\left(0, \frac{s - \tau}{s_{\max} - \tau}\right)$$

    with $\tau$ the value that scores of random orders of the examples exceed with probability `alpha`: of `B` of
    them, the one of rank $\lceil (1 - \alpha)(B + 1)\rceil$. It is above 0 where the p-value is at most `alpha`,
    and only there. Of a distance, small values are close, and $s_{\max}$ is the smallest.

    Args:
      measure: any measure of paired examples.
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      permutations: how many random orders, `B`.
      alpha: level of the threshold, `1 / (B + 1) <= alpha < 1`.
      key: a PRNG key, or an integer to make one from.
      scheme: which orders there are; see `permutation_test`.
      batch_size: see `permutation_test`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A `Calibration`: `.score`, `.pvalue`, `.threshold`, `.statistic`.

    Raises:
      ValueError: as `permutation_test`, and for too few orders for the level.
      TypeError: for a key that is none, non-floating input.

    Example:
      >>> import jax
      >>> x, y = jax.random.normal(jax.random.key(0), (2, 50, 40))
      >>> from jaxalign.measures import cka
      >>> result = calibrate(cka(), x, y, permutations=199, key=0)
      >>> round(float(result.statistic), 2), float(result.score)
      (0.44, 0.0)

    Reference:
      Gröger, Wen and Brbić (2026), arXiv:2602.14486.
    """
    check_null("calibrate", measure)
    x, y, mask = checked_pair("calibrate", measure, x, y, mask)
    orders = check_orders("calibrate", measure, scheme, x.shape[0], mask)
    check_significance("calibrate", permutations, alpha, batch_size, orders)
    null = null_scores(
        measure,
        [x],
        [y],
        permutations=permutations,
        key=as_key("calibrate", key),
        scheme=scheme,
        batch_size=batch_size,
        mask=mask,
    )
    return calibrated(measure, measure(x, y, mask=mask), null[:, 0, 0], alpha)


def calibrate_layers(
    measure: Measure,
    a: Sequence[Float[Array, "n _p"]],
    b: Sequence[Float[Array, "n _q"]],
    *,
    permutations: int = 1000,
    alpha: float = 0.05,
    key: Any,
    scheme: Scheme = Free(),  # noqa: B008 (immutable)
    batch_size: int | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> LayerCalibration:
    """Calibrate the scores of all pairs of layers of two models, and that of the best pair for having been chosen.

    The closest of many pairs is close by chance: its null distribution is that of the closest pair of every
    random order. One order is shared by all pairs, so that pairs depend on one another as they do in the data.

    Args:
      measure: any measure of paired examples.
      a: layers of one model, each `(n, p)`; row `i` is example `i`.
      b: layers of the other, each `(n, q)`, same examples in the same order.
      permutations: how many random orders, `B`.
      alpha: level of thresholds, `1 / (B + 1) <= alpha < 1`.
      key: a PRNG key, or an integer to make one from.
      scheme: which orders there are; see `permutation_test`.
      batch_size: see `permutation_test`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A `LayerCalibration`. Its `.best` compares raw scores, as in the reference; its `.adjusted` p-values compare
      deviations, as layers of different widths may be close by chance to different degrees.

    Raises:
      ValueError: as `calibrate`, and for an empty list.
      TypeError: for a key that is none, non-floating input.

    Example:
      >>> import jax
      >>> x, y = jax.random.normal(jax.random.key(0), (2, 50, 4))
      >>> from jaxalign.measures import cka
      >>> result = calibrate_layers(cka(), [x, x + y], [y, y - x, 2 * x], permutations=99, key=0)
      >>> int(result.row), int(result.column), round(float(result.best.pvalue), 3)
      (0, 2, 0.01)

    Reference:
      Gröger, Wen and Brbić (2026), arXiv:2602.14486. Adjusted p-values: Westfall and Young (1993), single-step
      maximum of standardized scores.
    """
    check_null("calibrate_layers", measure)
    a, other, mask = as_layers("calibrate_layers", a, b, mask)
    assert other is not None
    orders = check_orders("calibrate_layers", measure, scheme, a[0].shape[0], mask)
    check_significance("calibrate_layers", permutations, alpha, batch_size, orders)
    null = null_scores(
        measure,
        a,
        other,
        permutations=permutations,
        key=as_key("calibrate_layers", key),
        scheme=scheme,
        batch_size=batch_size,
        mask=mask,
    )
    statistic = measure.matrix(a, other, mask=mask)
    cells = calibrated(measure, statistic, null, alpha)
    best, place = calibrated_best(measure, statistic, null, alpha)
    row, column = jnp.divmod(place, statistic.shape[1])
    adjusted = adjusted_pvalues(measure, statistic, null)
    return LayerCalibration(cells.score, cells.pvalue, adjusted, cells.threshold, statistic, best, row, column)


def check_significance(
    function: str,
    permutations: int,
    alpha: float,
    batch_size: int | None,
    orders: float,
    *,
    name: str = "permutations",
) -> None:
    """Raise unless so many orders can show a score to be beyond chance at this level.

    Args:
      function: for errors.
      permutations: how many are drawn.
      alpha: the level.
      batch_size: how many are looked at together; None for as many as fit.
      orders: how many there are.
      name: of the argument that says how many are drawn.
    """
    check_permutations(function, permutations, batch_size, name=name)
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)):
        raise TypeError(f"{function}: alpha must be a number between 0 and 1, got {describe(alpha)}")
    if not 0 < alpha < 1:
        raise ValueError(f"{function}: alpha must be between 0 and 1, got {alpha}")
    if 1 / (permutations + 1) > alpha * (1 + 1e-9):
        raise ValueError(
            f"{function}: {name} must be at least {math.ceil(1 / alpha - 1e-6) - 1} for alpha={alpha}, as no "
            f"p-value is below 1 / ({name} + 1), got {permutations}"
        )
    if 1 / orders > alpha * (1 + 1e-9):
        raise ValueError(
            f"{function}: there are only {orders:.0f} orders of these examples, and no p-value below 1/{orders:.0f}: "
            f"too few for alpha={alpha}"
        )


def calibrated(
    measure: Measure, statistic: Float[Array, "..."], null: Float[Array, "B ..."], alpha: float
) -> Calibration:
    """Scores of a measure beside those of random orders, each by itself."""
    sign = 1 if measure.larger_is_closer else -1
    closest = sign * measure.bounds[measure.larger_is_closer]
    by_chance, own = closeness(measure, null, statistic)
    count = null.shape[0]
    # Rounding must not turn 950.0 into 951.
    rank = min(math.ceil((1 - alpha) * (count + 1) - 1e-6), count)
    threshold = jnp.sort(by_chance, axis=0)[rank - 1]  # NaN comes last: undefined counts as close
    pvalue = share_at_least(by_chance, own)
    above = ~at_least(threshold[None], own, by_chance)[0] & (closest > threshold)
    score = jnp.where(above, (own - threshold) / jnp.where(above, closest - threshold, 1), 0)
    undefined = jnp.isnan(own) | jnp.isnan(threshold) | (not math.isfinite(closest))
    return Calibration(jnp.where(undefined, jnp.nan, jnp.minimum(score, 1)), pvalue, sign * threshold, statistic)


def calibrated_best(
    measure: Measure, statistic: Float[Array, "La Lb"], null: Float[Array, "B La Lb"], alpha: float
) -> tuple[Calibration, Int[Array, ""]]:
    """The closest of many scores beside the closest of every random order, and its place in the flat matrix.

    Scores that are undefined do not take part.
    """
    sign = 1 if measure.larger_is_closer else -1
    known = ~jnp.isnan(statistic)
    flat = jnp.where(known, sign * statistic, -jnp.inf).reshape(-1)
    place = jnp.argmax(flat)
    closest = jnp.where(jnp.any(known), flat[place], jnp.nan)
    by_chance = jnp.max(jnp.where(known[None], sign * null, -jnp.inf).reshape(null.shape[0], -1), axis=1)
    return calibrated(measure, sign * closest, sign * by_chance, alpha), place


def adjusted_pvalues(
    measure: Measure, statistic: Float[Array, "La Lb"], null: Float[Array, "B La Lb"]
) -> Float[Array, "La Lb"]:
    """P-values of all pairs at once, from the largest deviation in every random order.

    Means and standard deviations are taken of the random orders and the data together, among which no order
    is special under the null hypothesis.
    """
    by_chance, own = closeness(measure, null, statistic)
    undefined = jnp.isnan(by_chance)
    everything = jnp.concatenate([own[None], jnp.where(undefined, own[None], by_chance)])
    mean = jnp.mean(everything, axis=0, keepdims=True)
    spread = jnp.std(everything, axis=0, keepdims=True)
    # Where all orders score the same, their differences are rounding.
    varies = spread > ROUNDING * jnp.finfo(null.dtype).eps * jnp.max(jnp.abs(everything), axis=0, keepdims=True)
    deviation = jnp.where(varies, (everything - mean) / jnp.where(varies, spread, 1), 0)
    counted = jnp.where(undefined, jnp.inf, deviation[1:])  # undefined counts as close
    largest = jnp.max(jnp.where(jnp.isnan(own), -jnp.inf, counted), axis=(1, 2))
    count = jnp.sum(at_least(largest[:, None, None], deviation[0], deviation[1:]), axis=0, dtype=jnp.int32)
    adjusted = jnp.maximum((1 + count.astype(null.dtype)) / (1 + null.shape[0]), share_at_least(by_chance, own))
    return jnp.where(jnp.isnan(own), jnp.nan, adjusted)
