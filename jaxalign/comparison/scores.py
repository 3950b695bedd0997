"""All scores of a comparison, which layers they are of, and what was computed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxalign._core.checks import check_choice


class BestPair(NamedTuple):
    """The closest layers of two models under one measure; None and NaN where nothing is defined."""

    model_a: str
    model_b: str
    layer_a: str | None
    layer_b: str | None
    value: float


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
        defined = ~np.isnan(closeness)
        if self.same:
            np.fill_diagonal(defined, False)
        pairs = []
        for model_a, model_b in self._model_pairs(key):
            rows = [i for i, (model, _) in enumerate(self.layers_a) if model == model_a]
            columns = [j for j, (model, _) in enumerate(self.layers_b) if model == model_b]
            candidates = [(i, j) for i in rows for j in columns if defined[i, j]]
            if not candidates:
                pairs.append(BestPair(model_a, model_b, None, None, math.nan))
                continue
            i, j = max(candidates, key=lambda place: closeness[place])
            value = float(self.values[key][i, j])
            pairs.append(BestPair(model_a, model_b, self.layers_a[i][1], self.layers_b[j][1], value))
        return tuple(pairs)

    def _model_pairs(self, key: str) -> list[tuple[str, str]]:
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
