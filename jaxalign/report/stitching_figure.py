"""One picture of networks stitched into one another: how alike they are, what it costs, and one against the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxalign.comparison.render import COLORS, missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def stitching_figure(
    similarity: np.ndarray,
    errors: np.ndarray,
    *,
    sources: Sequence[str],
    targets: Sequence[str],
    baselines: Mapping[str, np.ndarray],
    kinds: np.ndarray,
    measure: str,
    title: str,
    note: str,
) -> Figure:
    """Similarity of sources and targets on the left, errors of stitched networks in the middle, both on the right.

    Args:
      similarity: `(s, t)`, 1 at most; NaN is blank.
      errors: shares of examples that stitched networks get wrong, `(s, t)`.
      sources: names of the rows.
      targets: names of the columns.
      baselines: what errors are to be compared with, rows below them, name -> `(t,)`.
      kinds: what kind of pair each is, `(s, t)`, text; empty for pairs that the right side leaves out.
      measure: what the similarity is.
      title: what the picture is about.
      note: what the reader has to know, below it.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing("matplotlib", "stitching_figure") from None
    figure = Figure(figsize=(19, 8), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 0.75))
    _draw_matrix(left, similarity, sources, targets, format=".2f", highest=1, colors="viridis", label=measure)
    left.set_title("How alike are the last hidden layers?", fontsize=11)
    percent = 100 * np.vstack([errors, *baselines.values()])
    label = "% of examples wrong, fewer is better"
    # The worst stitch ends the scale: a baseline far beyond it would leave one color to all of them.
    worst = 100 * float(np.max(errors))
    rows = [*sources, *baselines]
    _draw_matrix(middle, percent, rows, targets, format=".0f", highest=worst, colors="magma_r", label=label)
    middle.axhline(len(sources) - 0.5, color="w", linewidth=4)
    middle.set_title("What does the head (column) get wrong after the layer of (row)?", fontsize=11)
    for row, kind in enumerate(dict.fromkeys(kind for kind in kinds.ravel() if kind)):
        chosen = kinds == kind
        color = COLORS[row % len(COLORS)]
        right.scatter(similarity[chosen], 100 * errors[chosen], s=18, color=color, alpha=0.7, linewidths=0, label=kind)
    for row, (name, values) in enumerate(baselines.items()):
        style = (":", "--", "-.")[row % 3]
        right.axhline(100 * float(np.mean(values)), color="k", linewidth=1, linestyle=style, label=f"{name}, mean")
    right.set_xlabel(measure)
    right.set_ylabel(label)
    right.set_ylim(bottom=0)
    right.set_title("Does being alike tell what stitching costs?", fontsize=11)
    right.spines[["top", "right"]].set_visible(False)
    right.legend(fontsize=8, loc="center", frameon=False)
    figure.suptitle(title, fontsize=14)
    figure.supxlabel(note, fontsize=9)
    return figure


def _draw_matrix(
    axes: Axes,
    matrix: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    format: str,
    highest: float,
    colors: str,
    label: str,
) -> None:
    """Numbers in colored squares."""
    shown = np.ma.masked_invalid(matrix)
    image = axes.imshow(shown, cmap=colors, vmin=0, vmax=highest, interpolation="nearest", aspect="auto")
    for (i, j), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            color = "k" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "w"
            axes.text(j, i, f"{value:{format}}", ha="center", va="center", fontsize=7, color=color)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set_xticks(range(len(columns)), columns, fontsize=8, rotation=90)
    extend = "max" if np.nanmax(matrix) > highest else "neither"
    axes.figure.colorbar(image, ax=axes, shrink=0.6, location="bottom", label=label, extend=extend)
