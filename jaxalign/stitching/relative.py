"""Relative representations: examples described by their angles to anchors, and stitching through these."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.checks import as_array, check_floating, check_matrix, check_positive, describe
from jaxalign._core.jit import jit
from jaxalign._core.least_squares import Decomposition, decompose, ridge_coefficients
from jaxalign._core.numerics import (
    accum_dtype,
    column_mean,
    cross_matmul,
    gram_matmul,
    matmul,
    normalize_rows,
    safe_divide,
    safe_sqrt,
)
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.stitching.maps import LinearStitch
from jaxalign.stitching.rows import paired_rows


@jit(static=("centered",))
def relative(
    x: Float[Array, "*rows d"], anchors: Float[Array, "k d"], *, centered: bool = False
) -> Float[Array, "*rows k"]:
    r"""Cosines of activations to those of anchor examples: coordinates that rotations and scales do not change.

    $$r_{ij} = \cos(x_i - m,\; a_j - m), \qquad m = 0 \text{, or the mean of the anchors}$$

    Args:
      x: activations, features last: rows `(n, d)`, tokens `(b, t, d)`, feature maps `(b, h, w, d)`.
      anchors: activations of the same layer on the anchors, `(k, d)`.
      centered: take the mean of the anchors off both first, which makes it blind to translations too.

    Returns:
      Shape `(..., k)`, in `[-1, 1]` but for rounding, float32 or wider; 0, with a gradient of 0, for a row or an anchor
      of length 0.

    Raises:
      ValueError: at trace time, when anchors are no matrix, or have another number of features.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> print(relative(jnp.array([[2., 0.], [3., 4.]]), jnp.array([[1., 0.], [0., 2.]])))
      [[1.  0. ]
       [0.6 0.8]]

    Reference:
      Moschella et al. (2023), arXiv:2209.15430, without centering.
    """
    check_matrix("relative", "anchors", anchors)
    check_floating("relative", "x", x)
    if x.ndim < 1 or x.shape[-1] != anchors.shape[1]:
        raise ValueError(
            f"relative: x must have {anchors.shape[1]} features, the last axis, as the anchors, got {describe(x)}"
        )
    dtype = accum_dtype(x, anchors)
    rows, anchors = x.reshape(-1, x.shape[-1]).astype(dtype), anchors.astype(dtype)
    if centered:
        mean = column_mean(anchors)[None, :]
        rows, anchors = rows - mean, anchors - mean
    return gram_matmul(normalize_rows(rows), normalize_rows(anchors)).reshape(*x.shape[:-1], -1)


def relative_stitch(
    anchors_x: Float[Array, "k p"],
    anchors_y: Float[Array, "k q"],
    *,
    affine: bool = True,
    max_condition: float | None = None,
    mask: Bool[Array, "k"] | None = None,
) -> LinearStitch:
    r"""A map between layers from the activations of a few anchors, without training: inverse relative projection.

    $$x \mapsto s\, x\, \hat A_x^\top (\hat A_y^\top)^+, \qquad s = \|A_y\|_F / \|A_x\|_F$$

    with anchors $\hat A$ of length 1: of all points of the target layer, the one whose products with the anchors are
    those that `x` has with the anchors of its own layer. Exact when one layer is a rotation and a multiple of the
    other and the anchors span it. The kernel is the transpose of the least squares map from the anchors of the target
    to those of the source (derived here): noise goes with the reciprocals of the singular values of the target's.

    Args:
      anchors_x: the source layer on the anchors, `(k, p)`.
      anchors_y: the target layer on the same anchors, `(k, q)`; at least `q` of them, and one more with `affine`, to
        reach all of it.
      affine: take the means of the anchors off first, and map one to the other; the definition has none.
      max_condition: directions of the target in which its anchors have a singular value below the largest over this
        are left out, and nothing is mapped there. 10 to 100 helps where anchors are few or nearly collinear. By
        default only those that are not resolved are.
      mask: shape `(k,)`, `True` for the anchors that count.

    Returns:
      A `LinearStitch`. `error` and `variance` are those on the anchors, `rank` and `condition` those of the target's
      anchors, of length 1 each, as far as they were used; `loo_error` and `degrees_of_freedom` are NaN. Directions
      that are left out are constants for derivatives.

    Raises:
      ValueError: at trace time, for anchors that are not paired, no matrices, or a condition below 1.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> anchors = jnp.array([[1., 0.], [0., 2.], [-1., 0.], [0., -2.]])
      >>> stitch = relative_stitch(anchors, 3 * anchors[:, ::-1] + 5)
      >>> stitch(jnp.array([[1., 4.]])).round(3).tolist()
      [[17.0, 8.0]]

    Reference:
      Maiorca et al. (2024), arXiv:2406.15057, whose maps have no scale: their heads take no notice of it. Relative
      representations: Moschella et al. (2023), arXiv:2209.15430.
    """
    for argument, anchors in (("anchors_x", anchors_x), ("anchors_y", anchors_y)):
        check_matrix("relative_stitch", argument, as_array("relative_stitch", argument, anchors))
    if max_condition is not None:
        check_positive("relative_stitch", "max_condition", max_condition)
        if not max_condition >= 1:
            raise ValueError(f"relative_stitch: max_condition must be at least 1, got {max_condition}")
    return _relative_stitch(anchors_x, anchors_y, affine=affine, max_condition=max_condition, mask=mask)


@jit(static=("affine", "max_condition"))
def _relative_stitch(
    anchors_x: Float[Array, "k p"],
    anchors_y: Float[Array, "k q"],
    *,
    affine: bool,
    max_condition: float | None,
    mask: Bool[Array, "k"] | None = None,
) -> LinearStitch:
    rows, _ = paired_rows("relative_stitch", anchors_x, anchors_y, affine=affine, mask=mask, weights=None)
    source, target = normalize_rows(rows.x), normalize_rows(rows.y)
    parts = decompose(target)
    if max_condition is not None:
        parts = _leading(parts, max_condition)
        target = matmul(target, cross_matmul(parts.right, parts.right))
    scale = safe_sqrt(safe_divide(jnp.sum(rows.y**2), jnp.sum(rows.x**2)))
    kernel = scale * ridge_coefficients(target, source, jnp.zeros((), target.dtype), parts).T
    residuals = rows.y - matmul(rows.x, kernel)
    return rows.stitch(kernel, jnp.sum(residuals**2), rank=parts.rank, condition=parts.condition, grid=None)


def _leading(parts: Decomposition, max_condition: float) -> Decomposition:
    """What the singular values make that are not far below the largest."""
    kept = parts.singular * max_condition >= parts.singular[0]
    return Decomposition(
        jnp.where(kept[None, :], parts.left, 0),
        jnp.where(kept, parts.singular, 0),
        jnp.where(kept[:, None], parts.right, 0),
    )
