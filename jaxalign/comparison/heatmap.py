"""A comparison as pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from jaxalign.comparison.render import describe_scale, missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from jaxalign.comparison.result import Comparison

#: Up to this many rows or columns every layer has its name on the axis.
NAMED_LAYERS = 90
#: Up to this many cells a side, each cell shows its number.
NUMBERED_CELLS = 16


def layer_heatmap(result: Comparison, key: str) -> Figure:
    """Every layer (rows) against every layer (columns), models set apart by lines."""
    rows, columns = len(result.layers_a), len(result.layers_b)
    figure, axes = _canvas(rows, columns)
    _draw(figure, axes, result, key, result.values[key])
    for axis, layers, other in ((axes.yaxis, result.layers_a, rows), (axes.xaxis, result.layers_b, columns)):
        _name_layers(axes, axis, layers, other)
    title = "every layer against every layer"
    axes.set_title(f"{result.definitions[key]}: {title}\n{describe_scale(result, key)}", fontsize=10)
    return figure


def model_heatmap(result: Comparison, key: str) -> Figure:
    """The best pair of layers of every two models."""
    models_a, models_b = result.models_a, result.models_b
    matrix = np.full((len(models_a), len(models_b)), np.nan)
    for pair in result.best(key):
        i, j = models_a.index(pair.model_a), models_b.index(pair.model_b)
        matrix[i, j] = pair.value
        if result.same:
            matrix[j, i] = pair.value
    figure, axes = _canvas(3 * len(models_a), 3 * len(models_b))
    _draw(figure, axes, result, key, matrix)
    axes.set_yticks(range(len(models_a)), [m or "(unnamed)" for m in models_a], fontsize=9)
    axes.set_xticks(range(len(models_b)), [m or "(unnamed)" for m in models_b], fontsize=9, rotation=90)
    axes.set_ylabel("model a" if not result.same else "model")
    axes.set_xlabel("model b" if not result.same else "model")
    best = "highest" if result.larger_is_closer[key] else "lowest"
    empty = "; a model with itself is left blank" if result.same and len(models_a) > 1 else ""
    axes.set_title(
        f"{result.definitions[key]}: {best} score over the layers of two models{empty}\n{describe_scale(result, key)}",
        fontsize=10,
    )
    return figure


def _canvas(rows: int, columns: int) -> tuple[Figure, Axes]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing("matplotlib", "Comparison.plot") from None
    height = min(max(0.16 * rows, 2.0), 14.0) + 2.2
    width = min(max(0.16 * columns, 2.0), 14.0) + 3.6
    figure = Figure(figsize=(max(width, 7.5), height), layout="constrained")
    return figure, figure.add_subplot()


def _draw(figure: Figure, axes: Axes, result: Comparison, key: str, matrix: np.ndarray) -> None:
    """The image with its scale; undefined scores are grey."""
    from matplotlib import colormaps

    low, high = result.bounds[key]
    finite = matrix[np.isfinite(matrix)]
    if not math.isfinite(low):
        low = float(finite.min()) if finite.size else 0.0
    if not math.isfinite(high):
        high = float(finite.max()) if finite.size else 1.0
    if low < 0 and math.isfinite(result.bounds[key][0]) and finite.size and finite.min() > -0.1:
        low = min(0.0, float(finite.min()))
    colors = colormaps["viridis" if result.larger_is_closer[key] else "viridis_r"].with_extremes(bad="0.8")
    image = axes.imshow(np.ma.masked_invalid(matrix), cmap=colors, vmin=low, vmax=high, interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label(f"{key} ({'higher' if result.larger_is_closer[key] else 'lower'} is more alike)")
    if max(matrix.shape) <= NUMBERED_CELLS:
        middle = (low + high) / 2
        for (i, j), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                dark = (value < middle) == result.larger_is_closer[key]
                axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color="w" if dark else "k")


def _name_layers(axes: Axes, axis, layers: tuple[tuple[str, str], ...], count: int) -> None:
    """Layer names at the ticks, model names outside of them, lines between models."""
    vertical = axis is axes.yaxis
    models = [model for model, _ in layers]
    edges = [i for i in range(1, count) if models[i] != models[i - 1]]
    for edge in edges:
        (axes.axhline if vertical else axes.axvline)(edge - 0.5, color="w", linewidth=1.0)
    small = 7 if count <= 40 else 5
    rotation = {} if vertical else {"rotation": 90}
    if count <= NAMED_LAYERS:
        axis.set_ticks(range(count), [layer for _, layer in layers], fontsize=small, **rotation)
    else:
        axis.set_ticks([])
    side = "rows" if vertical else "columns"
    if len(set(models)) == 1:
        axis.set_label_text(f"{side}: layers of {models[0]}" if models[0] else f"{side}: layers")
        return
    # Model names on an axis of their own, outside of the layer names.
    outer = axes.secondary_yaxis("left") if vertical else axes.secondary_xaxis("bottom")
    place = "left" if vertical else "bottom"
    longest = max(len(layer) for _, layer in layers) if count <= NAMED_LAYERS else 0
    outer.spines[place].set_position(("outward", 8 + 0.62 * small * longest))
    outer.spines[place].set_visible(False)
    starts, stops = [0, *edges], [*edges, count]
    centers = [(a + b - 1) / 2 for a, b in zip(starts, stops, strict=True)]
    names = outer.yaxis if vertical else outer.xaxis
    names.set_ticks(centers, [models[start] for start in starts], fontsize=8, **rotation)
    outer.tick_params(length=0)
    names.set_label_text(f"{side}: layers, by model")
