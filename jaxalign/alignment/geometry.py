"""One representation: how many directions it fills, where its rows lie, how evenly they cover the sphere."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_rows
from jaxalign._core.jit import jit
from jaxalign._core.numerics import (
    binary_scale,
    center_columns,
    column_mean,
    gram_matmul,
    mask_rows,
    normalize_rows,
    row_count,
    safe_divide,
    safe_sqrt,
    widen,
)
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.kernels.squared_distance import squared_distances

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
    # About their mean, rows that all point about the same way keep the digits that tell them apart.
    rows = center_columns(normalize_rows(mask_rows(widen(x), mask)), mask)
    weights = jnp.ones(rows.shape[0], rows.dtype) if mask is None else mask.astype(rows.dtype)

    def to_others(place_and_row: tuple[Array, Array]) -> Scalar:
        place, row = place_and_row
        closeness = jnp.exp(-temperature * squared_distances(row[None, :], rows)[0])
        return jnp.sum(jnp.where(jnp.arange(rows.shape[0]) == place, 0, closeness * weights))

    sums = lax.map(to_others, (jnp.arange(rows.shape[0]), rows), batch_size=BLOCK_ROWS)
    count = jnp.sum(weights)
    mean = jnp.sum(sums * weights) / jnp.maximum(count * (count - 1), 1)
    return jnp.where(count > 1, jnp.log(mean), jnp.nan)


@jit()
def magnitude(x: Float[Array, "n d"], *, mask: Bool[Array, "n"] | None = None) -> Float[Array, ""]:
    r"""Magnitude: how far the mean row is from the origin.

    $$\Big\| \frac1n \sum_i x_i \Big\|_2$$

    Args:
      x: activations, shape `(n, d)`; row `i` is example `i`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, at least 0, in the units of the input; NaN without any row. The gradient is 0 where the mean is 0.

    Raises:
      ValueError: at trace time, when `x` is not an `(n, d)` matrix or `mask` is not `(n,)`.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> float(magnitude(jnp.array([[3., 0.], [3., 8.]])))
      5.0

    Reference:
      Wang et al. (2020), Towards understanding the instability of network embedding; Klabunde et al. (2025),
      arXiv:2305.06329.
    """
    check_rows("magnitude", x, mask)
    mean = column_mean(x, mask)
    scale = binary_scale(mean)
    length = safe_sqrt(jnp.sum((mean * scale) ** 2)) / scale
    return jnp.where(row_count(x, mask) > 0, length, jnp.nan)


@jit()
def concentricity(x: Float[Array, "n d"], *, mask: Bool[Array, "n"] | None = None) -> Float[Array, ""]:
    r"""Concentricity: the mean cosine of the rows with their mean.

    $$\frac1n \sum_i \cos(x_i, \bar x), \qquad \bar x = \frac1n \sum_j x_j$$

    Args:
      x: activations, shape `(n, d)`; row `i` is example `i`. Centered, it has no mean to point at: what
        rounding leaves of one says nothing.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[-1, 1]`, 1 when all rows point the same way. NaN when the mean or a row is 0.

    Raises:
      ValueError: at trace time, when `x` is not an `(n, d)` matrix or `mask` is not `(n,)`.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> round(float(concentricity(jnp.array([[1., 0.], [0., 1.]]))), 4)
      0.7071

    Reference:
      Wang et al. (2020), Towards understanding the instability of network embedding; Klabunde et al. (2025),
      arXiv:2305.06329. Some libraries count a row of zeros as a cosine of 0.
    """
    check_rows("concentricity", x, mask)
    directions = normalize_rows(mask_rows(widen(x), mask))
    mean = normalize_rows(column_mean(x, mask)[None, :])
    cosines = jnp.sum(directions * mean, axis=1)
    pointing = jnp.any(directions != 0, axis=1) if mask is None else jnp.any(directions != 0, axis=1) | ~mask
    defined = jnp.all(pointing) & jnp.any(mean != 0)
    return jnp.where(defined, jnp.sum(cosines) / jnp.maximum(row_count(x, mask), 1), jnp.nan)
