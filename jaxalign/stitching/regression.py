"""Linear regression from one layer to another: least squares and ridge."""

from __future__ import annotations

import warnings
from dataclasses import replace

import jax.numpy as jnp

from jaxalign._core.checks import check_ridge
from jaxalign._core.jit import jit
from jaxalign._core.least_squares import (
    Decomposition,
    decompose,
    ridge_coefficients,
    ridge_leverages,
    ridge_residuals,
    with_derivative_of,
)
from jaxalign._core.numerics import binary_scale, matmul
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.signatures.whitened import UninformativeWarning
from jaxalign.stitching.maps import LinearStitch
from jaxalign.stitching.rows import PairedRows, paired_rows


@jit(static=("affine",))
def least_squares(
    x: Float[Array, "*rows p"],
    y: Float[Array, "*rows q"],
    *,
    affine: bool = True,
    mask: Bool[Array, "*rows"] | None = None,
    weights: Float[Array, "*rows"] | None = None,
) -> LinearStitch:
    r"""The affine map of `x` that comes nearest to `y`: ordinary least squares.

    $$\min_{B, b} \textstyle\sum_i w_i \|x_i B + b - y_i\|^2$$

    Its error is the misalignment of the two layers, and `r_squared` the R² of `linear_predictivity`.

    Args:
      x: activations of the layer to go on from: rows `(n, p)`, tokens `(b, t, p)` or feature maps `(b, h, w, p)`.
        Tokens and pixels are mapped one by one, and each is a row of the fit.
      y: the layer to reach, `(n, q)`, `(b, t, q)` or `(b, h', w', q)`, same examples in the same order. Feature maps
        of `x` on another grid are resized to that of `y` first.
      affine: with a bias, which goes with centered measures such as CKA; False goes with uncentered ones.
      mask: `True` for what counts, one for each example or each row; the others may hold any value.
      weights: at least 0, one for each example or each row; only their ratios matter.

    Returns:
      A `LinearStitch`. Of several best maps, as with fewer rows than features, it is that of least norm (of features
      brought to a common size when there are more rows than features). Directions that float32 does not resolve, below
      about 1e-5 of the largest, do not count, and are not in its `rank`. NaN where weights are negative or nothing
      counts. Derivatives of any order are right where the rank is that of the smaller side.

    Raises:
      ValueError: at trace time, for layers that are not paired, or weights that do not fit.
      TypeError: at trace time, on non-floating input.

    Warns:
      UninformativeWarning: at trace time, with fewer than two rows a feature: the error is then far below that of
        rows not seen; see `loo_error`.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [3., 1.], [0., 0.]])
      >>> stitch = least_squares(x, x @ jnp.array([[1.], [2.]]) + 3)
      >>> stitch.kernel.round(4).tolist(), round(float(stitch.error), 4)
      ([[1.0], [2.0]], 0.0)

    Reference:
      Lenc and Vedaldi (2015), arXiv:1411.5908; Bansal et al. (2021), arXiv:2106.07682; as misalignment: Insulla et al.
      (2025), arXiv:2502.14047.
    """
    rows, grid = paired_rows("least_squares", x, y, affine=affine, mask=mask, weights=weights)
    warn_if_few("least_squares", rows)
    return fit_ridge(rows, jnp.zeros((), rows.x.dtype), shrunk=False, affine=affine, grid=grid)


def ridge(
    x: Float[Array, "*rows p"],
    y: Float[Array, "*rows q"],
    *,
    penalty: float | Scalar,
    affine: bool = True,
    mask: Bool[Array, "*rows"] | None = None,
    weights: Float[Array, "*rows"] | None = None,
) -> LinearStitch:
    r"""The affine map of `x` that comes near `y` and is small: ridge regression.

    $$\min_{B, b} \textstyle\sum_i w_i \|x_i B + b - y_i\|^2 + \lambda \|B\|_F^2, \qquad \sum_i w_i = 1$$

    Args:
      x: activations of the layer to go on from, as in `least_squares`.
      y: the layer to reach.
      penalty: λ, added to the variances of `x`, in the square of its units: the `alpha` of scikit-learn over the
        number of rows. The bias is not penalized.
      affine: with a bias; False is without, and λ is added to second moments about 0.
      mask: as in `least_squares`.
      weights: as in `least_squares`.

    Returns:
      A `LinearStitch`, with derivatives of any order, also with respect to the penalty.

    Raises:
      ValueError: at trace time, for layers that are not paired, weights that do not fit, a negative penalty or several.
      TypeError: at trace time, on non-floating input.

    Warns:
      UninformativeWarning: at trace time, for a penalty of 0, as `least_squares` does.

    Example:
      >>> x = jnp.array([[1.], [-1.]])
      >>> ridge(x, 2 * x, penalty=1.0).kernel.tolist()
      [[1.0]]

    Reference:
      Hoerl and Kennard (1970). With growing penalty its error goes from that of `least_squares` to the variance, at a
      rate that kernel alignment gives (derived here).
    """
    check_ridge("ridge", penalty, argument="penalty")
    shrunk = not (isinstance(penalty, (int, float)) and penalty == 0)
    return _ridge(x, y, penalty=penalty, shrunk=shrunk, affine=affine, mask=mask, weights=weights)


