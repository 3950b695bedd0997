"""What the motion of a pair keeps, and where it ends."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxalign._core.numerics import safe_divide, safe_sqrt
from jaxalign._core.typing import Array, Float
from jaxalign.dynamics.two_point import Pair, TwoPointParams, TwoPointState, as_pair


class FixedPoint(NamedTuple):
    r"""Where a pair ends, and the two squared distances that decide it.

    Attributes:
      h_inf: squared distance of the representations in the end.
      a_high: $h_0 - r \Delta_x^2 y_0 / h_0$ with $r = \eta_h / \eta_y$, may be negative: where pairs of large initial
        weights end, or merge.
      a_low: $\sqrt{r \Delta_x^2 \Delta_y^2}$: where pairs of small initial weights end.
    """

    h_inf: Float[Array, "..."]
    a_high: Float[Array, "..."]
    a_low: Float[Array, "..."]


def conserved(state: TwoPointState, params: TwoPointParams) -> Float[Array, "*b"]:
    r"""What stays the same while a pair moves: $C = \eta_h \Delta_x^2\, y / h - \eta_y h$.

    So `y` is a function of `h` alone, and `y / h` a straight line in `h` with the slope
    $\eta_y / (\eta_h \Delta_x^2)$.

    Args:
      state: numbers or arrays.
      params: numbers, or arrays that broadcast with the state.

    Returns:
      C, in the shape of the arguments; 0 for a pair at 0, of which it says nothing.

    Raises:
      ValueError: for values that no pair can have, where they can be looked at.
      TypeError: for what is not a number or a floating array.

    Example:
      >>> params = TwoPointParams(eta_h=0.5, eta_y=1.0, dx2=1.0, dy2=0.5)
      >>> round(float(conserved(TwoPointState(0.25, 0.04, -0.1), params)), 4)
      -0.17

    Reference:
      van Rossem and Saxe (2024), arXiv:2402.09142, and (2025), arXiv:2507.09897.
    """
    return _conserved(as_pair("conserved", state, params))


@jax.jit
def _conserved(pair: Pair) -> Float[Array, "*b"]:
    return pair.a * safe_divide(pair.y, pair.h) - pair.b * pair.h


def fixed_point(state0: TwoPointState, params: TwoPointParams) -> FixedPoint:
    r"""Where a pair ends.

    $$h_\infty = \tfrac12 A_{high} + \sqrt{\tfrac14 A_{high}^2 + A_{low}^2},\quad y_\infty = \Delta_y^2$$

    It does not depend on `w`. With small initial weights, $|A_{high}| \ll A_{low}$, it is $A_{low}$, whatever the start
    (rich); with a large encoder, $A_{high} \gg A_{low}$, about $h_0$ (lazy); with a large decoder,
    $-A_{high} \gg A_{low}$, the encoder rescales: $-A_{low}^2 / A_{high}$. With targets that agree a pair merges if
    $A_{high} < 0$ and else shrinks to $A_{high}$.

    Args:
      state0: the pair at the start: numbers or arrays.
      params: numbers, or arrays that broadcast with the state; rates may be 0, and only their ratio matters.

    Returns:
      A `FixedPoint`. Without loss of digits when $A_{high} < 0$. A pair with `h = y = 0` stays there. Starts that lie
      exactly on the stable manifold of the saddle at 0 (balanced, with outputs on the wrong side) end there instead,
      which this does not tell.

    Raises:
      ValueError: for values that no pair can have, where they can be looked at; `dx2 = 0` among them.
      TypeError: for what is not a number or a floating array.

    Example:
      >>> start = TwoPointState(h=1e-3, y=1e-8, w=-7e-5)
      >>> end = fixed_point(start, TwoPointParams(eta_h=6.6e-4, eta_y=5.2e-2, dx2=1.0, dy2=0.5))
      >>> round(float(end.h_inf), 4), round(float(end.a_low), 4)
      (0.0802, 0.0797)

    Reference:
      van Rossem and Saxe (2024), arXiv:2402.09142. The limits of the regimes and rates of 0 were worked out for this
      project.
    """
    return _fixed_point(as_pair("fixed_point", state0, params))


@jax.jit
def _fixed_point(pair: Pair) -> FixedPoint:
    h, y, w, a, b, dy2 = pair
    kept = _conserved(pair)
    root = safe_sqrt(kept * kept + 4 * a * b * dy2)
    moving = jnp.where(kept > 0, safe_divide(2 * a * dy2, kept + root), safe_divide(root - kept, 2 * b))
    # A decoder that does not learn: representations are moved until they fit it as well as they can.
    still = jnp.where(y > 0, h * safe_divide(y - w, y) ** 2, h)
    ratio = jnp.where(b > 0, a / jnp.where(b > 0, b, 1), jnp.inf)
    return FixedPoint(
        # Where neither representations nor outputs differ, nothing tells them apart: they stay where they are.
        h_inf=jnp.where((h == 0) & (y == 0), 0, jnp.where(b > 0, moving, jnp.where(a > 0, still, h))),
        a_high=jnp.where(b > 0, safe_divide(-kept, b), jnp.where(a * y > 0, -jnp.inf, h)),
        a_low=jnp.where(dy2 > 0, safe_sqrt(ratio * dy2), 0),
    )


def regime_index(state0: TwoPointState, params: TwoPointParams) -> Float[Array, "*b"]:
    r"""How a pair will learn: $A_{high} / A_{low}$, about $h_0 / A_{low}$ when outputs start out alike.

    Near 0: rich, representations are made for the task whatever the start. Well above 1: lazy, they stay what they
    were. Well below -1: the decoder dominates, and the encoder rescales to fit it.

    Args:
      state0: the pair at the start: numbers or arrays.
      params: numbers, or arrays that broadcast with the state.

    Returns:
      The index; infinite, of the sign of $A_{high}$, where the targets agree; NaN if $A_{high}$ is 0 too,
      and with `eta_y = 0`, where both are infinite.

    Raises:
      ValueError: for values that no pair can have, where they can be looked at.
      TypeError: for what is not a number or a floating array.

    Example:
      >>> params = TwoPointParams(eta_h=0.5, eta_y=1.0, dx2=1.0, dy2=0.5)
      >>> round(float(regime_index(TwoPointState(10.0, 0.1, -0.01), params)), 1)
      20.0

    Reference:
      The regimes are those of van Rossem and Saxe (2024), arXiv:2402.09142; the index was made for this project.
    """
    end = _fixed_point(as_pair("regime_index", state0, params))
    return jnp.where(end.a_low > 0, end.a_high / jnp.where(end.a_low > 0, end.a_low, 1), jnp.sign(end.a_high) * jnp.inf)


def linear_spectrum(state0: TwoPointState, params: TwoPointParams) -> Float[Array, "*b 3"]:
    r"""How fast a pair comes to rest: eigenvalues of its motion in `h, y, w`, linear about the end.

    $$0,\quad -\eta_y h_\infty,\quad -\tfrac12 \sqrt{C^2 + 4 \eta_h \eta_y \Delta_x^2 \Delta_y^2}$$

    The first belongs to the conserved quantity, the second to the part of the outputs that points nowhere, the third to
    the size of the outputs.

    Args:
      state0: the pair at the start: numbers or arrays.
      params: numbers, or arrays that broadcast with the state.

    Returns:
      Shape `(*b, 3)`, in units of 1 over time, none positive.

    Raises:
      ValueError: for values that no pair can have, where they can be looked at.
      TypeError: for what is not a number or a floating array.

    Example:
      >>> start = TwoPointState(0.25, 0.04, -0.1)
      >>> linear_spectrum(start, TwoPointParams(0.5, 1.0, dx2=1.0, dy2=0.5)).round(3).tolist()
      [0.0, -0.5920000076293945, -0.5070000290870667]

    Reference:
      Derived for this project (docs/dynamics.md), from the equations of van Rossem and Saxe (2024), arXiv:2402.09142.
    """
    pair = as_pair("linear_spectrum", state0, params)
    kept, end = _conserved(pair), _fixed_point(pair)
    swing = safe_sqrt(kept * kept + 4 * pair.a * pair.b * pair.dy2)
    return jnp.stack([jnp.zeros_like(kept), -pair.b * end.h_inf, -swing / 2], axis=-1)
