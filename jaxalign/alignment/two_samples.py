"""Maximum mean discrepancy: whether two samples of the same features come from one distribution."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_choice, check_floating, check_mask, check_matrix
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype, center_columns, fill_rows, safe_sqrt
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.kernel import ESTIMATORS
from jaxalign.kernels.base import Kernel, check_kernel
from jaxalign.kernels.radial import RBF

#: Rows of the kernel matrix at a time.
BLOCK_ROWS = 256


@jit(static=("estimator",))
def mmd(
    x: Float[Array, "n d"],
    y: Float[Array, "m d"],
    *,
    kernel: Kernel = RBF(),  # noqa: B008 (immutable)
    estimator: str = "biased",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Maximum mean discrepancy between two samples: the distance of their means in the kernel's space.

    $$\mathrm{MMD}^2 = \mathrm{E}\,k(x, x') + \mathrm{E}\,k(y, y') - 2\,\mathrm{E}\,k(x, y)$$

    Unlike the other measures here it compares distributions over the *same* features, not representations
    of the same examples: rows are not paired, and their numbers may differ.

    Args:
      x: one sample, shape `(n, d)`.
      y: the other, shape `(m, d)`.
      kernel: the kernel; a bandwidth that depends on data is taken from both samples together.
      estimator: `"biased"`, the root of the plug-in estimate; or `"unbiased"`, the estimate of the
        *square* without pairs of a row with itself, possibly negative.
      mask: shape `(n,)`, for samples of the same size: `False` rows of both are padding.

    Returns:
      A scalar, 0 for equal samples when biased. NaN with fewer than 1 (biased) or 2 (unbiased) rows.

    Raises:
      ValueError: at trace time, when the inputs are not matrices of the same width, for an unknown
        estimator, or a mask that does not fit both.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0.], [1.], [2.]])
      >>> float(mmd(x, x))
      0.0

    Reference:
      Gretton et al. (2012), A kernel two-sample test, JMLR 13.
    """
    for name, sample in (("x", x), ("y", y)):
        check_matrix("mmd", name, sample)
        check_floating("mmd", name, sample)
        check_mask("mmd", mask, sample.shape[0])
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"mmd: x and y must have the same number of features, got {x.shape[1]} and {y.shape[1]}")
    check_choice("mmd", "estimator", estimator, ESTIMATORS)
    check_kernel("mmd", kernel)
    dtype = accum_dtype(x, y)
    both = jnp.concatenate([x.astype(dtype), y.astype(dtype)])
    counted = None if mask is None else jnp.concatenate([mask, mask])
    rows = fill_rows(both, counted)
    rows = rows * kernel.row_factors(rows)[:, None]
    # Means of the kernel's inner products, too, do not depend on the origin.
    if kernel.translation_invariant or kernel.dot_product:
        rows = fill_rows(center_columns(rows, counted), counted)
    kernel = kernel.fit(rows, counted)
    first = jnp.arange(rows.shape[0]) < x.shape[0]
    weights = jnp.ones(rows.shape[0], dtype) if counted is None else counted.astype(dtype)
    own, other = jnp.where(first, weights, 0), jnp.where(first, 0, weights)

    def sums(place_and_row: tuple[Array, Array]) -> tuple[Scalar, Scalar]:
        place, row = place_and_row
        # The same constant is taken off all entries: it leaves the sum of means as it is.
        entries = kernel.deviate(row[None, :], rows)[0]
        if estimator == "unbiased":
            entries = jnp.where(jnp.arange(rows.shape[0]) == place, 0, entries)
        return jnp.sum(entries * own), jnp.sum(entries * other)

    to_own, to_other = lax.map(sums, (jnp.arange(rows.shape[0]), rows), batch_size=BLOCK_ROWS)
    n, m = jnp.sum(own), jnp.sum(other)
    less = 1 if estimator == "unbiased" else 0
    defined = (n > less) & (m > less)
    n, m = jnp.maximum(n, 1 + less), jnp.maximum(m, 1 + less)
    within = jnp.sum(to_own * own) / (n * (n - less)) + jnp.sum(to_other * other) / (m * (m - less))
    squared = within - 2 * jnp.sum(to_other * own) / (n * m)
    if estimator == "biased":
        # The root of what rounding leaves of equal samples would be no small number.
        rounding = 8 * jnp.finfo(dtype).eps * jnp.abs(within)
        squared = safe_sqrt(jnp.where(squared > rounding, squared, squared * 0))
    return jnp.where(defined, squared, jnp.nan)
