"""Pictures of models of images: embeddings with unembeddings, and losses against likeness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxalign.comparison.render import COLORS
from jaxalign.studies.identifiability_figures import draw_embeddings
from jaxalign.studies.image_study import ImageStudy
from jaxalign.studies.panels import new_panels

if TYPE_CHECKING:
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
    figure, grid = new_panels(
        "embeddings_figure", len(models.seeds), width=3.4, height=3.4, most_columns=_COLUMNS, margin=0.8
    )
    for i, seed in enumerate(models.seeds):
        panel = grid[i]
        draw_embeddings(panel, models.f[i, :shown], models.g[i], study.labels[:shown], study.names)
        title = f"seed {seed}: accuracy {models.accuracy[i]:.2f}, NLL {models.nll[i]:.2f}"
        if study.orders is not None:
            title += f"\n{' '.join(map(str, study.orders[i]))}"
        panel.set_title(title, fontsize=9)
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
    figure, grid = new_panels("losses_figure", len(studies), width=4, height=4, margin=0.8)
    for panel, study in zip(grid, studies, strict=True):
        panel.scatter(study.loss_differences, study.pairs.cca_f, s=18, alpha=0.7, linewidths=0, color=COLORS[0])
        panel.set_title(f"{study.data}, {study.dimension} dimensions, {len(study.pairs)} pairs", fontsize=10)
        panel.set_xlabel("difference of test losses (nats)")
        panel.set_xlim(left=0)
        panel.set_ylim(0, 1)
    grid[0].set_ylabel("$m_{CCA}$ of embeddings")
    return figure
