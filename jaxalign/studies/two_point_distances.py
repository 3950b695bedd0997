"""Where many pairs end: over a grid of distances, and the four inputs of XOR."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import check_integer, check_positive
from jaxalign._core.keys import as_key
from jaxalign._core.typing import Array
from jaxalign.dynamics import Setting, TwoPointParams, TwoPointState, final_distance_matrix, fixed_point, two_points
from jaxalign.studies.two_point_runs import fitted_run
from jaxalign.studies.two_point_training import train_further, train_setting

XOR_INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
XOR_TARGETS = np.array([[0], [1], [1], [0]], np.float32)


def distance_grid(
    setting: Setting,
    *,
    key: Array | int,
    cells: int = 5,
    fits: int = 4,
    most_steps: int = 40_000,
    least_loss: float = 1e-4,
) -> dict[str, np.ndarray]:
    """Ends of networks and of the theory over a grid of distances of inputs and of targets.

    One ratio of rates for all, the ratio of the mean rates of several fits. Each cell is a network of its own seed,
    trained until its loss is small.

    Args:
      setting: of `run_setting`.
      key: for all initial weights.
      cells: of the grid, along each side; inputs are 0.5 to 1.5 apart, targets 0 to 1.
      fits: how many runs the ratio is taken from.
      most_steps: of each cell.
      least_loss: at which training counts as finished.

    Returns:
      `dx` and `dy`, distances `(cells,)`; `theory` and `network`, squared distances `(cells, cells)`; `finished`,
      booleans `(cells, cells)`; `ratio`, a number.

    Raises:
      ValueError, TypeError: for numbers out of range.

    Reference:
      van Rossem and Saxe (2024), arXiv:2402.09142.
    """
    name = "distance_grid"
    for argument, value in (("cells", cells), ("fits", fits), ("most_steps", most_steps)):
        check_integer(name, argument, value, minimum=1)
    check_positive(name, "least_loss", least_loss)
    for_fits, for_cells = jax.random.split(as_key(name, key))
    rows = [fitted_run(setting, key=one).row for one in jax.random.split(for_fits, fits)]
    ratio = np.mean([row["eta_h"] for row in rows]) / np.mean([row["eta_y"] for row in rows])
    dx, dy = np.linspace(0.5, 1.5, cells), np.linspace(0.0, 1.0, cells)
    theory, network, finished = (np.zeros((cells, cells)) for _ in range(3))
    at, part = setting.layer_index, replace(setting, epochs=min(setting.epochs, most_steps))
    for (i, j), one in zip(np.ndindex(cells, cells), jax.random.split(for_cells, cells * cells), strict=True):
        x, y = two_points(float(dx[i]) ** 2, float(dy[j]) ** 2)
        recording = first = train_setting(part, one, x, y, ends=True)
        steps = part.epochs
        while recording.loss[-1] > least_loss and steps < most_steps:
            recording = train_further(recording.model, part, x, y, ends=True)
            steps += part.epochs
        state = TwoPointState(*(float(z) for z in (first.h[0, at, 0], first.y[0, 0], first.w[0, 0])))
        theory[i, j] = fixed_point(state, TwoPointParams(ratio, 1.0, dx[i] ** 2, dy[j] ** 2)).h_inf
        network[i, j], finished[i, j] = recording.h[-1, at, 0], recording.loss[-1] <= least_loss
    return {
        "dx": dx,
        "dy": dy,
        "theory": theory,
        "network": network,
        "finished": finished.astype(bool),
        "ratio": np.asarray(ratio),
    }


def xor_distances(setting: Setting, *, ratio: float, key: Array | int) -> dict[str, np.ndarray]:
    """Squared distances of the four inputs of XOR in the end: in a network, and as if each pair were alone.

    Args:
      setting: such as `SETTINGS["xor_rich"]`, which the authors used as they are.
      ratio: of the rates of the theory.
      key: for the initial weights.

    Returns:
      `theory` and `network`, `(4, 4)`; `correlation` of their square roots over the six pairs; `loss`, in the end.

    Raises:
      ValueError: for a ratio that is not positive, and for a network that diverged.

    Reference:
      van Rossem and Saxe (2024), arXiv:2402.09142.
    """
    check_positive("xor_distances", "ratio", ratio)
    at, key = setting.layer_index, as_key("xor_distances", key)
    # Their loss has no half here, which is twice the learning rate.
    recording = train_setting(replace(setting, lr=2 * setting.lr), key, XOR_INPUTS, XOR_TARGETS, ends=True)

    def matrix(values: Any) -> Array:
        full = np.zeros((4, 4), np.float32)
        full[tuple(recording.pairs.T)] = values
        return jnp.asarray(full + full.T)

    start = (matrix(z) for z in (recording.h[0, at], recording.y[0], recording.dx2, recording.dy2))
    theory = np.asarray(final_distance_matrix(*start, ratio=ratio))
    network = np.asarray(matrix(recording.h[-1, at]))
    both = [np.sqrt(z[np.triu_indices(4, 1)]) for z in (theory, network)]
    correlation = np.corrcoef(both)[0, 1]
    return {
        "theory": theory,
        "network": network,
        "correlation": np.asarray(correlation),
        "loss": np.asarray(recording.loss[-1]),
    }
