"""The two-point theory beside trained networks: one run, its depth, its initial scale, many distances, and XOR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxalign._core.checks import check_distinct, check_integer, check_positive, describe, nearest
from jaxalign._core.keys import as_key
from jaxalign._core.typing import Array, Float
from jaxalign.dynamics import (
    SETTINGS,
    Recording,
    Setting,
    TwoPointFit,
    TwoPointParams,
    TwoPointState,
    final_distance_matrix,
    fit_two_point,
    fixed_point,
    record,
    two_points,
)

XOR_INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
XOR_TARGETS = np.array([[0], [1], [1], [0]], np.float32)


@dataclass(frozen=True, eq=False)
class FittedRun:
    """One network, trained on a pair of inputs, and the theory fitted to it.

    Attributes:
      setting: the network, and how it was trained.
      recording: of all its hidden layers, over all steps.
      fit: of every hidden layer, arrays `(layers,)`; `eta_ybar` and the loss are fitted for each.
      h_inf: where the fitted theory ends, `(layers,)`.
    """

    setting: Setting
    recording: Recording
    fit: TwoPointFit
    h_inf: Float[np.ndarray, "layers"]

    @property
    def row(self) -> dict[str, float]:
        """What the layer that the authors looked at gives: R², errors, rates, and ends of network and theory."""
        at = self.setting.layer
        fit, recorded = self.fit, self.recording
        return {
            **{f"r2_{name}": float(fit.r2[at, i]) for i, name in enumerate("hyw")},
            "sse": float(fit.sse[at]),
            "eta_h": float(fit.params.eta_h[at]),
            "eta_y": float(fit.params.eta_y[at]),
            "eta_ybar": float(fit.params.eta_ybar[at]),
            "h_start": float(recorded.h[0, at, 0]),
            "h_network": float(recorded.h[-1, at, 0]),
            "h_theory": float(self.h_inf[at]),
            "loss_r2": float(fit.loss_r2[at]),  # type: ignore[index]
            "loss_sse": float(fit.loss_sse[at]),  # type: ignore[index]
            "ratio_endpoint": float(fit.ratio_endpoint[at]),
        }


def run_setting(name: str | Setting, **changes: Any) -> Setting:
    """A setting of the authors by name, as they trained it for trajectories: half the learning rate, twice the steps.

    Args:
      name: one of `jaxalign.dynamics.SETTINGS`, or a setting, of which nothing is halved.
      changes: fields of it that shall be others, such as `width=200`.

    Raises:
      ValueError: for an unknown name.
      TypeError: for what is neither, and fields that there are not.

    Example:
      >>> run_setting("default", width=200).epochs
      6000
    """
    if isinstance(name, Setting):
        return replace(name, **changes)
    if not isinstance(name, str):
        raise TypeError(f"run_setting: name must be a string or a Setting, got {describe(name)}")
    if name not in SETTINGS:
        raise ValueError(
            f"run_setting: name must be one of {', '.join(SETTINGS)}, got {name!r}{nearest(name, SETTINGS)}"
        )
    setting = SETTINGS[name]
    return replace(replace(setting, lr=setting.lr / 2, epochs=2 * setting.epochs), **changes)


def fitted_run(
    setting: Setting, *, key: Array | int, dx2: float = 1.0, dy2: float = 0.5, centered: bool = False
) -> FittedRun:
    """Train a network on two points, and fit the theory to every hidden layer.

    Args:
      setting: of `run_setting`.
      key: for the initial weights.
      dx2: squared distance of the inputs.
      dy2: squared distance of the targets.
      centered: inputs and targets around 0, without a transient of the mean.

    Returns:
      A `FittedRun`; a run that diverged raises instead.

    Raises:
      ValueError: for values out of range, and for a network that diverged.

    Example:
      >>> run = fitted_run(run_setting("two_layer", width=50, epochs=400, lr=0.05), key=0)
      >>> bool(run.row["r2_y"] > 0.99)
      True

    Reference:
      van Rossem and Saxe (2024), arXiv:2402.09142.
    """
    recording = _trained(setting, as_key("fitted_run", key), *two_points(dx2, dy2, centered=centered))
    layers = len(recording.layers)
    state = TwoPointState(recording.h[:, :, 0], *(np.repeat(z, layers, axis=1) for z in (recording.y, recording.w)))
    fit = fit_two_point(
        recording.steps,
        state,
        dx2,
        dy2,
        loss=np.repeat(recording.loss[:, None], layers, axis=1),
        m0=np.repeat(recording.mean_error[0], layers),
    )
    return FittedRun(setting, recording, fit, np.asarray(fixed_point(fit.state0, fit.params).h_inf))


def depth_profile(run: FittedRun) -> dict[str, np.ndarray]:
    """How well the theory fits each hidden layer, and with which rates: the middle fits, both ends do not.

    Args:
      run: of `fitted_run`.

    Returns:
      Columns of shape `(layers,)`: `layer`, `sse`, `eta_h`, `eta_y`, `h_network`, `h_theory`.

    Reference:
      van Rossem and Saxe (2024), arXiv:2402.09142.
    """
    return {
        "layer": np.arange(len(run.h_inf)),
        "sse": np.asarray(run.fit.sse),
        "eta_h": np.asarray(run.fit.params.eta_h),
        "eta_y": np.asarray(run.fit.params.eta_y),
        "h_network": run.recording.h[-1, :, 0],
        "h_theory": run.h_inf,
    }


def gain_sweep(
    setting: Setting, gains: Sequence[float], *, rates: Sequence[float], ratio: float, key: Array | int
) -> dict[str, np.ndarray]:
    """From rich to lazy: where networks of growing initial weights end, and where the theory says.

    Trained on a centered pair: the transient of the mean output, which the theory leaves out, would move encoders of
    large weights more than the pair does.

    Args:
      setting: of `run_setting`; its gain is replaced.
      gains: of the initial weights.
      rates: learning rates, one for each gain: larger weights need smaller ones.
      ratio: of the rates of the theory, one for all gains, such as that of a fit to a rich run.
      key: for the initial weights, the same but for their scale.

    Returns:
      Columns of shape `(gains,)`: `gain`, `h_start`, `h_network`, `fixed` (by `ratio`), `own` (by the fit to each run),
      `loss`, in the end.

    Raises:
      ValueError: for values out of range, other lengths, and a network that diverged.

    Example:
      >>> small = run_setting("two_layer", width=50, epochs=300)
      >>> sweep = gain_sweep(small, [0.1, 2.0], rates=[0.1, 0.02], ratio=1.0, key=0)
      >>> bool(abs(sweep["h_network"][1] / sweep["h_start"][1] - 1) < 0.05)
      True

    Reference:
      The crossover is that of van Rossem and Saxe (2024), arXiv:2402.09142; centered, as for this project.
    """
    name = "gain_sweep"
    check_distinct(name, "gains", gains, check_positive)
    check_positive(name, "ratio", ratio)
    if len(rates) != len(gains):
        raise ValueError(f"{name}: rates must be as many as gains, {len(gains)}, got {len(rates)}")
    rows = []
    for gain, rate in zip(gains, rates, strict=True):
        run = fitted_run(replace(setting, gain=gain, lr=rate), key=key, centered=True)
        at = setting.layer
        state = TwoPointState(*(float(z[at]) for z in run.fit.state0))
        fixed = fixed_point(state, TwoPointParams(ratio, 1.0, dx2=1.0, dy2=0.5)).h_inf
        row = run.row
        rows.append((gain, row["h_start"], row["h_network"], float(fixed), row["h_theory"], run.recording.loss[-1]))
    columns = np.array(rows, float).T
    return dict(zip(("gain", "h_start", "h_network", "fixed", "own", "loss"), columns, strict=True))


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
    at, part = setting.layer, replace(setting, epochs=min(setting.epochs, most_steps))
    for (i, j), one in zip(np.ndindex(cells, cells), jax.random.split(for_cells, cells * cells), strict=True):
        x, y = two_points(float(dx[i]) ** 2, float(dy[j]) ** 2)
        recording = first = _trained(part, one, x, y, ends=True)
        steps = part.epochs
        while recording.loss[-1] > least_loss and steps < most_steps:
            recording = _recorded(recording.model, part, x, y, ends=True)
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
    at, key = setting.layer, as_key("xor_distances", key)
    # Their loss has no half here, which is twice the learning rate.
    recording = _trained(replace(setting, lr=2 * setting.lr), key, XOR_INPUTS, XOR_TARGETS, ends=True)

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


def _trained(setting: Setting, key: Array, x: Any, y: Any, *, ends: bool = False) -> Recording:
    rngs = nnx.Rngs(jax.random.fold_in(key, 0), dropout=jax.random.fold_in(key, 1))
    return _recorded(setting.network(rngs=rngs, inputs=x.shape[1], outputs=y.shape[1]), setting, x, y, ends=ends)


def _recorded(network: Any, setting: Setting, x: Any, y: Any, *, ends: bool) -> Recording:
    """A recording of all hidden layers, of all steps or of both ends.

    Raises:
      ValueError: for a network that diverged.
    """
    at = [0, setting.epochs] if ends else None
    x, y = (jnp.asarray(z, jnp.float32) for z in (x, y))
    recording = record(
        network, x, y, optimizer=_optimizer(setting.optimizer, setting.lr), steps=setting.epochs, at=at, progress=False
    )
    if not np.isfinite(recording.loss).all():
        raise ValueError(f"the network diverged with a learning rate of {setting.lr:g} and a gain of {setting.gain:g}")
    return recording


@cache
def _optimizer(name: str, rate: float) -> optax.GradientTransformation:
    """The same object for the same rate, so that networks of one shape share a program."""
    return {"sgd": optax.sgd, "adam": optax.adam}[name](rate)
