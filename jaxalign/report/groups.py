"""Scores of chosen layers, by what the two models have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from jaxalign.comparison import Comparison


@dataclass(frozen=True, eq=False)
class Group:
    """The scores of all pairs of models of one kind.

    Attributes:
      name: what the pairs have in common.
      scores: one score a pair, `(pairs,)`; NaN where it is undefined.
    """

    name: str
    scores: np.ndarray

    @property
    def mean(self) -> float:
        """The mean over pairs whose score is defined, NaN when there is none."""
        return float(np.mean(self._defined)) if self._defined.size else float("nan")

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest score, NaN when there is none."""
        if not self._defined.size:
            return float("nan"), float("nan")
        return float(np.min(self._defined)), float(np.max(self._defined))

    @property
    def _defined(self) -> np.ndarray:
        return self.scores[~np.isnan(self.scores)]


def layer_matrix(result: Comparison, key: str, layers: Mapping[str, str]) -> np.ndarray:
    """Scores between one layer of each model of a comparison with itself, in the order of `layers`.

    Args:
      result: a comparison of one side with itself.
      key: the measure.
      layers: model -> the layer to take.

    Raises:
      ValueError: when there is no such layer.
    """
    places = []
    for layer in layers.items():
        if layer not in result.layers_a:
            raise ValueError(f"layer_matrix: the comparison has no layer {'/'.join(layer)!r}")
        places.append(result.layers_a.index(layer))
    return result.values[key][np.ix_(places, places)].astype(np.float64)


def group_scores(
    result: Comparison, key: str, layers: Mapping[str, str], kind: Callable[[str, str], str]
) -> list[Group]:
    """The scores of every two models, one layer of each, sorted into groups.

    Args:
      result: a comparison of one side with itself.
      key: the measure.
      layers: model -> the layer to take.
      kind: from two models to the name of their group.

    Returns:
      The groups, in the order of their first pair.
    """
    matrix = layer_matrix(result, key, layers)
    groups: dict[str, list[float]] = {}
    for (i, one), (j, other) in combinations(enumerate(layers), 2):
        groups.setdefault(kind(one, other), []).append(matrix[i, j])
    return [Group(name, np.asarray(scores)) for name, scores in groups.items()]
