"""The two-point theory fitted to trained networks: one run, its layers, and from small to large initial weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from flax import nnx

from jaxalign._core.checks import check_distinct, check_integer, check_positive
from jaxalign._core.keys import as_key
from jaxalign._core.typing import Array, Float
from jaxalign.dynamics import (
    SETTINGS,
    Recording,
    Setting,
    TwoPointFit,
    TwoPointParams,
    TwoPointState,
    fit_two_point,
    fixed_point,
    loss_curve,
    two_points,
)
from jaxalign.studies.two_point_training import check_settings, run_setting, train_setting

#: The settings of the default comparison.
COMPARED = ("default", "relu", "tanh", "skip", "narrow", "shallow", "two_layer")
#: Deep networks as wide as the authors', 500, take minutes on a few cores; 200 shows the same.
WIDTH = 200


@dataclass(frozen=True, eq=False)
class FittedRun:
    """One pair of inputs in a network that was trained, and the theory fitted to every hidden layer.

    Attributes:
      recording: of the layers, at `T` steps.
      pair: which of its pairs.
      layer: the layer that is looked at first, its place in `recording.layers`.
      fit: of every layer, arrays `(layers,)`; `eta_ybar` and the loss of the pair are fitted for each.
      h_inf: where the fitted theory ends, `(layers,)`.
    """

    recording: Recording
    pair: int
    layer: int
    fit: TwoPointFit
    h_inf: Float[np.ndarray, "layers"]

    @property
    def row(self) -> dict[str, float]:
        """What `layer` gives: R², errors, rates and whether the run tells them, and ends of network and theory."""
        at, fit = self.layer, self.fit
        _, h, _, _ = self.recording.trajectory(at, self.pair)
        return {
            **{f"r2_{name}": float(fit.r2[at, i]) for i, name in enumerate("hyw")},
            "sse": float(fit.sse[at]),
            "eta_h": float(fit.params.eta_h[at]),
            "eta_y": float(fit.params.eta_y[at]),
            "eta_ybar": float(fit.params.eta_ybar[at]),
            "eta_h_identifiable": bool(fit.eta_h_identifiable[at]),
            "eta_y_identifiable": bool(fit.eta_y_identifiable[at]),
            "h_start": float(h[0]),
            "h_network": float(h[-1]),
            "h_theory": float(self.h_inf[at]),
            "loss_r2": float(fit.loss_r2[at]),  # type: ignore[index]
            "loss_sse": float(fit.loss_sse[at]),  # type: ignore[index]
            "ratio_endpoint": float(fit.ratio_endpoint[at]),
        }

    @property
    def curves(self) -> dict[str, np.ndarray]:
        """Network and theory at every recorded step, of `layer`: arrays `(T,)`.

        `steps`; `h`, `y`, `w` and `loss` of the network, and as `h_theory` and so on of the theory. The loss is half
        the squared error of the pair, the mean over both inputs and the sum over outputs.
        """
        at, recorded = self.layer, self.recording
        steps, h, y, w = recorded.trajectory(at, self.pair)
        theory = self.fit.trajectory(steps)
        mean_error = recorded.mean_error[:, self.pair]
        loss = loss_curve(steps - steps[0], theory, self.fit.params, mean_error[0])
        measured = {"h": h, "y": y, "w": w, "loss": pair_loss(y, w, recorded.dy2[self.pair], mean_error)}
        predicted = {**theory._asdict(), "loss": loss}
        return {
            "steps": steps,
            **measured,
            **{f"{name}_theory": np.asarray(values[:, at]) for name, values in predicted.items()},
        }


def pair_loss(y: np.ndarray, w: np.ndarray, dy2: float, mean_error: np.ndarray) -> np.ndarray:
    r"""The loss of a pair: $\frac12 |\bar y - \bar y^*|^2 + \frac18 |e|^2$, errors of mean and difference."""
    return mean_error / 2 + (2 * w - y + dy2) / 8  # |e|² = 2 w - y + dy2


def fit_recording(recording: Recording, *, layer: str | int, pair: int = 0) -> FittedRun:
    """Fit the theory to what one pair of inputs did in every recorded layer.

    Args:
      recording: of `jaxalign.dynamics.record`, of any network.
      layer: the one to look at first, by name or by its place, from 0.
      pair: its place in `recording.pairs`.

    Raises:
      ValueError: for a layer that was not recorded, and a pair whose inputs are the same.
      IndexError: for a pair that was not recorded.

    Example:
      >>> import optax
      >>> from flax import nnx
      >>> from jaxalign.dynamics import MLP, record
      >>> net = MLP(width=20, hidden=2, rngs=nnx.Rngs(0), gain=0.5)
      >>> recording = record(net, *two_points(centered=True), optimizer=optax.sgd(0.1), steps=300)
      >>> run = fit_recording(recording, layer="hidden.1")
      >>> bool(run.row["r2_y"] > 0.95), run.fit.sse.shape
      (True, (2,))

    Reference:
      van Rossem and Saxe (2024), arXiv:2402.09142.
    """
    recording.trajectory(layer, pair)  # says what is wrong with either
    place = recording.layers.index(layer) if isinstance(layer, str) else range(len(recording.layers))[layer]
    layers = len(recording.layers)

    def of_each(values: np.ndarray) -> np.ndarray:
        return np.repeat(values[..., None], layers, axis=-1)

    y, w, mean_error = (z[:, pair] for z in (recording.y, recording.w, recording.mean_error))
    dx2, dy2 = recording.dx2[pair], recording.dy2[pair]
    fit = fit_two_point(
        recording.steps,
        TwoPointState(recording.h[:, :, pair], of_each(y), of_each(w)),
        dx2,
        dy2,
        loss=of_each(pair_loss(y, w, dy2, mean_error)),
        m0=of_each(mean_error[0]),
    )
    return FittedRun(recording, pair, place, fit, np.asarray(fixed_point(fit.state0, fit.params).h_inf))


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
      >>> from jaxalign.studies import run_setting
      >>> run = fitted_run(run_setting("two_layer", width=50, epochs=400, lr=0.05), key=0)
      >>> bool(run.row["r2_y"] > 0.99)
      True

    Reference:
      van Rossem and Saxe (2024), arXiv:2402.09142.
    """
    points = two_points(dx2, dy2, centered=centered)
    return fit_recording(train_setting(setting, as_key("fitted_run", key), *points), layer=setting.layer_index)


