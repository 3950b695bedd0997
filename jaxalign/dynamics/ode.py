"""The motion of a pair, integrated: a check of the closed form, and where to begin with equations that have none."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxalign._core.checks import check_integer
from jaxalign._core.numerics import safe_divide, safe_sqrt
from jaxalign._core.typing import Array, Float
from jaxalign.dynamics.times import as_times
from jaxalign.dynamics.two_point import Pair, TwoPointParams, TwoPointState, as_pair, squared_readout

#: One hidden unit and its readouts towards the targets and away from them.
Coordinates = tuple[Array, Array, Array]


def two_point_ode(t: Any, state0: TwoPointState, params: TwoPointParams, *, substeps: int = 4) -> TwoPointState:
    r"""Where a pair is, by Runge-Kutta steps of fourth order.

    In coordinates without a singularity, a hidden unit `p` with readouts `u`: $h = p^2$, $y = p^2 |u|^2$,
    $w = y - \Delta_y p u_1$,

    $$\dot p = -\tfrac a2 (u_1 (p u_1 - \Delta_y) + p u_2^2),\quad \dot u_1 = -\tfrac b2 p (p u_1 - \Delta_y),\quad
      \dot u_2 = -\tfrac b2 p^2 u_2$$

    Args:
      t: times, at least 0 and increasing, shape `(times,)`; or one time.
      state0: the pair at time 0: numbers, or arrays of a shape `b`.
      params: numbers, or arrays that broadcast with the state.
      substeps: steps between two times, at least 1. A step should be less than
        $2 / (|C| + 2 \sqrt{a b \Delta_y^2})$, or the result grows without bound.

    Returns:
      A `TwoPointState` of arrays `(times, *b)`, or `b` for one time. Forward and reverse derivatives both work.

    Raises:
      ValueError, TypeError: as `two_point_trajectory`, and for `substeps` below 1.

    Example:
      >>> start, params = TwoPointState(0.25, 0.04, -0.1), TwoPointParams(0.5, 1.0, dx2=1.0, dy2=0.5)
      >>> round(float(two_point_ode(5.0, start, params, substeps=100).h), 4)
      0.5157

    Reference:
      The equations of van Rossem and Saxe (2024), arXiv:2402.09142, in coordinates derived for this project.
    """
    check_integer("two_point_ode", "substeps", substeps, minimum=1)
    pair = as_pair("two_point_ode", state0, params)
    times = as_times("two_point_ode", t, pair.h.dtype)
    states = _integrate(jnp.atleast_1d(times), pair, substeps=substeps)
    return states if times.ndim else TwoPointState(*(z[0] for z in states))


@partial(jax.jit, static_argnames="substeps")
def _integrate(t: Float[Array, "t"], pair: Pair, *, substeps: int) -> TwoPointState:
    h, y, w, a, b, dy2 = pair
    length = safe_sqrt(dy2)
    _, rest = squared_readout(pair)
    unit = safe_sqrt(h)
    start = unit, safe_divide(y - w, length * unit), safe_sqrt(rest)

    def velocity(at: Coordinates) -> Coordinates:
        p, u1, u2 = at
        miss = p * u1 - length
        return -a / 2 * (u1 * miss + p * u2 * u2), -b / 2 * p * miss, -b / 2 * p * p * u2

    def moved(at: Coordinates, by: Coordinates, step: Array) -> Coordinates:
        p, u1, u2 = (z + step * v for z, v in zip(at, by, strict=True))
        return p, u1, u2

    def step(at: Coordinates, size: Array) -> Coordinates:
        k1 = velocity(at)
        k2 = velocity(moved(at, k1, size / 2))
        k3 = velocity(moved(at, k2, size / 2))
        k4 = velocity(moved(at, k3, size))
        p, u1, u2 = ((c1 + 2 * c2 + 2 * c3 + c4) / 6 for c1, c2, c3, c4 in zip(k1, k2, k3, k4, strict=True))
        return moved(at, (p, u1, u2), size)

    def until(at: Coordinates, interval: Array) -> tuple[Coordinates, TwoPointState]:
        at, _ = jax.lax.scan(lambda at, _: (step(at, interval / substeps), None), at, None, length=substeps)
        p, u1, u2 = at
        y = p * p * (u1 * u1 + u2 * u2)
        return at, TwoPointState(h=p * p, y=y, w=y - length * p * u1)

    return jax.lax.scan(until, start, jnp.diff(t, prepend=0))[1]
