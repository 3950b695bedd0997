"""From scores in random orders to calibrated scores and p-values, of layers and of models."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.typing import Array
from jaxalign.comparison.scores import Calibrated, Scores
from jaxalign.inference.calibration import Calibration, adjusted_pvalues, calibrated, calibrated_best
from jaxalign.measures import Measure

S = TypeVar("S", bound=Scores)


def with_chance(result: S, key: str, measure: Measure, null: np.ndarray, alpha: float) -> S:
    """The comparison with one measure calibrated.

    Args:
      result: scores.
      key: the measure's name among them.
      measure: the measure.
      null: scores in random orders, `(B, La, Lb)`.
      alpha: level of thresholds.
    """
    values, by_chance = jnp.asarray(result.values[key]), jnp.asarray(null)
    cells, adjusted = _of_layers(measure, values, by_chance, alpha)
    shape = len(result.models_a), len(result.models_b)
    best = {name: np.full(shape, np.nan, values.dtype) for name in ("score", "pvalue", "threshold")}
    for model_a, model_b in result.model_pairs(key):
        chosen = result.candidates(key, model_a, model_b)
        if not chosen.any():
            continue
        place = result.models_a.index(model_a), result.models_b.index(model_b)
        closest = _of_models(measure, values, by_chance, jnp.asarray(chosen), alpha)
        for name, matrix in best.items():
            matrix[place] = getattr(closest, name)
    chance = Calibrated(
        calibrated=np.asarray(cells.score),
        pvalues=_exact(cells.pvalue, len(null)),
        adjusted=_exact(adjusted, len(null)),
        thresholds=np.asarray(cells.threshold),
        best_calibrated=best["score"],
        best_pvalues=_exact(best["pvalue"], len(null)),
        best_thresholds=best["threshold"],
    )
    return replace(result, calibrations={**result.calibrations, key: chance})


@functools.partial(jax.jit, static_argnames="alpha")
def _of_layers(measure: Measure, values: Array, null: Array, alpha: float) -> tuple[Calibration, Array]:
    return calibrated(measure, values, null, alpha), adjusted_pvalues(measure, values, null)


@functools.partial(jax.jit, static_argnames="alpha")
def _of_models(measure: Measure, values: Array, null: Array, chosen: Array, alpha: float) -> Calibration:
    """The closest of the chosen pairs beside the closest of them in every order."""
    closest, _ = calibrated_best(measure, jnp.where(chosen, values, jnp.nan), null, alpha)
    return closest


def _exact(pvalues: Any, permutations: int) -> np.ndarray:
    """Shares of `permutations + 1` in float64: in float32 0.05 is above 0.05."""
    return np.round(np.asarray(pvalues, np.float64) * (permutations + 1)) / (permutations + 1)
