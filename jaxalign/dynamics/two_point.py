"""A pair of inputs while a network learns: its state, the constants of its motion, and what may be passed as either."""

from __future__ import annotations

import numbers
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jaxalign._core.checks import as_array, check_floating, describe
from jaxalign._core.numerics import accum_dtype, safe_divide
from jaxalign._core.typing import Array, Bool, Float


class TwoPointParams(NamedTuple):
    r"""What the motion of a pair depends on: numbers, or arrays that broadcast.

    The rates are effective ones: they stand for all that the architecture does, and are fitted (`fit_two_point`), not
    computed. They are in units of 1 over the time that is used, epochs say. With the loss
    $\tfrac12 \langle |f(x_i) - y_i^*|^2 \rangle$ over the two inputs, $\eta_h = 1/(2 \tau_h)$ and
    $\eta_y = 1/(2 \tau_y)$; the mean output relaxes with $\eta_{\bar y} = 1/\tau_{\bar y}$.

    Attributes:
      eta_h: rate of the map from inputs to representations, at least 0.
      eta_y: rate of the map from representations to outputs, at least 0.
      dx2: squared distance of the two inputs, positive.
      dy2: squared distance of their targets, at least 0.
      eta_ybar: rate at which the mean output of the pair approaches that of the targets; only losses depend on it.
    """

    eta_h: Any
    eta_y: Any
    dx2: Any
    dy2: Any
    eta_ybar: Any = None


class TwoPointState(NamedTuple):
    r"""Where a pair is: three quadratic quantities, numbers or arrays of one shape.

    Attributes:
      h: squared distance of the two representations, $|\Delta h|^2$.
      y: squared distance of the two outputs, $|\Delta y|^2$.
      w: $|\Delta y|^2 - \Delta y \cdot \Delta y^*$: 0 at the solution, negative while outputs are too close.
    """

    h: Any
    y: Any
    w: Any


class Pair(NamedTuple):
    """State and constants as arrays of one shape and one floating dtype, the rate of the encoder times `dx2` as `a`."""

    h: Float[Array, "*b"]
    y: Float[Array, "*b"]
    w: Float[Array, "*b"]
    a: Float[Array, "*b"]
    b: Float[Array, "*b"]
    dy2: Float[Array, "*b"]


def two_point_rhs(state: TwoPointState, params: TwoPointParams) -> TwoPointState:
    r"""How fast a pair moves: the equations of the theory, as they are.

    $$\dot h = -a w,\quad \dot y = -w (b h + a y / h),\quad
      \dot w = -\tfrac b2 h (3 w - y + \Delta_y^2) - \tfrac a2 \tfrac wh (y + w)$$

    with $a = \eta_h \Delta_x^2$ and $b = \eta_y$. They are singular where `h` is 0, which a pair may pass in finite
    time: integrate them with `two_point_ode`, or not at all (`two_point_trajectory`).

    Args:
      state: numbers or arrays.
      params: numbers, or arrays that broadcast with the state.

    Returns:
      Time derivatives, as a `TwoPointState`; NaN where `h` is 0.

    Raises:
      ValueError: for values that no pair can have, where they can be looked at (not under `jit`).
      TypeError: for what is not a number or a floating array.

    Example:
      >>> rate = two_point_rhs(TwoPointState(0.25, 0.04, -0.1), TwoPointParams(0.5, 1.0, dx2=1.0, dy2=0.5))
      >>> round(float(rate.h), 3)
      0.05

    Reference:
      van Rossem and Saxe (2024), arXiv:2402.09142, in the form of the authors' code.
    """
    h, y, w, a, b, dy2 = as_pair("two_point_rhs", state, params)
    inverse = jnp.where(h > 0, 1 / jnp.where(h > 0, h, 1), jnp.nan)
    return TwoPointState(
        h=-a * w,
        y=-w * (b * h + a * y * inverse),
        w=-b / 2 * h * (3 * w - y + dy2) - a / 2 * w * inverse * (y + w),
    )


def flow_time(step: Any, learning_rate: Any) -> Any:
    """Time of gradient flow after so many steps of gradient descent: their product.

    Rates fitted over steps are those of the flow times the learning rate.

    Example:
      >>> flow_time(3000, 0.005)
      15.0
    """
    return step * learning_rate


def as_pair(function: str, state: TwoPointState, params: TwoPointParams) -> Pair:
    """State and constants as arrays, looked at where they can be.

    Raises:
      ValueError: for values that no pair of inputs can have.
      TypeError: for what is not a number or a floating array.
    """
    for argument, value, kind in (("state", state, TwoPointState), ("params", params, TwoPointParams)):
        if not isinstance(value, kind):
            raise TypeError(f"{function}: {argument} must be a {kind.__name__}, got {describe(value)}")
    named = {
        **{f"state.{name}": getattr(state, name) for name in ("h", "y", "w")},
        **{f"params.{name}": getattr(params, name) for name in ("eta_h", "eta_y", "dx2", "dy2")},
    }
    h, y, w, eta_h, eta_y, dx2, dy2 = as_floats(function, named)
    check_constants(function, eta_h=eta_h, eta_y=eta_y, dx2=dx2, dy2=dy2)
    if not any(isinstance(z, Tracer) for z in (h, y, w, dy2)):
        _check_state(function, *(np.asarray(z) for z in (h, y, w, dy2)))
    return Pair(h, y, w, eta_h * dx2, eta_y, dy2)


