"""Standard errors of scores: from influence values, or by leaving examples out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxalign._core.checks import check_choice, check_integer, describe
from jaxalign._core.numerics import row_count, safe_sqrt
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.inference.arguments import checked_pair
from jaxalign.inference.influence import has_influence, influence
from jaxalign.inference.null import examples_of
from jaxalign.inference.resampling import MaskedRows, in_batches, reweighted, takes_weights
from jaxalign.measures.measure import Measure

METHODS = ("delta", "jackknife")
#: Samples scored at a time.
BATCH_SIZE = 128


def standard_error(
    measure: Measure,
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    method: str = "delta",
    groups: int | Int[Array, "n"] | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Standard error of a score: how much it varies between samples of as many examples.

    $$\mathrm{SE}_\delta = \sqrt{\tfrac{1}{n (n - 1)} \textstyle\sum_i \psi_i^2}, \qquad
      \mathrm{SE}_J = \sqrt{\tfrac{G - 1}{G} \textstyle\sum_g (\theta_{(g)} - \bar\theta)^2}$$

    with the influence values $\psi_i$ of `influence_values`, and the scores $\theta_{(g)}$ without group $g$ of $G$.

    Args:
      measure: for `"delta"` one that `influence_values` takes, for `"jackknife"` any.
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      method: `"delta"`, at about the cost of the score; or `"jackknife"`, which scores the sample without each group.
      groups: for the jackknife what is left out together: None, each example; an integer, so many blocks of
        neighboring rows of about equal size, which is cheaper, and right where near rows depend on one another;
        or an array of integers, shape `(n,)`, the group of each row, such as the subject.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in the units of the score, float32 or wider; NaN where the score, or one without a group, is. Score
      ± 1.96 errors holds the score expected of `n` examples with about 95 % where that is not close to a bound. Not to
      be used where the score is at its chance level, as there the first order vanishes: use a permutation test. The
      score expected is not the population's value for a biased score: `linear_predictivity` of `p` features is too
      large by about `(1 - R²) p / n`, and such intervals hold the population's value less often (68 % at 100
      examples of 10 features, 92 % at 1000). Too large by 40 to 80 % for lists of
      neighbors.

    Raises:
      ValueError: on rank or row-count mismatch, an unknown method, a measure without influence values, groups with
        `"delta"`, fewer than 2 groups or more than rows.
      TypeError: on non-floating input, a measure that is none, groups that are no integers.

    Example:
      >>> import jax
      >>> from jaxalign import measures
      >>> x = jax.random.normal(jax.random.key(0), (100, 4))
      >>> y = x + jax.random.normal(jax.random.key(1), (100, 4))
      >>> round(float(standard_error(measures.cka(), x, y)), 2)
      0.04

    Reference:
      Efron and Stein (1981), The jackknife estimate of variance; delta method for kernel alignment derived
      for this project.
    """
    check_choice("standard_error", "method", method, METHODS)
    x, y, mask = checked_pair("standard_error", measure, x, y, mask)
    if method == "delta":
        if groups is not None:
            raise ValueError('standard_error: groups are for method="jackknife", got method="delta"')
        if not has_influence(measure):
            raise ValueError(
                "standard_error: method='delta' is for scores of kernels and linear_predictivity without ridge, got "
                f"{measure.definition}; method='jackknife' works for any measure"
            )
        return _delta(measure, x, y, mask)
    labels, count = _groups(groups, x.shape[0], examples_of(measure, x.shape[0]))
    return _jackknife(measure, x, y, mask, labels, count=count)


def _groups(groups: Any, rows: int, examples: int) -> tuple[Int[Array, "n"], int]:
    """The number of the group of each row, and how many groups there are."""
    if groups is None:  # all measurements of an example are left out together
        return jnp.arange(rows, dtype=jnp.int32) % examples, examples
    if isinstance(groups, (int, np.integer)) and not isinstance(groups, bool):
        check_integer("standard_error", "groups", groups, minimum=2)
        if groups > rows:
            raise ValueError(f"standard_error: groups must be at most the number of rows ({rows}), got {groups}")
        return jnp.asarray(np.arange(rows) * int(groups) // rows, jnp.int32), int(groups)
    if isinstance(groups, Tracer):
        raise TypeError("standard_error: groups must be known when it is compiled, got a traced array")
    labels = np.asarray(groups)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"standard_error: groups must be an integer or integers, got {describe(groups)}")
    if labels.shape != (rows,):
        raise ValueError(f"standard_error: groups must have shape ({rows},), one entry a row, got {labels.shape}")
    found, places = np.unique(labels, return_inverse=True)
    if len(found) < 2:
        raise ValueError("standard_error: groups must be at least 2 different ones, got 1")
    return jnp.asarray(places, jnp.int32), len(found)


@jax.jit
def _delta(measure: Measure, x: Array, y: Array, mask: Array | None) -> Scalar:
    values = influence(measure, x, y, mask)
    count = row_count(x, mask)
    return jnp.where(count > 1, safe_sqrt(jnp.sum(values * values) / jnp.maximum(count * (count - 1), 1)), jnp.nan)


@partial(jax.jit, static_argnames=("count",))
def _jackknife(measure: Measure, x: Array, y: Array, mask: Array | None, labels: Array, *, count: int) -> Scalar:
    return jackknife_error(*leave_out(of_subsets(measure, x, y, mask).many, mask, labels, count))


def of_subsets(measure: Measure, x: Array, y: Array, mask: Array | None) -> Any:
    """The score as a function of weights that are 0 or 1, for any measure."""
    return reweighted(measure, x, y, mask) if takes_weights(measure) else MaskedRows(measure, x, y)


def leave_out(
    scores: Callable[[Float[Array, "b n"]], Float[Array, "b"]],
    mask: Bool[Array, "n"] | None,
    labels: Int[Array, "n"],
    count: int,
) -> tuple[Float[Array, "count"], Bool[Array, "count"]]:
    """The score without each group of rows, and whether the group has rows that count.

    Args:
      scores: from weights to scores.
      mask: which rows count.
      labels: the number of the group of each row.
      count: how many groups there are.
    """
    counted = jnp.ones(labels.shape[0], bool) if mask is None else mask

    def without(indices: Int[Array, "b"]) -> tuple[Array, Array]:
        own = labels[None, :] == indices[:, None]
        exists = jnp.any(own & counted[None, :], axis=1)
        return scores((counted[None, :] & ~own).astype(jnp.float32)), exists

    return in_batches(without, count, BATCH_SIZE)


def jackknife_error(scores: Float[Array, "count"], exists: Bool[Array, "count"]) -> Scalar:
    """The standard error from scores without one group each."""
    number = jnp.sum(exists, dtype=scores.dtype)
    mean = jnp.sum(jnp.where(exists, scores, 0)) / jnp.maximum(number, 1)
    squares = jnp.sum(jnp.where(exists, (scores - mean) ** 2, 0))
    return jnp.where(number > 1, safe_sqrt(squares * (number - 1) / jnp.maximum(number, 1)), jnp.nan)
