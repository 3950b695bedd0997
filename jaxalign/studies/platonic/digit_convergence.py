"""Do networks on the digits become more alike as they become better? The hypothesis, on two cores in minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from jaxalign._core.keys import as_key
from jaxalign._core.typing import Array
from jaxalign.comparison import compare
from jaxalign.features import Layers
from jaxalign.measures import Measure, mutual_knn
from jaxalign.studies.platonic.convergence import PlatonicStudy, platonic_study
from jaxalign.studies.platonic.digit_models import SHAPES, TRAININGS, Shape, Training, digit_networks
from jaxalign.studies.platonic.preprocessing import Preprocessing
from jaxalign.studies.platonic.trends import Bins, Trend, competence_bins, pair_trend


@dataclass(frozen=True, eq=False)
class DigitConvergence:
    """Networks of all kinds on the digits, how good they are, and how alike.

    Attributes:
      study: all of them with one another.
      bins: alignment of two networks within bins of accuracy on held-out images.
      trend: of the alignment of two networks with the accuracy of the less accurate one.
      trend_of_seeds: the same within each seed by itself: networks of one seed share no weights with others.
      trend_within_shapes: the same among pairs of the same two shapes: what architectures differ in is no part of it.
      untrained: mean alignment of two networks with random weights.
      trained: mean alignment of two networks of at least 90 % accuracy.
      shuffled: mean alignment of the closest layers of two networks when one sees the images in another order: what
        chance gives.
    """

    study: PlatonicStudy
    bins: Bins
    trend: Trend
    trend_of_seeds: tuple[Trend, ...]
    trend_within_shapes: Trend
    untrained: float
    trained: float
    shuffled: float


def digit_convergence(
    *,
    key: Array | int,
    seeds: int = 2,
    shapes: Sequence[Shape] = SHAPES,
    trainings: Sequence[Training] = TRAININGS,
    measures: Measure | Sequence[Measure] | None = None,
    bins: int = 5,
    samples: int = 1000,
    each: Callable[[str], None] = lambda name: None,
) -> DigitConvergence:
    """Train networks of many kinds on the digits, and see whether the better are more alike.

    By default eight shapes, each trained in six ways from random weights to well and with labels of which half, or
    nine in ten, are drawn at random: 48 networks a seed. Only hidden layers are compared: that two good networks have
    the same answers is no news.

    Args:
      key: for networks, samples and orders.
      seeds: networks of each kind.
      shapes: of networks.
      trainings: of each.
      measures: as for `platonic_study`; of several, the first has the trends.
      bins: of accuracy.
      samples: of networks, for intervals, and random orders, for p-values.
      each: called with the name of each shape before it is trained.

    Returns:
      A `DigitConvergence`; NaN for means of no two networks.

    Raises:
      ValueError: for fewer than 3 networks of a seed, and as `digit_networks`.
      TypeError: likewise.
      ImportError: without scikit-learn.

    Reference:
      After Huh et al. (2024), arXiv:2405.07987, figure 2, which has 78 vision models and tasks of VTAB.
    """
    networks, sampling, shuffling = jax.random.split(as_key("digit_convergence", key), 3)
    models = digit_networks(key=networks, seeds=seeds, shapes=shapes, trainings=trainings, each=each)
    study = platonic_study(models, measures=measures, progress=False)
    first = study.comparison.measure()
    sign = 1 if study.comparison.larger_is_closer[first] else -1
    accuracy, seed, epochs = (study.competence(fact) for fact in ("accuracy", "seed", "epochs"))
    table = np.where(np.eye(len(models), dtype=bool), 0, study.table())

    def trend(chosen: np.ndarray, within: list[str] | None = None) -> Trend:
        rows, how = np.flatnonzero(chosen), {"key": sampling, "samples": samples, "within": within}
        return pair_trend(accuracy[rows], sign * table[np.ix_(rows, rows)], **how)

    chosen = measures if measures is None or isinstance(measures, Measure) else measures[0]
    members, everything = list(models.values()), np.ones(len(models), bool)
    return DigitConvergence(
        study=study,
        bins=competence_bins(accuracy, table, bins=bins),
        trend=trend(everything),
        trend_of_seeds=tuple(trend(seed == one) for one in range(seeds)),
        trend_within_shapes=trend(everything, [name.rsplit("-", 3)[0] for name in models]),
        untrained=_mean_alignment(table, epochs == 0),
        trained=_mean_alignment(table, accuracy >= 0.9),
        shuffled=shuffled_alignment(zip(members[::2], members[1::2], strict=False), shuffling, chosen),
    )


def _mean_alignment(table: np.ndarray, chosen: np.ndarray) -> float:
    pairs = table[np.ix_(chosen, chosen)][np.triu_indices(int(chosen.sum()), 1)]
    return float(pairs.mean()) if len(pairs) else np.nan


def shuffled_alignment(pairs: Iterable[tuple[Layers, Layers]], key: Array, measure: Measure | None = None) -> float:
    """The mean score of the closest layers of pairs of models when the second ones see the examples in another order.

    Args:
      pairs: of models.
      key: for the order, the same for all.
      measure: `mutual_knn(k=10)` by default.
    """
    measure, found = mutual_knn(k=10) if measure is None else measure, []
    for one, other in pairs:
        order = np.asarray(jax.random.permutation(key, other.rows))
        moved = {layer: z[order] for layer, z in Preprocessing()(other).items()}
        sides = {"one": dict(Preprocessing()(one))}, {"other": moved}
        (best,) = compare(*sides, measures=measure, progress=False).best()
        found.append(best.value)
    return float(np.mean(found))
