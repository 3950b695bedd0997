"""The Platonic Representation Hypothesis on small networks: digits, scenes with captions, and the published limit."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from jaxalign.studies.platonic import (
    DigitConvergence,
    Preprocessing,
    SceneConvergence,
    Trend,
    digit_convergence,
    scene_convergence,
)
from jaxalign.studies.platonic.scenes import STRUCTURE


def rows() -> list[dict[str, Any]]:
    """One row for each result, printed as it comes."""
    found = []
    for part in (limits, digits, scenes):
        for row in part():
            print(row, flush=True)
            found.append(row)
    return found


def limits() -> list[dict[str, Any]]:
    """Seconds of one core to find the limit of outliers of a model of 33 layers, 554 MB."""
    rng = np.random.default_rng(0)
    layers = {f"layer{i}": rng.standard_normal((1024, 4096), np.float32) for i in range(33)}
    known = {True: "published code 23.3 s", False: "published code 15.5 s"}
    found = []
    for exact in (True, False):
        seconds, limits = [], []
        for _ in range(3):
            begun = time.process_time()
            limits.append(float(np.asarray(Preprocessing(exact=exact)(layers)["layer0"].limit)))
            seconds.append(time.process_time() - begun)
        row = {"result": "limit", "exact": exact, "limit": limits[0], "seconds": float(np.median(seconds))}
        found.append({**row, "known": known[exact]})
    return found


def digits() -> list[dict[str, Any]]:
    """Networks on digits: alignment within bins of accuracy, with controls."""
    begun = time.process_time()
    found = digit_convergence(key=0)
    return [
        {
            "result": "digits",
            "networks": len(found.study.models_x),
            "seconds": time.process_time() - begun,
            "accuracy_edges": found.bins.edges.tolist(),
            "alignment": found.bins.mean.tolist(),
            "standard_error": found.bins.standard_error.tolist(),
            "networks_of_bins": found.bins.models.tolist(),
            "trend": _as_dict(found.trend),
            "trend_of_seeds": [_as_dict(trend) for trend in found.trend_of_seeds],
            "trend_within_shapes": _as_dict(found.trend_within_shapes),
            **_controls(found),
        }
    ]


def scenes() -> list[dict[str, Any]]:
    """Vision and language models of a world with themes, and of one in which everything is independent."""
    return [scenes_of(structure) for structure in (STRUCTURE, 0.0)]


def scenes_of(structure: float) -> dict[str, Any]:
    """Trends with losses, densities of captions, controls."""
    begun = time.process_time()
    found = scene_convergence(key=0, structure=structure)
    study = found.study
    return {
        "result": "scenes",
        "structure": structure,
        "seconds": time.process_time() - begun,
        "language_models": list(study.models_x),
        "vision_models": list(study.models_y),
        "language_loss": (-study.competence("-loss")).tolist(),
        "vision_loss": (-study.competence("-loss", of="y")).tolist(),
        "alignment": study.table().round(4).tolist(),
        "language_trend": _as_dict(found.language_trend),
        "vision_trend": _as_dict(found.vision_trend),
        "trend_of_seeds": [_as_dict(trend) for trend in found.trend_of_seeds],
        "trend_within_widths": _as_dict(found.trend_within_widths),
        "widths": list(found.widths),
        "trained_of_widths": found.trained_of_widths.tolist(),
        "untrained_of_widths": found.untrained_of_widths.tolist(),
        "densities": list(found.densities),
        "of_density": found.of_density.tolist(),
        **_controls(found),
    }


def _controls(found: DigitConvergence | SceneConvergence) -> dict[str, float]:
    names = ("untrained", "trained", "shuffled")
    return {**{name: getattr(found, name) for name in names}, "chance": found.study.chance["mutual_knn"]}


def _as_dict(trend: Trend) -> dict[str, Any]:
    return {name: getattr(trend, name) for name in ("rho", "low", "high", "pvalue", "models")}
