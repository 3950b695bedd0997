"""Ridge regressions for many penalties from one decomposition, and the choice between them."""

from __future__ import annotations

from dataclasses import field

import jax
import jax.numpy as jnp

from jaxalign._core.checks import check_choice
from jaxalign._core.jit import jit
from jaxalign._core.least_squares import (
    Decomposition,
    decompose,
    ridge_coefficients,
    ridge_leverages,
    ridge_residuals,
    with_derivative_of,
)
from jaxalign._core.numerics import matmul
from jaxalign._core.penalties import SHARES, checked_penalties
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.stitching.maps import LinearStitch
from jaxalign.stitching.regression import degrees_of_freedom, hat_diagonal, leave_one_out, ridge_at
from jaxalign.stitching.rows import PairedRows, paired_rows

#: How a penalty is chosen.
CRITERIA = ("gcv", "loo")


@pytree_dataclass
class RidgePath:
    """Ridge regressions of one layer on another over a path of penalties.

    Attributes:
      penalties: `(l,)`, in the square of the units of the inputs.
      errors: the error of each on its own rows, `(l,)`; grows with the penalty.
      gcv_errors: generalized cross-validation, `(l,)`: the error over `(1 - degrees_of_freedom / n)²`, an estimate of
        that on rows not seen. For a linear map it is the kernel alignment risk estimate (KARE) of the targets.
      loo_errors: errors with each row left out, `(l,)`; None unless they chose.
      degrees_of_freedom: `(l,)`.
      chosen: the place of the least of `gcv_errors` or `loo_errors`.
      stitch: the map of that penalty.
      select: by which of the two.
    """

    penalties: Float[Array, "l"]
    errors: Float[Array, "l"]
    gcv_errors: Float[Array, "l"]
    loo_errors: Float[Array, "l"] | None
    degrees_of_freedom: Float[Array, "l"]
    chosen: Int[Array, ""]
    stitch: LinearStitch
    select: str = field(metadata={"static": True})

    def __call__(self, x: Float[Array, "*rows p"]) -> Float[Array, "*rows q"]:
        """What the chosen map makes of activations."""
        return self.stitch(x)

    @property
    def kernel(self) -> Float[Array, "p q"]:
        """That of the chosen map."""
        return self.stitch.kernel

    @property
    def bias(self) -> Float[Array, "q"]:
        """That of the chosen map."""
        return self.stitch.bias

    @property
    def penalty(self) -> Scalar:
        """The one that is chosen."""
        return self.penalties[self.chosen]


def ridge_path(
    x: Float[Array, "*rows p"],
    y: Float[Array, "*rows q"],
    *,
    penalties: Float[Array, "l"] | tuple[float, ...] | None = None,
    select: str = "gcv",
    affine: bool = True,
    mask: Bool[Array, "*rows"] | None = None,
    weights: Float[Array, "*rows"] | None = None,
) -> RidgePath:
    r"""Ridge regressions from `x` to `y` for many penalties, and the one that does best on rows it has not seen.

    $$\mathrm{GCV}(\lambda) = \frac{\sum_i w_i \|r_i\|^2}{(1 - \mathrm{tr} H_\lambda / n)^2}, \qquad
      \mathrm{LOO}(\lambda) = \sum_i w_i \frac{\|r_i\|^2}{(1 - h_{\lambda, ii})^2}$$

    with residuals $r$ and the matrix $H_\lambda$ that turns targets into fitted values. All penalties share one
    decomposition, and cost little more than one with `select="gcv"`; leave-one-out errors take a product of matrices
    each.

    Args:
      x: activations of the layer to go on from, as in `least_squares`.
      y: the layer to reach.
      penalties: `(l,)`, at least 0, added to the variances of `x`; 24 by default, from 1e-7 to 10 times the
        largest variance along any direction.
      select: `"gcv"`, which does not depend on the axes of the features, or `"loo"`, the leave-one-out error.
      affine: with a bias.
      mask: as in `least_squares`.
      weights: as in `least_squares`; each row that counts is one of the `n`.

    Returns:
      A `RidgePath`, with the map of the chosen penalty as `.stitch`; with derivatives, but none through the choice.

    Raises:
      ValueError: at trace time, for layers that are not paired, weights that do not fit, penalties that are negative,
        none, or no vector; for another `select`.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [3., 1.], [0., 0.]])
      >>> path = ridge_path(x, x[:, :1], penalties=(1e-3, 1e-1))
      >>> int(path.chosen), [round(float(v), 3) for v in path.degrees_of_freedom]
      (0, [2.997, 2.725])

    Reference:
      Golub, Heath and Wahba (1979); Allen (1974) for leave-one-out. KARE: Jacot et al. (2020), arXiv:2006.09796.
    """
    check_choice("ridge_path", "select", select, CRITERIA)
    if penalties is not None:
        penalties = checked_penalties("ridge_path", penalties)
    return _ridge_path(x, y, penalties=penalties, select=select, affine=affine, mask=mask, weights=weights)


