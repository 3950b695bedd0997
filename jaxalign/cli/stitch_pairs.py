"""Maps between all layers of two models, by the method that is named on the command line."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import nearest
from jaxalign.cli.errors import Problem
from jaxalign.stitching import (
    best_ridge,
    least_squares,
    low_rank,
    orthogonal,
    partial_least_squares,
    permutation,
    ridge,
    stitch_matrix,
)

#: Methods, and which of `--penalty` and `--rank` each takes; a rank is needed where there is one.
METHODS: dict[str, tuple[str, ...]] = {
    "ridge": ("penalty",),
    "least_squares": (),
    "low_rank": ("rank", "penalty"),
    "orthogonal": (),
    "permutation": (),
    "pls": ("rank",),
}

Stitcher = Callable[[jax.Array, jax.Array], Any]


def stitcher_of(method: str, *, penalty: float | None, rank: int | None) -> Stitcher:
    """The closed form that options name.

    Raises:
      Problem: for another method, or options that do not go with it.
    """
    if method not in METHODS:
        raise Problem(f"--method must be one of {', '.join(METHODS)}, got {method!r}{nearest(method, METHODS)}")
    for option, value in (("penalty", penalty), ("rank", rank)):
        if value is not None and option not in METHODS[method]:
            takers = " and ".join(name for name, options in METHODS.items() if option in options)
            raise Problem(f"--{option} goes with the methods {takers}, not with {method}")
    if "rank" in METHODS[method] and rank is None:
        raise Problem(f"--method {method} needs --rank, the dimensions that it goes through")
    if penalty is not None and not (0 <= penalty < math.inf):
        raise Problem(f"--penalty must be a number of at least 0, got {penalty}")
    stitchers: dict[str, Stitcher] = {
        "ridge": best_ridge if penalty is None else functools.partial(ridge, penalty=penalty),
        "least_squares": least_squares,
        "low_rank": functools.partial(low_rank, rank=rank or 1, penalty=penalty or 0.0),
        "orthogonal": functools.partial(orthogonal, scale=True),
        "permutation": permutation,
        "pls": functools.partial(partial_least_squares, components=rank or 1),
    }
    return stitchers[method]


def ridge_pairs(
    sources: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    sides: tuple[np.ndarray, np.ndarray],
    *,
    penalty: float | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Held-out misalignment of every source layer and every target layer, and of the mean of each target layer.

    Args:
      sources: layers to go on from, `s` of them.
      targets: layers to reach, `t` of them.
      sides: row numbers to fit on, and to report on.
      penalty: None for the best of a path, by cross-validation.

    Returns:
      Shapes `(s, t)` and `(t,)`.
    """
    rows = np.arange(len(sources[0]))
    used, held_out = np.isin(rows, np.concatenate(sides)), np.isin(rows, sides[1])
    layers = [[jnp.asarray(layer) for layer in side] for side in (sources, targets)]
    matrix = stitch_matrix(*layers, penalties=penalty, held_out=held_out, mask=used)
    return np.asarray(matrix.misalignment, float), np.asarray(matrix.variance, float)


def closed_form_pairs(
    sources: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    sides: tuple[np.ndarray, np.ndarray],
    stitcher: Stitcher,
) -> tuple[np.ndarray, np.ndarray]:
    """The same by any other closed form, one pair after the other."""
    fit, test = sides
    misalignment, variance = np.empty((len(sources), len(targets))), np.empty(len(targets))
    for column, target in enumerate(targets):
        y, truth = jnp.asarray(target[fit]), np.asarray(target[test], float)
        for row, source in enumerate(sources):
            mapped = np.asarray(stitcher(jnp.asarray(source[fit]), y)(jnp.asarray(source[test])), float)
            misalignment[row, column] = np.mean(np.sum((mapped - truth) ** 2, axis=1))
        mean = np.mean(target[fit], axis=0, dtype=float, keepdims=True)
        variance[column] = np.mean(np.sum((mean - truth) ** 2, axis=1))
    return misalignment, variance


def list_pairs(
    misalignment: np.ndarray, variance: np.ndarray, source_layers: Sequence[str], target_layers: Sequence[str]
) -> list[dict[str, Any]]:
    """One entry for each pair of layers; R² is NaN for a target layer that is constant."""
    found = []
    for (row, column), value in np.ndenumerate(misalignment):
        r_squared = 1 - float(value / variance[column]) if variance[column] > 0 else math.nan
        names = {"source_layer": source_layers[row], "target_layer": target_layers[column]}
        found.append({**names, "r_squared": r_squared, "misalignment": float(value)})
    return found
