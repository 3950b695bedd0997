"""What kernel–target alignment guarantees: the risk of a predictor that takes one product."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.jit import jit
from jaxalign._core.numerics import (
    accum_dtype,
    binary_scale,
    cross_matmul,
    gram_matmul,
    mask_rows,
    matmul,
    row_count,
    safe_divide,
    safe_sqrt,
)
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.kernels.base import Kernel, check_kernel
from jaxalign.kernels.dot_product import Linear
from jaxalign.signatures.gram import GramSignature
from jaxalign.task.spectrum import checked_targets, features


@pytree_dataclass
class KtaRiskBound:
    """The risk of the predictor `K Y / ‖K‖`, and the bound on it that the alignment gives.

    Attributes:
      risk: the mean over rows of the squared error, summed over outputs.
      bound: `2/n (‖Y‖² - A ‖YᵀY‖)`, at least `risk`. For one output of mean square 1 it is `2 (1 - A)`, which for
        targets of ±1 bounds the share of wrong signs, too.
    """

    risk: Scalar
    bound: Scalar


@jit()
def kta_risk_bound(
    z: Float[Array, "n d"],
    y: Float[Array, "n t"],
    *,
    kernel: Kernel = Linear(),  # noqa: B008 (immutable)
    mask: Bool[Array, "n"] | None = None,
) -> KtaRiskBound:
    r"""The risk of $\hat h = K Y / \|K\|_F$, and its bound by kernel–target alignment $A$.

    $$\tfrac1n \|Y - \hat h\|_F^2 \le \tfrac2n \big(\|Y\|_F^2 - A(K, Y Y^\top)\, \|Y^\top Y\|_F\big)$$

    It holds as $\|K Y\| \le \|K\|_F \|Y\|$, for any inputs.

    Args:
      z: representation, shape `(n, d)`; row `i` is example `i`.
      y: targets, shape `(n, t)` or `(n,)`, same examples: numbers, or one-hot labels (`jax.nn.one_hot`).
      kernel: of the representation.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A `KtaRiskBound`, in the square of the units of `y`: `0 <= risk <= bound`. NaN where the kernel matrix is 0.
      Of small numbers no digits are lost: both are sums over residuals. Derivatives of any order are right.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch.
      TypeError: at trace time, on non-floating input, labels that are integers included.

    Example:
      >>> z = jnp.array([[1., 0.], [0., 1.], [2., 1.], [-1., 1.], [0., -2.]])
      >>> result = kta_risk_bound(z, jnp.array([1., 0., 2., -1., 1.]))
      >>> round(float(result.risk), 4), round(float(result.bound), 4)
      (0.2983, 1.2133)

    Reference:
      Cristianini et al. (2001); Insulla et al. (2025), arXiv:2502.14047, whose predictor is divided by the mean of
      squares (corrected here: by its root). The bound without assumptions is derived for this project.
    """
    return bound_of("kta_risk_bound", z, y, kernel, mask)


def bound_of(function: str, z: Array, y: Array, kernel: Kernel, mask: Array | None) -> KtaRiskBound:
    """The risk and the bound, for messages in the name of another function."""
    y = checked_targets(function, z, y, mask)
    check_kernel(function, kernel)
    dtype = accum_dtype(z, y)
    targets = mask_rows(y.astype(dtype), mask)
    scale = binary_scale(targets)
    targets = targets * scale
    if kernel.dot_product:
        rows = features(kernel, z.astype(dtype), mask)
        rows = rows * binary_scale(rows)
        products = cross_matmul(rows, rows) if rows.shape[1] <= rows.shape[0] else gram_matmul(rows, rows)
        predicted = matmul(rows, cross_matmul(rows, targets))
    else:
        products = GramSignature(kernel, centering="none")(z.astype(dtype), mask).matrix()
        products = products * binary_scale(products)
        predicted = matmul(products, targets)
    size = safe_sqrt(jnp.sum(products * products))
    residuals = targets - predicted * safe_divide(jnp.ones_like(size), size)
    count = row_count(z.astype(dtype), mask)
    unit = safe_divide(jnp.ones_like(count), count, otherwise=jnp.nan) / (scale * scale)
    risk, bound = jnp.sum(residuals * residuals), 2 * jnp.sum(targets * residuals)
    return KtaRiskBound(*(jnp.where(size == 0, jnp.nan, value * unit) for value in (risk, bound)))
