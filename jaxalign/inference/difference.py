"""Is one pair of representations more alike than another, on the same examples?"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.special import erfc, ndtri

from jaxalign._core.checks import check_choice, check_integer
from jaxalign._core.keys import as_key
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.inference.arguments import checked_pair
from jaxalign.inference.bootstrap import BATCH_SIZE, check_level, check_samples, draws, summarize
from jaxalign.inference.null import examples_of
from jaxalign.inference.resampling import check_takes_weights, in_batches, reweighted
from jaxalign.inference.standard_error import jackknife_error, leave_out, of_subsets
from jaxalign.measures.measure import Measure

METHODS = ("bootstrap", "jackknife")


@pytree_dataclass
class AlignmentDifference:
    """The difference of two scores on the same examples.

    Attributes:
      difference: the first score less the second.
      low: lower end of its interval.
      high: upper end.
      pvalue: of no difference, two-sided.
      standard_error: standard deviation of the differences of the samples drawn, or by the jackknife.
      replicates: those differences, `(samples,)`, or those without one example each, `(n,)`.
    """

    difference: Scalar
    low: Scalar
    high: Scalar
    pvalue: Scalar
    standard_error: Scalar
    replicates: Float[Array, "samples"]


def alignment_difference(
    measure: Measure,
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    z: Float[Array, "n r"],
    *,
    x2: Float[Array, "n s"] | None = None,
    method: str = "bootstrap",
    samples: int = 1000,
    key: Array | int | None = None,
    level: float = 0.95,
    batch_size: int = BATCH_SIZE,
    mask: Bool[Array, "n"] | None = None,
) -> AlignmentDifference:
    r"""The score of `x` and `y` less that of `x` and `z`, its interval, and a test of no difference.

    $$d = s(x, y) - s(x, z), \qquad
      p = \frac{1 + \#\{b : |d^*_b - \overline{d^*}| \ge |d|\}}{1 + B}$$

    Both scores of a sample $b$ of $B$ are of the same examples, drawn with replacement: what is common to both falls
    out of their difference. Samples vary about their own mean $\overline{d^*}$ as $d$ does about what is expected of
    it, which would be 0 without a difference. Kernel matrices are made by rows, as in
    `bootstrap`; `rsa` takes memory for about sixteen `n × n` matrices.

    Args:
      measure: as for `bootstrap`; any for the jackknife.
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      z: activations, shape `(n, r)`, same examples in the same order.
      x2: shape `(n, s)`: what `z` is compared with, instead of `x`.
      method: `"bootstrap"`; or `"jackknife"`, which leaves out one example at a time, of any measure, and takes the
        difference to be normal with that standard error.
      samples: how many are drawn, at least `2 / (1 - level)`; by the bootstrap.
      key: of `jax.random`, or an integer; needed by the bootstrap.
      level: of the interval, between 0 and 1; it is the `"centered"` one of `bootstrap`.
      batch_size: samples scored at a time; another one changes memory and speed only.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      `AlignmentDifference` with `difference`, `low`, `high`, `pvalue`, `standard_error` and `replicates`. With a
      biased score the inputs' numbers of features are part of the difference. NaN where a score is. Not for two pairs
      that are both unrelated, of which scores have no first order: those tests reject too seldom.

    Raises:
      ValueError: on rank or row-count mismatch, too few samples for the level, or a measure that takes no repeated
        examples; an unknown method, no key where one is needed.
      TypeError: on non-floating input, or a measure or key that is none.

    Example:
      >>> import jax
      >>> from jaxalign import measures
      >>> x, e, f = jax.random.normal(jax.random.key(0), (3, 100, 4))
      >>> found = alignment_difference(measures.cka(), x, x + 0.5 * e, x + 2 * f, samples=200, key=1)
      >>> bool(found.low > 0), bool(found.pvalue < 0.05)
      (True, True)

    Reference:
      Efron and Tibshirani (1993), An introduction to the bootstrap, chapter 16.
    """
    function = "alignment_difference"
    check_choice(function, "method", method, METHODS)
    check_level(function, level)
    check_integer(function, "batch_size", batch_size, minimum=1)
    one = checked_pair(function, measure, x, y, mask)
    two = checked_pair(function, measure, x if x2 is None else x2, z, mask, other="z")
    if one[0].shape[0] != two[0].shape[0]:
        raise ValueError(
            f"{function}: x2 must have the same number of rows as x, got {two[0].shape[0]} and {one[0].shape[0]}"
        )
    mask = one[2]
    difference = measure(one[0], one[1], mask=mask) - measure(two[0], two[1], mask=mask).astype(one[0].dtype)
    if method == "jackknife":
        return _by_jackknife(measure, one[:2], two[:2], mask, difference, level)
    check_samples(function, samples, level)
    check_takes_weights(function, measure)
    if key is None:
        raise ValueError(
            f"{function}: method='bootstrap' needs a key, such as jax.random.key(0), or an integer; got None"
        )
    key = as_key(function, key)
    replicates = _differences(measure, one[:2], two[:2], mask, key, samples=samples, batch_size=batch_size)
    found = summarize(difference, replicates, "centered", level)
    beyond = jnp.abs(replicates - jnp.mean(replicates)) >= jnp.abs(difference)
    pvalue = (1 + jnp.sum(beyond, dtype=replicates.dtype)) / (1 + samples)
    pvalue = jnp.where(jnp.isnan(difference + found.standard_error), jnp.nan, pvalue)
    return AlignmentDifference(difference, found.low, found.high, pvalue, found.standard_error, replicates)


@partial(jax.jit, static_argnames=("samples", "batch_size"))
def _differences(
    measure: Measure,
    one: tuple[Array, Array],
    two: tuple[Array, Array],
    mask: Array | None,
    key: Array,
    *,
    samples: int,
    batch_size: int,
) -> Float[Array, "samples"]:
    scores = [reweighted(measure, *pair, mask) for pair in (one, two)]
    counted = jnp.ones(one[0].shape[0], bool) if mask is None else mask

    def differ(indices: Int[Array, "b"]) -> Float[Array, "b"]:
        weights = draws(key, indices, counted)
        first, second = (score.many(weights) for score in scores)
        return first - second.astype(first.dtype)

    return in_batches(differ, samples, batch_size)


@partial(jax.jit, static_argnames=("level",))
def _by_jackknife(
    measure: Measure,
    one: tuple[Array, Array],
    two: tuple[Array, Array],
    mask: Array | None,
    difference: Scalar,
    level: float,
) -> AlignmentDifference:
    first, second = (of_subsets(measure, *pair, mask) for pair in (one, two))
    rows = one[0].shape[0]
    examples = examples_of(measure, rows)

    def differ(weights: Float[Array, "b n"]) -> Float[Array, "b"]:
        scores = first.many(weights)
        return scores - second.many(weights).astype(scores.dtype)

    labels = jnp.arange(rows, dtype=jnp.int32) % examples
    replicates, exists = leave_out(differ, mask, labels, examples)
    error = jackknife_error(replicates, exists)
    half = ndtri(jnp.asarray((1 + level) / 2, error.dtype)) * error
    # Two equal pairs do not differ, and vary by nothing.
    ratio = jnp.where(difference == 0, 0, jnp.abs(difference) / jnp.where(error > 0, error, 1))
    pvalue = jnp.where(jnp.isnan(difference + error), jnp.nan, erfc(ratio / 2**0.5))
    return AlignmentDifference(difference, difference - half, difference + half, pvalue, error, replicates)
