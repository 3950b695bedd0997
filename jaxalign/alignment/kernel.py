"""Kernel family: kernel alignment, CKA, HSIC."""

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
from jaxalign.engines.planner import gram_products
from jaxalign.engines.products import Products
from jaxalign.kernels.base import Kernel, check_kernel
from jaxalign.kernels.dot_product import Linear
from jaxalign.kernels.gram import Gram
from jaxalign.signatures.gram import GramSignature

ESTIMATORS = ("biased", "unbiased")
SCALINGS = ("n2", "nm1")
FORMS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {"value": lambda value: value, "root": safe_sqrt, "angle": safe_arccos}
)


@pytree_dataclass
class KernelScore:
    """A score that is an inner product of two centered kernel matrices.

    Attributes:
      centering: `"none"`, `"biased"` (`HKH`) or `"unbiased"` (U-centering).
      scaling: `"cosine"` divides by the norms; `"n2"` by `n²`; `"nm1"` by `(n-1)²`;
        `"u"` by `n(n-3)`.
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
        return self.finish(gram_products(a, b, centering=self.centering))

    def finish(self, products: Products) -> Float[Array, "La Lb"]:
        """Scores from the inner products of centered matrices."""
        return FORMS[self.form](self._scaled(products))

    def _scaled(self, products: Products) -> Float[Array, "La Lb"]:
        if self.scaling == "cosine":
            return products.cosine()
        n = products.count
        divisor = {"n2": n * n, "nm1": jnp.maximum(n - 1, 0) ** 2, "u": n * (n - 3)}[self.scaling]
        defined = (divisor > 0) & (n > 0)
        return jnp.where(defined, products.inner() / jnp.where(defined, divisor, 1), jnp.nan)


def cka_score(estimator: str) -> KernelScore:
    """The score behind `cka`."""
    check_choice("cka", "estimator", estimator, ESTIMATORS)
    return KernelScore(centering=estimator, scaling="cosine")


def angular_cka_score() -> KernelScore:
    """The score behind `angular_cka`."""
    return KernelScore(centering="biased", scaling="cosine", form="angle")


def hsic_score(estimator: str, scaling: str) -> KernelScore:
    """The score behind `hsic`."""
    check_choice("hsic", "estimator", estimator, ESTIMATORS)
    check_choice("hsic", "scaling", scaling, SCALINGS)
    return KernelScore(centering=estimator, scaling=scaling if estimator == "biased" else "u")


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


@jit(static=("estimator",))
def cka(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    kernel: Kernel = Linear(),  # noqa: B008 (immutable)
    kernel_y: Kernel | None = None,
    estimator: str = "biased",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Centered kernel alignment between two representations.

    $$\mathrm{CKA} = \mathrm{HSIC}(K, L) \,/\, \sqrt{\mathrm{HSIC}(K, K)\, \mathrm{HSIC}(L, L)}$$

    For the linear kernel this is $\|X^\top Y\|_F^2 / (\|X^\top X\|_F \|Y^\top Y\|_F)$ of centered
    columns, and is computed so, or through n × n tiles, whichever costs less.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      kernel: kernel for `x`, and for `y` unless `kernel_y` is given.
      kernel_y: kernel for `y`.
      estimator: `"biased"`, the plug-in estimate, which independent noise with many features
        drives to 1 (0.43 at n = 1024, p = q = 768); or `"unbiased"`, with HSIC as in Song
        et al. (2012), close to 0 there and possibly negative.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, float32 or wider: in `[0, 1]` when biased, in `[-1, 1]` when unbiased. NaN when
      either input is constant, and when unbiased with fewer than 4 examples.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch or an unknown estimator.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.]])
      >>> round(float(cka(x, 3 * x + 1)), 4)
      1.0

    Reference:
      Kornblith et al. (2019), arXiv:1905.00414. Unbiased: Song et al. (2012), JMLR 13, eq. 5, used
      for CKA by Nguyen et al. (2021), arXiv:2010.15327; equal to the U-centering of Székely and
      Rizzo (2014). Libraries that zero the diagonal after centering compute a third estimator.
    """
    return pair_score("cka", cka_score(estimator), x, y, kernel, kernel_y, mask)


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
      estimator: `"biased"` or `"unbiased"` (Song et al.'s; may be negative).
      scaling: of the biased estimator: `"n2"` divides by n², `"nm1"` by (n-1)². Both are in use.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in the product of the kernels' units, float32 or wider; 0 when either kernel
      matrix is constant. NaN when unbiased with fewer than 4 examples.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch or an unknown option.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0.], [1.], [2.]])
      >>> round(float(hsic(x, x)), 4)
      0.4444

    Reference:
      Gretton et al. (2005), Measuring statistical dependence with Hilbert–Schmidt norms, whose
      scaling is `"nm1"`; Song et al. (2012), JMLR 13, eq. 5.
    """
    return pair_score("hsic", hsic_score(estimator, scaling), x, y, kernel, kernel_y, mask)


@jit()
def angular_cka(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    kernel: Kernel = Linear(),  # noqa: B008 (immutable)
    kernel_y: Kernel | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""The angle whose cosine is biased CKA: a distance that satisfies the triangle inequality.

    $$\theta = \arccos \mathrm{CKA}(K, L)$$

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      kernel: kernel for `x`, and for `y` unless `kernel_y` is given.
      kernel_y: kernel for `y`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, pi / 2]` radians, larger is farther. An angle below about 5e-4 is lost in
      the rounding of a float32 CKA, and comes out as something of that size, or as 0 with zero
      gradient. NaN when either input is constant.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.]])
      >>> round(float(angular_cka(x, x[:, :1])), 4)
      0.6591

    Reference:
      Williams et al. (2021), arXiv:2110.14739; Lange et al. (2023).
    """
    return pair_score("angular_cka", angular_cka_score(), x, y, kernel, kernel_y, mask)
