"""Centered kernel alignment, by each of the estimators that are in use."""

from __future__ import annotations

from typing import Any

from jaxalign._core.checks import check_choice, check_integer, check_pair
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.alignment.finite_features import FeatureCorrectedScore
from jaxalign.alignment.kernel import CENTERING_OF, KernelScore, pair_score
from jaxalign.alignment.minibatch import MinibatchScore
from jaxalign.kernels.base import Kernel, check_kernel
from jaxalign.kernels.dot_product import Linear
from jaxalign.signatures.gram import GramSignature
from jaxalign.signatures.minibatches import MinibatchSignature

ESTIMATORS = (*CENTERING_OF, "minibatch", "feature_corrected")
#: Rows of a batch, unless said.
BATCH_SIZE = 256
#: The score behind `angular_cka`.
ANGLE = KernelScore(centering="biased", scaling="cosine", form="angle")


def cka_parts(estimator: str, kernel: Kernel, batch_size: int | None = None) -> tuple[Any, Any]:
    """Signature and score behind `cka`.

    Raises:
      ValueError: for an unknown estimator, or options that do not go together.
      TypeError: when `kernel` is not a kernel, or `batch_size` not an integer.
    """
    check_choice("cka", "estimator", estimator, ESTIMATORS)
    check_kernel("cka", kernel)
    if batch_size is not None and estimator != "minibatch":
        raise ValueError(f"cka: batch_size is for estimator='minibatch', got {batch_size} with {estimator!r}")
    if estimator == "minibatch":
        size = BATCH_SIZE if batch_size is None else batch_size
        check_integer("cka", "batch_size", size, minimum=4)
        return MinibatchSignature(kernel, size), MinibatchScore()
    if estimator == "feature_corrected":
        if not kernel.dot_product or kernel.row_scale_free:
            raise ValueError(
                f"cka: estimator='feature_corrected' needs a sum over features: kernel must be Linear(), got {kernel!r}"
            )
        return GramSignature(kernel, centering="unbiased"), FeatureCorrectedScore()
    centering = CENTERING_OF[estimator]
    return GramSignature(kernel, centering=centering), KernelScore(centering=centering, scaling="cosine")


@jit(static=("estimator", "batch_size"))
def cka(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    kernel: Kernel = Linear(),  # noqa: B008 (immutable)
    kernel_y: Kernel | None = None,
    estimator: str = "biased",
    batch_size: int | None = None,
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
      estimator: how HSIC is estimated.
        `"biased"`: the plug-in estimate, which independent noise with many features drives to 1
        (0.43 at n = 1024, p = q = 768).
        `"unbiased"`: as in Song et al. (2012), close to 0 there and possibly negative.
        `"lange"`: `HKH` with its diagonal set to 0, as in Lange et al. (2022), near the unbiased one.
        `"minibatch"`: unbiased estimates of batches of rows, averaged before the ratio is taken.
        `"feature_corrected"`: unbiased, and corrected for features that are a sample of many more, as
        neurons that were recorded are; for the linear kernel only, and not the same after a rotation.
      batch_size: rows of a batch, for `"minibatch"`: at least 4, 256 unless given. Batches are
        consecutive rows, `n // batch_size` of them, of sizes that differ by at most one. A bandwidth
        taken from the data is that of each batch.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, float32 or wider: in `[0, 1]` when biased, else in `[-1, 1]`, where feature corrected
      up to the noise that it has from few features. NaN when either input is constant; unless biased, with
      fewer than 4 examples; feature corrected, where the features of an input have nothing in common.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, an unknown estimator, a batch size
        without batches, or a kernel for which there is no such estimator.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.]])
      >>> round(float(cka(x, 3 * x + 1)), 4)
      1.0

    Reference:
      Kornblith et al. (2019), arXiv:1905.00414. Unbiased: Song et al. (2012), JMLR 13, eq. 5; equal
      to the U-centering of Székely and Rizzo (2014). Lange et al. (2022), arXiv:2206.10999.
      Minibatch: Nguyen et al. (2021), arXiv:2010.15327. Feature corrected: after Chun et al. (2025),
      arXiv:2502.15104, written with the estimator of Song et al.
    """
    check_pair("cka", x, y, mask)
    dtype = accum_dtype(x, y)
    signature_x, score = cka_parts(estimator, kernel, batch_size)
    signature_y, _ = cka_parts(estimator, kernel if kernel_y is None else kernel_y, batch_size)
    return score(signature_x(x.astype(dtype), mask), signature_y(y.astype(dtype), mask))


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
      >>> import jax.numpy as jnp
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.]])
      >>> round(float(angular_cka(x, x[:, :1])), 4)
      0.6591

    Reference:
      Williams et al. (2021), arXiv:2110.14739; Lange et al. (2023).
    """
    return pair_score("angular_cka", ANGLE, x, y, kernel, kernel_y, mask)
