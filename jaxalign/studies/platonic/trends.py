"""Does alignment rise with competence? Rank correlations with intervals, and alignment within bins."""

from __future__ import annotations

from dataclasses import field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import check_integer, describe
from jaxalign._core.keys import as_key
from jaxalign._core.numerics import safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Int, Scalar
from jaxalign.inference.bootstrap import check_level, check_samples
from jaxalign.inference.pvalues import share_at_least
from jaxalign.inference.resampling import draw, in_batches
from jaxalign.inference.schemes import Within
from jaxalign.signatures.rdm import ranks

#: Samples, and random orders, that are computed at a time.
_BATCH = 64
_MOST_PLACES = 1 << 24  # integers that float32 tells apart


class Trend(NamedTuple):
    """A rank correlation between competence and alignment.

    Attributes:
      rho: Spearman's, in `[-1, 1]`; with several references the mean of theirs.
      low: lower end of the interval by bootstrap over models, percentiles.
      high: its upper end.
      pvalue: of both sides, from random orders of competence.
      of_references: `rho` of each reference by itself, `(references,)`.
      models: how many there are.
    """

    rho: float
    low: float
    high: float
    pvalue: float
    of_references: np.ndarray
    models: int


def competence_trend(
    competence: Any,
    alignment: Any,
    *,
    key: Array | int,
    within: Any = None,
    samples: int = 2000,
    level: float = 0.95,
) -> Trend:
    """Rank correlation of how good models are with how aligned they are to one or several references.

    Args:
      competence: of each model, `(models,)`, such as an accuracy or 1 minus bits per byte: larger is better.
      alignment: of each model to each reference, `(models, references)`, or `(models,)` for one.
      key: for samples and random orders.
      within: a label for each model, `(models,)`, such as its family or its size: ranks are those among models of one
        label, which are drawn and put in another order among themselves. What differs between labels, such as
        alignment that rises with size alone, is then no part of the trend. Of one label, the same as without.
      samples: of models, for the interval, and random orders, for the p-value.
      level: of the interval.

    Returns:
      A `Trend`. Samples in which all models are equal say nothing and are left out. NaN where competence, or the
      alignment to one of the references, is the same for all models of one label.

    Raises:
      ValueError: for fewer than 3 models, shapes that do not fit, numbers that are not finite, too few samples.
      TypeError: for values that are not real numbers.

    Example:
      >>> trend = competence_trend([0.2, 0.5, 0.7, 0.9], [0.02, 0.03, 0.08, 0.09], key=0)
      >>> round(trend.rho, 3), round(trend.pvalue, 1)
      (1.0, 0.1)

    Reference:
      Huh et al. (2024), arXiv:2405.07987, section 2, shows such trends; interval and p-value are this project's.
    """
    name = "competence_trend"
    scores = _real(name, "alignment", alignment)
    if scores.ndim == 1:
        scores = scores[:, None]
    good = _competence(name, competence, scores, 2)
    return _trend(name, good, scores, key, within, samples, level, pairs=False)


def pair_trend(
    competence: Any,
    alignment: Any,
    *,
    key: Array | int,
    within: Any = None,
    samples: int = 2000,
    level: float = 0.95,
) -> Trend:
    """Rank correlation of the alignment of two models with the competence of the weaker one.

    If weak models are different each in its own way and strong ones alike, two are aligned when both are strong.
    Pairs that share a model depend on one another: intervals and p-values draw and reorder models, not pairs.

    Args:
      competence: of each model, `(models,)`: larger is better.
      alignment: of all models with each other, `(models, models)`; the diagonal does not count, and of two entries
        that mirror each other the mean does.
      key: for samples and random orders.
      within: as for `competence_trend`: ranks are those among pairs of the same two labels.
      samples: of models, for the interval, and random orders, for the p-value.
      level: of the interval.

    Returns:
      A `Trend`; copies of one model in a sample are no pair.

    Raises:
      ValueError: as `competence_trend`.
      TypeError: likewise.

    Example:
      >>> good = np.array([0.1, 0.3, 0.6, 0.7, 0.9])
      >>> round(pair_trend(good, np.minimum(good[:, None], good), key=0).rho, 3)
      1.0

    Reference:
      Made for this project, for figure 2 of Huh et al. (2024), arXiv:2405.07987.
    """
    name = "pair_trend"
    scores = _square(name, alignment)
    return _trend(name, _competence(name, competence, scores, 2), scores, key, within, samples, level, pairs=True)


class Bins(NamedTuple):
    """Alignment among models of like competence.

    Attributes:
      edges: of competence, `(bins + 1,)`.
      mean: of the alignment of two models of a bin, `(bins,)`; NaN in bins of fewer than two.
      standard_error: of that mean, by the jackknife over models, `(bins,)`; NaN in bins of fewer than three.
      models: how many are in each, `(bins,)`.
      bin: which one each model is in, `(models,)`.
    """

    edges: np.ndarray
    mean: np.ndarray
    standard_error: np.ndarray
    models: np.ndarray
    bin: np.ndarray