def as_floats(function: str, named: dict[str, Any]) -> list[Array]:
    """Numbers and arrays as arrays of one shape and one floating dtype, float32 or wider; numbers take that of arrays.

    Raises:
      ValueError: for shapes that do not broadcast.
      TypeError: for anything else.
    """
    values = []
    for argument, value in named.items():
        if isinstance(value, numbers.Real) and not isinstance(value, (bool, np.generic)):
            values.append(float(value))
            continue
        array = as_array(function, argument, value)
        check_floating(function, argument, array)
        values.append(array)
    arrays = [value for value in values if not isinstance(value, float)]
    dtype = accum_dtype(*arrays) if arrays else jnp.zeros(()).dtype
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        shapes = {argument: np.shape(value) for argument, value in named.items()}
        raise ValueError(f"{function}: shapes must broadcast, got {shapes}") from None
    return [broadcast(jnp.asarray(value, dtype), shape) for value in values]


def broadcast(value: Array, shape: tuple[int, ...]) -> Array:
    """`value` in a shape it broadcasts to."""
    return jnp.broadcast_to(value.reshape((1,) * (len(shape) - value.ndim) + value.shape), shape)


def check_constants(function: str, **constants: Array) -> None:
    """Raise `ValueError` unless rates and squared distances can be ones; what is traced passes unread."""
    for name, value in constants.items():
        if isinstance(value, Tracer):
            continue
        least = np.min(np.asarray(value), initial=np.inf)
        if not np.all(np.isfinite(np.asarray(value))) or least < 0:
            raise ValueError(f"{function}: params.{name} must be finite and at least 0, got {_worst(value)}")
        if name == "dx2" and least == 0:
            raise ValueError(
                f"{function}: params.dx2 must be positive, got 0: one input cannot have two representations, so such a "
                "pair never separates"
            )


def breaks_cauchy_schwarz(y: Float[Array, "*b"], w: Float[Array, "*b"], dy2: Float[Array, "*b"]) -> Bool[Array, "*b"]:
    r"""Where $|\Delta y \cdot \Delta y^*| = |y - w|$ is more than $|\Delta y| |\Delta y^*|$, by more than rounding."""
    info = jnp.finfo(y.dtype)
    rounding = 64 * float(info.eps)
    return jnp.abs(y - w) > jnp.sqrt((y + float(info.tiny)) * dy2) * (1 + rounding) + rounding * (y + jnp.abs(w))


def _check_state(function: str, h: np.ndarray, y: np.ndarray, w: np.ndarray, dy2: np.ndarray) -> None:
    for name, value in (("h", h), ("y", y), ("w", w)):
        if not np.all(np.isfinite(value)):
            raise ValueError(f"{function}: state.{name} must be finite, got {_worst(value)}")
    for name, value in (("h", h), ("y", y)):
        if np.any(value < 0):
            raise ValueError(f"{function}: state.{name} is a squared distance, at least 0, got {_worst(value)}")
    impossible = (h == 0) & (y > 0)
    if np.any(impossible):
        at = tuple(np.argwhere(impossible)[0])
        raise ValueError(
            f"{function}: state.h must be positive where state.y is, got h = 0 and y = {y[at]:g}: outputs of one "
            "representation cannot differ"
        )
    broken = np.asarray(breaks_cauchy_schwarz(*(jnp.asarray(z) for z in (y, w, dy2))))
    if np.any(broken):
        at = tuple(np.argwhere(broken)[0])
        raise ValueError(
            f"{function}: state must satisfy |y - w| <= sqrt(y * dy2) (Cauchy and Schwarz: y - w is the product of the "
            f"differences of outputs and of targets), got y = {y[at]:g}, w = {w[at]:g}, dy2 = {dy2[at]:g}"
        )


def _worst(value: Any) -> float:
    """A value that is not finite, or the least."""
    flat = np.asarray(value).ravel()
    strange = flat[~np.isfinite(flat)]
    return float(strange[0] if strange.size else flat.min())


def squared_readout(pair: Pair) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    r"""Squares of the decoder along the pair: of its part towards the targets, and of the rest.

    $u_1^2 = (y - w)^2 / (h \Delta_y^2)$ and $u_2^2 = y / h - u_1^2$; where targets agree, all is rest. Where rounding
    leaves less than 0 of the rest it is 0, with its gradient as it is; NaN where no pair has such a state.
    """
    h, y, w, _, _, dy2 = pair
    impossible = breaks_cauchy_schwarz(y, w, dy2) | ((h == 0) & (y > 0))
    along = safe_divide((y - w) * (y - w), h * dy2)
    rest = safe_divide(y, h) - along
    rest = rest + lax.stop_gradient(jnp.maximum(rest, 0) - rest)
    return along, jnp.where(impossible, jnp.nan, rest)
