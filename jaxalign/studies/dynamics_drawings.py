"""Pictures of learning dynamics, drawn from arrays and nothing else, such as those that `dynamics_figures` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxalign.comparison.render import COLORS
from jaxalign.studies.panels import new_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Arrays = Mapping[str, np.ndarray]

_LABELS = {"h": r"$h = |\Delta h|^2$", "y": r"$y = |\Delta \hat y|^2$", "w": "$w$"}
_VARIABLES = dict(zip(_LABELS, COLORS, strict=False))


def parts_of(arrays: Arrays) -> dict[str, dict[str, np.ndarray]]:
    """Arrays named `part/name`, by part, in order."""
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, values in arrays.items():
        part, _, rest = name.rpartition("/")
        parts.setdefault(part, {})[rest] = values
    return parts


def draw_trajectories(arrays: Arrays, *, h_scale: float = 1.0) -> Figure:
    """`h`, `y`, `w` of networks, and of the theory dashed, over steps: one panel for each `RUN/steps`, `RUN/h`, ..."""
    parts = parts_of(arrays)
    figure, grid = new_panels("draw_trajectories", len(parts), width=3.6, height=2.9, most_columns=4, margin=0.4)
    scales = {"h": h_scale, "y": 1.0, "w": 1.0}
    for panel, (name, part) in zip(grid, parts.items(), strict=True):
        for variable, color in _VARIABLES.items():
            times = "" if scales[variable] == 1 else f", times {h_scale:g}"
            label = _LABELS[variable] + times
            panel.plot(part["steps"], scales[variable] * part[variable], color=color, linewidth=2, label=label)
            theory = scales[variable] * part[f"{variable}_theory"]
            panel.plot(
                part["steps"], theory, "--", color="black", linewidth=1, label="theory" if variable == "w" else None
            )
        panel.set_title(_named(name), fontsize=10)
        panel.set_xlabel("step")
    _legend_below(figure, grid[0], 4)
    return figure


def draw_losses(arrays: Arrays) -> Figure:
    """The loss of networks, and of the theory dashed: one panel for each `RUN/steps`, `RUN/loss`, `RUN/loss_theory`."""
    parts = parts_of(arrays)
    figure, grid = new_panels("draw_losses", len(parts), width=3.6, height=2.9, most_columns=4, margin=0.4)
    for panel, (name, part) in zip(grid, parts.items(), strict=True):
        panel.plot(part["steps"], part["loss"], color=COLORS[0], linewidth=2, label="network")
        panel.plot(part["steps"], part["loss_theory"], "k--", linewidth=1, label="theory")
        panel.axhline(float(part["dy2"]) / 8, color="gray", linewidth=0.8, linestyle=":", label=r"$\Delta_y^2 / 8$")
        panel.set_ylim(bottom=0)
        panel.set_title(_named(name), fontsize=10)
        panel.set_xlabel("step")
    grid[0].set_ylabel("loss of the pair")
    _legend_below(figure, grid[0], 3)
    return figure


def draw_depth(arrays: Arrays) -> Figure:
    """Misfit and rates of each layer, each as a share of its largest: `layer`, `sse`, `eta_h`, `eta_y`."""
    figure, (left, right) = new_panels("draw_depth", 2, width=4.4, height=3.4)
    from matplotlib.ticker import MaxNLocator

    left.semilogy(arrays["layer"], arrays["sse"], "o-", color=COLORS[3])
    left.set_ylabel("sum of squared errors")
    left.set_title("Misfit of each layer", fontsize=11)
    for name, label, color in (
        ("eta_h", r"$\eta_h \propto 1/\tau_h$", COLORS[0]),
        ("eta_y", r"$\eta_y \propto 1/\tau_y$", COLORS[1]),
    ):
        right.plot(arrays["layer"], arrays[name] / arrays[name].max(), "o-", color=color, label=label)
    right.set_ylim(0, 1.05)
    right.set_title("Effective rates, as shares of the largest", fontsize=11)
    right.legend(frameon=False)
    for panel in (left, right):
        panel.set_xlabel("hidden layer")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def draw_ends(arrays: Arrays) -> Figure:
    """Final squared distances, theory across and networks up: one panel for each `NAME/theory`, `NAME/network`."""
    parts = parts_of(arrays)
    figure, grid = new_panels("draw_ends", len(parts), width=3.6, height=3.6, most_columns=4)
    for panel, (name, part) in zip(grid, parts.items(), strict=True):
        done = part["finished"]
        theory, network = part["theory"][done], part["network"][done]
        top = 1.05 * max(part["theory"].max(), part["network"].max())
        panel.plot([0, top], [0, top], color="gray", linewidth=1)
        panel.plot(theory, network, "o", markersize=4, alpha=0.8, color=COLORS[0])
        panel.set_xlim(0, top)
        panel.set_ylim(0, top)
        panel.set_aspect("equal")
        pearson = f": Pearson {np.corrcoef(theory, network)[0, 1]:.4f}" if done.sum() > 1 else ""
        panel.set_title(f"{_named(name)}{pearson}\n{done.sum()} of {done.size} finished", fontsize=10)
        panel.set_xlabel(r"$h_\infty$ of the theory")
    grid[0].set_ylabel(r"$h_\infty$ of networks")
    return figure


def draw_initial_scale(arrays: Arrays) -> Figure:
    """Final against initial squared distance, with the theory and both limits: `h_start`, `h_network`, `a_low`, ..."""
    figure, (panel,) = new_panels("draw_initial_scale", 1, width=5.2, height=4)
    panel.loglog(arrays["curve_start"], arrays["curve_end"], "k--", linewidth=1, label="theory, one ratio of rates")
    panel.loglog(arrays["curve_start"], arrays["curve_start"], color="gray", linewidth=1, label="lazy: as at the start")
    panel.axhline(float(arrays["a_low"]), color="gray", linewidth=1, linestyle=":", label="rich: $A_{low}$")
    panel.loglog(
        arrays["h_start"], arrays["h_network"], "o", color=COLORS[0], fillstyle="none", markersize=9, label="networks"
    )
    panel.loglog(arrays["h_start"], arrays["own"], "x", color=COLORS[3], label="theory, fitted to each")
    low = min(float(arrays["a_low"]), arrays["h_network"].min()) / 3
    panel.set_ylim(low, 3 * arrays["h_network"].max())
    panel.set_xlabel("$h$ at the start")
    panel.set_ylabel("$h$ in the end")
    panel.legend(fontsize=8, frameon=False)
    return figure


def draw_xor(arrays: Arrays) -> Figure:
    """Distances of the four inputs of XOR, theory above networks: one column for each `NAME/theory`, `NAME/network`."""
    parts = parts_of(arrays)
    figure, grid = new_panels("draw_xor", 2 * len(parts), width=2.6, height=2.6, most_columns=len(parts))
    names = ["00", "01", "10", "11"]
    for column, (name, part) in enumerate(parts.items()):
        panels = grid[column], grid[column + len(parts)]
        distances = [np.sqrt(part[side]) for side in ("theory", "network")]
        for panel, matrix, side in zip(panels, distances, ("theory", "network"), strict=True):
            _draw_matrix(panel, matrix, names)
            panel.set_title(
                f"{_named(name)}, {side}" + (f"\ncorrelation {part['correlation']:.3f}" if side == "network" else ""),
                fontsize=9,
            )
    return figure


def draw_contexts(arrays: Arrays) -> Figure:
    """Principal components of a layer, colored by context and by each feature: a row for each `NAME/projection`."""
    parts = {name: part for name, part in parts_of(arrays).items() if name}
    figure, grid = new_panels("draw_contexts", 3 * len(parts), width=3.4, height=3.1, most_columns=3)
    colorings = (
        ("context", arrays["context"], "coolwarm"),
        *((f"feature {i + 1}", arrays["features"][:, i], "viridis") for i in (0, 1)),
    )
    for row, (name, part) in enumerate(parts.items()):
        share = part["share"]
        for panel, (by, colors, palette) in zip(grid[3 * row : 3 * row + 3], colorings, strict=True):
            panel.scatter(*part["projection"][:, :2].T, c=colors, cmap=palette, s=3, linewidths=0)
            panel.set_aspect("equal", "datalim")  # distances are what it is about
            panel.set_xticks([])
            panel.set_yticks([])
            panel.set_title(f"{_named(name)}, by {by}", fontsize=10)
        matters, other = share[[0, 1], [0, 1]].mean(), share[[0, 1], [1, 0]].mean()
        text = f"share of the feature that matters {matters:.2f},\nof the other {other:.2f}"
        grid[3 * row].set_xlabel(text, fontsize=9)
    return figure


def draw_digit_structure(arrays: Arrays) -> Figure:
    """Squared distances of digits: the theory's pattern, and networks after more and more passes."""
    count = 1 + len(arrays["epochs"])
    figure, grid = new_panels("draw_digit_structure", count, width=3, height=3.3)
    titles = ["theory"] + [
        f"{passes} passes: r {every:.2f},\nbetween classes {between:.2f}"
        for passes, (every, between) in zip(arrays["epochs"], arrays["correlation"], strict=True)
    ]
    edges = np.flatnonzero(np.diff(arrays["labels"])) + 0.5
    for panel, matrix, title in zip(grid, [arrays["theory"], *arrays["network"]], titles, strict=True):
        panel.imshow(matrix, cmap="viridis", interpolation="nearest")
        for edge in edges:
            panel.axhline(edge, color="white", linewidth=0.4)
            panel.axvline(edge, color="white", linewidth=0.4)
        middles = np.concatenate([[-0.5], edges, [len(matrix) - 0.5]])
        panel.set_xticks((middles[1:] + middles[:-1]) / 2, np.unique(arrays["labels"]))
        panel.set_yticks((middles[1:] + middles[:-1]) / 2, np.unique(arrays["labels"]))
        panel.tick_params(length=0, labelsize=7)
        panel.set_title(title, fontsize=10)
    return figure


