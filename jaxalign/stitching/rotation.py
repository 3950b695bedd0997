"""Rotations from the features of one layer to those of another: orthogonal Procrustes."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.jit import jit
from jaxalign._core.least_squares import with_derivative_of
from jaxalign._core.linalg import nuclear_norm, numerical_rank_mask, polar_factor, thin_svd
from jaxalign._core.numerics import cross_matmul, matmul, safe_divide
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.stitching.maps import LinearStitch
from jaxalign.stitching.rows import paired_rows


@jit(static=("scale", "affine"))
def orthogonal(
    x: Float[Array, "*rows p"],
    y: Float[Array, "*rows q"],
    *,
    scale: bool = False,
    affine: bool = True,
    mask: Bool[Array, "*rows"] | None = None,
    weights: Float[Array, "*rows"] | None = None,
) -> LinearStitch:
    r"""The rotation or reflection of `x` that comes nearest to `y`: orthogonal Procrustes.

    $$\min_{Q, b} \textstyle\sum_i w_i \|x_i Q + b - y_i\|^2, \qquad Q Q^\top = I \text{ for } p \le q$$

    For more features in `x` than in `y`, `y` is filled up with features that are 0, and the map keeps the first `q` of
    the rotated ones: then $Q^\top Q = I$.

    Args:
      x: activations of the layer to go on from, as in `least_squares`.
      y: the layer to reach.
      scale: also find the best common factor, `‖XᵀY‖_* / ‖X‖²` of (centered) rows.
      affine: with a bias: means are mapped to means.
      mask: as in `least_squares`.
      weights: as in `least_squares`.

    Returns:
      A `LinearStitch`; `loo_error` and `degrees_of_freedom` are NaN. For `p > q` its error is that of the features
      of `y`, without those that were filled up. Where the cross moments do not determine all of the rotation, `rank`
      being below `min(p, q)`, it is one of several best. The derivative is finite where singular values coincide.

    Raises:
      ValueError: at trace time, for layers that are not paired, or weights that do not fit.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[1., 0.], [0., 2.], [-1., 0.], [0., -2.]])
      >>> orthogonal(x, x[:, ::-1] + 5).kernel.round(4).tolist()
      [[0.0, 1.0], [1.0, 0.0]]

    Reference:
      Schönemann (1966). Its error, without a scale, is the square of `procrustes_distance(scale="raw")` over the rows.
    """
    rows, grid = paired_rows("orthogonal", x, y, affine=affine, mask=mask, weights=weights)
    products = cross_matmul(rows.x, rows.y)
    u, s, vt = thin_svd(products)
    kernel = with_derivative_of(matmul(u, vt), polar_factor(products))
    # One unit for both without a scale, their own with it.
    size = safe_divide(nuclear_norm(products), jnp.sum(rows.x * rows.x)) if scale else rows.y_unit / rows.x_unit
    kernel = kernel * size
    residuals = rows.y - matmul(rows.x, kernel)
    kept = numerical_rank_mask(s, (products.shape[0], products.shape[1]), s.dtype)
    rank = jnp.sum(kept, dtype=jnp.int32)
    condition = jnp.where(rank > 0, s[0] / jnp.min(jnp.where(kept, s, jnp.inf)), jnp.nan)
    return rows.stitch(kernel, jnp.sum(residuals * residuals), rank=rank, condition=condition, grid=grid)