@jit(static=("select", "affine"))
def _ridge_path(
    x: Float[Array, "*rows p"],
    y: Float[Array, "*rows q"],
    *,
    penalties: Float[Array, "l"] | None,
    select: str,
    affine: bool,
    mask: Bool[Array, "*rows"] | None = None,
    weights: Float[Array, "*rows"] | None = None,
) -> RidgePath:
    rows, grid = paired_rows("ridge_path", x, y, affine=affine, mask=mask, weights=weights)
    parts = decompose(rows.x)
    square = rows.x_unit * rows.x_unit
    if penalties is None:
        scaled = jnp.asarray(SHARES, rows.x.dtype) * parts.singular[0] ** 2
        penalties = scaled / square
    else:
        penalties = penalties.astype(rows.x.dtype)
        scaled = penalties * square
    known, beyond = parts.apart(jax.lax.stop_gradient(rows.y))
    counted = jnp.sum(rows.shares > 0, dtype=rows.x.dtype)
    unknown = counted - parts.rank.astype(counted.dtype) - (1 if affine else 0)
    # Of as many directions as rows, nothing lies outside but rounding.
    energies, outside = jnp.sum(known * known, axis=1), jnp.where(unknown > 0, jnp.sum(beyond * beyond), 0)

    def at(penalty: Scalar) -> tuple[Scalar, Scalar, Scalar]:
        error = outside + jnp.sum(parts.lost(penalty) ** 2 * energies)
        kernel = ridge_coefficients(rows.x, rows.y, penalty, parts)
        leverages = hat_diagonal(rows, ridge_leverages(rows.x, penalty, parts), affine)
        error = with_derivative_of(error, jnp.sum((rows.y - matmul(rows.x, kernel)) ** 2))
        freedom = degrees_of_freedom(parts, penalty, leverages, affine)
        # What is left of the rows, without the difference of nearly equal numbers.
        left = with_derivative_of(unknown + jnp.sum(parts.lost(penalty)), counted - freedom)
        return error, generalized_cross_validation(error, left, counted), freedom

    errors, gcv_errors, freedom = jax.vmap(at)(scaled)
    loo_errors = jax.lax.map(lambda one: _loo(rows, one, parts, affine), scaled) if select == "loo" else None
    scores = gcv_errors if loo_errors is None else loo_errors
    chosen = jnp.argmin(scores).astype(jnp.int32)
    unit = rows.y_unit * rows.y_unit
    return RidgePath(
        penalties=penalties,
        errors=errors / unit,
        gcv_errors=gcv_errors / unit,
        loo_errors=None if loo_errors is None else loo_errors / unit,
        degrees_of_freedom=freedom,
        chosen=chosen,
        stitch=ridge_at(rows, rows.x, scaled[chosen], parts, affine=affine, grid=grid),
        select=select,
    )


def generalized_cross_validation(error: Array, left: Array, counted: Scalar) -> Array:
    """The error over the squared share of rows that is left to judge by; infinite where none is."""
    slack = left / counted
    return jnp.where(slack > 0, error / jnp.where(slack > 0, slack * slack, 1), jnp.inf)


def _loo(rows: PairedRows, penalty: Scalar, parts: Decomposition, affine: bool) -> Scalar:
    kernel = ridge_coefficients(rows.x, rows.y, penalty, parts)
    residuals = ridge_residuals(rows.x, rows.y, penalty, parts, kernel)
    leverages = hat_diagonal(rows, ridge_leverages(rows.x, penalty, parts), affine)
    return leave_one_out(residuals, leverages, rows, parts, penalty, affine)
