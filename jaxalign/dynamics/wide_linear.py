"""A linear network of two layers and any width, which learns a pair by its own rules: what the theory leaves out."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxalign._core.checks import as_array, check_floating, describe
from jaxalign._core.numerics import accum_dtype, safe_divide, safe_sqrt
from jaxalign._core.typing import Array, Float
from jaxalign.dynamics.times import as_times
from jaxalign.dynamics.trajectory import expm1_ratio
from jaxalign.dynamics.two_point import TwoPointParams, TwoPointState, as_floats, check_constants


def wide_linear_trajectory(
    t: Any, dh: Float[Array, "width"], readout: Float[Array, "width"], params: TwoPointParams
) -> TwoPointState:
    r"""A pair in a linear network of two layers with one output, exactly.

    With $P = \sqrt b\, \Delta h$ and $U = \sqrt a\, v$ for readout weights $v$, gradient flow is
    $\dot P = \tfrac12 (F - P \cdot U)\, U$, $\dot U = \tfrac12 (F - P \cdot U)\, P$ with
    $F = \sqrt{a b}\, \Delta_y$. So $P \pm U$ keep their directions and grow by reciprocal factors, whose square obeys
    a Riccati equation. The theory of two points (`two_point_trajectory`) has one hidden unit in its place:
    representations move on a line, and readout weights across it do not learn. Both agree for a width of 1.

    Args:
      t: times, at least 0 and increasing, shape `(times,)`; or one time.
      dh: difference of the two representations at time 0, one number a unit.
      readout: weights from hidden units to the output at time 0.
      params: numbers, with rates above 0. Here they are those of the weights.

    Returns:
      A `TwoPointState` of arrays `(times,)`, or numbers for one time.

    Raises:
      ValueError: for shapes that do not fit, constants below 0, rates of 0, and times that do not increase.
      TypeError: for what is not a number or a floating array.

    Example:
      >>> params = TwoPointParams(1.0, 1.0, dx2=1.0, dy2=0.5)
      >>> end = wide_linear_trajectory(100.0, jnp.array([0.3, -0.1]), jnp.array([0.2, 0.1]), params)
      >>> bool(abs(end.h - wide_linear_fixed_point(jnp.array([0.3, -0.1]), jnp.array([0.2, 0.1]), params)) < 1e-5)
      True

    Reference:
      Derived for this project (docs/dynamics.md).
    """
    name = "wide_linear_trajectory"
    p, u, a, b, dy2 = _weights(name, dh, readout, params)
    return _trajectory(as_times(name, t, p.dtype), p, u, a, b, dy2)


def wide_linear_fixed_point(
    dh: Float[Array, "width"], readout: Float[Array, "width"], params: TwoPointParams
) -> Float[Array, ""]:
    r"""Where a pair ends in a linear network of two layers with one output, exactly.

    $$h_\infty = \frac{-k + \sqrt{k^2 + 4 (|P|^2 |U|^2 - (P \cdot U)^2) + 4 a b \Delta_y^2}}{2 b},\quad
      k = |U|^2 - |P|^2$$

    with $P$ and $U$ as in `wide_linear_trajectory`. `fixed_point` leaves out the middle term, and of $U$ takes the part
    along $P$: from a random start of equal scales it is too large by up to 15.5 %, where $h_0$ is about $0.7 \Delta_y$.

    Args:
      dh: difference of the two representations at the start, one number a unit.
      readout: weights from hidden units to the output at the start.
      params: numbers, with rates above 0.

    Returns:
      The squared distance of the two representations in the end.

    Raises:
      ValueError: for shapes that do not fit, constants below 0 and rates of 0.
      TypeError: for what is not a number or a floating array.

    Example:
      >>> params = TwoPointParams(1.0, 1.0, dx2=1.0, dy2=0.5)
      >>> round(float(wide_linear_fixed_point(jnp.array([0.3, -0.1]), jnp.array([0.2, 0.1]), params)), 3)
      0.734

    Reference:
      Derived for this project (docs/dynamics.md).
    """
    return _fixed_point(*_weights("wide_linear_fixed_point", dh, readout, params))


def _weights(name: str, dh: Any, readout: Any, params: TwoPointParams) -> tuple[Array, ...]:
    """P, U, a, b and the squared distance of targets."""
    if not isinstance(params, TwoPointParams):
        raise TypeError(f"{name}: params must be TwoPointParams, got {describe(params)}")
    vectors = as_array(name, "dh", dh), as_array(name, "readout", readout)
    for argument, vector in zip(("dh", "readout"), vectors, strict=True):
        check_floating(name, argument, vector)
        if vector.ndim != 1 or vector.shape != vectors[0].shape:
            raise ValueError(f"{name}: {argument} must have shape (width,), one width for both, got {describe(vector)}")
    constants = {field: getattr(params, field) for field in ("eta_h", "eta_y", "dx2", "dy2")}
    values = as_floats(name, {f"params.{field}": value for field, value in constants.items()})
    check_constants(name, **dict(zip(constants, values, strict=True)))
    for field, value in zip(constants, values, strict=True):
        if field != "dy2" and not isinstance(value, Tracer) and np.any(np.asarray(value) == 0):
            raise ValueError(f"{name}: params.{field} must be positive, got 0")
    if values[0].ndim:
        raise ValueError(f"{name}: params must be single numbers, got shape {values[0].shape}")
    dtype = accum_dtype(*vectors)
    eta_h, eta_y, dx2, dy2 = (value.astype(dtype) for value in values)
    a = eta_h * dx2
    return jnp.sqrt(eta_y) * vectors[0].astype(dtype), jnp.sqrt(a) * vectors[1].astype(dtype), a, eta_y, dy2


@jax.jit
def _trajectory(t: Array, p: Array, u: Array, a: Array, b: Array, dy2: Array) -> TwoPointState:
    drive = jnp.sqrt(a * b * dy2)
    ahead, behind, product = jnp.sum((p + u) ** 2), jnp.sum((p - u) ** 2), jnp.sum(p * u)
    # z, the square of the factor of P + U, obeys z' = F z - (ahead z^2 - behind) / 4 and starts at 1. It is
    # above / below, in which only what is positive is added.
    rate = safe_sqrt(drive * drive + ahead * behind / 4)
    decay = jnp.exp(-rate * t)
    swing = t * expm1_ratio(-rate * t)
    below = 2 * decay + ahead * swing * (1 + safe_divide(behind, 2 * (rate + drive))) / 2
    above = 1 + decay + (drive + behind / 2) * swing
    # P = P_0 cosh + U_0 sinh and the reverse for U: their parts along P_0 and across it.
    still = ahead == 0  # P + U stays 0, and P - U decays: below may be 0
    root = jnp.sqrt(above * jnp.where(still, 1, below))
    cosh, sinh = (above + below) / (2 * root), (drive - product) * swing / root
    length = safe_sqrt(jnp.sum(p * p))
    along = safe_divide(product, length)
    across = jnp.sum(_across(u, p) ** 2)
    shrunk = length * length * below / above
    squared = jnp.where(still, shrunk, (length * cosh + along * sinh) ** 2 + across * sinh * sinh)
    grown = (length * cosh + along * sinh) * (along * cosh + length * sinh) + across * cosh * sinh
    output = jnp.where(still, -shrunk, grown) / jnp.sqrt(a * b)
    return TwoPointState(h=squared / b, y=output * output, w=output * output - jnp.sqrt(dy2) * output)


def _across(u: Array, p: Array) -> Array:
    """The part of `u` at right angles to `p`."""
    return u - safe_divide(jnp.sum(u * p), jnp.sum(p * p)) * p


@jax.jit
def _fixed_point(p: Array, u: Array, a: Array, b: Array, dy2: Array) -> Array:
    k = jnp.sum(u * u) - jnp.sum(p * p)
    more = 4 * (jnp.sum(p * p) * jnp.sum(_across(u, p) ** 2) + a * b * dy2)
    root = safe_sqrt(k * k + more)
    return jnp.where(k > 0, safe_divide(more, root + k), root - k) / (2 * b)
