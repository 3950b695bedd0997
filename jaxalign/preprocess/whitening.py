"""Columns that are uncorrelated and of unit variance."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.checks import check_rows
from jaxalign._core.jit import jit
from jaxalign._core.linalg import polar_factor
from jaxalign._core.numerics import center_columns, mask_rows, row_count
from jaxalign._core.typing import Array, Bool, Float, Scalar


@jit()
def whiten(
    x: Float[Array, "n d"], *, ridge: float | Scalar = 0.0, mask: Bool[Array, "n"] | None = None
) -> Float[Array, "n d"]:
    r"""Center the columns and multiply by the inverse square root of their covariance (ZCA).

    $$\bar X\, (C + \rho I)^{-1/2}, \qquad C = \bar X^\top \bar X / (n - 1)$$

    Of all whitenings this one changes the centered data least and keeps their axes: column
    `j` of the result still stands for column `j` of `x`. With `ridge=0` directions without
    variance (constant or dependent columns, all beyond `n - 1`) become 0: the covariance of
    the result is a projection, the identity at full rank. It is `sqrt(n - 1)` times the
    polar factor of the centered data, so it comes from a singular value decomposition of
    the data, which keeps twice the digits that one of the covariance would, and its
    gradient is finite where singular values coincide or vanish.

    Args:
      x: activations, shape `(n, d)`; row `i` is example `i`.
      ridge: ρ, added to every variance, in the square of the units of `x`; at least 0.
        Large values tend to `X̄ / sqrt(ρ)`.
      mask: shape `(n,)`; `False` rows are padding, may hold any value and become 0.

    Returns:
      Shape `(n, d)`, float32 or wider; all 0 when every column is constant. NaN when
      `ridge` is negative or a row that counts is not finite.

    Raises:
      ValueError: at trace time, when `x` is not an `(n, d)` matrix or `mask` is not `(n,)`.
      TypeError: at trace time, when `x` is not floating point or `mask` is not boolean.

    Example:
      >>> z = whiten(jnp.array([[0., 0.], [2., 1.], [4., 5.], [6., 2.]]))
      >>> bool(jnp.allclose(jnp.cov(z.T), jnp.eye(2), atol=1e-5))
      True

    Reference:
      Kessy, Lewin & Strimmer (2018), arXiv:1512.00809, name and compare the whitenings.
      The treatment of singular covariances and of gradients is derived for this project.
    """
    check_rows("whiten", x, mask)
    freedom = jnp.maximum(row_count(x, mask) - 1, 1)
    ridge = jnp.asarray(ridge, freedom.dtype) * freedom
    return mask_rows(jnp.sqrt(freedom) * polar_factor(center_columns(x, mask), ridge=ridge), mask)
