"""A comparison as pictures."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxalign.comparison.render import describe_scale, format_score, level, missing
from jaxalign.comparison.scores import Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Up to this many rows or columns every layer has its name on the axis, above it every second, third, ...
NAMED_LAYERS = 90
#: Up to this many cells a side, each cell shows its number.
NUMBERED_CELLS = 16
#: Letters of a name on an axis; longer ones lose their middle.
NAME_LETTERS = 56
#: Names and definitions are shown as they are, dollar signs included.
AS_IS: Any = {"parse_math": False}


def layer_heatmap(result: Scores, key: str) -> Figure:
    """Every layer (rows) against every layer (columns), models set apart by lines."""
    rows, columns = len(result.layers_a), len(result.layers_b)
    figure, axes = _canvas(rows, columns, _inches(result.layers_a), _inches(result.layers_b))
    chance = result.calibrations.get(key)
    _draw(figure, axes, result, key, result.values[key], None if chance is None else ("adjusted p", chance.adjusted))
    for axis, layers, argument in (
        (axes.yaxis, result.layers_a, "reps_a"),
        (axes.xaxis, result.layers_b, "reps_a" if result.same else "reps_b"),
    ):
        _name_layers(axes, axis, layers, argument)
    _set_title(figure, axes, f"{result.definitions[key]}: every layer against every layer", describe_scale(result, key))
    return figure


def model_heatmap(result: Scores, key: str) -> Figure:
    """The best pair of layers of every two models."""
    models_a, models_b = result.models_a, result.models_b
    matrix, pvalues = (np.full((len(models_a), len(models_b)), np.nan) for _ in range(2))
    for pair in result.best(key):
        i, j = models_a.index(pair.model_a), models_b.index(pair.model_b)
        for place in ((i, j), (j, i)) if result.same and result.symmetric[key] else ((i, j),):
            matrix[place], pvalues[place] = pair.value, getattr(pair, "pvalue", np.nan)
    beside, below = (0.5 + 0.09 * max(len(_shorten(m)) for m in models) for models in (models_a, models_b))
    figure, axes = _canvas(3 * len(models_a), 3 * len(models_b), beside, below)
    _draw(figure, axes, result, key, matrix, ("p of two models", pvalues) if key in result.calibrations else None)
    axes.set_yticks(range(len(models_a)), [_shorten(m) or "(unnamed)" for m in models_a], fontsize=9, **AS_IS)
    columns = [_shorten(m) or "(unnamed)" for m in models_b]
    axes.set_xticks(range(len(models_b)), columns, fontsize=9, rotation=90, **AS_IS)
    axes.set_ylabel("rows: models" if result.same else "rows: models of reps_a")
    axes.set_xlabel("columns: models" if result.same else "columns: models of reps_b")
    best = "highest" if result.larger_is_closer[key] else "lowest"
    empty = "; a model with itself is grey" if result.same and len(models_a) > 1 else ""
    title = f"{result.definitions[key]}: {best} score over the layers of two models{empty}"
    _set_title(figure, axes, title, describe_scale(result, key))
    return figure


def _canvas(rows: int, columns: int, beside: float, below: float) -> tuple[Figure, Axes]:
    """A figure for so many cells, with so many inches of names beside and below them."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError:
        raise missing("matplotlib", "Comparison.plot") from None
    # Cells of few layers are larger, to hold their numbers.
    cell = 0.34 if max(rows, columns) <= NUMBERED_CELLS else 0.16
    height, width = (min(max(cell * n, 1.2), 14.0) for n in (rows, columns))
    # Besides names: the title above, and the color scale with its label.
    width, height = max(width + beside + 2.2, 7.5), max(height + below + 1.5, 4.4)
    x, y = 0.1 / width, 0.1 / height  # the layout misjudges names outside of names by some pixels
    layout = ConstrainedLayoutEngine(rect=(x, y, 1 - 2 * x, 1 - 2 * y))
    figure = Figure(figsize=(width, height), layout=layout)
    return figure, figure.add_subplot()


def _inches(layers: tuple[tuple[str, str], ...]) -> float:
    """What names of layers, and of models outside of them, take beside an axis."""
    models = {model for model, _ in layers}
    outer = max(len(_shorten(model)) for model in models) * 0.075 + 0.2 if len(models) > 1 else 0.0
    return 0.5 + _name_points(layers) / 72 + outer


def _name_points(layers: tuple[tuple[str, str], ...]) -> float:
    """The length of the longest layer name on an axis, in points."""
    return 0.62 * _font_size(len(layers)) * max(len(_shorten(layer)) for _, layer in layers)


def _font_size(count: int) -> int:
    return 7 if count <= 40 else 5


def _set_title(figure: Figure, axes: Axes, *lines: str) -> None:
    """Lines above the picture, broken where they would leave it."""
    letters = int(figure.get_figwidth() * 11)
    text = "\n".join(part for line in lines for part in textwrap.wrap(line, letters, break_on_hyphens=False))
    figure.suptitle(text, fontsize=10, **AS_IS)


