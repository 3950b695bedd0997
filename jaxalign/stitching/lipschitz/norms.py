"""Upper bounds of operator norms that hold with rounding counted: largest singular values, certified.

A power iteration comes from below and certifies nothing. Here an estimate, however found, is raised a little to a
level `c`, and `c I - A^T A` is factored by Cholesky. If that runs to its end, the largest singular value is at most
`sqrt(c)` plus what rounding can hide, which is bounded beforehand. All of this is in float64 on the host, whatever the
type of the weights: in float32 the margin would be a few percent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxalign._core.checks import describe
from jaxalign._core.typing import Array, Float, Scalar

#: Half the distance from 1 to the next float64: the relative error of one operation.
UNIT = 2.0**-53
#: Up to this size, eigenvalues give the estimate; above, a Krylov space.
EIGENVALUE_SIZE = 1024
KRYLOV_STEPS = 60


def matrix_norm_bound(matrix: Float[Array, "p q"]) -> Scalar:
    r"""An upper bound of the spectral norm of a matrix that holds with all rounding counted.

    $$\|A\|_{op} = \max_{v \ne 0} \|A v\| / \|v\| \;\le\; \text{the result}$$

    Above the norm by about `n^2` times 1e-16 of it (`n` the smaller side), and by the rounding to the type it is
    returned in, which is upward.

    Args:
      matrix: shape `(p, q)`, any floating type; read on the host, so it must not be traced.

    Returns:
      A scalar, 0 or more, float32 (float64 with 64-bit types on); 0 for a matrix of zeros, NaN unless all entries are
      finite. No gradient.

    Raises:
      ValueError: for anything else than a matrix.
      TypeError: for what holds no floating numbers, and for traced values.

    Example:
      >>> bound = float(matrix_norm_bound(jnp.array([[3., 0.], [0., -4.]])))
      >>> 4 <= bound <= 4 * (1 + 1e-6)
      True

    Reference:
      Rump (2006), "Verification of positive definiteness", BIT 46, for Cholesky as a proof (standard); errors of
      products and factors: Higham (2002), "Accuracy and Stability of Numerical Algorithms", sections 3.5 and 10.1. It
      is assumed that products are not of Strassen's kind.
    """
    host = host_array("matrix_norm_bound", "matrix", matrix)
    if host.ndim != 2:
        raise ValueError(f"matrix_norm_bound: matrix must have shape (p, q), got {describe(matrix)}")
    return round_up(norm_of(host))


def host_array(function: str, argument: str, value: Any) -> np.ndarray:
    """An array of weights as float64 on the host, which rounds nothing.

    Raises:
      TypeError: for traced values, and for what holds no floating numbers.
    """
    if isinstance(value, Tracer):
        raise TypeError(
            f"{function}: {argument} must be known, got a traced value; a bound that is certified reads weights on "
            "the host: call it outside of jit, grad and vmap"
        )
    if not hasattr(value, "__array__"):
        raise TypeError(f"{function}: {argument} must be a floating array, got {describe(value)}")
    host = np.asarray(value)
    if not jnp.issubdtype(host.dtype, jnp.floating):
        raise TypeError(f"{function}: {argument} must be floating point, got {describe(value)}")
    return host.astype(np.float64)


def norm_of(matrix: np.ndarray) -> float:
    """The bound of one matrix `(p, q)`, or of the largest norm in a stack `(..., p, q)`; NaN unless finite."""
    if matrix.size == 0:
        return 0.0
    scaled, exponent = binary_scaled(matrix)
    if scaled is None:
        return math.nan
    return times_power(norm_of_stacks([scaled.reshape(-1, *matrix.shape[-2:])]), exponent)


def binary_scaled(values: np.ndarray) -> tuple[np.ndarray | None, int]:
    """Values times a power of two that makes the largest at most 1, and the exponent that was taken out.

    None for values that are not finite.
    """
    largest = float(np.max(np.abs(values), initial=0.0))
    if not math.isfinite(largest):
        return None, 0
    exponent = math.frexp(largest)[1]
    return np.ldexp(values, -exponent), exponent


def times_power(value: float, exponent: int) -> float:
    """`value * 2**exponent`, rounded up where it leaves the range of float64."""
    try:
        result = math.ldexp(value, exponent)
    except OverflowError:
        return math.inf
    return result if result > 2.0**-1000 or value == 0 else math.nextafter(result, math.inf)


def norm_of_stacks(stacks: Iterable[np.ndarray]) -> float:
    """A bound of the largest norm among matrices `(f, a, b)`, real or complex, with entries near 1 in size.

    With level `c`, `m` products in each entry of the Gram matrix and `r` its size, the square of the norm is at most
    `c + g(m) |A|_F^2 + g(r) r c`, where `g(k) = 4 (k + 2) UNIT` covers complex arithmetic too.
    """
    level, frobenius, sides = 0.0, 0.0, (0, 0)
    for stack in stacks:
        if stack.shape[-2] > stack.shape[-1]:
            stack = np.swapaxes(stack, -1, -2)
        gram = stack @ np.conj(np.swapaxes(stack, -1, -2))
        frobenius = max(frobenius, float(np.max(np.trace(gram, axis1=-2, axis2=-1).real, initial=0.0)))
        sides = (max(sides[0], stack.shape[-2]), max(sides[1], stack.shape[-1]))
        level = _certified_level(gram, level)
    if level == 0:
        return 0.0
    r, m = sides
    hidden = 4 * UNIT * ((m + 2) * frobenius * 1.001 + (r + 2) * (r + 1) * level) * 1.001
    return math.sqrt(level + hidden + 1e-290) * (1 + 4 * UNIT)


def _certified_level(gram: np.ndarray, level: float) -> float:
    """The level, raised until `level I - gram` has a Cholesky factor for each of the matrices."""
    size = gram.shape[-1]
    if not np.any(gram) or (level > 0 and _below(gram, level)):
        return level
    estimate, margin = _estimate(gram), 8e-15 * (size + 1)
    while not _below(gram, raised := max(level, estimate * (1 + margin))):
        margin *= 8
    return raised


def _below(gram: np.ndarray, level: float) -> bool:
    """Whether Cholesky proves all eigenvalues to be below the level."""
    shifted = -gram
    index = np.arange(gram.shape[-1])
    shifted[..., index, index] += level
    try:
        np.linalg.cholesky(shifted)
    except np.linalg.LinAlgError:
        return False
    return True


def _estimate(gram: np.ndarray) -> float:
    """The largest eigenvalue, roughly: it decides how near the bound is, not whether it holds."""
    if gram.shape[-1] == 1:
        return float(np.max(np.real(gram)))
    if gram.shape[-1] <= EIGENVALUE_SIZE:
        return float(max(np.max(np.linalg.eigvalsh(gram)), np.max(np.abs(gram))))
    return max(_krylov_estimate(matrix) for matrix in gram)


def _krylov_estimate(gram: np.ndarray) -> float:
    """The largest Ritz value of a Krylov space, by Lanczos with full orthogonalization. From below."""
    start = (
        np.random.default_rng(0).standard_normal(gram.shape[-1]) + gram[np.argmax(np.real(np.diagonal(gram)))].conj()
    )
    basis = [start / np.linalg.norm(start)]
    for _ in range(KRYLOV_STEPS - 1):
        new, known = gram @ basis[-1], np.stack(basis)
        for _ in range(2):
            new = new - known.T @ (known.conj() @ new)
        length = np.linalg.norm(new)
        if length <= 1e-10 * np.max(np.abs(gram)):
            break
        basis.append(new / length)
    known = np.stack(basis)
    inner = known.conj() @ (gram @ known.T)
    return float(np.max(np.linalg.eigvalsh(0.5 * (inner + inner.conj().T))))


def product_up(*factors: float) -> float:
    """A product that is not below the exact one. A factor of 0 makes it 0, NaN makes it NaN."""
    result = 1.0
    for factor in factors:
        if 0 in (result, factor):
            result = math.nan if math.isnan(result) or math.isnan(factor) else 0.0
        elif math.isfinite(result * factor):
            result = _not_below(result * factor, Fraction(result) * Fraction(factor))
        else:
            result *= factor
    return result


def sum_up(*terms: float) -> float:
    """A sum that is not below the exact one."""
    result = 0.0
    for term in terms:
        total = result + term
        result = _not_below(total, Fraction(result) + Fraction(term)) if math.isfinite(total) else total
    return result


def root_up(value: float) -> float:
    """A square root that is not below the exact one."""
    root = math.sqrt(value)
    return root if Fraction(root) ** 2 >= Fraction(value) else math.nextafter(root, math.inf)


def _not_below(rounded: float, exact: Fraction) -> float:
    return rounded if Fraction(rounded) >= exact else math.nextafter(rounded, math.inf)


def round_up(value: float) -> Scalar:
    """A float64 as an array of the type that is on, float32 or float64, not below it."""
    dtype = jnp.zeros(()).dtype
    with np.errstate(over="ignore", under="ignore"):
        result = np.asarray(value, dtype)
        if float(result) < value:
            result = np.nextafter(result, np.asarray(np.inf, dtype))
    smallest = float(np.finfo(dtype).tiny)
    if 0 < value < smallest:  # which devices take for 0
        result = np.asarray(smallest, dtype)
    return jnp.asarray(result, dtype)
