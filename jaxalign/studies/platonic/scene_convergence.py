"""Do vision models that never saw a word and language models that never saw an image come to see one world alike?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from jaxalign._core.keys import as_key
from jaxalign._core.typing import Array, Float
from jaxalign.features import Layers
from jaxalign.studies.platonic.convergence import PlatonicStudy, platonic_study
from jaxalign.studies.platonic.digit_convergence import shuffled_alignment
from jaxalign.studies.platonic.scene_models import STEPS, TRAIN_SCENES, WIDTHS, language_models, vision_models
from jaxalign.studies.platonic.scenes import DENSITIES, STRUCTURE
from jaxalign.studies.platonic.trends import Trend


@dataclass(frozen=True, eq=False)
class SceneConvergence:
    """Models of two modalities of one world, how good they are, and how alike.

    Attributes:
      study: language models (x) and vision models (y), all with one another.
      language_trend: of alignment with the loss of the language model, less being better.
      vision_trend: the same of the vision model.
      trend_of_seeds: `language_trend` among the models of each seed.
      trend_within_widths: `language_trend` among models of one width: that larger ones are more aligned is no part.
      widths: of models.
      trained_of_widths: mean alignment of a language model (row) and a vision model (column) of each width that were
        trained longest, `(widths, widths)`.
      untrained_of_widths: the same with random weights: what of it is size alone. NaN without a 0 in `steps`.
      untrained: mean alignment of two models with random weights.
      trained: mean alignment of two models that were trained longest.
      shuffled: mean alignment of closest layers with scenes in another order for one of both: what chance gives.
      densities: how much captions say.
      of_density: mean alignment of language models of each density, trained longest, with the vision models that were
        trained longest, `(densities, seeds)`.
    """

    study: PlatonicStudy
    language_trend: Trend
    vision_trend: Trend
    trend_of_seeds: tuple[Trend, ...]
    trend_within_widths: Trend
    widths: tuple[int, ...]
    trained_of_widths: Float[np.ndarray, "widths widths"]
    untrained_of_widths: Float[np.ndarray, "widths widths"]
    untrained: float
    trained: float
    shuffled: float
    densities: tuple[int, ...]
    of_density: Float[np.ndarray, "densities seeds"]


def scene_convergence(
    *,
    key: Array | int,
    seeds: int = 2,
    widths: Sequence[int] = WIDTHS,
    steps: Sequence[int] = STEPS,
    densities: Sequence[int] = DENSITIES,
    scenes: int = TRAIN_SCENES,
    structure: float = STRUCTURE,
    samples: int = 1000,
    each: Callable[[str], None] = lambda name: None,
) -> SceneConvergence:
    """Train vision and language models of several sizes on one world, apart, and see how alike they are.

    The most that captions say is used for all but `of_density`. There, of the widest models only.

    Args:
      key: for models, samples and orders; scenes are always the same.
      seeds: models of each kind.
      widths: of both kinds of models; multiples of 4.
      steps: of training; 0 leaves weights random.
      densities: of captions, from 1 to 4.
      scenes: to train on.
      structure: of the world: with 0 there is nothing to learn of it, see `make_scenes`.
      samples: of models, for intervals, and random orders, for p-values.
      each: called with what is trained, before it is.

    Returns:
      A `SceneConvergence`.

    Raises:
      ValueError: for fewer than 3 models of a seed, and as `vision_models` and `language_models`.
      TypeError: likewise.

    Reference:
      After Huh et al. (2024), arXiv:2405.07987, figures 3 and 9, which have images of Wikipedia and their captions.
    """
    seeing, telling, sampling, shuffling = jax.random.split(as_key("scene_convergence", key), 4)
    how = {"steps": steps, "seeds": seeds, "scenes": scenes, "structure": structure}
    each("vision models")
    vision = vision_models(key=seeing, widths=widths, **how)
    each("language models")
    language = language_models(key=telling, widths=widths, **how)
    study = platonic_study(language, vision, progress=False)
    longest = max(steps)
    good = {name: z for name, z in vision.items() if z.facts["steps"] == longest}
    of_density = []
    for density in densities:
        each(f"language models of captions of density {density}")
        only = {"widths": [max(widths)], "steps": [longest], "seeds": seeds, "scenes": scenes, "structure": structure}
        table = platonic_study(language_models(key=telling, density=density, **only), good, progress=False).table()
        of_density.append(table.mean(axis=1))
    table = study.table()
    trained, seed = ([study.competence(fact, of=of) for of in "xy"] for fact in ("steps", "seed"))
    one_seed = [
        _part(language, vision, seed[0] == i, seed[1] == i).trend("-loss", key=sampling, samples=samples)
        for i in range(seeds)
    ]
    return SceneConvergence(
        study=study,
        language_trend=study.trend("-loss", key=sampling, samples=samples),
        vision_trend=study.trend("-loss", key=sampling, samples=samples, of="y"),
        trend_of_seeds=tuple(one_seed),
        trend_within_widths=study.trend("-loss", key=sampling, samples=samples, within="width"),
        widths=tuple(int(w) for w in widths),
        trained_of_widths=_of_widths(study, widths, longest),
        untrained_of_widths=_of_widths(study, widths, 0),
        untrained=_mean(table, *(z == 0 for z in trained)),
        trained=_mean(table, *(z == longest for z in trained)),
        shuffled=shuffled_alignment(zip(language.values(), vision.values(), strict=False), shuffling),
        densities=tuple(int(density) for density in densities),
        of_density=np.stack(of_density),
    )


def _part(
    language: Mapping[str, Layers], vision: Mapping[str, Layers], rows: np.ndarray, columns: np.ndarray
) -> PlatonicStudy:
    sides = ((language, rows), (vision, columns))
    return platonic_study(
        *({name: z for (name, z), kept in zip(side.items(), chosen, strict=True) if kept} for side, chosen in sides),
        progress=False,
    )


def _of_widths(study: PlatonicStudy, widths: Sequence[int], steps: int) -> Float[np.ndarray, "widths widths"]:
    """Mean alignment of models of each two widths that were trained for so many steps."""
    facts = {of: (study.competence("width", of=of), study.competence("steps", of=of)) for of in "xy"}
    kept = {of: [(width == one) & (trained == steps) for one in widths] for of, (width, trained) in facts.items()}
    return np.array([[_mean(study.table(), rows, columns) for columns in kept["y"]] for rows in kept["x"]])


def _mean(table: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> float:
    chosen = table[np.ix_(rows, columns)]
    return float(chosen.mean()) if chosen.size else np.nan