def _draw(
    figure: Figure, axes: Axes, result: Scores, key: str, matrix: np.ndarray, chance: tuple[str, np.ndarray] | None
) -> None:
    """The image with its scale; undefined scores are grey, those that may be chance are crossed out."""
    from matplotlib import colormaps

    similarity = result.larger_is_closer[key]
    low, high = _limits(matrix, *result.bounds[key])
    colors = colormaps["viridis" if similarity else "viridis_r"].with_extremes(bad="0.8")
    image = axes.imshow(np.ma.masked_invalid(matrix), cmap=colors, vmin=low, vmax=high, interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=20)
    grey = "" if np.isfinite(matrix).all() else "; grey: no score"
    crosses = "" if chance is None else _cross_out(figure, axes, result, matrix, *chance)
    reading = f"{'higher' if similarity else 'lower'} is more alike{grey}{crosses}"
    bar.set_label(f"{result.definitions[key]}\n({reading})", **AS_IS)
    if max(matrix.shape) <= NUMBERED_CELLS:
        for (i, j), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                dark = (value < (low + high) / 2) == similarity
                text = format_score(result, key, float(value), digits=2)
                axes.text(j, i, text, ha="center", va="center", fontsize=7, color="w" if dark else "k")


def _cross_out(figure: Figure, axes: Axes, result: Scores, matrix: np.ndarray, which: str, pvalues: np.ndarray) -> str:
    """Cross out the scores that chance may give, and say so."""
    chance = np.isfinite(matrix) & ~(pvalues <= result.info["alpha"])
    figure.draw_without_rendering()  # cells have their size after the layout
    cell = min(axes.transData.transform((1, 1)) - axes.transData.transform((0, 2))) * 72 / figure.dpi
    rows, columns = np.nonzero(chance)
    size = min(0.6 * cell, 16)
    axes.scatter(columns, rows, c="0.6", marker="x", s=size**2, linewidths=max(0.5, 0.06 * size), alpha=0.7)
    return f"\ncrossed out: no more than chance, {which} > {level(result)}"


def _limits(matrix: np.ndarray, lowest: float, highest: float) -> tuple[float, float]:
    """The ends of the color scale: the possible scores, or those there are where no bound is known."""
    finite = matrix[np.isfinite(matrix)]
    low = lowest if math.isfinite(lowest) else float(finite.min()) if finite.size else 0.0
    high = highest if math.isfinite(highest) else float(finite.max()) if finite.size else 1.0
    if math.isfinite(lowest) and low < 0 and finite.size and finite.min() > -0.1:
        low = min(0.0, float(finite.min()))  # no negative score of any size: half of the colors would be idle
    return (low, high) if low < high else (low - 0.5, low + 0.5)


def _name_layers(axes: Axes, axis: Any, layers: tuple[tuple[str, str], ...], argument: str) -> None:
    """Layer names at the ticks, model names outside of them, lines between models."""
    vertical, count = axis is axes.yaxis, len(layers)
    models = [model for model, _ in layers]
    edges = [i for i in range(1, count) if models[i] != models[i - 1]]
    for edge in edges:
        (axes.axhline if vertical else axes.axvline)(edge - 0.5, color="w", linewidth=1.0)
    small = _font_size(count)
    rotation: Any = {} if vertical else {"rotation": 90}
    ticks = range(0, count, -(-count // NAMED_LAYERS))
    names = [_shorten(layers[i][1]) for i in ticks]
    axis.set_ticks(ticks, names, fontsize=small, **AS_IS, **rotation)
    side = "rows" if vertical else "columns"
    some = "" if len(ticks) == count else f" (one in {ticks.step} named)"
    if not edges:
        axis.set_label_text(f"{side}: layers of {_shorten(models[0]) or argument}{some}", **AS_IS)
        return
    # Model names on an axis of their own, outside of the layer names.
    outer = axes.secondary_yaxis("left") if vertical else axes.secondary_xaxis("bottom")
    place = "left" if vertical else "bottom"
    outer.spines[place].set_position(("outward", 8 + _name_points(layers)))
    outer.spines[place].set_visible(False)
    centers = [(a + b - 1) / 2 for a, b in zip([0, *edges], [*edges, count], strict=True)]
    labels = [_shorten(models[start]) for start in (0, *edges)]
    (outer.yaxis if vertical else outer.xaxis).set_ticks(centers, labels, fontsize=8, **AS_IS, **rotation)
    outer.tick_params(length=0)
    (outer.yaxis if vertical else outer.xaxis).set_label_text(f"{side}: layers, by model{some}")


def _shorten(name: str) -> str:
    """A name that fits on an axis."""
    half = NAME_LETTERS // 2
    return name if len(name) <= NAME_LETTERS else f"{name[: half - 1]}…{name[-half:]}"
