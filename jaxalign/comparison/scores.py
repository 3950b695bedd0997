"""All scores of a comparison, which layers they are of, and what was computed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from jaxalign._core.checks import check_choice


class BestPair(NamedTuple):
    """The closest layers of two models under one measure; None and NaN where nothing is defined.

    In a calibrated comparison `calibrated`, `pvalue` and `threshold` are those of the closest layers of the two
    models, whichever they are: that the best was chosen is accounted for. Otherwise they are None.
    """

    model_a: str
    model_b: str
    layer_a: str | None
    layer_b: str | None
    value: float
    calibrated: float | None = None
    pvalue: float | None = None
    threshold: float | None = None


#: The matrices of a `Calibrated`: of layers, and of models.
OF_LAYERS = ("calibrated", "pvalues", "adjusted", "thresholds")
OF_MODELS = ("best_calibrated", "best_pvalues", "best_thresholds")


@dataclass(frozen=True, eq=False)
class Calibrated:
    """Scores of one measure beside what chance gives.

    Attributes:
      calibrated: 0 up to the threshold, 1 at the most there can be, `(La, Lb)`.
      pvalues: of each pair of layers by itself, `(La, Lb)`.
      adjusted: p-values of all pairs of layers at once, `(La, Lb)`.
      thresholds: what chance exceeds with probability `alpha`, `(La, Lb)`.
      best_calibrated: of the closest layers of two models, `(Ma, Mb)`; NaN for models that are not paired.
      best_pvalues: the same of p-values.
      best_thresholds: the same of thresholds.
    """

    calibrated: np.ndarray
    pvalues: np.ndarray
    adjusted: np.ndarray
    thresholds: np.ndarray
    best_calibrated: np.ndarray
    best_pvalues: np.ndarray
    best_thresholds: np.ndarray


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of every layer of one side with every layer of the other.

    What `Comparison` is, without its ways out: files, tables and pictures. Its documentation
    says what the attributes are.
    """

    values: Mapping[str, np.ndarray]
    layers_a: tuple[tuple[str, str], ...]
    layers_b: tuple[tuple[str, str], ...]
    widths_a: tuple[int, ...]
    widths_b: tuple[int, ...]
    definitions: Mapping[str, str]
    bounds: Mapping[str, tuple[float, float]]
    chance: Mapping[str, str]
    larger_is_closer: Mapping[str, bool]
    symmetric: Mapping[str, bool]
    same: bool
    info: Mapping[str, Any]
    calibrations: Mapping[str, Calibrated] = field(default_factory=dict)

    @property
    def calibrated(self) -> dict[str, np.ndarray]:
        """Measure -> calibrated scores `(La, Lb)`, from 0 to 1; empty unless the comparison was calibrated."""
        return {key: chance.calibrated for key, chance in self.calibrations.items()}

    @property
    def pvalues(self) -> dict[str, np.ndarray]:
        """Measure -> p-value of each pair of layers by itself, `(La, Lb)`; empty unless calibrated."""
        return {key: chance.pvalues for key, chance in self.calibrations.items()}

    @property
    def adjusted(self) -> dict[str, np.ndarray]:
        """Measure -> p-values of all pairs of layers at once, `(La, Lb)`; empty unless calibrated."""
        return {key: chance.adjusted for key, chance in self.calibrations.items()}

    @property
    def thresholds(self) -> dict[str, np.ndarray]:
        """Measure -> what chance exceeds with probability `alpha`, `(La, Lb)`; empty unless calibrated."""
        return {key: chance.thresholds for key, chance in self.calibrations.items()}

    @property
    def names_a(self) -> tuple[str, ...]:
        """`model/layer` of every row."""
        return tuple(join_name(*layer) for layer in self.layers_a)

    @property
    def names_b(self) -> tuple[str, ...]:
        """`model/layer` of every column."""
        return tuple(join_name(*layer) for layer in self.layers_b)

    @property
    def models_a(self) -> tuple[str, ...]:
        """Models of the rows, each once, in order."""
        return tuple(dict.fromkeys(model for model, _ in self.layers_a))

    @property
    def models_b(self) -> tuple[str, ...]:
        """Models of the columns, each once, in order."""
        return tuple(dict.fromkeys(model for model, _ in self.layers_b))

    def measure(self, name: str | None = None) -> str:
        """The key of a measure in `values`; without a name the only or first one.

        Raises:
          ValueError: for a measure that was not computed.
        """
        if name is None:
            return next(iter(self.values))
        check_choice("Comparison", "measure", name, self.values)
        return name

    def best(self, measure: str | None = None) -> tuple[BestPair, ...]:
        """The closest pair of layers of every two models; the first of equals, row by row.

        With one side only, a model is not paired with itself, unless there is no other: then
        the closest two different layers are returned. Where a measure is not symmetric, two
        models are two pairs.
        """
        key = self.measure(measure)
        closeness = self.values[key].astype(np.float64) * (1 if self.larger_is_closer[key] else -1)
        pairs = []
        for model_a, model_b in self.model_pairs(key):
            candidates = list(zip(*np.nonzero(self.candidates(key, model_a, model_b)), strict=True))
            chance = self._chance_of_best(key, model_a, model_b)
            if not candidates:
                pairs.append(BestPair(model_a, model_b, None, None, math.nan, *chance))
                continue
            i, j = max(candidates, key=lambda place: closeness[place])
            value = float(self.values[key][i, j])
            pairs.append(BestPair(model_a, model_b, self.layers_a[i][1], self.layers_b[j][1], value, *chance))
        return tuple(pairs)

    def candidates(self, key: str, model_a: str, model_b: str) -> np.ndarray:
        """The pairs of layers of two models from which the closest is taken, `(La, Lb)`: those with a score."""
        rows = np.array([model == model_a for model, _ in self.layers_a])
        columns = np.array([model == model_b for model, _ in self.layers_b])
        chosen = rows[:, None] & columns[None, :] & ~np.isnan(self.values[key])
        if self.same:
            np.fill_diagonal(chosen, False)
        return chosen

    def _chance_of_best(self, key: str, model_a: str, model_b: str) -> tuple[float, ...]:
        if key not in self.calibrations:
            return ()
        place = self.models_a.index(model_a), self.models_b.index(model_b)
        return tuple(float(getattr(self.calibrations[key], name)[place]) for name in OF_MODELS)

    def model_pairs(self, key: str) -> list[tuple[str, str]]:
        """The pairs of models of which `best` names the closest layers."""
        models = self.models_a
        if not self.same:
            return [(a, b) for a in models for b in self.models_b]
        if len(models) == 1:
            return [(models[0], models[0])]
        if not self.symmetric[key]:
            return list(itertools.permutations(models, 2))
        return list(itertools.combinations(models, 2))


def join_name(model: str, layer: str) -> str:
    """`model/layer`, or the layer alone where models have no names."""
    return f"{model}/{layer}" if model else layer
