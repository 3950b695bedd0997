"""Where many inputs end: matrices of squared distances that the theory predicts, one pair at a time."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxalign._core.checks import as_array, check_floating, check_matrix, check_pair, check_positive, describe
from jaxalign._core.numerics import matmul, safe_divide, safe_sqrt, widen
from jaxalign._core.typing import Array, Float


def final_distance_matrix(
    h0: Float[Array, "n n"],
    y0: Float[Array, "n n"],
    dx2: Float[Array, "n n"],
    dy2: Float[Array, "n n"],
    *,
    ratio: Any,
) -> Float[Array, "n n"]:
    r"""Squared distances at which all pairs of inputs end, as if each were alone.

    `fixed_point` of every pair with one ratio of rates, that of the architecture, as fitted to two points.

    Args:
      h0: squared distances of representations at the start, `(n, n)`.
      y0: squared distances of outputs at the start.
      dx2: squared distances of inputs.
      dy2: squared distances of targets.
      ratio: $\eta_h / \eta_y$, positive.

    Returns:
      `(n, n)`, symmetric if the arguments are, 0 on the diagonal, float32 or wider.

    Raises:
      ValueError: for matrices that do not fit, values below 0, and inputs that are the same with different targets.
      TypeError: for what holds no floating numbers.

    Example:
      >>> square = jnp.array([[0.0, 1.0], [1.0, 0.0]])
      >>> final_distance_matrix(1e-4 * square, 0 * square, square, square, ratio=0.25).round(2).tolist()
      [[0.0, 0.5], [0.5, 0.0]]

    Reference:
      The authors' code for van Rossem and Saxe (2024), arXiv:2402.09142, which shows square roots of these.
    """
    name = "final_distance_matrix"
    arguments = {"h0": h0, "y0": y0, "dx2": dx2, "dy2": dy2}
    arrays = {argument: as_array(name, argument, value) for argument, value in arguments.items()}
    for argument, array in arrays.items():
        check_floating(name, argument, array)
        n = arrays["h0"].shape[0] if arrays["h0"].ndim else 0
        if array.ndim != 2 or array.shape != (n, n):
            raise ValueError(f"{name}: {argument} must be a square matrix, of one size for all, got {describe(array)}")
        if not isinstance(array, Tracer) and not np.all(np.asarray(array) >= 0):
            raise ValueError(
                f"{name}: {argument} holds squared distances, at least 0, got {np.min(np.asarray(array)):g}"
            )
    check_positive(name, "ratio", ratio)
    if not any(isinstance(z, Tracer) for z in arrays.values()):
        _check_pairs(name, *(np.asarray(z) for z in arrays.values()))
    return _final(*(widen(z) for z in arrays.values()), jnp.asarray(ratio, widen(arrays["h0"]).dtype))


def _check_pairs(name: str, h0: np.ndarray, y0: np.ndarray, dx2: np.ndarray, dy2: np.ndarray) -> None:
    apart = ~np.eye(len(h0), dtype=bool)
    for wrong, message in (
        (
            apart & (dx2 == 0) & (dy2 > 0),
            "dx2 must be positive where dy2 is: one input cannot be told from itself",
        ),
        (apart & (h0 == 0) & (y0 > 0), "h0 must be positive where y0 is: outputs of one representation cannot differ"),
    ):
        if wrong.any():
            i, j = (int(k) for k in np.argwhere(wrong)[0])
            raise ValueError(f"{name}: {message}, got 0 for rows {i} and {j}")


@jax.jit
def _final(h0: Array, y0: Array, dx2: Array, dy2: Array, ratio: Array) -> Array:
    dtype = h0.dtype
    y0, dx2, dy2 = (z.astype(dtype) for z in (y0, dx2, dy2))
    high = h0 - ratio * dx2 * safe_divide(y0, h0)
    low2 = ratio * dx2 * dy2
    root = safe_sqrt(high * high / 4 + low2)
    ends = jnp.where(high < 0, safe_divide(low2, root - high / 2), high / 2 + root)
    return jnp.where(jnp.eye(h0.shape[0], dtype=bool), 0, ends)


def smoothed_distance_matrix(x: Float[Array, "n p"], targets: Float[Array, "n k"]) -> Float[Array, "n n"]:
    r"""How a large data set ends up, up to a factor: pairs that agree merge, and drag each other along.

    $$e^{-A} A\, e^{-A},\quad A_{ij} = |x_i - x_j| |y_i^* - y_j^*|$$

    with exponentials entry by entry and products of matrices. Inputs of large distances and classes as targets make
    $e^{-A}$ the indicator of classes, and the result a number for each pair of classes that grows with their sizes:
    read it as a pattern, by correlation.

    Args:
      x: inputs, `(n, p)`.
      targets: what the outputs should be, `(n, k)`; one-hot for classes.

    Returns:
      `(n, n)`, symmetric, not normalized; unlike distances its diagonal is not 0. Float32 or wider.

    Raises:
      ValueError, TypeError: for arrays that do not fit.

    Example:
      >>> x, targets = jnp.array([[0.0], [0.1], [9.0]]), jnp.array([[0.0], [0.0], [1.0]])
      >>> print(smoothed_distance_matrix(x, targets).round(1))
      [[ 0.   0.  17.9]
       [ 0.   0.  17.9]
       [17.9 17.9  0. ]]

    Reference:
      The authors' code for van Rossem and Saxe (2024), arXiv:2402.09142.
    """
    name = "smoothed_distance_matrix"
    x, targets = as_array(name, "x", x), as_array(name, "targets", targets)
    check_matrix(name, "x", x)
    check_pair(name, x, targets, other="targets")
    return _smoothed(x, targets)


@jax.jit
def _smoothed(x: Array, targets: Array) -> Array:
    def distances(z: Array) -> Array:
        z = widen(z)
        return jax.lax.map(lambda row: safe_sqrt(jnp.sum((z - row[None]) ** 2, axis=1)), z)

    apart = distances(x)
    areas = apart * distances(targets).astype(apart.dtype)
    close = jnp.exp(-areas)
    return matmul(matmul(close, areas), close)
