"""Pictures of models that are compared by what their outputs determine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxalign.comparison.render import COLORS, missing
from jaxalign.studies.panels import new_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The bounds of theorem 4.7 and the sharper one say something below these distances.
NONTRIVIAL_PAPER, NONTRIVIAL_TIGHT = 0.25, 0.5**0.5


def embeddings_figure(
    models: Mapping[str, tuple[np.ndarray, np.ndarray]], labels: np.ndarray, *, names: Sequence[str] | None = None
) -> Figure:
    """Embeddings of models, colored by label, and their unembeddings as arrows.

    Args:
      models: title -> embeddings `(n, m)` and unembeddings `(c, m)`; of more than two dimensions the two along which
        embeddings vary most are drawn. Each panel has its own scale, and arrows are as long as embeddings reach: only
        their directions can be compared.
      labels: of the inputs, `(n,)`, integers.
      names: of the labels; their numbers by default.

    Returns:
      A figure with one panel for each model.

    Raises:
      ImportError: without matplotlib.
    """
    figure, axes = new_panels("embeddings_figure", len(models), width=4.2, height=4.4)
    names = [str(label) for label in range(int(np.max(labels)) + 1)] if names is None else names
    for panel, (title, (f, g)) in zip(axes, models.items(), strict=True):
        draw_embeddings(panel, np.asarray(f), np.asarray(g), np.asarray(labels), names)
        panel.set_title(title, fontsize=10)
    return figure


def draw_embeddings(axes: Axes, f: np.ndarray, g: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> None:
    """One model: embeddings by color of their label, unembeddings less their mean as arrows.

    All arrows are lengthened by one factor, until the longest reaches where most embeddings end. Of more than two
    dimensions the two along which embeddings vary most are drawn.
    """
    arrows = g - g.mean(axis=0)
    if f.shape[1] > 2:
        plane = np.linalg.svd(f - f.mean(axis=0), full_matrices=False)[2][:2].T
        f, arrows = f @ plane, arrows @ plane
    elif f.shape[1] == 1:
        f, arrows = (np.hstack([side, np.zeros_like(side)]) for side in (f, arrows))
    colors = [label_color(label, len(names)) for label in range(len(names))]
    for label, name in enumerate(names):
        axes.scatter(*f[labels == label].T, s=5, alpha=0.5, linewidths=0, color=colors[label], label=name)
    arrows = arrows * (np.quantile(np.linalg.norm(f, axis=1), 0.9) / np.linalg.norm(arrows, axis=1).max())
    axes.update_datalim(1.2 * arrows)  # annotations do not count by themselves
    for label, (x, y) in enumerate(arrows):
        axes.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "-|>", "color": colors[label], "linewidth": 1.5})
        axes.annotate(str(label), (1.1 * x, 1.1 * y), ha="center", va="center", fontsize=9, fontweight="bold")
    axes.set_aspect("equal", "datalim")
    axes.tick_params(labelsize=7)


def label_color(label: int, classes: int) -> tuple[float, float, float]:
    """A color of the circle, `(r, g, b)` in `[0, 1]`: neighbors in number are neighbors in color.

    Raises:
      ImportError: without matplotlib.
    """
    try:
        from matplotlib import colormaps
    except ImportError:
        raise missing("matplotlib", "label_color") from None
    red, green, blue, _ = colormaps["hsv"](label / classes)
    return 0.85 * red, 0.8 * green, 0.9 * blue  # yellow and green are too light on white


def divergence_figure(table: Mapping[str, np.ndarray]) -> Figure:
    """The divergence of two models falls with the length of unembeddings, their dissimilarity does not.

    Args:
      table: columns `norm`, `kl`, `llv`, `d_f`, `cca_f`, as from `jaxalign.studies.divergence_table`.

    Returns:
      A figure.

    Raises:
      ImportError: without matplotlib.
    """
    figure, (left, right) = new_panels("divergence_figure", 2, width=5, height=3.8)
    left.semilogy(table["norm"], table["kl"], "o-", color=COLORS[0], label="KL divergence (nats)")
    left.semilogy(table["norm"], table["nll"], "s--", color=COLORS[1], label="negative log-likelihood (nats)")
    left.set_title("Two models become one distribution ...", fontsize=11)
    for color, (name, label) in zip(
        COLORS, {"llv": "$d_{LLV}$", "d_f": "largest $d_{SVD}$", "cca_f": "$m_{CCA}$"}.items(), strict=False
    ):
        right.plot(table["norm"], table[name], "o-", color=color, label=label)
    right.set_ylim(-0.05, 1.5)
    right.set_title("... and their representations stay apart", fontsize=11)
    for panel in (left, right):
        panel.set_xlabel(r"length of unembeddings $\rho$")
        panel.legend(fontsize=9, frameon=False)
    return figure


def width_figure(settings: Sequence[Any]) -> Figure:
    """Distances between models against their width: medians with quartiles, means with standard deviations.

    Args:
      settings: `jaxalign.studies.WidthSetting`, of any number of tasks and widths.

    Returns:
      A figure with one panel for each number of classes.

    Raises:
      ImportError: without matplotlib.
    """
    tasks = sorted({setting.classes for setting in settings})
    figure, axes = new_panels("width_figure", len(tasks), width=4.2, height=3.8)
    for panel, classes in zip(axes, tasks, strict=True):
        chosen = sorted((s for s in settings if s.classes == classes), key=lambda setting: setting.width)
        chosen = [s for s in chosen if len(s.pairs.among(s.kept))]
        if not chosen:
            _say_none(panel, classes)
            continue
        widths = np.array([setting.width for setting in chosen], float)
        for color, name, label in ((COLORS[0], "llv", "$d_{LLV}$"), (COLORS[1], "d_fg", "$d_{f,g}$")):
            values = [getattr(setting.pairs.among(setting.kept), name) for setting in chosen]
            low, middle, high = (np.array([np.quantile(v, q) for v in values]) for q in (0.25, 0.5, 0.75))
            panel.plot(widths, middle, "o-", color=color, label=f"{label} median, quartiles")
            panel.fill_between(widths, low, high, color=color, alpha=0.2, linewidth=0)
            means, spreads = (np.array([reduce(v) for v in values]) for reduce in (np.mean, np.std))
            panel.errorbar(
                widths * 1.05,
                means,
                spreads,
                fmt="x--",
                color=color,
                alpha=0.6,
                linewidth=1,
                label=f"{label} mean, std",
            )
        panel.set_xscale("log", base=2)
        panel.set_xticks(
            widths, [f"{int(w)}\n{int(s.kept.sum())}/{len(s.seeds)}" for w, s in zip(widths, chosen, strict=True)]
        )
        panel.set_xlabel("width, models kept")
        panel.set_ylim(bottom=0)
        panel.set_title(f"{classes} classes", fontsize=11)
    _legend(axes)
    return figure


def _legend(axes: Sequence[Axes]) -> None:
    """In the first panel that shows anything."""
    for panel in axes:
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize=8, frameon=False)
            return


def _say_none(panel: Axes, classes: int) -> None:
    """In place of a logarithm of nothing."""
    panel.set_title(f"{classes} classes", fontsize=11)
    panel.text(0.5, 0.5, "no two models were kept", ha="center", va="center", transform=panel.transAxes)
    panel.set_axis_off()


def likeness_figure(settings: Sequence[Any]) -> Figure:
    """Each pair of models by its divergence and its dissimilarity: does the one tell the other?

    Args:
      settings: `jaxalign.studies.WidthSetting`; one panel for each number of classes, all widths together.

    Returns:
      A figure; pairs whose labels lie around the circle in different orders are marked.

    Raises:
      ImportError: without matplotlib.
    """
    tasks = sorted({setting.classes for setting in settings})
    figure, axes = new_panels("likeness_figure", len(tasks), width=4.2, height=3.8)
    for panel, classes in zip(axes, tasks, strict=True):
        pairs = [setting.pairs.among(setting.kept) for setting in settings if setting.classes == classes]
        if not sum(map(len, pairs)):
            _say_none(panel, classes)
            continue
        kl, apart, same = (np.concatenate([getattr(p, name) for p in pairs]) for name in ("kl", "d_fg", "same_order"))
        for rows, color, label in ((same, COLORS[0], "same order of labels"), (~same, COLORS[1], "another order")):
            panel.scatter(kl[rows], apart[rows], s=8, alpha=0.5, linewidths=0, color=color, label=label)
        panel.set_xscale("log")
        panel.set_ylim(0, 1)
        panel.set_xlabel("KL divergence (nats)")
        panel.set_title(f"{classes} classes", fontsize=11)
    axes[0].set_ylabel("dissimilarity $d_{f,g}$")
    _legend(axes)
    return figure


def bound_figure(groups: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]]) -> Figure:
    """Dissimilarities against distances, under the bounds of theorem 4.7 in two dimensions and the sharper one.

    Args:
      groups: title of a panel -> name -> distances `(p,)` and dissimilarities `(p,)`.

    Returns:
      A figure.

    Raises:
      ImportError: without matplotlib.
    """
    figure, axes = new_panels("bound_figure", len(groups), width=4.6, height=3.8)
    for panel, (title, parts) in zip(axes, groups.items(), strict=True):
        for row, (name, (llv, apart)) in enumerate(parts.items()):
            panel.scatter(llv, apart, s=6, alpha=0.5, linewidths=0, color=COLORS[row % len(COLORS)], label=name)
        grid = np.linspace(0, NONTRIVIAL_TIGHT, 200)
        below = grid <= NONTRIVIAL_PAPER
        panel.plot(grid[below], 4 * grid[below], "k--", linewidth=1, label=r"$2 m \epsilon$, the paper's")
        panel.plot(grid, 2 * grid**2, "k-", linewidth=1, label=r"$2 \epsilon^2$")
        panel.set_xlim(0, NONTRIVIAL_TIGHT)
        panel.set_ylim(0, 1)
        panel.set_xlabel(r"$\epsilon = d_{LLV}$")
        panel.set_title(title, fontsize=11)
        panel.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(0.42, 1))
    axes[0].set_ylabel("dissimilarity $d_{f,g}$")
    return figure
