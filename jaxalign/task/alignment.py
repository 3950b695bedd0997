"""Alignment of a kernel with targets."""

from __future__ import annotations

from jaxalign._core.checks import describe
from jaxalign._core.jit import jit
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.alignment.kernel import KernelScore, pair_score
from jaxalign.kernels.base import Kernel
from jaxalign.kernels.dot_product import Linear
from jaxalign.task.spectrum import checked_targets


@jit(static=("center",))
def kernel_target_alignment(
    z: Float[Array, "n d"],
    y: Float[Array, "n t"],
    *,
    kernel: Kernel = Linear(),  # noqa: B008 (immutable)
    center: bool = False,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Kernel–target alignment: the cosine between a kernel matrix and that of the targets.

    $$A(K, Y Y^\top) = \langle K, Y Y^\top\rangle_F \,/\, (\|K\|_F \|Y Y^\top\|_F)$$

    Args:
      z: representation, shape `(n, d)`; row `i` is example `i`.
      y: targets, shape `(n, t)` or `(n,)`, same examples: numbers, or one-hot labels (`jax.nn.one_hot`).
      kernel: of the representation.
      center: take off the means of rows and columns of both matrices first, as CKA does. That goes with models with
        a bias; without, one-hot labels have a mean that any kernel of positive entries is aligned with.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, float32 or wider: in `[0, 1]` for positive semi-definite kernels, else in `[-1, 1]`. NaN where the
      kernel matrix or the targets are 0, or constant if centered. The gradient is right everywhere else, and finite.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch.
      TypeError: at trace time, on non-floating input, labels that are integers included.

    Example:
      >>> import jax.numpy as jnp
      >>> z = jnp.array([[1., 0.], [0., 1.], [2., 1.]])
      >>> round(float(kernel_target_alignment(z, jnp.array([1., 0., 2.]))), 4)
      0.9535

    Reference:
      Cristianini et al. (2001), On kernel-target alignment; centered: Cortes et al. (2012), arXiv:1203.0550. Section
      on spectra of Insulla et al. (2025), arXiv:2502.14047.
    """
    if not isinstance(center, bool):
        raise TypeError(f"kernel_target_alignment: center must be True or False, got {describe(center)}")
    targets = checked_targets("kernel_target_alignment", z, y, mask)
    score = KernelScore(centering="biased" if center else "none", scaling="cosine")
    return pair_score("kernel_target_alignment", score, z, targets, kernel, Linear(), mask)
