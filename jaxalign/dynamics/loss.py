"""The loss of a pair while it learns."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxalign._core.checks import check_integer
from jaxalign._core.typing import Array, Float
from jaxalign.dynamics.times import as_times
from jaxalign.dynamics.two_point import TwoPointParams, TwoPointState, as_floats, check_constants


def loss_curve(
    t: Any, trajectory: TwoPointState, params: TwoPointParams, m0: Any, *, outputs: int = 1
) -> Float[Array, "t *b"]:
    r"""The loss of a pair over time: of its mean output, which decays, and of the difference.

    $$L(t) = \tfrac14 \left[ 2 m_0 e^{-2 \eta_{\bar y} t} + w(t) + \tfrac12 (\Delta_y^2 - y(t)) \right]$$

    which is half the mean over the two inputs of the squared error. It falls fast while the mean is learned, rests at
    $\Delta_y^2 / 8$ as long as outputs are alike, and falls again when the pair separates.

    Args:
      t: times, at least 0 and increasing, shape `(times,)`; or one time.
      trajectory: the pair at these times, arrays `(times, *b)`, as from `two_point_trajectory`.
      params: with `eta_ybar`: numbers, or arrays of shape `b`.
      m0: squared distance of the mean output from the mean target, at time 0.
      outputs: how many outputs the loss is averaged over as well; 1 where they are summed.

    Returns:
      Shape `(times, *b)`, at least 0 up to rounding.

    Raises:
      ValueError: for values below 0, shapes that do not fit, and without `eta_ybar`.
      TypeError: for what is not a number or a floating array.

    Example:
      >>> params = TwoPointParams(0.5, 1.0, dx2=1.0, dy2=0.5, eta_ybar=0.01)
      >>> plateau = TwoPointState(*(jnp.zeros(2) for _ in range(3)))
      >>> loss_curve(jnp.array([0.0, 1000.0]), plateau, params, m0=1.0).tolist()
      [0.5625, 0.0625]

    Reference:
      The authors' code for van Rossem and Saxe (2024), arXiv:2402.09142; there only for one output.
    """
    name = "loss_curve"
    if not isinstance(trajectory, TwoPointState) or not isinstance(params, TwoPointParams):
        raise TypeError(f"{name}: trajectory must be a TwoPointState and params TwoPointParams")
    if params.eta_ybar is None:
        raise ValueError(f"{name}: params.eta_ybar must be given, the rate of the mean output, got None")
    check_integer(name, "outputs", outputs, minimum=1)
    h, y, w = as_floats(name, trajectory._asdict())
    times = as_times(name, t, h.dtype)
    named = {"params.dy2": params.dy2, "params.eta_ybar": params.eta_ybar, "m0": m0}
    dy2, rate, start = as_floats(name, named)
    check_constants(name, dy2=dy2, eta_ybar=rate)
    if times.ndim and (not h.ndim or h.shape[0] != times.shape[0]):
        raise ValueError(f"{name}: trajectory must have {times.shape[0]} times like t, got shape {h.shape}")
    if not isinstance(start, Tracer) and not np.all(np.asarray(start) >= 0):
        raise ValueError(f"{name}: m0 is a squared distance, at least 0, got {np.min(np.asarray(start)):g}")
    shape = h.shape[times.ndim :]
    if len(dy2.shape) > len(shape) or any(n not in (1, m) for n, m in zip(dy2.shape[::-1], shape[::-1], strict=False)):
        raise ValueError(f"{name}: params and m0 must broadcast with shape {shape}, got {dy2.shape} together")
    return loss_of(times, y, w, dy2.astype(h.dtype), rate.astype(h.dtype), start.astype(h.dtype)) / outputs


@jax.jit
def loss_of(t: Array, y: Array, w: Array, dy2: Array, rate: Array, m0: Array) -> Array:
    """The loss of arrays `(times, *b)`, with constants of shapes that broadcast with `b`."""

    def along(constant: Array) -> Array:
        return constant.reshape((1,) * (y.ndim - constant.ndim) + constant.shape)

    times = t.reshape(t.shape + (1,) * (y.ndim - t.ndim))
    return (2 * along(m0) * jnp.exp(-2 * along(rate) * times) + w + (along(dy2) - y) / 2) / 4
