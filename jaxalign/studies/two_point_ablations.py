"""The equations of the two-point theory with one term changed: does any change fit a network better?"""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import check_integer
from jaxalign._core.typing import Array, Float
from jaxalign.dynamics.least_squares import minimize
from jaxalign.studies.two_point_runs import FittedRun


class Factors(NamedTuple):
    """What terms of the equations are multiplied by."""

    h: float = 1.0  #: h'
    y: float = 1.0  #: y'
    last: float = 1.0  #: the last term of w'
    quotient: float = 1.0  #: y / h in y'


#: The equations as they are, and the authors' four changes of them.
ABLATIONS = MappingProxyType(
    {
        "as they are": Factors(),
        "y' doubled": Factors(y=2.0),
        "h' doubled": Factors(h=2.0),
        "last term of w' negative": Factors(last=-1.0),
        "y' without y / h": Factors(quotient=0.0),
    }
)
#: Where searches start: the rates of the theory itself, and a factor of e to each side of either.
_STARTS = ((0.0, 0.0), (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0))
_SUBSTEPS = 4  # of Runge and Kutta, between two times


def ablated_fits(run: FittedRun, *, times: int = 300) -> dict[str, np.ndarray]:
    """Fit the equations, and equations with one term changed, to the same run: each has two rates of its own.

    Changed equations have no closed form. They are integrated, from the measured start, at a part of the times. In deep
    networks every change fits worse; in linear ones of two layers twice the motion of the encoder may fit better.

    Args:
      run: of `fitted_run`, of its `layer`.
      times: about how many.

    Returns:
      `steps`, `(times,)`; `measured`, `h`, `y` and `w`, `(3, times)`; `equations`, names, `(5,)`; `sse`, `(5,)`: errors
      as a sum over all recorded steps, estimated from those at `steps`; `fitted`, `(5, 3, times)`; `rates`, `(5, 2)`.

    Raises:
      ValueError, TypeError: for fewer than 3 times.

    Reference:
      van Rossem and Saxe (2024), arXiv:2402.09142, and their published notebooks.
    """
    check_integer("ablated_fits", "times", times, minimum=3)
    all_steps, *states = run.recording.trajectory(run.layer, run.pair)
    every = max(1, len(all_steps) // times)
    seen = np.stack(states)[:, ::every]
    rates = np.array([run.row["eta_h"], run.row["eta_y"]])
    dx2, dy2 = (float(z[run.pair]) for z in (run.recording.dx2, run.recording.dy2))
    factors = jax.tree.map(lambda *values: jnp.array(values, jnp.float32), *ABLATIONS.values())
    starts = (np.log(rates) + _STARTS).astype(np.float32)
    t = (all_steps[::every] - all_steps[0]).astype(np.float32)
    sse, fitted, found = _fit_all(t, jnp.asarray(seen, jnp.float32), dx2, dy2, starts, factors)
    return {
        "steps": all_steps[::every],
        "measured": seen,
        "equations": np.array(list(ABLATIONS)),
        "sse": np.asarray(sse) * len(all_steps) / seen.shape[1],
        "fitted": np.asarray(fitted),
        "rates": np.asarray(jnp.exp(found)),
    }


@jax.jit
def _fit_all(
    t: Float[Array, "t"],
    seen: Float[Array, "3 t"],
    dx2: Array,
    dy2: Array,
    starts: Float[Array, "s 2"],
    factors: Factors,
) -> tuple[Float[Array, "e"], Float[Array, "e 3 t"], Float[Array, "e 2"]]:
    def of_equations(factors: Factors) -> tuple[Array, Array, Array]:
        def solution(logs: Array) -> Array:
            a, b = jnp.exp(logs[0]) * dx2, jnp.exp(logs[1])
            return _solution(t, seen[:, 0], a, b, dy2, factors)

        def residuals(logs: Array) -> Array:
            return (solution(logs) - seen).ravel()

        def search(start: Array) -> tuple[Array, Array]:
            at = minimize(residuals, start).at
            error = jnp.sum(residuals(at) ** 2)
            return jnp.where(jnp.isnan(error), jnp.inf, error), at

        errors, ends = jax.vmap(search)(starts)
        best = jnp.argmin(errors)
        return errors[best], solution(ends[best]), ends[best]

    return jax.vmap(of_equations)(factors)


def _solution(t: Array, start: Array, a: Array, b: Array, dy2: Array, factors: Factors) -> Float[Array, "3 t"]:
    def velocity(state: Array) -> Array:
        h, y, w = state
        return jnp.stack(
            [
                -factors.h * a * w,
                -factors.y * w * (b * h + factors.quotient * a * y / h),
                -(b / 2) * h * (3 * w - y + dy2) - factors.last * (a / 2) * (w / h) * (y + w),
            ]
        )

    def step(state: Array, size: Array) -> Array:
        k1 = velocity(state)
        k2 = velocity(state + size / 2 * k1)
        k3 = velocity(state + size / 2 * k2)
        k4 = velocity(state + size * k3)
        return state + size / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    def until(state: Array, interval: Array) -> tuple[Array, Array]:
        size = interval / _SUBSTEPS
        state, _ = jax.lax.scan(lambda state, _: (step(state, size), None), state, None, length=_SUBSTEPS)
        return state, state

    return jax.lax.scan(until, start, jnp.diff(t, prepend=0))[1].T
