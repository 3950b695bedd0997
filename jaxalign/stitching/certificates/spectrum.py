"""The spectrum of a layer: how its variance is spread over directions."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_floating, describe
from jaxalign._core.jit import jit
from jaxalign._core.least_squares import decompose
from jaxalign._core.linalg import thin_svd
from jaxalign._core.numerics import cross_matmul, safe_divide
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.stitching.regression import column_units
from jaxalign.stitching.rows import PairedRows, paired_rows


@jit(static=("center",))
def layer_spectrum(
    z: Float[Array, "*rows d"],
    *,
    center: bool = False,
    mask: Bool[Array, "*rows"] | None = None,
    weights: Float[Array, "*rows"] | None = None,
) -> Float[Array, "r"]:
    r"""Eigenvalues of the second moments of a layer, the largest first.

    $$\eta_i = s_i^2, \qquad s_i \text{ singular values of } \operatorname{diag}(w)^{1/2} Z, \quad
      \textstyle\sum_i w_i = 1$$

    They are those of the kernel matrix over the number of examples as well; `misalignment_interval` takes them.

    Args:
      z: activations, rows `(n, d)`, tokens `(b, t, d)` or feature maps `(b, h, w, d)`, of which each counts as a row.
      center: take the mean off first: eigenvalues of the covariance, which go with CKA and affine maps.
      mask: `True` for what counts, one for each example or each row; the others may hold any value.
      weights: at least 0, one for each example or each row; only their ratios matter.

    Returns:
      `min(n, d)` eigenvalues, in the square of the units of `z`; exactly 0 beyond the numerical rank. Constants for
      derivatives.

    Raises:
      ValueError: at trace time, for what are no rows, tokens or feature maps, a mask or weights that do not fit.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> layer_spectrum(jnp.array([[2., 0.], [0., 1.], [-2., 0.], [0., -1.]])).round(3).tolist()
      [2.0, 0.5]
    """
    check_floating("layer_spectrum", "z", z)
    if z.ndim not in (2, 3, 4):
        raise ValueError(
            f"layer_spectrum: z must be rows (n, d), tokens (b, t, d) or feature maps (b, h, w, d), got {describe(z)}"
        )
    rows, _ = paired_rows("layer_spectrum", z, z, affine=center, mask=mask, weights=weights)
    return _singular(rows.x) ** 2 / (rows.x_unit * rows.x_unit)


def _singular(x: Float[Array, "n d"]) -> Float[Array, "r"]:
    """Singular values, as many as the rank that fits of these rows count; the others are 0."""
    units = column_units(x)
    parts = decompose(x * units)
    # Of a small matrix with the same ones: the decomposition is of features brought to one size.
    _, values, _ = thin_svd(parts.singular[:, None] * parts.right / units)
    return jnp.where(jnp.arange(values.shape[0], dtype=jnp.int32) < parts.rank, values, 0)


def spectra_and_alignment(rows: PairedRows) -> tuple[Float[Array, "r"], Float[Array, "s"], Scalar]:
    """Eigenvalues of both layers, and their kernel alignment (CKA of centered rows), as constants for derivatives.

    Scales of paired rows are powers of two: the eigenvalues are those of the rows as they came.
    """
    x, y = lax.stop_gradient(rows.x), lax.stop_gradient(rows.y)
    eig1, eig2 = (_singular(z) ** 2 for z in (x, y))
    cross = cross_matmul(x, y)
    norms = jnp.linalg.norm(eig1) * jnp.linalg.norm(eig2)
    alignment = safe_divide(jnp.sum(cross * cross), norms, otherwise=jnp.nan)
    return eig1 / rows.x_unit**2, eig2 / rows.y_unit**2, alignment
