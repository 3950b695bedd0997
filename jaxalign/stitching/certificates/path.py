"""From R² to kernel alignment: what stitching explains while its penalty grows."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxalign._core.checks import check_floating
from jaxalign._core.jit import jit
from jaxalign._core.least_squares import decompose, with_derivative_of
from jaxalign._core.numerics import cross_matmul, safe_divide, safe_sqrt, self_products
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.stitching.certificates.misalignment import rows_per_example
from jaxalign.stitching.ridge_path import checked_penalties, ridge_path
from jaxalign.stitching.rows import check_layers, paired_rows


@pytree_dataclass
class StitchingPath:
    """Ridge stitching for many penalties, between the two notions of alignment at its ends.

    Attributes:
      penalties: λ, `(l,)`, in the square of the units of `z1`.
      misalignment: for each, in sample: mean over examples of the squared distance from `z2`.
      gcv: an estimate of the same for rows not seen, by generalized cross-validation: KARE of `z2`. Far above
        `misalignment`, the map is overfitted.
      r_squared: `1 - misalignment / variance`; goes to R² as λ goes to 0.
      alignment: `λ (variance - misalignment) / (2 ‖Σ₁₁‖ ‖Σ₂₂‖)`; goes to the kernel alignment as λ grows.
      kernel_alignment: that limit; CKA for `center=True`.
      variance: misalignment for a penalty without end.
      best: which penalty has the least `gcv`.
    """

    penalties: Float[Array, "l"]
    misalignment: Float[Array, "l"]
    gcv: Float[Array, "l"]
    r_squared: Float[Array, "l"]
    alignment: Float[Array, "l"]
    kernel_alignment: Scalar
    variance: Scalar
    best: Int[Array, ""]


def stitching_path(
    z1: Float[Array, "*rows p"],
    z2: Float[Array, "*rows q"],
    *,
    penalties: Float[Array, "l"] | tuple[float, ...] | None = None,
    center: bool = False,
    mask: Bool[Array, "*rows"] | None = None,
    weights: Float[Array, "*rows"] | None = None,
) -> StitchingPath:
    r"""What ridge stitching from `z1` to `z2` explains, for penalties from nothing to without end.

    $$\mathrm{KA} = \lim_{\lambda \to \infty} \frac{\lambda (\mathrm{tr}\Sigma_{22} - \tilde A(\lambda))}
      {2 \|\Sigma_{11}\| \|\Sigma_{22}\|}, \qquad
      R^2 = \lim_{\lambda \to 0} 1 - \frac{\tilde A(\lambda)}{\mathrm{tr}\Sigma_{22}}$$

    Kernel alignment is stitching under a penalty so large that only the largest directions count; R² is stitching
    without one. Two layers that differ in small directions are told apart by the second only.

    Args:
      z1: activations of the layer to go on from, as in `misalignment`.
      z2: the layer to reach.
      penalties: λ, `(l,)`, at least 0; 24 by default, from 1e-7 to 10 times the largest eigenvalue of second moments.
      center: map the mean to the mean: the limits are CKA and the R² of affine maps.
      mask: as in `misalignment`.
      weights: as in `misalignment`.

    Returns:
      A `StitchingPath`. Differences of nearly equal numbers are not taken, so that `alignment` has digits for any
      penalty. First derivatives are right, but none goes through `best`.

    Raises:
      ValueError: for layers that are not paired, or penalties that are negative, none, or no vector.
      TypeError: on non-floating input.

    Example:
      >>> z1 = jnp.array([[2., 0.], [-2., 0.], [0., 1.], [0., -1.]])
      >>> path = stitching_path(z1, z1[:, 1:], penalties=(1e-6, 1e6))
      >>> path.r_squared.round(4).tolist(), round(float(path.alignment[1]), 4), round(float(path.kernel_alignment), 4)
      ([1.0, 0.0], 0.2425, 0.2425)

    Reference:
      Derived for this project; kernel alignment and misalignment: Insulla et al. (2025), arXiv:2502.14047.
    """
    check_floating("stitching_path", "z1", z1)
    check_floating("stitching_path", "z2", z2)
    check_layers("stitching_path", z1, z2, names=("z1", "z2"))
    if penalties is not None:
        penalties = checked_penalties("stitching_path", penalties)
    return _path(z1, z2, penalties=penalties, center=center, mask=mask, weights=weights)


@jit(static=("center",))
def _path(
    z1: Float[Array, "*rows p"],
    z2: Float[Array, "*rows q"],
    *,
    penalties: Float[Array, "l"] | None = None,
    center: bool,
    mask: Bool[Array, "*rows"] | None = None,
    weights: Float[Array, "*rows"] | None = None,
) -> StitchingPath:
    path = ridge_path(z1, z2, penalties=penalties, affine=center, mask=mask, weights=weights)
    rows, _ = paired_rows("stitching_path", z1, z2, affine=center, mask=mask, weights=weights)
    parts = decompose(rows.x)
    known = cross_matmul(parts.left, jax.lax.stop_gradient(rows.y))
    energies = jnp.sum(known * known, axis=1)
    cross = cross_matmul(rows.x, rows.y)
    norms = safe_sqrt(jnp.sum(self_products(rows.x) ** 2)) * safe_sqrt(jnp.sum(self_products(rows.y) ** 2))

    def alignment(penalty: Scalar, error: Scalar) -> Scalar:
        # λ times what is explained, each factor near 1 for one of the ends.
        explained = jnp.sum(energies * penalty * parts.shrinkage(penalty) * (1 + parts.lost(penalty)))
        carrier = penalty * (jnp.sum(rows.y * rows.y) - error)
        return safe_divide(with_derivative_of(explained, carrier), 2 * norms, otherwise=jnp.nan)

    square, unit = rows.x_unit * rows.x_unit, rows.y_unit * rows.y_unit
    rows_an_example = rows_per_example(rows.shares.reshape(z2.shape[:-1]))
    errors = path.errors
    return StitchingPath(
        penalties=path.penalties,
        misalignment=rows_an_example * errors,
        gcv=rows_an_example * path.gcv_errors,
        r_squared=1 - safe_divide(errors, rows.variance * jnp.ones_like(errors), otherwise=jnp.nan),
        alignment=jax.vmap(alignment)(path.penalties * square, errors * unit),
        kernel_alignment=safe_divide(jnp.sum(cross * cross), norms, otherwise=jnp.nan),
        variance=rows_an_example * rows.variance,
        best=path.chosen,
    )
