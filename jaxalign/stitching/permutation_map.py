"""Which feature of one layer is which feature of another."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.jit import jit
from jaxalign._core.numerics import cross_matmul, matmul
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.alignment.shape import matched_features
from jaxalign.stitching.maps import LinearStitch
from jaxalign.stitching.rows import paired_rows


@jit(static=("affine",))
def permutation(
    x: Float[Array, "*rows p"],
    y: Float[Array, "*rows q"],
    *,
    affine: bool = True,
    mask: Bool[Array, "*rows"] | None = None,
    weights: Float[Array, "*rows"] | None = None,
) -> LinearStitch:
    r"""The order of the features of `x` that comes nearest to `y`: one feature for one feature.

    $$\min_{P, b} \textstyle\sum_i w_i \|x_i P + b - y_i\|^2$$

    over matrices with one 1 in every row and column. The side with fewer features is filled up with features
    that are 0, so that `min(p, q)` features find a partner.

    Args:
      x: activations of the layer to go on from, as in `least_squares`.
      y: the layer to reach.
      affine: with a bias: features are matched by covariance, and means are mapped to means. False matches by
        products.
      mask: as in `least_squares`.
      weights: as in `least_squares`.

    Returns:
      A `LinearStitch` with a kernel of 0 and 1; `loo_error` and `degrees_of_freedom` are NaN, the condition is 1.
      There is no derivative through the choice.

    Raises:
      ValueError: at trace time, for layers that are not paired, or weights that do not fit.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[1., 0.], [0., 2.], [-1., 0.], [0., -2.]])
      >>> permutation(x, x[:, ::-1] + 5).kernel.tolist()
      [[0.0, 1.0], [1.0, 0.0]]

    Reference:
      Li et al. (2016), arXiv:1511.07543; Ainsworth et al. (2023), arXiv:2209.04836, match activations this way.
    """
    rows, grid = paired_rows("permutation", x, y, affine=affine, mask=mask, weights=weights)
    products = cross_matmul(rows.x, rows.y)
    kernel = jnp.zeros_like(products).at[matched_features(products)].set(1) * (rows.y_unit / rows.x_unit)
    residuals = rows.y - matmul(rows.x, kernel)
    one = jnp.ones((), products.dtype)
    rank = jnp.int32(min(products.shape))
    return rows.stitch(kernel, jnp.sum(residuals * residuals), rank=rank, condition=one, grid=grid)
