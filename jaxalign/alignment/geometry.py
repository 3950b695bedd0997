"""One representation: how many directions it fills, and how evenly it covers the sphere."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_rows
from jaxalign._core.jit import jit
from jaxalign._core.numerics import (
    binary_scale,
    center_columns,
    gram_matmul,
    mask_rows,
    normalize_rows,
    safe_divide,
    widen,
)
from jaxalign._core.typing import Array, Bool, Float, Scalar

#: Rows compared with all others at a time.
BLOCK_ROWS = 256


@jit()
def participation_ratio(x: Float[Array, "n d"], *, mask: Bool[Array, "n"] | None = None) -> Float[Array, ""]:
    r"""Participation ratio: how many directions share the variance.

    $$\frac{(\sum_i \lambda_i)^2}{\sum_i \lambda_i^2}$$

    with the eigenvalues of the covariance of the features.

    Args:
      x: activations, shape `(n, d)`; row `i` is example `i`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar between 1 and `min(n - 1, d)`; NaN for a constant input. Few examples make it smaller: of
      white features it is about `d / (1 + d / n)`. Its gradient is finite.

    Raises:
      ValueError: at trace time, when `x` is not an `(n, d)` matrix or `mask` is not `(n,)`.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[1., 0.], [-1., 0.], [0., 1.], [0., -1.]])
      >>> float(participation_ratio(x))
      2.0

    Reference:
      Gao et al. (2017), A theory of multineuronal dimensionality, dynamics and measurement.
    """
    check_rows("participation_ratio", x, mask)
    rows = center_columns(x, mask)
    rows = rows * binary_scale(rows)
    # Of the smaller of the two matrices of products: both have the same eigenvalues.
    products = gram_matmul(rows, rows) if rows.shape[0] <= rows.shape[1] else gram_matmul(rows.T, rows.T)
    total = jnp.sum(rows * rows)
    return safe_divide(total * total, jnp.sum(products * products), otherwise=jnp.nan)


@jit()
def effective_rank(x: Float[Array, "n d"], *, mask: Bool[Array, "n"] | None = None) -> Float[Array, ""]:
    r"""Effective rank: the exponential of the entropy of the singular values.

    $$\exp\Big(-\sum_i p_i \log p_i\Big), \qquad p_i = \sigma_i \Big/ \sum_j \sigma_j$$

    Args:
      x: activations, shape `(n, d)`; row `i` is example `i`. Not centered: see `preprocess.center`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar between 1 and `min(n, d)`; NaN for an input of zeros. Its gradient is not defined where
      a singular value is 0.

    Raises:
      ValueError: at trace time, when `x` is not an `(n, d)` matrix or `mask` is not `(n,)`.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> float(effective_rank(jnp.eye(4)))
      4.0

    Reference:
      Roy and Vetterli (2007), The effective rank: a measure of effective dimensionality.
    """
    check_rows("effective_rank", x, mask)
    rows = mask_rows(widen(x), mask)
    singular = jnp.linalg.svd(rows * binary_scale(rows), compute_uv=False)
    shares = safe_divide(singular, jnp.sum(singular), otherwise=jnp.nan)
    present = ~(shares <= 0)
    return jnp.exp(-jnp.sum(jnp.where(present, shares * jnp.log(jnp.where(present, shares, 1)), 0)))


@jit()
def uniformity(
    x: Float[Array, "n d"], *, temperature: float | Scalar = 2.0, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    r"""Uniformity: how evenly rows, scaled to length 1, cover the sphere; lower is more even.

    $$\log \frac{1}{n (n - 1)} \sum_{i \ne j} e^{-t \|u_i - u_j\|^2}$$

    Args:
      x: activations, shape `(n, d)`; row `i` is example `i`. A row of zeros stays one.
      temperature: t.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[-4 t, 0]`; 0 when all rows point the same way. NaN with fewer than 2 rows.

    Raises:
      ValueError: at trace time, when `x` is not an `(n, d)` matrix or `mask` is not `(n,)`.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[1., 0.], [-1., 0.]])
      >>> float(uniformity(x))
      -8.0

    Reference:
      Wang and Isola (2020), arXiv:2005.10242. Some libraries leave rows as long as they are, which
      underflows in many dimensions.
    """
    check_rows("uniformity", x, mask)
    rows = normalize_rows(mask_rows(widen(x), mask))
    weights = jnp.ones(rows.shape[0], rows.dtype) if mask is None else mask.astype(rows.dtype)

    def to_others(place_and_row: tuple[Array, Array]) -> Scalar:
        place, row = place_and_row
        differences = rows - row[None, :]
        closeness = jnp.exp(-temperature * jnp.sum(differences * differences, axis=1))
        return jnp.sum(jnp.where(jnp.arange(rows.shape[0]) == place, 0, closeness * weights))

    sums = lax.map(to_others, (jnp.arange(rows.shape[0]), rows), batch_size=BLOCK_ROWS)
    count = jnp.sum(weights)
    mean = jnp.sum(sums * weights) / jnp.maximum(count * (count - 1), 1)
    return jnp.where(count > 1, jnp.log(mean), jnp.nan)