def compared_runs(
    names: Sequence[str] = COMPARED,
    *,
    key: Array | int = 0,
    width: int = WIDTH,
    epochs: int | None = None,
    dx2: float = 1.0,
    dy2: float = 0.5,
    centered: bool = False,
    each: Callable[[str], None] = lambda name: None,
) -> dict[str, FittedRun]:
    """Networks of several settings, trained on the same two points, each with the theory fitted to it.

    Args:
      names: of `jaxalign.dynamics.SETTINGS`, as trajectories were run: half the learning rate, twice the epochs.
      key: for initial weights, the same for all.
      width: of hidden layers, at most: settings of fewer units stay as they are.
      epochs: steps of each, in place of those of the setting.
      dx2: squared distance of the inputs.
      dy2: squared distance of the targets.
      centered: inputs and targets around 0.
      each: called with the name of each before it is trained.

    Returns:
      Name -> `FittedRun`.

    Raises:
      ValueError: for unknown names, numbers out of range, and networks that diverge.
      TypeError: for numbers of another type.

    Reference:
      van Rossem and Saxe (2024), arXiv:2402.09142.
    """
    function = "compared_runs"
    check_settings(function, "names", names)
    check_integer(function, "width", width, minimum=1)
    if epochs is not None:
        check_integer(function, "epochs", epochs, minimum=2)
    settings = {name: run_setting(name, width=min(width, SETTINGS[name].width)) for name in names}
    for setting in settings.values():  # a width that does not do is told before any is trained
        nnx.eval_shape(lambda setting=setting: setting.network(rngs=nnx.Rngs(0)))
    runs = {}
    for name, setting in settings.items():
        each(name)
        setting = setting if epochs is None else replace(setting, epochs=epochs)
        runs[name] = fitted_run(setting, key=key, dx2=dx2, dy2=dy2, centered=centered)
    return runs


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
        "h_network": run.recording.h[-1, :, run.pair],
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
      >>> from jaxalign.studies import run_setting
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
        at = setting.layer_index
        state = TwoPointState(*(float(z[at]) for z in run.fit.state0))
        fixed = fixed_point(state, TwoPointParams(ratio, 1.0, dx2=1.0, dy2=0.5)).h_inf
        row = run.row
        rows.append((gain, row["h_start"], row["h_network"], float(fixed), row["h_theory"], run.recording.loss[-1]))
    columns = np.array(rows, float).T
    return dict(zip(("gain", "h_start", "h_network", "fixed", "own", "loss"), columns, strict=True))
