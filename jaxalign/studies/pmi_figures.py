"""Figures of contrastive learners and co-occurrence: each trains what it needs, and returns arrays and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxalign._core.typing import Array
from jaxalign.comparison.render import COLORS
from jaxalign.studies.color_study import color_study
from jaxalign.studies.panels import Drawn, new_panels
from jaxalign.studies.pmi_study import pmi_study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CORRELATION = 1  # of the last axis of agreements
_OBSERVED = {
    "learned_first": "one bijection, and the true PMI",
    "between_second": "two bijections, with each other",
    "learned_lossy": "pairs of events taken for one",
    "learned_shuffled": "order lost",
}
_LEARNED = {"closed": "closed form", "nce": "NCE", "infonce": "InfoNCE"}


def pmi_figure(study: Mapping[str, np.ndarray] | None = None, *, key: Array | int = 0) -> Drawn:
    """How close learned products come to the PMI off the diagonal: by dimension, training and observations.

    Lines are means over worlds, bands reach from the least to the most.

    Args:
      study: of `pmi_study`, whose defaults are taken without.
      key: of the study, without one.

    Raises:
      ImportError: without matplotlib.
    """
    figure, (left, middle, right) = new_panels("pmi_figure", 3, width=4.4, height=3.8)
    arrays = dict(pmi_study(key) if study is None else study)
    _curve(left, arrays["dims"], arrays["by_dim"], COLORS[0], "learned (NCE)")
    _curve(left, arrays["dims"], arrays["by_dim_best"], COLORS[1], "closed form")
    left.set_xscale("log", base=2)
    left.set_xticks(arrays["dims"], [str(dim) for dim in arrays["dims"]])
    left.set_xlabel("dimensions")
    left.set_ylabel("correlation of kernels off the diagonal")
    for color, loss in zip(COLORS, ("nce", "infonce"), strict=False):
        _curve(middle, arrays["at"], arrays[f"by_step_{loss}"], color, _LEARNED[loss])
    middle.set_xscale("symlog", linthresh=10)
    middle.set_xlabel("step")
    for color, (name, label) in zip(COLORS, _OBSERVED.items(), strict=False):
        _curve(right, arrays["lengths"], arrays[name], color, label)
    right.set_xscale("log")
    right.set_xlabel("observations")
    for panel in (left, middle, right):
        panel.axhline(0, color="0.7", linewidth=0.8)
        panel.set_ylim(-0.25, 1.03)
        panel.legend(fontsize=8, frameon=False, loc="lower right")
    right.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Drawn(arrays, figure)


def color_figure(
    study: Mapping[str, np.ndarray] | None = None, *, key: Array | int = 0, embedding: str = "infonce"
) -> Drawn:
    """Colors by their co-occurrence, in their own colors, beside CIELAB, and how well both agree.

    The maps are the first two principal axes of the embedding, which are its classical multidimensional scaling,
    turned and scaled onto those of CIELAB.

    Args:
      study: of `color_study`, whose defaults are taken without.
      key: of the study, without one.
      embedding: `"closed"`, `"nce"` or `"infonce"`.

    Raises:
      ImportError: without matplotlib, and without scikit-learn where there is no study.
    """
    figure, panels = new_panels("color_figure", 4, width=3.7, height=3.7)
    arrays = dict(color_study(key) if study is None else study)
    lab = _map(arrays["lab/both"])
    maps = {"map/lab": lab, "map/learned": _turned(_map(arrays[f"{embedding}/both"]), lab)}
    maps["map/mixed"] = _turned(_map(arrays[f"{embedding}/mixed"]), _map(arrays["lab/mixed"]))
    arrays |= maps
    titles = ("perceived: CIELAB", f"from co-occurrence: {_LEARNED[embedding]}", "the same, pixels mixed")
    worlds = ("both", "both", "mixed")
    for panel, title, places, world in zip(panels[:3], titles, maps.values(), worlds, strict=True):
        colors = np.clip(arrays[f"colors/{world}"], 0, 1)
        panel.scatter(*places.T, c=colors, s=110, edgecolors="0.3", linewidths=0.4)
        panel.set_title(title, fontsize=10)
        panel.set_aspect("equal", adjustable="datalim")
        panel.set_xticks([])
        panel.set_yticks([])
        panel.margins(0.08)
        panel.spines[:].set_visible(False)
    bars = [name for name in ("both", "china", "flower", "shuffled", "mixed") if f"scores/{name}" in arrays]
    for i, (color, label) in enumerate(zip(COLORS, _LEARNED.values(), strict=False)):
        heights = [arrays[f"scores/{name}"][i, 0] for name in bars]
        panels[3].bar(np.arange(len(bars)) + 0.27 * (i - 1), heights, width=0.25, color=color, label=label)
    panels[3].axhline(0, color="0.5", linewidth=0.8)
    panels[3].set_xticks(range(len(bars)), bars, fontsize=8)
    panels[3].set_ylim(top=1.0)
    panels[3].set_title("correlation of distances with CIELAB", fontsize=10)
    panels[3].legend(fontsize=8, frameon=False)
    return Drawn(arrays, figure)


def _curve(panel: Axes, x: np.ndarray, agreement: np.ndarray, color: str, label: str) -> None:
    values = agreement[..., _CORRELATION]
    panel.plot(x, values.mean(axis=1), "o-", markersize=3, color=color, label=label)
    panel.fill_between(x, values.min(axis=1), values.max(axis=1), color=color, alpha=0.2, linewidth=0)


def _map(points: np.ndarray) -> np.ndarray:
    """The first two principal axes, `(n, 2)`."""
    centered = np.asarray(points, float) - np.mean(points, axis=0, dtype=float)
    left, sizes, _ = np.linalg.svd(centered, full_matrices=False)
    return left[:, :2] * sizes[:2]


def _turned(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """Rotated, mirrored where that is closer, and as wide as the other."""
    left, _, right = np.linalg.svd(points.T @ onto)
    return points @ left @ right * (np.linalg.norm(onto) / np.linalg.norm(points))
