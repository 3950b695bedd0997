"""Partial least squares: regression on the directions of one layer that covary most with another."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxalign._core.checks import check_integer
from jaxalign._core.jit import jit
from jaxalign._core.linalg import leading_polar_factor
from jaxalign._core.numerics import binary_scale, cross_matmul, matmul, safe_divide, safe_sqrt
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.stitching.maps import LinearStitch
from jaxalign.stitching.rows import paired_rows


@jit(static=("components", "affine"))
def partial_least_squares(
    x: Float[Array, "*rows p"],
    y: Float[Array, "*rows q"],
    *,
    components: int,
    affine: bool = True,
    mask: Bool[Array, "*rows"] | None = None,
    weights: Float[Array, "*rows"] | None = None,
) -> LinearStitch:
    r"""Partial least squares regression of `y` on `components` directions of `x`.

    Each direction is the one whose scores covary most with `y`,

    $$w = \arg\max_{\|w\| = 1} \|Y^\top X w\|, \qquad t = X w, \qquad X \leftarrow X - t t^\top X / \|t\|^2$$

    and `y` is regressed on the scores.

    Args:
      x: activations of the layer to go on from, as in `least_squares`.
      y: the layer to reach.
      components: how many, at least 1; beyond the rank of `x` they change nothing.
      affine: with a bias.
      mask: as in `least_squares`.
      weights: as in `least_squares`.

    Returns:
      A `LinearStitch`; `loo_error` and `degrees_of_freedom` are NaN, `rank` is the number of components that were
      found, `condition` the ratio of the largest to the smallest length of their scores. Depends on the units
      of features: divide them by their standard deviations for what other libraries do by default.

    Raises:
      ValueError: at trace time, for layers that are not paired, weights that do not fit, or fewer than 1 component.
      TypeError: at trace time, on non-floating input, or components that are no integer.

    Example:
      >>> x = jnp.array([[1., 0.], [-1., 0.], [0., 2.], [0., -2.]])
      >>> partial_least_squares(x, x, components=1).kernel.round(4).tolist()
      [[0.0, 0.0], [0.0, 1.0]]

    Reference:
      Wold, Sjöström and Eriksson (2001), PLS2.
    """
    check_integer("partial_least_squares", "components", components, minimum=1)
    rows, grid = paired_rows("partial_least_squares", x, y, affine=affine, mask=mask, weights=weights)
    dtype = rows.x.dtype
    # More components than directions are none.
    count = min(components, *rows.x.shape)
    smallest = jnp.finfo(dtype).eps * jnp.sqrt(jnp.sum(rows.x * rows.x))

    def component(left: Array, _: None) -> tuple[Array, tuple[Array, Array, Array, Array]]:
        """One direction, its loadings and those of y, and the length of its scores; then without it."""
        products = cross_matmul(left, rows.y)
        direction = _leading_direction(products * binary_scale(products))
        scores = matmul(left, direction[:, None])
        length = jnp.sum(scores * scores)
        found = safe_sqrt(length) > smallest
        inverse = jnp.where(found, safe_divide(jnp.ones((), dtype), length), 0)
        loadings = cross_matmul(left, scores)[:, 0] * inverse
        of_y = cross_matmul(rows.y, scores)[:, 0] * inverse
        direction = jnp.where(found, direction, 0)
        return left - scores * loadings[None, :], (direction, loadings, of_y, jnp.where(found, safe_sqrt(length), 0))

    _, (directions, loadings, of_y, lengths) = jax.lax.scan(component, rows.x, None, length=count)
    found = lengths > 0
    between = matmul(loadings, directions.T) + jnp.diag(jnp.where(found, 0, 1).astype(dtype))
    kernel = cross_matmul(directions, jnp.linalg.solve(between, of_y))
    residuals = rows.y - matmul(rows.x, kernel)
    condition = jnp.max(lengths) / jnp.min(jnp.where(found, lengths, jnp.inf))
    return rows.stitch(
        kernel,
        jnp.sum(residuals * residuals),
        rank=jnp.sum(found, dtype=jnp.int32),
        condition=jnp.where(jnp.any(found), condition, jnp.nan),
        grid=grid,
    )


def _leading_direction(products: Float[Array, "p q"]) -> Float[Array, "p"]:
    """The first left singular vector, of either sign, with its derivative; 0 of a matrix of 0."""
    outer, _ = leading_polar_factor(products, rank=1)  # u vᵀ
    sizes = jnp.sum(outer * outer, axis=1)
    across = jax.lax.stop_gradient(outer[jnp.argmax(sizes)])
    direction = matmul(outer, across[:, None])[:, 0]
    return safe_divide(direction, safe_sqrt(jnp.sum(direction * direction)) * jnp.ones_like(direction))
