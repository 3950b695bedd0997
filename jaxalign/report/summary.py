"""One picture of a comparison: the models against each other, and what kinds of pairs score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxalign.comparison import Comparison
from jaxalign.comparison.render import COLORS, missing
from jaxalign.report.groups import Group, layer_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def summary_figure(
    result: Comparison,
    groups: Mapping[str, Sequence[Group]],
    *,
    measure: str,
    layers: Mapping[str, str],
    labels: Mapping[str, str],
    blocks: Mapping[str, str],
    title: str,
    note: str,
) -> Figure:
    """One layer of each model against each other on the left; scores by kind of pair on the right.

    Args:
      result: a comparison of one side with itself.
      groups: measure -> groups of pairs, a panel each.
      measure: the measure of the left side.
      layers: model -> the layer to take.
      labels: model -> its name on the axis.
      blocks: model -> the block it belongs to; lines are drawn between blocks.
      title: what the picture is about.
      note: what the reader has to know, below it.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing("matplotlib", "summary_figure") from None
    figure = Figure(figsize=(16, 8), layout="constrained")
    halves = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.2, 1))
    left, right = halves[0, 0], halves[0, 1]
    _draw_matrix(left.add_subplot(), result, measure, layers, labels, blocks)
    panels = right.subplots(len(groups), 1, squeeze=False)[:, 0]
    for axes, (key, kinds) in zip(panels, groups.items(), strict=True):
        _draw_groups(axes, result, key, kinds)
    panels[-1].set_xlabel("score")
    figure.suptitle(title, fontsize=14)
    figure.supxlabel(note, fontsize=9)
    return figure


def _draw_matrix(
    axes: Axes,
    result: Comparison,
    measure: str,
    layers: Mapping[str, str],
    labels: Mapping[str, str],
    blocks: Mapping[str, str],
) -> None:
    """One layer of each model against that of every other; a model with itself is blank."""
    matrix = layer_matrix(result, measure, layers)
    np.fill_diagonal(matrix, np.nan)
    low, high = _limits(result, measure, matrix)
    image = axes.imshow(np.ma.masked_invalid(matrix), cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
    for (i, j), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            color = "w" if value < (low + high) / 2 else "k"
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=6.5, color=color)
    names = [f"{labels[model]}  {layer}" for model, layer in layers.items()]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xticks(range(len(names)), list(layers), fontsize=8, rotation=90)
    kinds = [blocks[model] for model in layers]
    for edge in (i for i in range(1, len(kinds)) if kinds[i] != kinds[i - 1]):
        axes.axhline(edge - 0.5, color="w", linewidth=2)
        axes.axvline(edge - 0.5, color="w", linewidth=2)
    direction = "higher" if result.larger_is_closer[measure] else "lower"
    axes.figure.colorbar(image, ax=axes, shrink=0.7, label=f"{result.definitions[measure]}, {direction} is more alike")
    axes.set_title(f"{result.definitions[measure]}: one layer of each model against that of every other", fontsize=10)


def _draw_groups(axes: Axes, result: Comparison, key: str, groups: Sequence[Group]) -> None:
    """A line of dots for every group, one dot a pair, and a bar at the mean."""
    spread = np.random.default_rng(0)
    for row, group in enumerate(groups):
        color = COLORS[row % len(COLORS)]
        jitter = row + spread.uniform(-0.22, 0.22, len(group.scores))
        axes.scatter(group.scores, jitter, s=14, color=color, alpha=0.5, linewidths=0)
        axes.plot([group.mean] * 2, [row - 0.36, row + 0.36], color="k", linewidth=2)
        axes.text(1.02, row, f"{group.mean:.2f}", va="center", fontsize=9, transform=axes.get_yaxis_transform())
    axes.text(1.02, -0.9, "mean", va="bottom", fontsize=9, transform=axes.get_yaxis_transform())
    axes.set_yticks(range(len(groups)), [group.name for group in groups], fontsize=9)
    axes.set_ylim(len(groups) - 0.5, -0.6)
    low, high = _limits(result, key, np.concatenate([group.scores for group in groups]))
    axes.set_xlim(low - 0.02 * (high - low), high + 0.02 * (high - low))
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(f"{result.definitions[key]}   (unrelated: {result.chance[key]})", fontsize=10, loc="left")


def _limits(result: Comparison, key: str, scores: np.ndarray) -> tuple[float, float]:
    """The range of the scale: from 0 to the largest possible score where the scores allow it."""
    finite = scores[np.isfinite(scores)]
    low = min(0.0, float(finite.min())) if finite.size else 0.0
    bound = result.bounds[key][1]
    high = bound if np.isfinite(bound) else (float(finite.max()) if finite.size else 1.0)
    return low, high if high > low else low + 1.0