def competence_bins(competence: Any, alignment: Any, *, bins: int = 5) -> Bins:
    """Mean alignment of two models within bins of competence that hold equally many models.

    Models of equal competence are in one bin, so that sizes may differ, and there may be fewer bins.

    Args:
      competence: of each model, `(models,)`.
      alignment: of all models with each other, `(models, models)`.
      bins: how many.

    Raises:
      ValueError: for fewer than 3 models, shapes that do not fit, numbers that are not finite.
      TypeError: for values that are not real numbers.

    Example:
      >>> good = np.array([0.1, 0.2, 0.8, 0.9])
      >>> competence_bins(good, np.minimum(good[:, None], good), bins=2).mean.tolist()
      [0.1, 0.8]

    Reference:
      Huh et al. (2024), arXiv:2405.07987, figure 2, with a standard error over pairs, which are not independent.
    """
    name = "competence_bins"
    scores = _square(name, alignment)
    good = _competence(name, competence, scores, 2)
    check_integer(name, "bins", bins, minimum=1)
    edges = np.unique(np.quantile(good, np.linspace(0, 1, bins + 1)))
    if len(edges) == 1:
        edges = np.repeat(edges, 2)
    place = np.clip(np.searchsorted(edges, good, side="right") - 1, 0, len(edges) - 2)
    members = [np.flatnonzero(place == b) for b in range(len(edges) - 1)]
    mean, error = (np.array([of(scores[np.ix_(m, m)]) for m in members]) for of in (_mean_of_pairs, _jackknife))
    return Bins(edges, mean, error, np.array([len(m) for m in members]), place)


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's, of numbers in float64; NaN where one side is constant."""
    one, other = (jnp.asarray(_places(z), jnp.float32) for z in (x, y))
    whole = _Strata(jnp.zeros(len(x), jnp.int32), 1)
    return float(_rank_correlation(one, other, jnp.ones(len(x), jnp.float32), whole))


def _places(values: np.ndarray) -> np.ndarray:
    """Places in the order of the values, from 0: in float32 values that differ could become equal."""
    return np.unique(values, return_inverse=True)[1].reshape(values.shape)


def _mean_of_pairs(scores: np.ndarray) -> float:
    return float(np.mean(scores[np.triu_indices(len(scores), 1)])) if len(scores) > 1 else np.nan


def _jackknife(scores: np.ndarray) -> float:
    n = len(scores)
    if n < 3:
        return np.nan
    without = [_mean_of_pairs(np.delete(np.delete(scores, i, 0), i, 1)) for i in range(n)]
    return float(np.sqrt((n - 1) * np.var(without)))


def _real(function: str, argument: str, values: Any) -> np.ndarray:
    found = np.asarray(values)
    if found.dtype.kind not in "iufb":
        raise TypeError(f"{function}: {argument} must hold real numbers, got {describe(found)}")
    return found.astype(np.float64)


def _square(function: str, alignment: Any) -> np.ndarray:
    scores = _real(function, "alignment", alignment)
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
        raise ValueError(f"{function}: alignment must have shape (models, models), got {tuple(scores.shape)}")
    scores = (scores + scores.T) / 2
    np.fill_diagonal(scores, 0.0)
    return scores


def _competence(function: str, competence: Any, scores: np.ndarray, ndim: int) -> np.ndarray:
    good = _real(function, "competence", competence)
    if good.ndim != 1 or scores.ndim != ndim or len(good) != len(scores):
        raise ValueError(
            f"{function}: competence must have shape (models,) and alignment one row a model, "
            f"got {tuple(good.shape)} and {tuple(scores.shape)}"
        )
    if len(good) < 3:
        raise ValueError(f"{function}: competence must be of at least 3 models, got {len(good)}")
    for argument, values in (("competence", good), ("alignment", scores)):
        if not np.isfinite(values).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise ValueError(f"{function}: {argument} must be finite, got {values[place]} at {place}")
    return good


@pytree_dataclass
class _Strata:
    """Which observations are ranked among one another.

    Attributes:
      labels: from 0, `(n,)`.
      count: how many different ones.
    """

    labels: Int[Array, "n"]
    count: int = field(metadata={"static": True})

    def total(self, values: Float[Array, "n"]) -> Float[Array, "n"]:
        """The sum over the stratum of each observation."""
        return jax.ops.segment_sum(values, self.labels, self.count)[self.labels]

    def least(self, values: Float[Array, "n"]) -> Float[Array, "n"]:
        """The smallest value of the stratum of each observation."""
        return jax.ops.segment_min(values, self.labels, self.count)[self.labels]


def _strata(labels: np.ndarray) -> _Strata:
    values, places = np.unique(labels, axis=0, return_inverse=True)
    return _Strata(jnp.asarray(places.reshape(-1), jnp.int32), len(values))


