"""All models of one modality against all of another: how aligned their closest layers are, and what that goes with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxalign._core.checks import check_choice, check_mask, describe, nearest
from jaxalign._core.typing import Array
from jaxalign.comparison import compare
from jaxalign.comparison.result import Comparison
from jaxalign.features import Layers, check_finite, finite_mask
from jaxalign.inference.schemes import Free, Scheme
from jaxalign.measures import Measure, mutual_knn
from jaxalign.signatures.neighbors import NeighborSignature
from jaxalign.studies.platonic.preprocessing import Preprocessing
from jaxalign.studies.platonic.trends import Trend, competence_trend, pair_trend


@dataclass(frozen=True, eq=False)
class PlatonicStudy:
    """Alignment of the closest layers of models, and what is known of the models.

    Attributes:
      comparison: of all layers, with its ways out: tables, files, heatmaps.
      preprocessing: what was done to activations, in one line.
      facts_x: model -> what its file says of it, such as `parameters` or `bits_per_byte`.
      facts_y: the same of the other modality; of one modality the same mapping.
      chance: measure -> what one pair of unrelated layers scores, where it is known; see `thresholds` for the closest
        of many layers.
    """

    comparison: Comparison
    preprocessing: str
    facts_x: Mapping[str, Mapping[str, Any]]
    facts_y: Mapping[str, Mapping[str, Any]]
    chance: Mapping[str, float]

    @property
    def models_x(self) -> tuple[str, ...]:
        """The models of one modality, in order."""
        return self.comparison.models_a

    @property
    def models_y(self) -> tuple[str, ...]:
        """The models of the other; of one modality the same."""
        return self.comparison.models_b

    def table(self, measure: str | None = None, *, calibrated: bool = False) -> np.ndarray:
        """The score of the closest layers of every two models, `(models_x, models_y)`.

        Args:
          measure: by default the first.
          calibrated: 0 up to what the closest of so many layers reach by chance, 1 at the most there can be; for
            studies that were calibrated.

        Returns:
          float64; NaN where nothing is defined, and on the diagonal of one modality.

        Raises:
          ValueError: for a measure that was not computed, or calibrated scores that were not.
        """
        key = self.comparison.measure(measure)
        if calibrated:
            return self._of_chance("table", key, "best_calibrated")
        return self._filled({(pair.model_a, pair.model_b): pair.value for pair in self.comparison.best(key)})

    def pairs_without_score(self, measure: str | None = None) -> list[tuple[str, str]]:
        """Pairs of models no layers of which have a score, as where all activations of one are the same."""
        best = self.comparison.best(self.comparison.measure(measure))
        return [(pair.model_a, pair.model_b) for pair in best if not np.isfinite(pair.value)]

    def thresholds(self, measure: str | None = None) -> np.ndarray:
        """What the closest layers of every two models exceed by chance with probability `alpha`.

        Raises:
          ValueError: for a measure that was not computed, or a study that was not calibrated.
        """
        return self._of_chance("thresholds", self.comparison.measure(measure), "best_thresholds")

    def pvalues(self, measure: str | None = None) -> np.ndarray:
        """P-values of the closest layers of every two models: that they are the closest of many is accounted for.

        Raises:
          ValueError: for a measure that was not computed, or a study that was not calibrated.
        """
        return self._of_chance("pvalues", self.comparison.measure(measure), "best_pvalues")

    def competence(self, fact: str, *, of: str = "x") -> np.ndarray:
        """One fact of every model, `(models,)`.

        Args:
          fact: its name; with `-` in front its negative, as for `-bits_per_byte`, of which less is better.
          of: `"x"` or `"y"`.

        Raises:
          ValueError: for a fact that a model does not have, and values that are no finite numbers.
        """
        check_choice("PlatonicStudy.competence", "of", of, ("x", "y"))
        name, sign = (fact[1:], -1.0) if fact.startswith("-") else (fact, 1.0)
        facts = {"x": self.facts_x, "y": self.facts_y}[of]
        values = []
        for model, known in facts.items():
            if name not in known:
                raise ValueError(f"PlatonicStudy: model {model!r} has no fact {name!r}{nearest(name, known)}")
            value = np.asarray(known[name])
            if value.ndim or value.dtype.kind not in "iuf" or not np.isfinite(value):
                raise ValueError(f"PlatonicStudy: {name} of model {model!r} must be a number, got {known[name]!r}")
            values.append(sign * float(value))
        return np.array(values)

    def trend(
        self,
        fact: str,
        *,
        key: Array | int,
        measure: str | None = None,
        calibrated: bool = False,
        of: str = "x",
        within: str | None = None,
        samples: int = 2000,
        level: float = 0.95,
    ) -> Trend:
        """How alignment goes with a fact of the models.

        With two modalities, the mean rank correlation with each model of the other one (`competence_trend`); with one,
        that of two models with the less competent of them (`pair_trend`).

        Args:
          fact: as for `competence`.
          key: for samples and random orders.
          measure: by default the first.
          calibrated: of calibrated scores.
          of: which models have the fact, `"x"` or `"y"`.
          within: another fact, such as `"family"` or `"width"`, a text or an integer: of the trend among models that
            agree on it, so that what goes with the one is not taken for what goes with the other.
          samples: of models, and random orders.
          level: of the interval.

        Raises:
          ValueError: for too few models, models that have no score, and as `competence` and `table`.
        """
        scores, good = self.table(measure, calibrated=calibrated), self.competence(fact, of=of)
        without = self.pairs_without_score(measure)
        if without:
            raise ValueError(
                f"PlatonicStudy.trend: {self.comparison.measure(measure)} is not defined for {len(without)} pairs of "
                f"models, {without[0][0]!r} and {without[0][1]!r} the first; leave such models out"
            )
        sign = 1 if calibrated or self.comparison.larger_is_closer[self.comparison.measure(measure)] else -1
        labels = None if within is None else self._labels(within, of)
        settings = {"key": key, "within": labels, "samples": samples, "level": level}
        if self.comparison.same:
            return pair_trend(good, sign * np.where(np.eye(len(scores), dtype=bool), 0, scores), **settings)
        return competence_trend(good, sign * (scores if of == "x" else scores.T), **settings)

    def _labels(self, fact: str, of: str) -> np.ndarray:
        """One fact of every model, a text or an integer."""
        values = []
        for model, known in {"x": self.facts_x, "y": self.facts_y}[of].items():
            if not isinstance(known.get(fact), (str, int)):
                raise ValueError(
                    f"PlatonicStudy: {fact} of model {model!r} must be a text or an integer to be within, "
                    f"got {known.get(fact)!r}{nearest(fact, known)}"
                )
            values.append(str(known[fact]))
        return np.array(values)

    def _of_chance(self, function: str, key: str, field: str) -> np.ndarray:
        if key not in self.comparison.calibrations:
            raise ValueError(f"PlatonicStudy.{function}: {key} was not calibrated: pass calibrate=1000 and a key")
        values = getattr(self.comparison.calibrations[key], field)
        pairs = self.comparison.model_pairs(key)
        place_x, place_y = ({name: i for i, name in enumerate(names)} for names in (self.models_x, self.models_y))
        return self._filled({(a, b): float(values[place_x[a], place_y[b]]) for a, b in pairs})

    def _filled(self, values: Mapping[tuple[str, str], float]) -> np.ndarray:
        """A table of pairs of models; of one modality both halves are filled."""
        place_x, place_y = ({name: i for i, name in enumerate(names)} for names in (self.models_x, self.models_y))
        table = np.full((len(place_x), len(place_y)), np.nan)
        for (one, other), value in values.items():
            table[place_x[one], place_y[other]] = value
            if self.comparison.same and (other, one) not in values:
                table[place_x[other], place_y[one]] = value
        return table


def platonic_study(
    x: Mapping[str, Any],
    y: Mapping[str, Any] | None = None,
    *,
    measures: Measure | Sequence[Measure] | None = None,
    preprocessing: Preprocessing = Preprocessing(),  # noqa: B008 (immutable)
    facts: Mapping[str, Mapping[str, Any]] | None = None,
    calibrate: int = 0,
    key: Array | int | None = None,
    alpha: float = 0.05,
    scheme: Scheme = Free(),  # noqa: B008 (immutable)
    mask: Any = None,
    max_memory: int | None = None,
    resume: str | Path | None = None,
    progress: bool | None = None,
) -> PlatonicStudy:
    """Alignment of all models with one another, by their closest layers, as in the Platonic Representation Hypothesis.

    The default is the published protocol: outliers limited, rows of length one, mutual nearest neighbors with k = 10
    over all pairs of layers, and the closest pair kept. That the closest of many pairs is taken raises what chance
    gives: `calibrate` says how much, from the same choice in random orders of the examples.

    Args:
      x: model -> its layers, such as `jaxalign.features.load` returns: name -> `(n, d)`, the same examples in the same
        order everywhere.
      y: the models of another modality; None compares those of `x` with one another.
      measures: one or several of `jaxalign.measures`; `mutual_knn(k=10)` by default.
      preprocessing: what is done to layers before.
      facts: model -> facts, beside those that files bring along: these count first.
      calibrate: random orders of the examples, such as 1000; 0 does not calibrate.
      key: for them.
      alpha: level of thresholds.
      scheme: which orders there are: see `jaxalign.inference`.
      mask: `(n,)` booleans; rows that are `False` do not count, in all models, and may hold NaN: see
        `jaxalign.features.finite_mask`.
      max_memory: as in `jaxalign.compare`.
      resume: likewise.
      progress: likewise.

    Raises:
      ValueError: for no models, numbers of examples or ids that disagree, NaN or infinity in rows that count, and as
        `jaxalign.compare`.
      TypeError: for models that are not mappings of layers.

    Example:
      >>> rng = np.random.default_rng(0)
      >>> world = rng.normal(size=(60, 5))
      >>> models = {f"d{d}": {"last": np.tanh(world @ rng.normal(size=(5, d)))} for d in (8, 16)}
      >>> study = platonic_study({"one": models["d8"]}, {"other": models["d16"]})
      >>> bool(study.table()[0, 0] > 3 * study.chance["mutual_knn"])
      True

    Reference:
      Huh et al. (2024), arXiv:2405.07987, sections 2 and 3, appendices A to C. Calibration: Gröger et al. (2026).
    """
    if not isinstance(preprocessing, Preprocessing):
        raise TypeError(f"platonic_study: preprocessing must be a Preprocessing, got {describe(preprocessing)}")
    mask = None if mask is None else np.asarray(mask)
    sides = {"x": x} if y is None else {"x": x, "y": y}
    prepared, known = {}, {}
    for argument, models in sides.items():
        layers = _models(argument, models)
        for name, model in layers.items():
            _check_finite(name, model, mask)
        prepared[argument] = {name: preprocessing(model, mask=mask) for name, model in layers.items()}
        known[argument] = {name: {**model.facts, **(facts or {}).get(name, {})} for name, model in layers.items()}
    for name in facts or {}:
        if not any(name in models for models in sides.values()):
            raise ValueError(f"platonic_study: facts are of models, and there is none named {name!r}")
    measures = mutual_knn(k=10) if measures is None else measures
    comparison = compare(
        prepared["x"],
        prepared.get("y"),
        measures=measures,
        calibrate=calibrate,
        key=key,
        alpha=alpha,
        scheme=scheme,
        mask=mask,
        max_memory=max_memory,
        resume=resume,
        progress=progress,
    )
    examples = comparison.info["examples_used"]
    chosen = [measures] if isinstance(measures, Measure) else list(measures)
    chance = {name: _chance(measure, examples) for name, measure in zip(comparison.values, chosen, strict=True)}
    return PlatonicStudy(
        comparison,
        preprocessing.definition,
        known["x"],
        known.get("y", known["x"]),
        {name: value for name, value in chance.items() if value is not None},
    )


def _models(argument: str, models: Any) -> dict[str, Layers]:
    if not isinstance(models, Mapping) or not models:
        raise TypeError(
            f"platonic_study: {argument} must map models to their layers, at least one, got {describe(models)}"
        )
    for name, model in models.items():
        if not isinstance(model, Mapping):
            raise TypeError(
                f"platonic_study: model {name!r} of {argument} must map layers to arrays, got {describe(model)}"
            )
    return {name: model if isinstance(model, Layers) else Layers(model) for name, model in models.items()}


def _check_finite(name: str, model: Layers, mask: np.ndarray | None) -> None:
    """Raise for NaN or infinity in rows that count: one of them would take the limit of the whole model with it."""
    check_mask("platonic_study", mask, model.rows)
    if mask is None or not finite_mask(model)[mask].all():
        check_finite(model, name=f"platonic_study: model {name!r}")


def _chance(measure: Measure, examples: int) -> float | None:
    """The score of unrelated layers, where it does not depend on them."""
    if measure.name == "mutual_knn" and isinstance(measure.signature, NeighborSignature):
        return measure.signature.k / (examples - 1)
    return None
