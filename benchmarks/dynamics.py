"""Learning dynamics: the closed form, the fit of one run, and training that is recorded, beside what scripts do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.integrate
import scipy.optimize
from flax import nnx

from benchmarks.cases import Case
from jaxalign.dynamics import (
    MLP,
    TwoPointParams,
    TwoPointState,
    fit_two_point,
    half_mean_squared_error,
    pair_states,
    record,
    two_point_trajectory,
    two_points,
)
from jaxalign.features.intermediates import intermediates

PAIRS, TIMES = 10_000, 1_000
STEPS = 6_000
#: A pair as in the authors' default network: rates per step, squared distances, start.
RATES = TwoPointParams(eta_h=6.6e-4, eta_y=5.2e-2, dx2=1.0, dy2=0.5)
START = TwoPointState(h=1e-3, y=1e-8, w=1e-8 - 0.5e-8**0.5)


def cases() -> Iterator[Case]:
    """Peers that would take minutes are run on a part and scaled."""
    solved = "SciPy, DOP853 to 1e-8, a pair at a time"
    some = 20
    yield Case(
        f"{PAIRS} pairs at {TIMES} times",
        closed_form(),
        {solved: solver(some)},
        {},
        scaled={solved: PAIRS / some},
    )
    published = "BFGS on a Radau solution, from a scan of 100 rates"
    yield Case(f"rates of one run of {STEPS} steps", fitted(), {published: bfgs()}, {}, repeats=3)
    for width, hidden in ((200, 20), (50, 20), (500, 2)):
        stepped = "a compiled step and a compiled measurement, called from Python"
        part = 10
        yield Case(
            f"{hidden} layers of {width}, {STEPS} steps recorded",
            recorded(width, hidden),
            {stepped: stepped_from_python(width, hidden, STEPS // part)},
            {stepped: 3},
            scaled={stepped: part},
            repeats=3,
        )


def closed_form() -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    h, y = (10 ** rng.uniform(-4, 0, PAIRS).astype(np.float32) for _ in range(2))
    state = TwoPointState(h, y, y - rng.uniform(-1, 1, PAIRS).astype(np.float32) * np.sqrt(0.5 * y))
    t = np.linspace(0, 6000, TIMES, dtype=np.float32)
    return lambda: two_point_trajectory(t, state, RATES)


def velocity(_: float, z: np.ndarray, eta_h: float, eta_y: float) -> list[float]:
    h, y, w = z
    return [
        -eta_h * w,
        -w * (eta_y * h + eta_h * y / h),
        -(eta_y / 2) * h * (3 * w - y + 0.5) - (eta_h / 2) * (w / h) * (y + w),
    ]


def solver(pairs: int) -> Callable[[], Any]:
    """Pairs whose outputs start on the right side, which a solver in these coordinates can follow."""
    rng = np.random.default_rng(0)
    h, y = (10 ** rng.uniform(-4, 0, pairs) for _ in range(2))
    w = y - rng.uniform(0, 1, pairs) * np.sqrt(0.5 * y)
    t = np.linspace(0, 6000, TIMES)

    def run() -> Any:
        for start in zip(h, y, w, strict=True):
            scipy.integrate.solve_ivp(velocity, (0, 6000), start, "DOP853", t, args=RATES[:2], rtol=1e-8, atol=1e-10)

    return run


def measured() -> tuple[np.ndarray, TwoPointState]:
    t = np.arange(STEPS, dtype=np.float32)
    rng = np.random.default_rng(0)
    path = two_point_trajectory(t, START, RATES)
    noise = 1e-3 * (t > 0)
    return t, TwoPointState(*((np.asarray(z) + noise * rng.normal(size=STEPS)).astype(np.float32) for z in path))


def fitted() -> Callable[[], Any]:
    t, path = measured()
    return lambda: fit_two_point(t, path, 1.0, 0.5).sse


def bfgs() -> Callable[[], Any]:
    """What the authors do: rates on the ray that the end demands, the best of a scan, then BFGS on both."""
    t, path = measured()
    seen = np.stack([np.asarray(z, float) for z in path])
    ratio = float(seen[0, -1]) ** 2 / 0.5

    def error(rates: np.ndarray) -> float:
        found = scipy.integrate.solve_ivp(velocity, (0, STEPS), START, "Radau", t, args=tuple(rates))
        return float(((found.y - seen) ** 2).sum()) if found.success else 1e9

    def run() -> Any:
        scan = np.geomspace(1e-6, 1e2, 100)
        best = min(scan, key=lambda eta_y: error(np.array([ratio * eta_y, eta_y])))
        return scipy.optimize.minimize(error, np.array([ratio * best, best]), method="BFGS").x

    return run


def recorded(width: int, hidden: int) -> Callable[[], Any]:
    net, (x, y), optimizer = problem(width, hidden)
    layer = f"hidden.{hidden // 2}"
    return lambda: record(net, x, y, optimizer=optimizer, steps=STEPS, layers=layer, progress=False).h


def stepped_from_python(width: int, hidden: int, steps: int) -> Callable[[], Any]:
    """What a script does: a step and a look, each compiled, with the numbers fetched in the end."""
    net, (x, y), optimizer = problem(width, hidden)
    graphdef, start = nnx.split(net)
    layer, pairs = f"hidden.{hidden // 2}", jnp.array([[0, 1]])

    @jax.jit
    def step(weights: nnx.State, state: Any) -> tuple[Any, Any]:
        gradient = jax.grad(lambda w: half_mean_squared_error(nnx.merge(graphdef, w)(x), y))(weights)
        updates, state = optimizer.update(gradient, state, weights)
        return optax.apply_updates(weights, updates), state

    @jax.jit
    def look(weights: nnx.State) -> Any:
        outputs, layers = intermediates(nnx.merge(graphdef, weights), x, layers=layer)
        return pair_states(layers[layer], outputs, y, pairs), half_mean_squared_error(outputs, y)

    def run() -> Any:
        weights: Any = start
        state = optimizer.init(weights)
        seen = []
        for _ in range(steps):
            seen.append(look(weights))
            weights, state = step(weights, state)
        return jax.device_get(seen)

    return run


def problem(width: int, hidden: int) -> tuple[MLP, Any, optax.GradientTransformation]:
    return MLP(width, hidden, rngs=nnx.Rngs(0)), two_points(), optax.sgd(0.005)