def draw_ablations(arrays: Arrays) -> Figure:
    """One run, and the best fit of each of several equations: `steps`, `measured`, `equations`, `fitted`, `sse`."""
    names = arrays["equations"]
    figure, grid = new_panels("draw_ablations", len(names), width=3.2, height=2.9, most_columns=5, margin=0.4)
    for panel, name, fitted, sse in zip(grid, names, arrays["fitted"], arrays["sse"], strict=True):
        for (variable, color), seen, said in zip(_VARIABLES.items(), arrays["measured"], fitted, strict=True):
            panel.plot(arrays["steps"], seen, color=color, linewidth=2, label=_LABELS[variable])
            panel.plot(arrays["steps"], said, "k--", linewidth=1, label="best fit" if variable == "w" else None)
        panel.set_title(f"{name}\nSSE {sse:.2g}", fontsize=10)
        panel.set_xlabel("step")
    _legend_below(figure, grid[0], 4)
    return figure


def draw_conservation(arrays: Arrays) -> Figure:
    """`y / h` against `h`, both less where they began: a straight line if the theory holds."""
    parts = parts_of(arrays)
    figure, grid = new_panels("draw_conservation", len(parts), width=3.4, height=3, most_columns=4)
    for panel, (name, part) in zip(grid, parts.items(), strict=True):
        panel.plot(part["h"], part["readout"], color=COLORS[0], linewidth=2, label="network")
        span = np.array([part["h"].min(), part["h"].max()])
        panel.plot(span, float(part["slope"]) * span, "k--", linewidth=1, label=r"slope $\eta_y / (\eta_h \Delta_x^2)$")
        panel.set_title(_named(name), fontsize=10)
        panel.set_xlabel("$h - h_0$")
    grid[0].set_ylabel("$y / h - y_0 / h_0$")
    grid[0].legend(fontsize=8, frameon=False)
    return figure


