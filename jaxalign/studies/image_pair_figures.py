"""Pictures of models of images: embeddings with unembeddings, and losses against likeness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxalign.comparison.render import COLORS, missing
from jaxalign.studies.identifiability_figures import draw_embeddings
from jaxalign.studies.image_study import ImageStudy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 5
_MOST_POINTS = 2000  # of a panel


def embeddings_figure(study: ImageStudy) -> Figure:
    """Embeddings of images by every model, colored by label, with unembeddings as arrows.

    Arrows are g less its mean, all lengthened by one factor for each panel; above it stands the order of labels around
    the circle. Of more than two dimensions the two along which embeddings vary most are drawn.

    Raises:
      ImportError: when matplotlib is not installed.
    """
    models, shown = study.models, min(len(study.labels), _MOST_POINTS)
    columns = min(_COLUMNS, len(models.seeds))
    figure, grid = _panels("embeddings_figure", math.ceil(len(models.seeds) / columns), columns, 3.4)
    for i, seed in enumerate(models.seeds):
        panel = grid[i]
        draw_embeddings(panel, models.f[i, :shown], models.g[i], study.labels[:shown], study.names)
        title = f"seed {seed}: accuracy {models.accuracy[i]:.2f}, NLL {models.nll[i]:.2f}"
        if study.orders is not None:
            title += f"\n{' '.join(map(str, study.orders[i]))}"
        panel.set_title(title, fontsize=9)
    for panel in grid[len(models.seeds) :]:
        panel.set_axis_off()
    handles, names = grid[0].get_legend_handles_labels()
    numbered = [name if name == str(i) else f"{i} {name}" for i, name in enumerate(names)]
    figure.legend(handles, numbered, loc="outside lower center", ncols=10, fontsize=8, frameon=False, markerscale=3)
    count = f", {shown} of {len(study.labels)} images" if shown < len(study.labels) else ""
    figure.suptitle(f"{study.data}, {study.dimension} dimensions{count}: the same task from other initial weights")
    return figure


def losses_figure(studies: Sequence[ImageStudy]) -> Figure:
    """Do models of nearly the same loss have similar embeddings? One panel for each study, one point a pair.

    Raises:
      ImportError: when matplotlib is not installed.
    """
    figure, grid = _panels("losses_figure", 1, len(studies), 4)
    for panel, study in zip(grid, studies, strict=True):
        panel.scatter(study.loss_differences, study.pairs.cca_f, s=18, alpha=0.7, linewidths=0, color=COLORS[0])
        panel.set_title(f"{study.data}, {study.dimension} dimensions, {len(study.pairs)} pairs", fontsize=10)
        panel.set_xlabel("difference of test losses (nats)")
        panel.set_xlim(left=0)
        panel.set_ylim(0, 1)
        panel.spines[["top", "right"]].set_visible(False)
    grid[0].set_ylabel("$m_{CCA}$ of embeddings")
    return figure


def _panels(function: str, rows: int, columns: int, side: float) -> tuple[Figure, list[Axes]]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing("matplotlib", function) from None
    figure = Figure(figsize=(side * columns, side * rows + 0.8), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())
