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
from jaxalign.inference.arguments import checked_pair
from jaxalign.inference.resampling import check_takes_weights, draw, in_batches, reweighted
from jaxalign.measures.measure import Measure

#: Samples scored at a time.
BATCH_SIZE = 128


def _centered(estimate: Scalar, replicates: Float[Array, "b"], levels: Float[Array, "2"]) -> Float[Array, "2"]:
    return estimate - jnp.mean(replicates) + jnp.quantile(replicates, levels)


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
    {
        "centered": _centered,
        "percentile": _percentile,
        "basic": _basic,
        "normal": _normal,
        "bias_corrected": _bias_corrected,
    }
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
    interval: str = "centered",
    batch_size: int = BATCH_SIZE,
    mask: Bool[Array, "n"] | None = None,
) -> Bootstrap:
    r"""Interval and standard error of a score, from samples of the examples drawn with replacement.

    Examples are drawn as often as there are examples. One that is drawn several times has copies, and these are no
    pairs: they are nobody's neighbors among themselves, and not alike by being the same. Dissimilarities and orders of
    neighbors are made once, for all samples, and kernel matrices once for a batch of them, 1024 rows at a time.
    `rsa` takes memory for about nine `n × n` matrices.

    With the score $s$, scores $s^*$ of samples and their quantiles $q$, the interval at level 95 % is

    - `"centered"` $[q_{2.5} + s - \overline{s^*},\; q_{97.5} + s - \overline{s^*}]$: for the score expected of other
      samples of as many examples, which for a biased score is not its value in the population;
    - `"percentile"` $[q_{2.5}, q_{97.5}]$, nearly the same where samples are not biased about $s$: pairs of examples;
    - `"basic"` $[2 s - q_{97.5}, 2 s - q_{2.5}]$ and `"normal"` $2 s - \overline{s^*} \pm 1.96\,\mathrm{SE}$: for
      the value in the population, where samples are as biased about $s$ as $s$ is about that: `linear_predictivity`
      with many more examples than features, but not `cca`, whose small correlations have more bias than samples show;
    - `"bias_corrected"` quantiles moved by twice the normal quantile of the share of $s^*$ below $s$.

    Args:
      measure: a score of kernels (`cka`, `hsic`, `kernel_alignment`, `distance_correlation`, ...), `rsa` by
        `"pearson"`, `"spearman"`, `"cosine"` or `"rho_a"`, of lists of neighbors, of the CCA family,
        `linear_predictivity` without folds, `gulp`, `pls_svd`, distances of shapes, or of outputs of classifiers.
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      samples: how many are drawn, at least `2 / (1 - level)`.
      key: of `jax.random`, or an integer. Sample `b` is drawn with `fold_in(key, b)`.
      level: how often such an interval should hold what it is for, between 0 and 1.
      features: draw columns of both inputs as well, those of each by themselves: for features that are a sample of
        others, as neurons recorded are. Everything is then made anew for each sample. Copies of features are alike,
        and samples biased by it: keep the interval `"centered"`. It is too wide (99 % for 95 %, 60 features).
      interval: as above.
      batch_size: samples scored at a time; another one changes memory and speed only.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      `Bootstrap` with `estimate`, `low`, `high`, `standard_error` and `replicates`, `(samples,)`. NaN where the score,
      or that of a sample, is. A bandwidth that is read off the data is taken as given. In simulations intervals of
      95 % held the expected score in 93 to 97 % of data sets from 100 examples on, with these exceptions: 91 to 93 %
      for scores of heavy tails, such as squared distances by Pearson's correlation and `hsic`; 98 % for `cca`; 99 % and
      more for lists of neighbors, as copies make them less regular than other examples would. Independent inputs,
      or equal ones, have no first order: test the former by permutation.

    Raises:
      ValueError: on rank or row-count mismatch, an unknown interval, too few samples for the level, a measure that
        takes no repeated examples (`standard_error(method="jackknife")` takes any), or `features` of one whose inputs
        must have the same ones.
      TypeError: on non-floating input, or a measure or key that is none.

    Example:
      >>> import jax
      >>> from jaxalign import measures
      >>> x = jax.random.normal(jax.random.key(0), (100, 4))
      >>> y = x + jax.random.normal(jax.random.key(1), (100, 4))
      >>> found = bootstrap(measures.cka(), x, y, samples=200, key=2)
      >>> bool(found.low < found.estimate < found.high)
      True

    Reference:
      Efron and Tibshirani (1993), An introduction to the bootstrap. Pairs of copies left out: for dissimilarities
      Schütt et al. (2023), Statistical inference on representational geometries; for kernels and neighbors ours.
    """
    key = as_key("bootstrap", key)
    check_level("bootstrap", level)
    check_samples("bootstrap", samples, level)
    check_integer("bootstrap", "batch_size", batch_size, minimum=1)
    x, y, mask = checked_pair("bootstrap", measure, x, y, mask)
    check_takes_weights("bootstrap", measure)
    if features and measure.same_features:
        raise ValueError(
            f"bootstrap: features must not be drawn for {measure.name}, whose inputs have the same, got features=True"
        )
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
        columns = [
            jax.random.randint(jax.random.fold_in(own, side), (v.shape[1],), 0, v.shape[1], dtype=jnp.int32)
            for side, v in enumerate((x, y))
        ]
        one, other = (jnp.take(v, chosen, axis=1) for v, chosen in zip((x, y), columns, strict=True))
        return reweighted(measure, one, other, mask)(draw(key, index, counted))

    return in_batches(lambda indices: jax.lax.map(sample, indices), samples, batch_size)
