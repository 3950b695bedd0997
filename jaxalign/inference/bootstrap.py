"""Intervals from samples drawn with replacement from the sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri

from jaxalign._core.checks import check_choice, check_integer, describe
from jaxalign._core.keys import as_key
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.inference.resampling import check_takes_weights, checked_pair, draw, in_batches, reweighted
from jaxalign.measures.measure import Measure

#: Samples scored at a time.
BATCH_SIZE = 128


def _percentile(estimate: Scalar, replicates: Float[Array, "b"], levels: Float[Array, "2"]) -> Float[Array, "2"]:
    return jnp.quantile(replicates, levels)


def _basic(estimate: Scalar, replicates: Float[Array, "b"], levels: Float[Array, "2"]) -> Float[Array, "2"]:
    return 2 * estimate - jnp.quantile(replicates, levels)[::-1]


def _normal(estimate: Scalar, replicates: Float[Array, "b"], levels: Float[Array, "2"]) -> Float[Array, "2"]:
    """Around the estimate less the bias that samples have about it."""
    return 2 * estimate - jnp.mean(replicates) + ndtri(levels) * jnp.std(replicates, ddof=1)


def _bias_corrected(estimate: Scalar, replicates: Float[Array, "b"], levels: Float[Array, "2"]) -> Float[Array, "2"]:
    count = replicates.shape[0]
    below = jnp.sum(replicates < estimate, dtype=replicates.dtype)
    same = jnp.sum(replicates == estimate, dtype=replicates.dtype)
    # Never all or none: the shift would be infinite.
    share = jnp.clip((below + same / 2) / count, 0.5 / count, 1 - 0.5 / count)
    moved = jnp.quantile(replicates, ndtr(2 * ndtri(share) + ndtri(levels)))
    return jnp.where(jnp.isnan(estimate), jnp.nan, moved)


#: How an interval is made of the estimate and the scores of samples.
INTERVALS: Mapping[str, Callable[[Scalar, Array, Array], Array]] = MappingProxyType(
    {"percentile": _percentile, "basic": _basic, "normal": _normal, "bias_corrected": _bias_corrected}
)


@pytree_dataclass
class Bootstrap:
    """What samples drawn with replacement say about a score.

    Attributes:
      estimate: the score of the sample.
      low: lower end of the interval.
      high: upper end.
      standard_error: standard deviation of the scores of the samples drawn.
      replicates: those scores, `(samples,)`.
    """

    estimate: Scalar
    low: Scalar
    high: Scalar
    standard_error: Scalar
    replicates: Float[Array, "samples"]


def check_level(function: str, level: Any) -> None:
    """Raise unless `level` is a number between 0 and 1."""
    if isinstance(level, bool) or not isinstance(level, (int, float)):
        raise TypeError(f"{function}: level must be a number, got {describe(level)}")
    if not 0 < level < 1:
        raise ValueError(f"{function}: level must be between 0 and 1, got {level}")


def check_samples(function: str, samples: Any, level: float) -> None:
    """Raise unless there are enough samples for the ends of an interval of that level."""
    check_integer(function, "samples", samples, minimum=2)
    needed = 2 / (1 - level)
    if samples < needed:
        raise ValueError(
            f"{function}: samples must be at least 2 / (1 - level) = {needed:.0f} for level={level}, got {samples}"
        )


def summarize(estimate: Scalar, replicates: Float[Array, "b"], interval: str, level: float) -> Bootstrap:
    """An interval and a standard error from the scores of samples; NaN when one of them is."""
    levels = jnp.asarray([(1 - level) / 2, (1 + level) / 2], replicates.dtype)
    low, high = INTERVALS[interval](estimate.astype(replicates.dtype), replicates, levels)
    return Bootstrap(estimate, low, high, jnp.std(replicates, ddof=1), replicates)


def bootstrap(
    measure: Measure,
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    samples: int = 1000,
    key: Array | int,
    level: float = 0.95,
    features: bool = False,
    interval: str | None = None,
    batch_size: int = BATCH_SIZE,
    mask: Bool[Array, "n"] | None = None,
) -> Bootstrap:
    key = as_key("bootstrap", key)
    check_level("bootstrap", level)
    check_samples("bootstrap", samples, level)
    check_integer("bootstrap", "batch_size", batch_size, minimum=1)
    x, y, mask = checked_pair("bootstrap", measure, x, y, mask)
    check_takes_weights("bootstrap", measure)
    if interval is None:
        interval = "percentile"
    check_choice("bootstrap", "interval", interval, INTERVALS)
    estimate = measure(x, y, mask=mask)
    work = _of_features if features else _of_examples
    replicates = work(measure, x, y, mask, key, samples=samples, batch_size=batch_size)
    return summarize(estimate, replicates, interval, level)


@partial(jax.jit, static_argnames=("samples", "batch_size"))
def _of_examples(
    measure: Measure, x: Array, y: Array, mask: Array | None, key: Array, *, samples: int, batch_size: int
) -> Float[Array, "samples"]:
    score = reweighted(measure, x, y, mask)
    counted = jnp.ones(x.shape[0], bool) if mask is None else mask
    return in_batches(lambda indices: score.many(draws(key, indices, counted)), samples, batch_size)


def draws(key: Array, indices: Int[Array, "b"], counted: Bool[Array, "n"]) -> Float[Array, "b n"]:
    """The weights of several samples."""
    return jax.vmap(lambda index: draw(key, index, counted))(indices)


@partial(jax.jit, static_argnames=("samples", "batch_size"))
def _of_features(
    measure: Measure, x: Array, y: Array, mask: Array | None, key: Array, *, samples: int, batch_size: int
) -> Float[Array, "samples"]:
    """Columns are drawn as well: nothing of one sample can be used for another."""
    counted = jnp.ones(x.shape[0], bool) if mask is None else mask

    def sample(index: Int[Array, ""]) -> Scalar:
        own = jax.random.fold_in(key, index)
        chosen = [
            jnp.take(v, jax.random.randint(jax.random.fold_in(own, side), (v.shape[1],), 0, v.shape[1]), axis=1)
            for side, v in enumerate((x, y))
        ]
        return reweighted(measure, *chosen, mask)(draw(key, index, counted))

    return in_batches(lambda indices: jax.lax.map(sample, indices), samples, batch_size)
