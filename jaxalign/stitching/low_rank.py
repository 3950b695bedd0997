"""Linear regression through a few dimensions: the best affine map of a given rank."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.checks import check_integer, check_ridge
from jaxalign._core.jit import jit
from jaxalign._core.least_squares import decompose, ridge_coefficients, ridge_residuals, with_derivative_of
from jaxalign._core.linalg import leading_polar_factor, numerical_rank_mask, polar_factor, thin_svd
from jaxalign._core.numerics import contract, cross_matmul, matmul, safe_sqrt
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.stitching.maps import LinearStitch
from jaxalign.stitching.regression import warn_if_few
from jaxalign.stitching.rows import paired_rows


def low_rank(
    x: Float[Array, "*rows p"],
    y: Float[Array, "*rows q"],
    *,
    rank: int,
    penalty: float | Scalar = 0.0,
    affine: bool = True,
    mask: Bool[Array, "*rows"] | None = None,
    weights: Float[Array, "*rows"] | None = None,
) -> LinearStitch:
    r"""Reduced-rank regression: the best affine map of `x` to `y` through `rank` dimensions.

    $$\min_{\mathrm{rank} B \le k,\, b} \textstyle\sum_i w_i \|x_i B + b - y_i\|^2 + \lambda \|B\|_F^2$$

    It is the ridge regression followed by the projection onto the `k` directions of `y` of which that explains most.

    Args:
      x: activations of the layer to go on from, as in `least_squares`.
      y: the layer to reach.
      rank: k, at least 1; one above `min(p, q)` changes nothing.
      penalty: λ, as in `ridge`.
      affine: with a bias.
      mask: as in `least_squares`.
      weights: as in `least_squares`.

    Returns:
      A `LinearStitch`, with derivatives where the `k`-th direction explains more than the next one.

    Raises:
      ValueError: at trace time, for layers that are not paired, weights that do not fit, a rank below 1, or a
        negative penalty.
      TypeError: at trace time, on non-floating input, or a rank that is no integer.

    Warns:
      UninformativeWarning: at trace time, for a penalty of 0, as `least_squares` does.

    Example:
      >>> x = jnp.array([[1., 0.], [-1., 0.], [0., 2.], [0., -2.]])
      >>> low_rank(x, x, rank=1).kernel.round(4).tolist()
      [[0.0, 0.0], [0.0, 1.0]]

    Reference:
      Izenman (1975); with a ridge: Mukherjee and Zhu (2011).
    """
    check_integer("low_rank", "rank", rank, minimum=1)
    check_ridge("low_rank", penalty, argument="penalty")
    shrunk = not (isinstance(penalty, (int, float)) and penalty == 0)
    return _low_rank(x, y, penalty=penalty, shrunk=shrunk, rank=rank, affine=affine, mask=mask, weights=weights)


@jit(static=("shrunk", "rank", "affine"))
def _low_rank(
    x: Float[Array, "*rows p"],
    y: Float[Array, "*rows q"],
    *,
    penalty: float | Scalar,
    shrunk: bool,
    rank: int,
    affine: bool,
    mask: Bool[Array, "*rows"] | None = None,
    weights: Float[Array, "*rows"] | None = None,
) -> LinearStitch:
    rows, grid = paired_rows("low_rank", x, y, affine=affine, mask=mask, weights=weights)
    if not shrunk:
        warn_if_few("low_rank", rows)
    penalty = jnp.asarray(penalty, rows.x.dtype) * rows.x_unit * rows.x_unit
    parts = decompose(rows.x)
    full = ridge_coefficients(rows.x, rows.y, penalty, parts)

    # What the full fit explains, the penalty taken into account: its right singular vectors are the directions of y.
    known, _ = parts.apart(rows.y)
    _, s, vt = thin_svd(safe_sqrt(parts.shrinkage(penalty))[:, None] * known)
    kept = (jnp.arange(s.shape[0]) < rank) & numerical_rank_mask(s, (rows.y.shape[0], rows.y.shape[1]), s.dtype)
    vt = jnp.where(kept[:, None], vt, 0)
    projection = cross_matmul(vt, vt)
    # The same up to a rotation of the rows, as a function that has derivatives.
    leading, _ = leading_polar_factor(contract(polar_factor(rows.x, ridge=penalty), rows.y, (0, 0)), rank=rank)
    kernel = with_derivative_of(matmul(full, projection), matmul(full, cross_matmul(leading, leading)))

    left_out = matmul(parts.left, parts.shrinkage(penalty)[:, None] * (known - matmul(known, projection)))
    residuals = ridge_residuals(rows.x, rows.y, penalty, parts, full) + left_out
    residuals = with_derivative_of(residuals, rows.y - matmul(rows.x, kernel))
    return rows.stitch(
        kernel,
        jnp.sum(residuals * residuals),
        rank=jnp.sum(kept, dtype=jnp.int32),
        condition=parts.condition,
        grid=grid,
    )