def draw_phases(arrays: Arrays) -> Figure:
    """The flow in `(h, w)` at the constant of each run, what no pair can reach in gray, and the run in it."""
    parts = parts_of(arrays)
    figure, grid = new_panels("draw_phases", len(parts), width=3.6, height=3.2, most_columns=4)
    for panel, (name, part) in zip(grid, parts.items(), strict=True):
        h, w = part["h_grid"], part["w_grid"]
        panel.fill_between(h, part["w_least"], w[0], color="0.9", linewidth=0)
        panel.fill_between(h, part["w_most"], w[-1], color="0.9", linewidth=0)
        velocities = part["h_velocity"], part["w_velocity"]
        panel.streamplot(h, w, *velocities, color="0.6", linewidth=0.6, density=0.8, arrowsize=0.7)
        panel.plot(part["h"], part["w"], color=COLORS[0], linewidth=2, label="network")
        panel.plot(part["h_theory"], part["w_theory"], "k--", linewidth=1, label="theory")
        panel.plot(float(part["h_inf"]), 0, "o", color=COLORS[3], label="fixed point")
        panel.set_xlim(h[0], h[-1])
        panel.set_ylim(w[0], w[-1])
        panel.set_title(_named(name), fontsize=10)
        panel.set_xlabel("$h$")
    grid[0].set_ylabel("$w$")
    grid[0].legend(fontsize=8, frameon=False, loc="upper left")
    return figure


