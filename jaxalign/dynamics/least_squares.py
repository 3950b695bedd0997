"""Nonlinear least squares in a few parameters: Levenberg-Marquardt steps from the best of some candidates."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxalign._core.typing import Array, Bool, Float, Int

MAX_STEPS = 100
#: How damping shrinks after a step that helped, and grows after one that did not.
_EASE, _BRACE = 0.2, 4.0
_FIRST_DAMPING, _LARGEST_DAMPING = 1e-3, 1e12
#: No parameter moves further than this in one step.
_LONGEST_STEP = 1.0


class Minimum(NamedTuple):
    """Where the search ended.

    Attributes:
      at: the parameters.
      converged: no step was worth taking any more.
      steps: how many were tried.
    """

    at: Float[Array, "k"]
    converged: Bool[Array, ""]
    steps: Int[Array, ""]


class _Search(NamedTuple):
    at: Array
    squares: Array  # their sum
    normal: Array  # JᵀJ
    slope: Array  # Jᵀr
    damping: Array
    resting: Array
    steps: Array


def best_of(cost: Callable[[Array], Array], candidates: Float[Array, "c k"]) -> Float[Array, "k"]:
    """The candidate of least cost; NaN counts as infinite."""
    costs = jax.vmap(cost)(candidates)
    return candidates[jnp.argmin(jnp.where(jnp.isnan(costs), jnp.inf, costs))]


def minimize(residuals: Callable[[Array], Array], start: Float[Array, "k"]) -> Minimum:
    """Parameters of least squares near a start, with derivatives of the residuals taken forward.

    Stays within 20 of the start in each parameter: rates whose logarithms run away do not matter any more.
    """
    dtype = start.dtype
    rest, directions = float(jnp.finfo(dtype).eps) ** 0.75, jnp.eye(start.shape[0], dtype=dtype)

    def searching(search: _Search) -> Array:
        return ~search.resting & (search.steps < MAX_STEPS) & (search.damping < _LARGEST_DAMPING)

    def step(search: _Search) -> _Search:
        scale = jnp.diag(search.normal)
        scale = jnp.maximum(scale, jnp.finfo(dtype).eps * jnp.max(scale)) + jnp.finfo(dtype).tiny
        move = -jnp.linalg.solve(search.normal + search.damping * jnp.diag(scale), search.slope)
        move = jnp.clip(jnp.where(jnp.isfinite(move), move, 0), -_LONGEST_STEP, _LONGEST_STEP)
        at = jnp.clip(search.at + move, start - 20, start + 20)
        values, columns = jax.vmap(lambda way: jax.jvp(residuals, (at,), (way,)), out_axes=(None, 1))(directions)
        resting = (jnp.max(jnp.abs(at - search.at)) < rest) & (search.steps > 0)
        new = _Search(
            at=at,
            squares=jnp.sum(values * values),
            normal=columns.T @ columns,
            slope=columns.T @ values,
            damping=search.damping * _EASE,
            resting=resting,
            steps=search.steps + 1,
        )
        stay = search._replace(damping=search.damping * _BRACE, resting=resting, steps=search.steps + 1)
        return jax.tree.map(lambda a, b: jnp.where(new.squares < search.squares, a, b), new, stay)

    # Nothing is known at first, so that the first step stays and looks.
    first = _Search(
        at=start,
        squares=jnp.asarray(jnp.inf, dtype),
        normal=jnp.zeros_like(directions),
        slope=jnp.zeros_like(start),
        damping=jnp.asarray(_FIRST_DAMPING / _EASE, dtype),
        resting=jnp.asarray(False),
        steps=jnp.asarray(0, jnp.int32),
    )
    found = jax.lax.while_loop(searching, step, first)
    return Minimum(found.at, found.steps < MAX_STEPS, found.steps)
