"""PLS-SVD dissimilarity of two matrices, with digits where it is small."""

from __future__ import annotations

import math
import warnings

import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import as_array, check_pair
from jaxalign._core.jit import jit
from jaxalign._core.least_squares import with_derivative_of
from jaxalign._core.linalg import nuclear_norm, thin_svd
from jaxalign._core.numerics import (
    accum_dtype,
    binary_scale,
    center_columns,
    cross_matmul,
    mask_rows,
    matmul,
    safe_sqrt,
    widen,
)
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.identifiability.arguments import known_nan, raise_for_infinite
from jaxalign.signatures.whitened import UninformativeWarning


def pls_svd_distance(
    x: Float[Array, "n p"], y: Float[Array, "n q"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    r"""PLS-SVD dissimilarity: 1 minus the mean singular value of the correlations between columns.

    $$d = 1 - \frac{\|\hat X^\top \hat Y\|_*}{\min(p, q)} = \min_{Q^\top Q = I} \frac{\|\hat X - \hat Y Q\|_F^2}{2p}
      \quad \text{for } p = q$$

    with centered columns of length 1. The second form is a squared distance, computed as such: small values have
    digits in float32, where `1 - m` has none below 5e-7. Its root is a metric; the value itself is not.

    Not invariant to invertible maps of `x` or `y`, only to units and offsets of columns and to rotations of the
    standardized columns; `identifiability_distance` applies it to what probabilities determine.

    Args:
      x: shape `(n, p)`; row `i` is example `i`.
      y: shape `(n, q)`, same examples in the same order.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, 1]` for `p = q`, else at most 1. Inside `jit`, NaN when a column is constant. The gradient is
      finite, one of several where singular values are 0.

    Raises:
      ValueError: on rank or row-count mismatch, and for a column that is known to be constant or not finite.
      TypeError: on non-floating input.

    Warns:
      UninformativeWarning: with no more than `p + 1` examples; of two, the value is 0.

    Example:
      >>> x = jnp.array([[1., 0.], [-1., 0.], [0., 1.], [0., -1.]])
      >>> round(float(pls_svd_distance(x, x @ jnp.array([[1., 1.], [0., 1.]]))), 4)
      0.0761

    Reference:
      Definition 4.5 of Nielsen et al. (2025), arXiv:2506.03784, by PLS-SVD (Wold 1985). That it is a squared
      Procrustes distance was derived for this project.
    """
    name = "pls_svd_distance"
    x, y = as_array(name, "x", x), as_array(name, "y", y)
    mask = None if mask is None else as_array(name, "mask", mask)
    check_pair(name, x, y, mask)
    warn_if_few(name, x.shape[0], max(x.shape[1], y.shape[1]), "examples")
    value = _pls_svd_distance(x, y, mask=mask)
    if known_nan(value):
        raise_for_infinite(name, mask, x=x, y=y)
        for argument, columns in (("x", x), ("y", y)):
            constant = jnp.isnan(unit_columns(columns, mask)).any(axis=0)
            if bool(constant.any()):
                raise ValueError(
                    f"{name}: columns of {argument} must vary, got a constant one, {int(constant.argmax())}"
                )
    return value


def warn_if_few(function: str, rows: int, columns: int, what: str) -> None:
    """Warn when so few rows leave nothing to say."""
    if rows <= columns + 1:
        warnings.warn(
            f"{function}: {rows} {what} for {columns} dimensions: representations that have nothing to do with one "
            f"another come out alike; take more {what}",
            UninformativeWarning,
            stacklevel=3,
        )


def unit_columns(
    x: Float[Array, "n p"], mask: Bool[Array, "n"] | None, made_of: Float[Array, "n p"] | None = None
) -> Float[Array, "n p"]:
    """Centered columns of length 1; NaN where rounding explains them, or that of what they are differences of."""
    x = mask_rows(widen(x), mask)
    unit = binary_scale(x, axis=0)
    centered = center_columns(x * unit, mask)
    length = safe_sqrt(jnp.sum(centered * centered, axis=0))
    largest = jnp.max(jnp.abs(x if made_of is None else mask_rows(made_of, mask)), axis=0) * unit[0]
    rounding = 2 * float(jnp.finfo(x.dtype).eps) * math.sqrt(x.shape[0]) * lax.stop_gradient(largest)
    return centered / jnp.where(length <= rounding, jnp.nan, length)[None, :]


def distance_of_units(x: Float[Array, "n p"], y: Float[Array, "n q"]) -> Scalar:
    """The distance of matrices of unit columns."""
    products = cross_matmul(y, x)
    smaller = min(products.shape)
    by_norm = 1 - nuclear_norm(products) / smaller
    if x.shape[1] != y.shape[1]:
        return by_norm
    u, _, vt = thin_svd(lax.stop_gradient(products))
    residual = lax.stop_gradient(x) - matmul(lax.stop_gradient(y), matmul(u, vt))
    value = jnp.sum(residual * residual) / (2 * smaller)
    return with_derivative_of(jnp.minimum(value, 1), by_norm)


@jit()
def _pls_svd_distance(
    x: Float[Array, "n p"], y: Float[Array, "n q"], *, mask: Bool[Array, "n"] | None = None
) -> Scalar:
    dtype = accum_dtype(x, y)
    return distance_of_units(unit_columns(x.astype(dtype), mask), unit_columns(y.astype(dtype), mask))