def draw_universality(arrays: Arrays) -> Figure:
    """Alignment over training: with another seed, with other architectures, with the own end, and all in the end."""
    names, steps, between = arrays["names"], arrays["steps"], arrays["between"]
    figure, (left, middle, right) = new_panels("draw_universality", 3, width=4.6, height=3.8)
    same = (names[:, None] == names[None]) & ~np.eye(len(names), dtype=bool)
    other = names[:, None] != names[None]
    curves = (
        ("own end", arrays["own_end"].T),
        ("same architecture, other seed", between[:, same]),
        ("other architecture", between[:, other]),
    )
    for color, (label, values) in zip(COLORS, curves, strict=False):
        low, center, high = np.quantile(values, [0.25, 0.5, 0.75], axis=1)
        left.plot(steps, center, "o-", markersize=3, color=color, label=f"{label}: median, quartiles")
        left.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
    left.set_xscale("symlog")
    left.set_ylim(0, 1.02)
    left.set_ylabel("alignment")
    left.legend(fontsize=7, frameon=False)
    for color, name in zip(COLORS, dict.fromkeys(names), strict=False):
        middle.plot(steps, arrays["loss"][names == name].mean(axis=0), color=color, label=_named(name))
    middle.set_xscale("symlog")
    middle.set_ylim(bottom=0)
    middle.set_ylabel("loss")
    middle.legend(fontsize=7, frameon=False)
    for panel in (left, middle):
        panel.set_xlabel("step")
    _draw_matrix(right, between[-1], [_named(name) for name in names], limits=(0, 1), numbers=False)
    right.tick_params(axis="x", rotation=90)
    right.set_title("alignment in the end", fontsize=10)
    figure.colorbar(right.images[0], ax=right, shrink=0.8)
    return figure


def _named(name: str) -> str:
    return name.replace("_", " ")


def _legend_below(figure: Figure, panel: Axes, columns: int) -> None:
    handles, labels = panel.get_legend_handles_labels()
    columns = columns if len(figure.axes) > 1 else min(columns, 2)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=9, frameon=False)


def _draw_matrix(
    panel: Axes,
    matrix: np.ndarray,
    names: Sequence[str],
    *,
    limits: tuple[float, float] | None = None,
    numbers: bool = True,
) -> None:
    low, high = limits or (0, matrix.max())
    panel.imshow(matrix, cmap="viridis", vmin=low, vmax=high)
    panel.set_xticks(range(len(names)), names, fontsize=7)
    panel.set_yticks(range(len(names)), names, fontsize=7)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    if numbers:
        for (i, j), value in np.ndenumerate(matrix):
            color = "white" if value < (low + high) / 2 else "black"
            panel.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color=color)
