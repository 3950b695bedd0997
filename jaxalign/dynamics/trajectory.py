"""The motion of a pair in closed form."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxalign._core.numerics import safe_divide, safe_sqrt
from jaxalign._core.typing import Array, Float
from jaxalign.dynamics.times import as_times
from jaxalign.dynamics.two_point import Pair, TwoPointParams, TwoPointState, as_pair, squared_readout

#: Below this, expm1(x) / x and its derivative are summed as a series of so many terms.
_SERIES_BELOW = 0.5
_SERIES_TERMS = 14


def two_point_trajectory(t: Any, state0: TwoPointState, params: TwoPointParams) -> TwoPointState:
    r"""Where a pair is at any time, in closed form.

    The equations (`two_point_rhs`) are gradient flow of one hidden unit $p$ with two readouts $u$, of which
    $C = a |u|^2 - b p^2$ is conserved. With $\mu^2 = C^2/16 + a b \Delta_y^2/4$ the motion towards the targets is
    linear, at the rate $\mu$, up to one common factor, whose square obeys a Riccati equation. So all is made of
    exponentials, none of which can overflow. It stays right where `h` passes 0, which solvers in `h, y, w` do not.

    Args:
      t: times, at least 0 and increasing, shape `(times,)`; or one time.
      state0: the pair at time 0: numbers, or arrays of a shape `b` (pairs, layers, ...).
      params: numbers, or arrays that broadcast with the state.

    Returns:
      A `TwoPointState` of arrays `(times, *b)`, or `b` for one time; float64 if an array among the arguments is, else
      float32 (where 64-bit types are on, numbers alone are float64). Under `jit`, where values cannot be looked at, NaN
      for states that no pair can have. Gradients with respect to everything are finite wherever the state is a possible
      one and `h` is positive, degenerate cases included; with respect to `dy2` at 0, where the motion has a cusp, they
      leave out what is not differentiable.

    Raises:
      ValueError: for `h = 0` with `y > 0`, states beyond Cauchy and Schwarz, `dx2 = 0`, rates or squared distances
        below 0, and times that do not increase from at least 0.
      TypeError: for what is not a number or a floating array.

    Example:
      >>> start = TwoPointState(h=0.25, y=0.04, w=0.04 - 0.2 * 0.5**0.5)
      >>> end = two_point_trajectory(20.0, start, TwoPointParams(eta_h=0.5, eta_y=1.0, dx2=1.0, dy2=0.5))
      >>> round(float(end.h), 4), round(float(end.y), 4)
      (0.5921, 0.4999)

    Reference:
      The equations are those of van Rossem and Saxe (2024), arXiv:2402.09142; their solution was derived for this
      project (docs/dynamics.md).
    """
    pair = as_pair("two_point_trajectory", state0, params)
    return _closed_form(as_times("two_point_trajectory", t, pair.h.dtype), pair)


@jax.jit
def _closed_form(t: Float[Array, "*t"], pair: Pair) -> TwoPointState:
    t = t.reshape(t.shape + (1,) * pair.h.ndim)
    return closed_form(t, Pair(*(z[None] if t.ndim > z.ndim else z for z in pair)))


class _Constants(NamedTuple):
    """What the trajectory of a pair is made of, besides time and the pair itself.

    Attributes:
      rate: mu, half the rate at which the pair leaves the saddle at 0.
      minus: mu - C/4.
      conserved: C.
      along: squared readout towards the targets at time 0.
      rest: squared readout across.
      pull: product of the differences of outputs and of targets, over `h`.
      encoder_push: how far the pair is along the unstable direction of the saddle, in units of `h`.
      readout_push: the same in units of outputs.
      growing: the same, squared.
    """

    rate: Float[Array, "*b"]
    minus: Float[Array, "*b"]
    conserved: Float[Array, "*b"]
    along: Float[Array, "*b"]
    rest: Float[Array, "*b"]
    pull: Float[Array, "*b"]
    encoder_push: Float[Array, "*b"]
    readout_push: Float[Array, "*b"]
    growing: Float[Array, "*b"]


def closed_form(t: Float[Array, "*#b"], pair: Pair) -> TwoPointState:
    """The state at times that broadcast with the pair at time 0, element by element."""
    h, _, _, a, b, dy2 = pair
    rate, minus, conserved, along, rest, pull, encoder_push, readout_push, growing = _constants(pair)
    decay = jnp.exp(-2 * rate * t)
    swing = t * expm1_ratio(-2 * rate * t)  # (1 - decay) / (2 rate)
    still = jnp.exp(-2 * minus * t)
    turned = jnp.where(conserved > 0, still, decay) * t * expm1_ratio(-jnp.abs(conserved) * t / 2)
    spread = decay * (b * h + a * along) + swing * growing
    factor = safe_divide(jnp.ones_like(decay), decay + (swing * spread + a * rest * turned) / 2)
    encoder = decay + encoder_push * swing
    readout = pull * decay + readout_push * swing
    h_t = h * factor * encoder * encoder
    squares = factor * (safe_divide(h * readout * readout, dy2) + rest * still)
    y_t = h_t * squares
    return TwoPointState(h=h_t, y=y_t, w=y_t - h * factor * encoder * readout)


def _constants(pair: Pair) -> _Constants:
    h, y, w, a, b, dy2 = pair
    along, rest = squared_readout(pair)
    product = y - w  # of the differences of outputs and of targets
    pull = safe_divide(product, h)
    conserved = a * (along + rest) - b * h
    rate, minus, plus = _rates(conserved, a * b * dy2 / 4)
    encoder_push, readout_push = minus + a * pull / 2, plus * pull + b * dy2 / 2
    growing = minus * b * h + plus * a * along + a * b * product
    # Where outputs start on the wrong side, two parts cancel in each of these. Then all are made of the sum that has
    # more digits, so that what cannot be known is at least the same everywhere.
    by_encoder = (
        encoder_push,
        safe_divide(b * dy2 * encoder_push, 2 * minus),
        safe_divide(b * h * encoder_push * encoder_push, minus),
    )
    by_readout = (
        safe_divide(a * readout_push, 2 * plus),
        readout_push,
        safe_divide(a * h * readout_push * readout_push, plus * dy2),
    )
    pushes = (
        jnp.where(product < 0, jnp.where(conserved < 0, encoder, readout), direct)
        for encoder, readout, direct in zip(by_encoder, by_readout, (encoder_push, readout_push, growing), strict=True)
    )
    return _Constants(rate, minus, conserved, along, rest, pull, *pushes)


def _rates(
    conserved: Float[Array, "*b"], squared_drive: Float[Array, "*b"]
) -> tuple[Float[Array, "*b"], Float[Array, "*b"], Float[Array, "*b"]]:
    """mu, mu - C/4 and mu + C/4, of which the small one is a quotient where the difference would lose its digits."""
    quarter = conserved / 4
    rate = safe_sqrt(quarter * quarter + squared_drive)
    minus, plus = rate - quarter, rate + quarter
    lopsided = quarter * quarter > squared_drive
    return (
        rate,
        jnp.where(lopsided & (quarter > 0), safe_divide(squared_drive, plus), minus),
        jnp.where(lopsided & (quarter < 0), safe_divide(squared_drive, minus), plus),
    )


def expm1_ratio(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """expm1(x) / x, and 1 at 0, with derivatives that are as accurate."""
    near = jnp.abs(x) < _SERIES_BELOW
    small = jnp.where(near, x, 0)
    series = jnp.ones_like(x)
    for n in range(_SERIES_TERMS, 1, -1):
        series = 1 + series * small / n
    large = jnp.where(near, -1, x)
    return jnp.where(near, series, jnp.expm1(large) / large)
