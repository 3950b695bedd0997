"""Effective rates of a network, fitted to how its pairs of inputs moved."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import check_choice, check_integer, check_positive, describe
from jaxalign._core.numerics import safe_divide
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.dynamics.fit_start import Measured, endpoint_ratio, starting_rates
from jaxalign.dynamics.least_squares import best_of, minimize
from jaxalign.dynamics.loss import loss_of
from jaxalign.dynamics.times import as_times
from jaxalign.dynamics.trajectory import closed_form, two_point_trajectory
from jaxalign.dynamics.two_point import Pair, TwoPointParams, TwoPointState, as_floats, as_pair, broadcast

#: Candidates for a start are judged by about so many of the times.
_GLANCES = 256
#: Rates of the mean output that are tried, in units of 1 over the whole time, as logarithms.
_MEAN_RATES = tuple(0.5 * k for k in range(-6, 24))


@pytree_dataclass
class TwoPointFit:
    r"""Rates with which the theory follows measured pairs, and how well. Arrays are of the shape `b` of the pairs.

    Attributes:
      params: fitted rates with `dx2` and `dy2`; `eta_ybar` is None unless a loss was given.
      state0: where the pairs were measured to be at the first time, where the theory begins.
      t0: the first time.
      sse: sum over times of squared errors of `h`, `y` and `w`.
      r2: 1 less the share of the variance over time that is left, of `h`, `y`, `w`: `(*b, 3)`. Below 0 where a constant
        would do better; NaN of what is constant.
      nrmse: root mean squared errors of `h`, `y`, `w`, divided by their ranges: `(*b, 3)`; NaN of what is constant.
      loss_sse: sum over times of squared errors of the loss; None without one.
      loss_r2: 1 less the share of its variance that is left; None without one.
      ratio_endpoint: $\eta_h / \eta_y$ from the first and the last state alone: exact for a pair that obeys the theory.
        Not positive: it does not.
      eta_h_identifiable: `h` moved enough to tell the rate of the encoder, and `ratio_endpoint` is positive.
      eta_y_identifiable: the same of `y / h` and the decoder.
      converged: the optimizer came to rest.
      steps: how many steps it tried.
    """

    params: TwoPointParams
    state0: TwoPointState
    t0: Float[Array, ""]
    sse: Float[Array, "..."]
    r2: Float[Array, "... 3"]
    nrmse: Float[Array, "... 3"]
    loss_sse: Float[Array, "..."] | None
    loss_r2: Float[Array, "..."] | None
    ratio_endpoint: Float[Array, "..."]
    eta_h_identifiable: Bool[Array, "..."]
    eta_y_identifiable: Bool[Array, "..."]
    converged: Bool[Array, "..."]
    steps: Int[Array, "..."]

    def trajectory(self, t: Any) -> TwoPointState:
        """What the theory says of times from the first one on, as `two_point_trajectory`."""
        times = as_times("TwoPointFit.trajectory", t, self.sse.dtype)
        return two_point_trajectory(times - self.t0, self.state0, self.params)


def fit_two_point(
    t: Any,
    trajectory: TwoPointState,
    dx2: Any,
    dy2: Any,
    *,
    loss: Any = None,
    m0: Any = None,
    outputs: int = 1,
    weighting: str = "raw",
    tolerance: float = 0.05,
) -> TwoPointFit:
    r"""Fit the two rates of the theory to measured pairs, each by itself.

    $$\min_{\log \eta_h, \log \eta_y} \sum_t \sum_{v \in \{h, y, w\}} \omega_v (\hat v(t) - v(t))^2$$

    from the measured state at the first time, which is not fitted, by Levenberg-Marquardt steps with derivatives of the
    closed form. They begin with two regressions that need no optimizer (of `h` on the integral of `w`, and of `y / h`
    on `h`), or the best point of a grid around them. Only the ratio of the rates says where a pair ends.

    Args:
      t: times that increase, shape `(times,)`, at least 3.
      trajectory: the measured pairs, arrays `(times, *b)` (layers, runs, pairs).
      dx2: squared distance of the inputs, positive: a number, or an array that broadcasts with `b`.
      dy2: squared distance of the targets, at least 0.
      loss: shape `(times, *b)`; if given, `eta_ybar` is fitted to it next, with all else fixed.
      m0: squared distance of mean output and mean target at the first time; needed with a loss.
      outputs: how many outputs the loss is averaged over as well.
      weighting: `"raw"`, all weights 1, as the authors do; `"range"`, errors divided by the ranges of `h`, `y`, `w`.
      tolerance: the share by which `h`, or `y / h`, has to move to be told from resting.

    Returns:
      A `TwoPointFit`. In the lazy regime, where `h` hardly moves, `eta_h` is noise and `eta_h_identifiable` False.
      From noise-free trajectories rates are right to 1e-9 in float64 (with 64-bit types on), to about 1e-3 in float32.

    Raises:
      ValueError: for fewer than 3 times, times that do not increase, trajectories of other lengths, that are not
        finite, or that begin where no pair can be; for `dx2` that is not positive, and a loss without `m0`.
      TypeError: for what is not a number or a floating array.

    Example:
      >>> start, params = TwoPointState(0.25, 0.04, -0.1), TwoPointParams(0.5, 1.0, dx2=1.0, dy2=0.5)
      >>> t = jnp.linspace(0.0, 20.0, 200)
      >>> fit = fit_two_point(t, two_point_trajectory(t, start, params), dx2=1.0, dy2=0.5)
      >>> round(float(fit.params.eta_h), 2), round(float(fit.params.eta_y), 2), bool(fit.eta_h_identifiable)
      (0.5, 1.0, True)

    Reference:
      The objective is that of van Rossem and Saxe (2024), arXiv:2402.09142; start, optimizer and diagnostics were made
      for this project.
    """
    name = "fit_two_point"
    check_choice(name, "weighting", weighting, ("raw", "range"))
    check_positive(name, "tolerance", tolerance)
    check_integer(name, "outputs", outputs, minimum=1)
    if not isinstance(trajectory, TwoPointState):
        raise TypeError(f"{name}: trajectory must be a TwoPointState, got {describe(trajectory)}")
    fields = {f"trajectory.{field}": value for field, value in trajectory._asdict().items()}
    h, y, w = _finite(name, fields)
    times = as_times(name, t, h.dtype)
    if times.ndim != 1 or times.shape[0] < 3:
        raise ValueError(f"{name}: t must hold at least 3 times, got shape {times.shape}")
    _check_length(name, "trajectory", h, times)
    state0 = TwoPointState(h[0], y[0], w[0])
    start = as_pair(name, state0, TwoPointParams(1.0, 0.0, dx2, dy2))  # with that rate, a is the squared distance
    if start.h.shape != h.shape[1:]:
        raise ValueError(f"{name}: dx2 and dy2 must broadcast with shape {h.shape[1:]}, got {start.h.shape} together")
    measured = Measured(h, y, w, start.a, start.dy2)
    fitted = _fit(times - times[0], measured, jnp.asarray(tolerance, h.dtype), by_range=weighting == "range")
    rate = loss_sse = loss_r2 = None
    if loss is not None:
        if m0 is None:
            raise ValueError(f"{name}: m0 must be given with a loss, the squared error of the mean output")
        (losses,) = _finite(name, {"loss": loss})
        _check_length(name, "loss", losses, times)
        _check_broadcasts(name, "loss", losses.shape, h.shape)
        (m0,) = as_floats(name, {"m0": m0})
        _check_broadcasts(name, "m0", m0.shape, h.shape[1:])
        theory = closed_form(
            (times - times[0]).reshape(-1, *(1,) * (h.ndim - 1)),
            Pair(*(z[None] for z in (h[0], y[0], w[0], fitted.rates[0] * start.a, fitted.rates[1], start.dy2))),
        )
        explained = loss_of(times, theory.y, theory.w, start.dy2, jnp.ones_like(start.dy2), jnp.zeros_like(start.dy2))
        mean_part = broadcast(losses.astype(h.dtype), h.shape) * outputs - explained
        rate, loss_sse = _fit_mean(times - times[0], mean_part, broadcast(m0.astype(h.dtype), h.shape[1:]))
        loss_sse = loss_sse / outputs**2
        spread = jnp.sum((losses - jnp.mean(losses, axis=0, keepdims=True)) ** 2, axis=0)
        spread = jnp.where(jnp.ptp(losses, axis=0) > 0, spread, 0)  # of a constant there is rounding left
        loss_r2 = 1 - safe_divide(loss_sse, broadcast(spread, h.shape[1:]), otherwise=jnp.nan)
    return TwoPointFit(
        params=TwoPointParams(*fitted.rates, dx2=start.a, dy2=start.dy2, eta_ybar=rate),
        state0=state0,
        t0=times[0],
        sse=jnp.sum(fitted.squares, axis=-1),
        r2=jnp.where(fitted.ranges > 0, 1 - fitted.squares / fitted.variation, jnp.nan),
        nrmse=safe_divide(jnp.sqrt(fitted.squares / times.shape[0]), fitted.ranges, otherwise=jnp.nan),
        loss_sse=loss_sse,
        loss_r2=loss_r2,
        ratio_endpoint=fitted.ratio,
        eta_h_identifiable=fitted.moved[0] & (fitted.ratio > 0),
        eta_y_identifiable=fitted.moved[1] & (fitted.ratio > 0),
        converged=fitted.converged,
        steps=fitted.steps,
    )


def _finite(name: str, fields: dict[str, Any]) -> list[Array]:
    arrays = as_floats(name, fields)
    for field, value in zip(fields, arrays, strict=True):
        if not np.all(np.isfinite(np.asarray(value))):
            raise ValueError(f"{name}: {field} must be finite, got NaN or infinity; leave out what diverged")
    return arrays


def _check_length(name: str, argument: str, value: Array, times: Array) -> None:
    if value.ndim == 0 or value.shape[0] != times.shape[0]:
        raise ValueError(f"{name}: {argument} must have {times.shape[0]} times like t, got shape {value.shape}")


def _check_broadcasts(name: str, argument: str, shape: tuple[int, ...], to: tuple[int, ...]) -> None:
    try:
        fits = np.broadcast_shapes(shape, to) == to
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name}: {argument} must broadcast with shape {to}, got shape {shape}")


class _Fitted(NamedTuple):
    rates: tuple[Array, Array]
    squares: Array
    variation: Array
    ranges: Array
    ratio: Array
    moved: tuple[Array, Array]
    converged: Array
    steps: Array


@partial(jax.jit, static_argnames="by_range")
def _fit(t: Float[Array, "t"], measured: Measured, tolerance: Array, *, by_range: bool) -> _Fitted:
    """Fits of all trajectories `(t, *b)`."""
    fit = partial(_fit_one, t, tolerance=tolerance, by_range=by_range)
    places: tuple[Any, ...] = (1, 1, 1, 0, 0)
    axes = Measured(*places)
    for _ in range(measured.dx2.ndim):
        fit = jax.vmap(fit, in_axes=(axes,))
    return fit(measured)


def _fit_one(t: Float[Array, "t"], measured: Measured, *, tolerance: Array, by_range: bool) -> _Fitted:
    seen = jnp.stack(measured[:3])
    ranges = jnp.max(seen, axis=1) - jnp.min(seen, axis=1)
    weights = safe_divide(jnp.ones_like(ranges), ranges) if by_range else jnp.ones_like(ranges)

    def errors(rates: Array, every: int = 1) -> Array:
        eta_h, eta_y = jnp.exp(rates[0]), jnp.exp(rates[1])
        h, y, w = seen[:, 0]
        pair = Pair(h, y, w, eta_h * measured.dx2, eta_y, measured.dy2)
        return jnp.stack(closed_form(t[::every], pair)) - seen[:, ::every]

    def residuals(rates: Array) -> Array:
        return (errors(rates) * weights[:, None]).ravel()

    def glance(rates: Array) -> Array:
        return jnp.sum((errors(rates, -(-t.shape[0] // _GLANCES)) * weights[:, None]) ** 2)

    found = minimize(residuals, best_of(glance, starting_rates(t, measured)))
    readout = safe_divide(measured.y, measured.h)
    return _Fitted(
        rates=(jnp.exp(found.at[0]), jnp.exp(found.at[1])),
        squares=jnp.sum(errors(found.at) ** 2, axis=1),
        variation=jnp.sum((seen - jnp.mean(seen, axis=1, keepdims=True)) ** 2, axis=1),
        ranges=ranges,
        ratio=endpoint_ratio(measured),
        moved=(
            ranges[0] > tolerance * measured.h[0],
            jnp.max(readout) - jnp.min(readout) > tolerance * readout[0],
        ),
        converged=found.converged,
        steps=found.steps,
    )


@jax.jit
def _fit_mean(t: Float[Array, "t"], part: Float[Array, "t *b"], m0: Float[Array, "*b"]) -> tuple[Array, Array]:
    """Rate of the mean output, and the squared error of the loss that is left."""

    def fit(part: Array, m0: Array) -> tuple[Array, Array]:
        def residuals(rate: Array) -> Array:
            return m0 / 2 * jnp.exp(-2 * jnp.exp(rate[0]) * t) - part

        candidates = jnp.asarray(_MEAN_RATES, t.dtype)[:, None] - jnp.log(t[-1])
        found = minimize(residuals, best_of(lambda rate: jnp.sum(residuals(rate) ** 2), candidates))
        return jnp.exp(found.at[0]), jnp.sum(residuals(found.at) ** 2)

    for _ in range(m0.ndim):
        fit = jax.vmap(fit, in_axes=(1, 0))
    return fit(part, m0)
