"""Every figure of learning dynamics as one function: it trains what it needs, and returns arrays and a picture.

The picture is drawn from the arrays and nothing else, by the function of `dynamics_drawings` of the same name.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxalign._core.typing import Array
from jaxalign.comparison.render import missing
from jaxalign.dynamics import SETTINGS, Setting, TwoPointParams, TwoPointState, fixed_point
from jaxalign.studies import dynamics_drawings as drawings
from jaxalign.studies.context_task import CONTEXT_SETTINGS, context_representations, make_context_task
from jaxalign.studies.digit_dynamics import digit_distances, digit_pair
from jaxalign.studies.panels import Drawn
from jaxalign.studies.two_point_ablations import ablated_fits
from jaxalign.studies.two_point_distances import distance_grid, xor_distances
from jaxalign.studies.two_point_phases import phase_portrait
from jaxalign.studies.two_point_runs import COMPARED, WIDTH, FittedRun, compared_runs, depth_profile, gain_sweep
from jaxalign.studies.two_point_training import check_settings, run_setting
from jaxalign.studies.universality import ARCHITECTURES, alignment_over_training

if TYPE_CHECKING:
    pass

Runs = Mapping[str, FittedRun]


def trajectories(runs: Runs | None = None) -> Drawn:
    """`h`, `y` and `w` of networks and of the theory fitted to them, over training.

    Args:
      runs: title -> `FittedRun`; those of `compared_runs()` by default.

    Raises:
      ImportError: without matplotlib.
    """
    arrays = _of_runs("trajectories", runs, lambda run: {k: v for k, v in run.curves.items() if "loss" not in k})
    return Drawn(arrays, drawings.draw_trajectories(arrays))


def losses(runs: Runs | None = None) -> Drawn:
    """The loss of pairs: a fall while the mean is learned, a plateau, and a fall when they separate.

    Args:
      runs: title -> `FittedRun`; those of `compared_runs()` by default.

    Raises:
      ImportError: without matplotlib.
    """

    def of_run(run: FittedRun) -> dict[str, Any]:
        chosen = {name: run.curves[name] for name in ("steps", "loss", "loss_theory")}
        return {**chosen, "dy2": run.recording.dy2[run.pair]}

    arrays = _of_runs("losses", runs, of_run)
    return Drawn(arrays, drawings.draw_losses(arrays))


def depth(run: FittedRun | None = None) -> Drawn:
    """How well each layer of a network is fitted, and with which rates.

    Args:
      run: of a deep network; the authors' default by default.

    Raises:
      ImportError: without matplotlib.
    """
    _check_matplotlib("depth")
    arrays = depth_profile(_default_run() if run is None else run)
    return Drawn(arrays, drawings.draw_depth(arrays))


def ends(settings: Mapping[str, Setting] | None = None, *, key: Array | int = 0, cells: int = 5) -> Drawn:
    """Where networks end on a grid of distances of inputs and targets, beside the theory with one ratio of rates.

    Args:
      settings: title -> setting of one panel; by default linear networks of two layers, from small and from larger
        initial weights, and a shallow one. Each cell is a network of its own: deep ones take hours.
      key: for initial weights.
      cells: of the grid, along each side.

    Raises:
      ValueError: for networks that diverge.
      ImportError: without matplotlib.
    """
    _check_matplotlib("ends")
    if settings is None:
        linear = run_setting("two_layer", lr=0.01)
        shallow = run_setting("shallow", width=WIDTH, lr=0.02)
        settings = {"two-layer linear": linear, "the same, gain 0.8": replace(linear, gain=0.8), "shallow": shallow}
    found = {name: distance_grid(setting, key=key, cells=cells) for name, setting in settings.items()}
    arrays = _flat(found)
    return Drawn(arrays, drawings.draw_ends(arrays))


def initial_scale(
    setting: Setting | None = None,
    gains: Sequence[float] = (0.02, 0.1, 0.4, 0.8, 1.5, 3.0),
    *,
    rates: Sequence[float] = (0.01, 0.01, 0.01, 0.01, 0.005, 0.002),
    ratio: float = 1.0,
    key: Array | int = 0,
) -> Drawn:
    """From rich to lazy: the final distance against the initial one, with both limits.

    Args:
      setting: a linear network of two layers by default.
      gains: of the initial weights.
      rates: learning rates, one for each gain.
      ratio: of the rates of the theory.
      key: for the initial weights.

    Raises:
      ValueError: for values out of range, and networks that diverge.
      ImportError: without matplotlib.
    """
    _check_matplotlib("initial_scale")
    setting = run_setting("two_layer", lr=0.01, epochs=4000) if setting is None else setting
    sweep = gain_sweep(setting, gains, rates=rates, ratio=ratio, key=key)
    starts = np.geomspace(sweep["h_start"].min() / 3, 3 * sweep["h_start"].max(), 200)
    zero = np.zeros_like(starts)
    point = fixed_point(TwoPointState(starts, zero, zero), TwoPointParams(ratio, 1.0, dx2=1.0, dy2=0.5))
    curve = {"curve_start": starts, "curve_end": np.asarray(point.h_inf), "a_low": np.asarray(point.a_low)[0]}
    arrays = {**sweep, **curve}
    return Drawn(arrays, drawings.draw_initial_scale(arrays))


def xor(settings: Mapping[str, Setting] | None = None, *, ratio: float = 0.02, key: Array | int = 0) -> Drawn:
    """Distances of the four inputs of XOR, in networks and as predicted from their initial ones.

    Args:
      settings: title -> setting; by default a rich and an intermediate one, and one hidden layer, of large weights and
        of smaller ones, for which pairs by themselves are known not to be enough.
      ratio: of the rates of the theory.
      key: for initial weights.

    Raises:
      ValueError: for networks that diverge.
      ImportError: without matplotlib.
    """
    _check_matplotlib("xor")
    if settings is None:
        rich, between = (replace(SETTINGS[f"xor_{name}"], width=WIDTH) for name in ("rich", "intermediate"))
        shallow = replace(SETTINGS["xor_shallow"], width=WIDTH, epochs=20_000)
        settings = {
            "rich": rich,
            "intermediate": replace(between, epochs=12_000),
            "one layer, large": replace(shallow, gain=4.0, lr=1e-3),
            "one layer, small": replace(shallow, gain=0.5),
        }
    arrays = _flat({name: xor_distances(setting, ratio=ratio, key=key) for name, setting in settings.items()})
    return Drawn(arrays, drawings.draw_xor(arrays))


def contexts(settings: Sequence[str] = CONTEXT_SETTINGS, *, key: Array | int = 0, side: int = 30) -> Drawn:
    """What a layer makes of two features of which one matters in each context, from large to very small weights.

    Args:
      settings: names of `jaxalign.dynamics.SETTINGS`.
      key: for initial weights and batches.
      side: places along each side of the grid of features.

    Raises:
      ValueError: for unknown settings, and networks that diverge.
      ImportError: without matplotlib.
    """
    check_settings("contexts", "settings", settings)
    _check_matplotlib("contexts")
    task = make_context_task(side=side)
    found = {name: context_representations(SETTINGS[name], key=key, task=task) for name in settings}
    arrays = {"context": task.context, "features": task.features, **_flat(found)}
    return Drawn(arrays, drawings.draw_contexts(arrays))


def digit_trajectory(run: FittedRun | None = None, *, key: Array | int = 0) -> Drawn:
    """One image of each of two digits while a network learns all; `h` is drawn at a tenth.

    Args:
      run: of `digit_pair`, whose defaults are taken without.
      key: for initial weights and batches, without a run.

    Raises:
      ImportError: without matplotlib or scikit-learn.
    """
    _check_matplotlib("digit_trajectory")
    run = digit_pair(key=key) if run is None else run
    arrays = _flat({"two digits": run.curves})
    return Drawn(arrays, drawings.draw_trajectories(arrays, h_scale=0.1))


def digit_structure(*, key: Array | int = 0, **options: Any) -> Drawn:
    """Squared distances of digits in a layer after more and more training, beside the theory's pattern.

    Args:
      key: for initial weights and batches.
      options: of `digit_distances`.

    Raises:
      ImportError: without matplotlib or scikit-learn.
    """
    _check_matplotlib("digit_structure")
    arrays = digit_distances(key=key, **options)
    return Drawn(arrays, drawings.draw_digit_structure(arrays))


def ablations(run: FittedRun | None = None) -> Drawn:
    """One run, and the best fits of the equations and of four that were changed.

    Args:
      run: the authors' default by default.

    Raises:
      ImportError: without matplotlib.
    """
    _check_matplotlib("ablations")
    arrays = ablated_fits(_default_run() if run is None else run)
    return Drawn(arrays, drawings.draw_ablations(arrays))


def conservation(runs: Runs | None = None) -> Drawn:
    """`y / h` against `h`: the theory says a straight line, with a slope made of the rates.

    Args:
      runs: title -> `FittedRun`; those of `compared_runs()` by default.

    Raises:
      ImportError: without matplotlib.
    """

    def of_run(run: FittedRun) -> dict[str, Any]:
        h, y = run.curves["h"], run.curves["y"]
        slope = run.row["eta_y"] / (run.row["eta_h"] * run.recording.dx2[run.pair])
        return {"h": h - h[0], "readout": y / h - y[0] / h[0], "slope": slope}

    arrays = _of_runs("conservation", runs, of_run)
    return Drawn(arrays, drawings.draw_conservation(arrays))


def phases(runs: Runs | None = None, *, resolution: int = 60) -> Drawn:
    """The flow of the theory in `(h, w)` at what each run conserves, and the run in it.

    Where something is conserved `y` is a function of `h`, and the motion has two dimensions.

    Args:
      runs: title -> `FittedRun`; those of `compared_runs()` by default.
      resolution: points of the field along each side.

    Raises:
      ImportError: without matplotlib.
    """
    arrays = _of_runs("phases", runs, partial(phase_portrait, resolution=resolution))
    return Drawn(arrays, drawings.draw_phases(arrays))


def universality(architectures: Sequence[str] = ARCHITECTURES, *, key: Array | int = 0, **options: Any) -> Drawn:
    """Alignment over training: of each network with its end, with another seed, and with other architectures.

    Args:
      architectures: names of `jaxalign.dynamics.SETTINGS`.
      key: for initial weights.
      options: of `alignment_over_training`.

    Raises:
      ImportError: without matplotlib or scikit-learn.
    """
    _check_matplotlib("universality")
    arrays = alignment_over_training(architectures, key=key, **options)
    return Drawn(arrays, drawings.draw_universality(arrays))


#: Figures of the same runs, those of `compared_runs`.
OF_RUNS: Mapping[str, Callable[[Runs], Drawn]] = MappingProxyType(
    {
        "trajectories": trajectories,
        "losses": losses,
        "conservation": conservation,
        "phases": phases,
    }
)
#: Figures of one run, that of a deep network.
OF_ONE_RUN: Mapping[str, Callable[[FittedRun], Drawn]] = MappingProxyType({"depth": depth, "ablations": ablations})
#: Figures that train networks of their own; called with `key`.
OF_OTHERS: Mapping[str, Callable[..., Drawn]] = MappingProxyType(
    {
        "ends": ends,
        "initial-scale": initial_scale,
        "xor": xor,
        "contexts": contexts,
        "digit-trajectory": digit_trajectory,
        "digit-structure": digit_structure,
        "universality": universality,
    }
)


def _default_run() -> FittedRun:
    return compared_runs(COMPARED[:1])[COMPARED[0]]


def _check_matplotlib(function: str) -> None:
    """Before the work, not after it."""
    if importlib.util.find_spec("matplotlib") is None:
        raise missing("matplotlib", function)


def _of_runs(function: str, runs: Runs | None, of_run: Callable[[FittedRun], dict[str, Any]]) -> dict[str, np.ndarray]:
    _check_matplotlib(function)
    if runs is not None and not runs:
        raise ValueError(f"{function}: runs must hold at least one, got none")
    return _flat({name: of_run(run) for name, run in (compared_runs() if runs is None else runs).items()})


def _flat(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
    return {f"{part}/{name}": np.asarray(values) for part, arrays in parts.items() for name, values in arrays.items()}
