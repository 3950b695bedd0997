"""Inner products of kernel matrices: kernel alignment, HSIC."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType

import jax.numpy as jnp

from jaxalign._core.checks import check_choice, check_pair
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype, safe_arccos, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.kernel_reordering import OfKernels, kernel_reordering
from jaxalign.engines.planner import gram_products
from jaxalign.engines.products import Products
from jaxalign.kernels.base import Kernel, check_kernel
from jaxalign.kernels.dot_product import Linear
from jaxalign.kernels.gram import Gram
from jaxalign.signatures.gram import GramSignature

ESTIMATORS = ("biased", "unbiased")
#: How the engines center for an estimator of HSIC.
CENTERING_OF: Mapping[str, str] = MappingProxyType({"biased": "biased", "unbiased": "unbiased", "lange": "hollow"})
SCALINGS = ("n2", "nm1", "none")
FORMS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {"value": lambda value: value, "root": safe_sqrt, "angle": safe_arccos}
)


@pytree_dataclass
class KernelScore:
    """A score that is an inner product of two centered kernel matrices.

    Attributes:
      centering: one of `engines.CENTERINGS`.
      scaling: `"cosine"` divides by the norms; `"n2"` by `n²`; `"nm1"` by `(n-1)²`;
        `"none"` by 1; `"u"` by `n(n-3)`.
      form: what is returned of that, one of `FORMS`.
    """

    centering: str = field(metadata={"static": True})
    scaling: str = field(metadata={"static": True})
    form: str = field(default="value", metadata={"static": True})

    def __call__(self, x: Gram, y: Gram) -> Scalar:
        """The score of one pair."""
        return self.matrix([x], [y])[0, 0]

    def matrix(self, a: Sequence[Gram], b: Sequence[Gram] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return self.finish(gram_products(a, b, centering=self.centering, norms=self.scaling == "cosine"))

    def reordering(self, a: Sequence[Gram], b: Sequence[Gram]) -> OfKernels:
        """Scores as a function of the order of the examples of `b`; no kernel is evaluated for it."""
        return kernel_reordering(self, a, b, self.centering)

    def finish(self, products: Products) -> Float[Array, "La Lb"]:
        """Scores from the inner products of centered matrices."""
        return FORMS[self.form](self._scaled(products))

    def _scaled(self, products: Products) -> Float[Array, "La Lb"]:
        if self.scaling == "cosine":
            return products.cosine()
        n = products.count
        if self.scaling == "none":
            return products.inner()
        divisor = {"n2": n * n, "nm1": jnp.maximum(n - 1, 0) ** 2, "u": n * (n - 3)}[self.scaling]
        defined = (divisor > 0) & (n > 0)
        return jnp.where(defined, products.inner() / jnp.where(defined, divisor, 1), jnp.nan)


def hsic_score(estimator: str, scaling: str) -> KernelScore:
    """The score behind `hsic`."""
    check_choice("hsic", "estimator", estimator, CENTERING_OF)
    check_choice("hsic", "scaling", scaling, SCALINGS)
    return KernelScore(centering=CENTERING_OF[estimator], scaling=scaling if estimator == "biased" else "u")


def alignment_score() -> KernelScore:
    """The score behind `kernel_alignment`."""
    return KernelScore(centering="none", scaling="cosine")


def gram_signature(function: str, score: KernelScore, kernel: Kernel) -> GramSignature:
    """The signature that this score reads.

    Raises:
      TypeError: when `kernel` is not a kernel.
    """
    check_kernel(function, kernel)
    return GramSignature(kernel, centering=score.centering)


def pair_score(
    function: str, score: KernelScore, x: Array, y: Array, kernel: Kernel, kernel_y: Kernel | None, mask: Array | None
) -> Scalar:
    """The score of two representations, which have been checked to be arrays."""
    check_pair(function, x, y, mask)
    dtype = accum_dtype(x, y)
    signature_x = gram_signature(function, score, kernel)
    signature_y = gram_signature(function, score, kernel if kernel_y is None else kernel_y)
    return score(signature_x(x.astype(dtype), mask), signature_y(y.astype(dtype), mask))


@jit()
def kernel_alignment(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    kernel: Kernel = Linear(),  # noqa: B008 (immutable)
    kernel_y: Kernel | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Kernel alignment: the cosine between two kernel matrices, without centering.

    $$A(K, L) = \langle K, L\rangle_F \,/\, (\|K\|_F \|L\|_F)$$

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      kernel: kernel for `x`, and for `y` unless `kernel_y` is given.
      kernel_y: kernel for `y`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, 1]` for positive semi-definite kernels, else in `[-1, 1]`; float32 or
      wider. NaN when a kernel matrix is all 0. A mean that both representations are far from
      makes it close to 1: see `cka` for the centered score.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.]])
      >>> round(float(kernel_alignment(x, 3 * x)), 4)
      1.0

    Reference:
      Cristianini et al. (2001), On kernel-target alignment; Insulla et al. (2025), arXiv:2502.14047.
    """
    return pair_score("kernel_alignment", alignment_score(), x, y, kernel, kernel_y, mask)


@jit(static=("estimator", "scaling"))
def hsic(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    kernel: Kernel = Linear(),  # noqa: B008 (immutable)
    kernel_y: Kernel | None = None,
    estimator: str = "biased",
    scaling: str = "n2",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Hilbert–Schmidt independence criterion.

    $$\mathrm{HSIC}_b = \frac{1}{n^2}\,\mathrm{tr}(K H L H), \qquad
      \mathrm{HSIC}_u = \frac{1}{n(n-3)}\,\langle \tilde K, \tilde L\rangle$$

    with $H = I - 11^\top/n$ and $\tilde K$ the U-centered matrix.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      kernel: kernel for `x`, and for `y` unless `kernel_y` is given.
      kernel_y: kernel for `y`.
      estimator: `"biased"`; `"unbiased"` (Song et al.'s; may be negative); or `"lange"`, the sum of the
        product of the matrices `HKH` and `HLH` off the diagonal, over n(n-3).
      scaling: of the biased estimator: `"n2"` divides by n², `"nm1"` by (n-1)², `"none"` by nothing. All
        are in use.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in the product of the kernels' units, float32 or wider; 0 when either kernel
      matrix is constant. NaN with fewer than 4 examples unless biased.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch or an unknown option.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0.], [1.], [2.]])
      >>> round(float(hsic(x, x)), 4)
      0.4444

    Reference:
      Gretton et al. (2005), Measuring statistical dependence with Hilbert–Schmidt norms, whose
      scaling is `"nm1"`; Song et al. (2012), JMLR 13, eq. 5; Lange et al. (2022), arXiv:2206.10999.
    """
    return pair_score("hsic", hsic_score(estimator, scaling), x, y, kernel, kernel_y, mask)
