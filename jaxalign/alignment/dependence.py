"""Dependence through the cross-covariance operator of two kernels: its norm, regularized, and its information."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType

import jax.numpy as jnp

from jaxalign._core.checks import check_pair
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype, cross_matmul
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.pairs import score_pairs
from jaxalign.kernels.base import Kernel, check_kernel
from jaxalign.kernels.dot_product import Linear
from jaxalign.kernels.radial import RBF
from jaxalign.signatures.feature_maps import FeatureMapSignature


def _information(singular: Float[Array, "r"]) -> Scalar:
    squares = singular * singular
    inside = ~(squares >= 1)
    return jnp.where(jnp.all(inside), 0.5 * jnp.sum(-jnp.log1p(-jnp.where(inside, squares, 0))), jnp.inf)


#: One number from the singular values of the operator.
REDUCTIONS: Mapping[str, Callable[[Array], Scalar]] = MappingProxyType(
    {"largest": jnp.max, "information": _information}
)


@pytree_dataclass
class OperatorScore:
    """A number made of the singular values of the cross-covariance operator.

    Attributes:
      reduce: `"largest"` or `"information"`.
      relative: constant inputs, whose operator is 0, have no score instead of 0.
    """

    reduce: str = field(metadata={"static": True})
    relative: bool = field(default=False, metadata={"static": True})

    def __call__(self, x: Float[Array, "n r"], y: Float[Array, "n s"]) -> Scalar:
        """The score of one pair."""
        value = REDUCTIONS[self.reduce](jnp.linalg.svd(cross_matmul(x, y), compute_uv=False))
        constant = jnp.all(x == 0) | jnp.all(y == 0)
        return jnp.where(constant, jnp.nan, value) if self.relative else value

    def matrix(self, a: Sequence[Array], b: Sequence[Array] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return score_pairs(self, a, b, symmetric=True)


def feature_map(function: str, kernel: Kernel, ridge: float | Array | None = None) -> FeatureMapSignature:
    """The signature for a kernel, and a ridge if there is one.

    Raises:
      TypeError: when `kernel` is not a kernel.
    """
    check_kernel(function, kernel)
    return FeatureMapSignature(kernel) if ridge is None else FeatureMapSignature(kernel, ridge, shrunk=True)


def _operator_score(
    function: str,
    score: OperatorScore,
    x: Array,
    y: Array,
    kernels: tuple[Kernel, Kernel | None],
    mask: Array | None,
    ridge: float | Array | None = None,
) -> Scalar:
    check_pair(function, x, y, mask)
    dtype = accum_dtype(x, y)
    one, other = kernels[0], kernels[0] if kernels[1] is None else kernels[1]
    return score(
        feature_map(function, one, ridge)(x.astype(dtype), mask),
        feature_map(function, other, ridge)(y.astype(dtype), mask),
    )


@jit()
def constrained_covariance(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    kernel: Kernel = Linear(),  # noqa: B008 (immutable)
    kernel_y: Kernel | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Constrained covariance (COCO): the largest covariance of two functions of norm 1 of the inputs.

    $$\mathrm{COCO} = \sigma_{\max}(C_{xy}), \qquad \sigma_i^2 = \text{eigenvalues of } HKH\,HLH / n^2$$

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      kernel: kernel for `x`, and for `y` unless `kernel_y` is given.
      kernel_y: kernel for `y`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, at least 0, in the root of the product of the kernels' units. Its square is at most
      HSIC, of which it is the largest part. 0 when an input is constant. A kernel that is no inner
      product of features takes matrices of `n × n` and a time of order `n³`.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0.], [1.], [2.]])
      >>> round(float(constrained_covariance(x, 2 * x)), 4)
      1.3333

    Reference:
      Gretton et al. (2005), Kernel constrained covariance for dependence measurement.
    """
    return _operator_score("constrained_covariance", OperatorScore("largest"), x, y, (kernel, kernel_y), mask)


@jit()
def kernel_canonical_correlation(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    ridge: float | Float[Array, ""],
    kernel: Kernel = Linear(),  # noqa: B008 (immutable)
    kernel_y: Kernel | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Kernel canonical correlation: the largest correlation of two functions of the inputs, regularised.

    $$\mathrm{KCC} = \sigma_{\max}\big((C_{xx} + \kappa I)^{-1/2} C_{xy} (C_{yy} + \kappa I)^{-1/2}\big)$$

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      ridge: κ, in the units of the kernels. At 0 a kernel with enough functions gives 1 for any inputs.
      kernel: kernel for `x`, and for `y` unless `kernel_y` is given.
      kernel_y: kernel for `y`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, 1)` for a positive ridge; NaN when an input is constant or the ridge is negative.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0.], [1.], [2.]])
      >>> round(float(kernel_canonical_correlation(x, 2 * x, ridge=0.1)), 4)
      0.9155

    Reference:
      Bach and Jordan (2002), Kernel independent component analysis; Fukumizu et al. (2007).
    """
    score = OperatorScore("largest", relative=True)
    return _operator_score("kernel_canonical_correlation", score, x, y, (kernel, kernel_y), mask, ridge)


@jit()
def kernel_mutual_information(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    kernel: Kernel = RBF(),  # noqa: B008 (immutable)
    kernel_y: Kernel | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Kernel mutual information: the information that the cross-covariance operator carries.

    $$\mathrm{KMI} = -\tfrac12 \sum_i \log(1 - \sigma_i^2)$$

    with the singular values of the operator, as in `constrained_covariance`.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      kernel: kernel for `x`, and for `y` unless `kernel_y` is given.
      kernel_y: kernel for `y`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, at least half of HSIC, in nats; infinite when a singular value reaches 1, which kernels
      with `k(x, x) <= 1` (RBF, Laplacian, cosine) do not: hence the default. 0 when an input is constant.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0.], [1.], [2.]])
      >>> round(float(kernel_mutual_information(x, x)), 4)
      0.0465

    Reference:
      Gretton et al. (2005), Kernel methods for measuring independence.
    """
    return _operator_score("kernel_mutual_information", OperatorScore("information"), x, y, (kernel, kernel_y), mask)