def _groups(function: str, within: Any, models: int) -> np.ndarray:
    """Labels of models as integers, all 0 without any."""
    if within is None:
        return np.zeros(models, np.int64)
    labels = np.asarray(within)
    if labels.shape != (models,) or labels.dtype.kind not in "iubU":
        raise ValueError(
            f"{function}: within must hold one label a model, integers or texts, shape ({models},), "
            f"got {describe(labels)}"
        )
    return _places(labels)


def _trend(
    function: str,
    competence: np.ndarray,
    scores: np.ndarray,
    key: Any,
    within: Any,
    samples: int,
    level: float,
    *,
    pairs: bool,
) -> Trend:
    check_level(function, level)
    check_samples(function, samples, level)
    groups = _groups(function, within, len(competence))
    models, strata = _strata(groups), _strata(groups)
    if pairs:
        one, other = np.triu_indices(len(competence), 1)
        scores = scores[one, other][:, None]
        strata = _strata(np.sort(np.stack([groups[one], groups[other]], axis=1), axis=1))
    if strata.count * len(competence) > _MOST_PLACES:
        raise ValueError(f"{function}: within must have fewer labels for {len(competence)} models")
    places = _places(scores)
    places = _places(np.asarray(strata.labels, np.int64)[:, None] * (places.max() + 1) + places)
    good, observed = (jnp.asarray(z, jnp.float32) for z in (_places(competence), places))
    drawn = _correlations(as_key(function, key), good, observed, models, strata, samples, pairs)
    own, sampled, pvalue = (np.asarray(value) for value in drawn)
    sampled = sampled[np.isfinite(sampled)]
    low, high = np.quantile(sampled, [(1 - level) / 2, (1 + level) / 2]) if len(sampled) else (np.nan, np.nan)
    return Trend(float(own.mean()), float(low), float(high), float(pvalue), own, len(competence))


@partial(jax.jit, static_argnames=("samples", "pairs"))
def _correlations(
    key: Array,
    competence: Float[Array, "m"],
    scores: Float[Array, "n r"],
    groups: _Strata,
    strata: _Strata,
    samples: int,
    pairs: bool,
) -> tuple[Array, Array, Scalar]:
    """Correlations with each reference; their mean in samples of models; the p-value.

    Scores are of models, or of pairs of them, and in the order of their strata.
    """
    models = competence.shape[0]
    one, other = np.triu_indices(models, 1)

    def rho(good: Float[Array, "m"], counts: Float[Array, "m"]) -> Float[Array, "r"]:
        if pairs:
            good, counts = jnp.minimum(good[one], good[other]), counts[one] * counts[other]
        good = good + (strata.labels * models).astype(good.dtype)
        return jax.vmap(lambda column: _rank_correlation(good, column, counts, strata), in_axes=1)(scores)

    once = jnp.ones(models, jnp.float32)
    own = rho(competence, once)
    drawing, ordering = jax.random.split(key)
    drawings = drawing[None] if groups.count == 1 else jax.random.split(drawing, groups.count)
    members = groups.labels[None] == jnp.arange(groups.count, dtype=jnp.int32)[:, None]

    def sample(index: Array) -> Scalar:
        counts = jax.vmap(draw, in_axes=(0, None, 0))(drawings, index, members).sum(axis=0)
        return jnp.mean(rho(competence, counts))

    def reorder(index: Array) -> Scalar:
        order = Within(groups.labels).draw(jax.random.fold_in(ordering, index), models)
        return jnp.mean(rho(competence[order], once))

    sampled, null = (in_batches(jax.vmap(work), samples, _BATCH) for work in (sample, reorder))
    return own, sampled, share_at_least(jnp.abs(null), jnp.abs(jnp.mean(own)))


@jax.jit
def _rank_correlation(x: Float[Array, "n"], y: Float[Array, "n"], counts: Float[Array, "n"], strata: _Strata) -> Scalar:
    """Spearman's, of values that are there so many times, in the order of their strata; NaN where one is constant."""
    there = jnp.maximum(strata.total(counts), 1)
    share = jnp.sum(counts) / there

    def centered(z: Float[Array, "n"]) -> Float[Array, "n"]:
        """Ranks within strata, from 0 to 1, less their mean."""
        rank = ranks(z[:, None], counts[:, None])[:, 0]
        rank = share * (rank - strata.least(jnp.where(counts > 0, rank, jnp.inf)))
        return jnp.where(counts > 0, rank - strata.total(jnp.where(counts > 0, counts * rank, 0)) / there, 0)

    one, other, total = centered(x), centered(y), jnp.maximum(jnp.sum(counts), 1)
    cross, own_one, own_other = (jnp.sum(counts * a * b) / total for a, b in ((one, other), (one, one), (other, other)))
    # Ranks from 0 to 1 that differ have a variance above 1 / n³; what is far below is rounding.
    own_one, own_other = (jnp.where(own > 1e-10, own, 0) for own in (own_one, own_other))
    return jnp.clip(safe_divide(cross, safe_sqrt(own_one) * safe_sqrt(own_other), otherwise=jnp.nan), -1, 1)
