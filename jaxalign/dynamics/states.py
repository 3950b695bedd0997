"""The states of pairs, read off activations and outputs."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxalign._core.checks import as_array, check_floating, describe
from jaxalign._core.numerics import widen
from jaxalign._core.typing import Array, Float, Int
from jaxalign.dynamics.two_point import TwoPointState


def pair_states(
    hidden: Float[Array, "n *units"],
    outputs: Float[Array, "n *k"],
    targets: Float[Array, "n *k"],
    pairs: Int[Array, "p 2"],
) -> TwoPointState:
    r"""The states of pairs of inputs, from what a network makes of them.

    $h = |h_j - h_i|^2$ (a sum over units, not a mean), $y = |\hat y_j - \hat y_i|^2$ and
    $w = (\hat y_j - \hat y_i) \cdot (\hat y_j - \hat y_i - y_j^* + y_i^*)$.

    Args:
      hidden: activations of one layer, `(n, ...)`; all axes but the first are units.
      outputs: of the network, `(n, ...)`.
      targets: what they should be, of the same shape.
      pairs: rows i and j of each pair, `(p, 2)`.

    Returns:
      A `TwoPointState` of arrays `(p,)`, float32 or wider.

    Raises:
      ValueError, TypeError: for arrays that do not fit.

    Example:
      >>> hidden = jnp.array([[0.0, 1.0], [2.0, 1.0]])
      >>> outputs, targets = jnp.array([[0.0], [0.5]]), jnp.array([[0.0], [1.0]])
      >>> [float(z[0]) for z in pair_states(hidden, outputs, targets, jnp.array([[0, 1]]))]
      [4.0, 0.25, -0.25]

    Reference:
      van Rossem and Saxe (2024), arXiv:2402.09142.
    """
    name = "pair_states"
    hidden, outputs, targets = _rows(name, hidden, outputs, targets)
    pairs = as_array(name, "pairs", pairs)
    if not jnp.issubdtype(pairs.dtype, jnp.integer) or pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f"{name}: pairs must be integers of shape (pairs, 2), got {describe(pairs)}")
    rows = hidden.shape[0]
    if not isinstance(pairs, Tracer):
        strange = np.asarray(pairs)[(np.asarray(pairs) < 0) | (np.asarray(pairs) >= rows)]
        if strange.size:
            raise ValueError(f"{name}: pairs must be rows from 0 to {rows - 1}, got {strange[0]}")
    return _of_pairs(hidden, outputs, targets, pairs)


def pairwise_states(
    hidden: Float[Array, "n *units"], outputs: Float[Array, "n *k"], targets: Float[Array, "n *k"]
) -> TwoPointState:
    """The states of all pairs of inputs, from what a network makes of them, as `(n, n)` matrices.

    Args:
      hidden: activations of one layer, `(n, ...)`; all axes but the first are units.
      outputs: of the network, `(n, ...)`.
      targets: what they should be, of the same shape.

    Returns:
      A `TwoPointState` of symmetric matrices `(n, n)` with zero diagonals, float32 or wider.

    Raises:
      ValueError, TypeError: for arrays that do not fit.

    Example:
      >>> hidden = jnp.array([[0.0, 1.0], [2.0, 1.0]])
      >>> outputs, targets = jnp.array([[0.0], [0.5]]), jnp.array([[0.0], [1.0]])
      >>> pairwise_states(hidden, outputs, targets).h.tolist()
      [[0.0, 4.0], [4.0, 0.0]]

    Reference:
      van Rossem and Saxe (2024), arXiv:2402.09142.
    """
    return _of_all(*_rows("pairwise_states", hidden, outputs, targets))


def _rows(function: str, hidden: Any, outputs: Any, targets: Any) -> list[Array]:
    """Matrices with one row for each input."""
    arrays = []
    for argument, value in (("hidden", hidden), ("outputs", outputs), ("targets", targets)):
        array = as_array(function, argument, value)
        check_floating(function, argument, array)
        if array.ndim == 0 or (arrays and array.shape[0] != arrays[0].shape[0]):
            rows = f"{arrays[0].shape[0]} rows like hidden" if arrays else "one row for each input"
            raise ValueError(f"{function}: {argument} must have {rows}, got {describe(array)}")
        arrays.append(array)
    if arrays[1].shape != arrays[2].shape:
        raise ValueError(
            f"{function}: targets must have the shape of outputs, {arrays[1].shape}, got {arrays[2].shape}"
        )
    return [array.reshape(array.shape[0], -1) for array in arrays]


@jax.jit
def _of_pairs(hidden: Array, outputs: Array, targets: Array, pairs: Array) -> TwoPointState:
    first, second = pairs[:, 0], pairs[:, 1]
    dh, dy, dt = (widen(z)[second] - widen(z)[first] for z in (hidden, outputs, targets))
    return TwoPointState(jnp.sum(dh * dh, 1), jnp.sum(dy * dy, 1), jnp.sum(dy * (dy - dt.astype(dy.dtype)), 1))


@jax.jit
def _of_all(hidden: Array, outputs: Array, targets: Array) -> TwoPointState:
    def to_all(row: tuple[Array, Array, Array]) -> TwoPointState:
        dh, dy, dt = (widen(z) - widen(one)[None] for z, one in zip((hidden, outputs, targets), row, strict=True))
        return TwoPointState(jnp.sum(dh * dh, 1), jnp.sum(dy * dy, 1), jnp.sum(dy * (dy - dt.astype(dy.dtype)), 1))

    return jax.lax.map(to_all, (hidden, outputs, targets))