@jit(static=("shrunk", "affine"))
def _ridge(
    x: Float[Array, "*rows p"],
    y: Float[Array, "*rows q"],
    *,
    penalty: float | Scalar,
    shrunk: bool,
    affine: bool,
    mask: Bool[Array, "*rows"] | None = None,
    weights: Float[Array, "*rows"] | None = None,
) -> LinearStitch:
    rows, grid = paired_rows("ridge", x, y, affine=affine, mask=mask, weights=weights)
    if not shrunk:
        warn_if_few("ridge", rows)
    return fit_ridge(rows, jnp.asarray(penalty, rows.x.dtype), shrunk=shrunk, affine=affine, grid=grid)


def warn_if_few(function: str, rows: PairedRows) -> None:
    """Say so when there are fewer than two rows for a feature, as far as shapes tell."""
    n, p = rows.x.shape
    if n < 2 * p:
        warnings.warn(
            f"{function}: {n} rows for {p} features: the error on these rows says little about others; take ridge or "
            "ridge_path, look at loo_error, or hold out rows",
            UninformativeWarning,
            stacklevel=2,
        )


def fit_ridge(
    rows: PairedRows, penalty: Scalar, *, shrunk: bool, affine: bool, grid: tuple[int, int] | None
) -> LinearStitch:
    """The ridge regression of paired rows, or for `shrunk=False` the one without a penalty."""
    units = jnp.ones((1, rows.x.shape[1]), rows.x.dtype) if shrunk else column_units(rows.x)
    x = rows.x * units
    penalty = penalty * rows.x_unit * rows.x_unit
    fit = ridge_at(rows, x, penalty, decompose(x), affine=affine, grid=grid)
    return replace(fit, kernel=fit.kernel * units.T)


def column_units(x: Float[Array, "n p"]) -> Float[Array, "1 p"]:
    """What features are multiplied by before a fit without a penalty, and before its rank is counted.

    Such fits do not depend on the units of features; the rounding does, and small ones would be lost. With as many
    features as rows it is the map of least norm that is looked for, which depends on them.
    """
    return jnp.ones((1, x.shape[1]), x.dtype) if x.shape[0] <= x.shape[1] else binary_scale(x, axis=0)


def ridge_at(
    rows: PairedRows,
    x: Float[Array, "n p"],
    penalty: Scalar,
    parts: Decomposition,
    *,
    affine: bool,
    grid: tuple[int, int] | None,
) -> LinearStitch:
    """The ridge regression on inputs that have been taken apart, for a penalty in their units."""
    kernel = ridge_coefficients(x, rows.y, penalty, parts)
    residuals = ridge_residuals(x, rows.y, penalty, parts, kernel)
    leverages = hat_diagonal(rows, ridge_leverages(x, penalty, parts), affine)
    return rows.stitch(
        kernel,
        jnp.sum(residuals * residuals),
        loo_error=leave_one_out(residuals, leverages, rows, parts, penalty, affine),
        rank=parts.rank,
        condition=parts.condition,
        degrees_of_freedom=degrees_of_freedom(parts, penalty, leverages, affine),
        grid=grid,
    )


def hat_diagonal(rows: PairedRows, leverages: Float[Array, "n"], affine: bool) -> Float[Array, "n"]:
    """What of its own target a row is predicted to be: its leverage, and its share in the mean."""
    return leverages + rows.shares if affine else leverages


def leave_one_out(
    residuals: Float[Array, "n q"],
    leverages: Float[Array, "n"],
    rows: PairedRows,
    parts: Decomposition,
    penalty: Scalar,
    affine: bool,
) -> Scalar:
    """The sum of squares of what rows miss that are left out of the fit; infinite where one cannot be."""
    squares = jnp.sum(residuals * residuals, axis=1)
    # 1 less the leverage: what no direction knows of a row, and what the penalty takes from those that do.
    directions = parts.left * parts.left
    unknown = 1 - hat_diagonal(rows, jnp.sum(directions, axis=1), affine)
    # A row without which the fit is not determined is predicted exactly with it, up to rounding.
    rounding = 4 * jnp.finfo(unknown.dtype).eps * unknown.shape[0] ** 0.5
    all_known = parts.rank + (1 if affine else 0) >= jnp.sum(rows.shares > 0, dtype=jnp.int32)
    unknown = jnp.where(all_known | (unknown < rounding), 0, unknown)
    slack = with_derivative_of(unknown + matmul(directions, parts.lost(penalty)[:, None])[:, 0], 1 - leverages)
    resolved = slack > 0
    errors = jnp.where(resolved, squares / jnp.where(resolved, slack * slack, 1), jnp.inf)
    return jnp.sum(jnp.where(rows.shares > 0, errors, jnp.where(jnp.isnan(rows.shares), jnp.nan, 0)))


def degrees_of_freedom(parts: Decomposition, penalty: Scalar, leverages: Float[Array, "n"], affine: bool) -> Scalar:
    """The trace of the matrix that turns targets into fitted values."""
    value = jnp.sum(parts.shrinkage(penalty)) + (1 if affine else 0)
    return with_derivative_of(value, jnp.sum(leverages))
