"""The flow of the two-point theory in two dimensions, at what one run conserves."""

from __future__ import annotations

import numpy as np

from jaxalign._core.checks import check_integer
from jaxalign.dynamics import TwoPointParams, TwoPointState, conserved, two_point_rhs
from jaxalign.studies.two_point_runs import FittedRun


def phase_portrait(run: FittedRun, *, resolution: int = 60) -> dict[str, np.ndarray]:
    """The flow in `(h, w)`: with what is conserved, `y` is a function of `h`, and the motion has two dimensions.

    Args:
      run: whose constant and rates are taken, of its `layer`.
      resolution: points of the field along each side.

    Returns:
      `h_grid` and `w_grid`, `(resolution,)`; `h_velocity` and `w_velocity`, `(resolution, resolution)`, rows of one
      `w`, NaN where no pair can be; `w_least` and `w_most`, between which it can be at each `h`; `h`, `w`, `h_theory`
      and `w_theory` of the run, `(T,)`; `h_inf`, where its theory ends.

    Raises:
      ValueError, TypeError: for a resolution below 2.

    Reference:
      Derived for this project from the equations of van Rossem and Saxe (2024), arXiv:2402.09142.
    """
    check_integer("phase_portrait", "resolution", resolution, minimum=2)
    curves, row = run.curves, run.row
    dx2, dy2 = (float(z[run.pair]) for z in (run.recording.dx2, run.recording.dy2))
    params = TwoPointParams(row["eta_h"], row["eta_y"], dx2, dy2)
    constant = float(conserved(TwoPointState(*(float(z[run.layer]) for z in run.fit.state0)), params))
    h_inf = float(run.h_inf[run.layer])
    # From the least that a pair of this constant can have, where that is far from 0: a lazy one.
    seen = [float(curves["h"].min()), float(curves["h"].max()), h_inf]
    least, most = min(*seen, max(0.0, -constant / row["eta_y"])), max(seen)
    h = np.linspace(max(0.0, least - 0.25 * (most - least)), most + 0.25 * (most - least), resolution + 1)[1:]
    w = np.linspace(1.4 * min(curves["w"].min(), -dy2 / 4), max(0.6 * dy2, 1.1 * curves["w"].max()), resolution)
    y = np.maximum(0, (row["eta_y"] * h * h + constant * h) / (row["eta_h"] * dx2))
    reach = np.sqrt(y * dy2)  # the most that differences of outputs and of targets have in common
    inside = np.abs(w[:, None] - y) <= reach
    resting = TwoPointState(1.0, 0.0, 0.0)  # in place of what cannot be
    state = [np.where(inside, z, rest) for z, rest in zip((h, y, w[:, None]), resting, strict=True)]
    flow = two_point_rhs(TwoPointState(*state), params)
    return {
        "h_grid": h,
        "w_grid": w,
        "h_velocity": np.where(inside, flow.h, np.nan),
        "w_velocity": np.where(inside, flow.w, np.nan),
        "w_least": np.clip(y - reach, w[0], w[-1]),
        "w_most": np.clip(y + reach, w[0], w[-1]),
        **{name: curves[name] for name in ("h", "w", "h_theory", "w_theory")},
        "h_inf": np.asarray(h_inf),
    }
