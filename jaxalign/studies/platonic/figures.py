"""Pictures of a Platonic study. Each function returns all numbers in its picture, and the picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxalign._core.typing import Array
from jaxalign.comparison.render import COLORS
from jaxalign.studies.panels import Drawn, new_panels
from jaxalign.studies.platonic.convergence import PlatonicStudy
from jaxalign.studies.platonic.maps import Agreement, model_map
from jaxalign.studies.platonic.scale import ScaleCurve
from jaxalign.studies.platonic.scene_convergence import SceneConvergence
from jaxalign.studies.platonic.scenes import VOCABULARY, captions, make_scenes, render
from jaxalign.studies.platonic.trends import competence_bins

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Up to so many models have their names beside their points.
_NAMED = 16
#: Up to so many references have lines of their own.
_LINES = 8


def trend_figure(
    study: PlatonicStudy,
    fact: str,
    *,
    key: Array | int,
    measure: str | None = None,
    calibrated: bool = False,
    of: str = "x",
    within: str | None = None,
    bins: int = 5,
) -> Drawn:
    """Alignment of the closest layers beside a fact of the models, with chance.

    Of two modalities, one line for each model of the other one, at most eight of these; of one, a point for every two
    models, at the less competent of them, and the means within bins of competence.

    Args:
      study: of at least 3 models.
      fact: as for `PlatonicStudy.competence`.
      key: for the interval and the p-value of the trend.
      measure: by default the first.
      calibrated: of calibrated scores.
      of: which models have the fact.
      within: of the trend among models that agree on another fact, as for `PlatonicStudy.trend`.
      bins: of competence, for one modality.

    Returns:
      `competence`, `alignment`, `rho`, `low`, `high`, `pvalue`; `chance` where it is known and `threshold` where the
      study was calibrated; of one modality also `bin_edges`, `bin_mean` and `bin_error`.

    Raises:
      ValueError: as `PlatonicStudy.trend`.
      ImportError: without matplotlib.
    """
    trend = study.trend(fact, key=key, measure=measure, calibrated=calibrated, of=of, within=within)
    name = study.comparison.measure(measure)
    good, scores = study.competence(fact, of=of), study.table(measure, calibrated=calibrated)
    arrays = {"competence": good, "alignment": scores}
    arrays |= {field: np.array(getattr(trend, field)) for field in ("rho", "low", "high", "pvalue")}
    if not calibrated and name in study.chance:
        arrays["chance"] = np.array(study.chance[name])
    if not calibrated and name in study.comparison.calibrations:
        arrays["threshold"] = study.thresholds(measure)
    figure, (panel,) = new_panels("trend_figure", 1, width=6.4, height=4.4)
    if study.comparison.same:
        found = competence_bins(good, np.where(np.eye(len(good), dtype=bool), 0, scores), bins=bins)
        arrays |= {"bin_edges": found.edges, "bin_mean": found.mean, "bin_error": found.standard_error}
        one, other = np.triu_indices(len(good), 1)
        weaker = np.minimum(good[one], good[other])
        panel.plot(weaker, scores[one, other], ".", color=COLORS[0], alpha=0.35, markersize=4, label="two models")
        middle = (found.edges[:-1] + found.edges[1:]) / 2
        error = np.nan_to_num(found.standard_error)
        panel.errorbar(middle, found.mean, error, fmt="o-", color="black", capsize=3, label="within a bin ± s.e.")
        panel.set_xlabel(f"{fact} (of the weaker model)")
    else:
        rows, names = (scores.T, study.models_y) if of == "x" else (scores, study.models_x)
        order = np.argsort(good, kind="stable")
        for i, (row, label) in enumerate(zip(rows, names, strict=True)):
            if len(rows) <= _LINES:
                panel.plot(good[order], row[order], "o-", color=COLORS[i % len(COLORS)], markersize=4, label=label)
            else:
                panel.plot(good[order], row[order], ".", color=COLORS[0], alpha=0.4, label=None if i else "two models")
        panel.set_xlabel(fact)
    _draw_chance(panel, arrays)
    panel.set_ylabel(f"{'calibrated ' if calibrated else ''}{name} of the closest layers")
    among = "" if within is None else f" within {within}"
    interval = f"{trend.rho:.2f} [{trend.low:.2f}, {trend.high:.2f}]"
    panel.set_title(f"Spearman{among} {interval}, p = {trend.pvalue:.2g}, {trend.models} models", fontsize=10)
    panel.legend(frameon=False, fontsize=8)
    return Drawn(arrays, figure)


def _draw_chance(panel: Axes, arrays: Mapping[str, np.ndarray]) -> None:
    if "chance" in arrays:
        panel.axhline(float(arrays["chance"]), color="gray", linewidth=1, linestyle=":", label="chance, one pair")
    if "threshold" in arrays:
        level = float(np.nanmean(arrays["threshold"]))
        panel.axhline(level, color="gray", linewidth=1, linestyle="--", label="threshold, closest of all layers")


def map_figure(
    study: PlatonicStudy, fact: str | None = None, *, measure: str | None = None, floor: float | None = None
) -> Drawn:
    r"""Models of one modality on a plane, by $-\log$ of their alignment.

    Args:
      study: of one modality.
      fact: what colors are of.
      measure: by default the first; a similarity.
      floor: as for `model_map`; by default chance where it is known.

    Returns:
      `points`, `(models, 2)`, `explained`, `stress`, and `competence` where a fact was given.

    Raises:
      ValueError: for a study of two modalities, a distance, and as `model_map`.
      ImportError: without matplotlib.
    """
    name = study.comparison.measure(measure)
    if not study.comparison.same:
        raise ValueError("map_figure: study must be of one modality: platonic_study(x)")
    if not study.comparison.larger_is_closer[name]:
        raise ValueError(f"map_figure: measure must be a similarity, got {name}")
    table = np.where(np.eye(len(study.models_x), dtype=bool), 1, study.table(measure))
    found = model_map(table, floor=study.chance.get(name) if floor is None else floor)
    arrays = {"points": found.points, "explained": found.explained, "stress": np.array(found.stress)}
    figure, (panel,) = new_panels("map_figure", 1, width=6.0, height=4.8)
    dots = panel.scatter(*found.points.T, s=36, color=COLORS[0], edgecolors="black", linewidths=0.4)
    if fact is not None:
        arrays["competence"] = study.competence(fact)
        dots.set_array(arrays["competence"])
        figure.colorbar(dots, ax=panel, label=fact)
    if len(study.models_x) <= _NAMED:
        for model, (across, up) in zip(study.models_x, found.points, strict=True):
            panel.annotate(model, (across, up), xytext=(4, 3), textcoords="offset points", fontsize=7, parse_math=False)
    panel.set_aspect("equal", adjustable="datalim")
    panel.set_title(f"-log {name}, classical scaling: stress {found.stress:.2f}", fontsize=10)
    for axis, share, label in zip(("x", "y"), found.explained, ("first", "second"), strict=True):
        getattr(panel, f"set_{axis}label")(f"{label} axis, {100 * share:.0f} %")
    return Drawn(arrays, figure)


def scale_figure(curves: Mapping[str, ScaleCurve]) -> Drawn:
    """Alignment over the number of examples: means and ranges of samples, chance dashed.

    Args:
      curves: title -> a curve, such as one with `k` fixed and one with a share.

    Returns:
      `TITLE/sizes`, `TITLE/k`, `TITLE/scores` and `TITLE/chance` of each.

    Raises:
      ValueError: for no curves.
      ImportError: without matplotlib.
    """
    if not curves:
        raise ValueError("scale_figure: curves must hold at least one, got none")
    arrays = {f"{title}/{name}": values for title, curve in curves.items() for name, values in curve._asdict().items()}
    figure, (panel,) = new_panels("scale_figure", 1, width=5.6, height=4.0)
    for i, (title, curve) in enumerate(curves.items()):
        color = COLORS[i % len(COLORS)]
        panel.plot(curve.sizes, curve.mean, "o-", color=color, markersize=4, label=title)
        panel.fill_between(curve.sizes, curve.scores.min(axis=1), curve.scores.max(axis=1), color=color, alpha=0.2)
        panel.plot(curve.sizes, curve.chance, "--", color=color, linewidth=1)
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xticks(sizes := sorted({int(size) for curve in curves.values() for size in curve.sizes}), map(str, sizes))
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.minorticks_off()
    panel.set_xlabel("examples")
    panel.set_ylabel("mutual nearest neighbors")
    panel.set_title("Chance is dashed", fontsize=10)
    panel.legend(frameon=False, fontsize=8)
    return Drawn(arrays, figure)


def agreement_figure(agreement: Agreement) -> Drawn:
    """Rank correlations between measures, as a matrix.

    Returns:
      `measures` and `rho`.

    Raises:
      ImportError: without matplotlib.
    """
    arrays = {"measures": np.array(agreement.measures), "rho": agreement.rho}
    count = len(agreement.measures)
    side = 1.8 + 0.55 * count
    figure, (panel,) = new_panels("agreement_figure", 1, width=side + 0.8, height=side)
    shown = panel.imshow(agreement.rho, cmap="RdBu_r", vmin=-1, vmax=1)
    for i in range(count):
        for j in range(count):
            value = agreement.rho[i, j]
            color = "white" if abs(value) > 0.6 else "black"
            panel.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color=color)
    panel.set_xticks(range(count), agreement.measures, rotation=90, fontsize=8)
    panel.set_yticks(range(count), agreement.measures, fontsize=8)
    panel.spines[:].set_visible(False)
    figure.colorbar(shown, ax=panel, label="Spearman", shrink=0.8)
    panel.set_title(f"Over {agreement.pairs} pairs of models", fontsize=10)
    return Drawn(arrays, figure)


def density_figure(found: SceneConvergence) -> Drawn:
    """Alignment of images with captions that say more and more: mean over seeds, and each seed.

    Returns:
      `densities`, `alignment` `(densities, seeds)`, and `chance`.

    Raises:
      ImportError: without matplotlib.
    """
    chance = found.study.chance["mutual_knn"]
    arrays = {"densities": np.array(found.densities), "alignment": found.of_density, "chance": np.array(chance)}
    figure, (panel,) = new_panels("density_figure", 1, width=5.0, height=3.8)
    for i, column in enumerate(found.of_density.T):
        panel.plot(found.densities, column, ".", color=COLORS[0], label=None if i else "a seed")
    panel.plot(found.densities, found.of_density.mean(axis=1), "o-", color="black", label="mean")
    panel.axhline(chance, color="gray", linewidth=1, linestyle=":", label="chance, one pair")
    said = ("shapes", "+ colors", "+ places", "+ sizes")
    panel.set_xticks(found.densities, [said[density - 1] for density in found.densities])
    panel.set_ylim(bottom=0)
    panel.set_xlabel("what captions say")
    panel.set_ylabel("mutual_knn of the closest layers")
    panel.legend(frameon=False, fontsize=8)
    return Drawn(arrays, figure)


def scenes_figure(count: int = 4, *, key: Array | int = 0) -> Drawn:
    """Some scenes as images, with their densest captions.

    Returns:
      `images` and `tokens`.

    Raises:
      ImportError: without matplotlib.
    """
    scenes = make_scenes(count, key=key)
    images, (tokens, mask) = render(scenes, key=key), captions(scenes, density=4, key=key)
    figure, panels = new_panels("scenes_figure", count, width=2.6, height=3.0, most_columns=4)
    for panel, image, words, real in zip(panels, images, tokens, mask, strict=True):
        panel.imshow(np.clip(image, 0, 1))
        panel.set_xticks([])
        panel.set_yticks([])
        said = " ".join(VOCABULARY[word] for word in words[real][1:-1])
        panel.set_xlabel(said.replace(" and ", " and\n"), fontsize=7)
    return Drawn({"images": images, "tokens": tokens}, figure)
