"""Misalignment from kernel matrices: stitching by kernel ridge regression."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_floating, check_mask, check_ridge, describe
from jaxalign._core.jit import jit
from jaxalign._core.linalg import numerical_rank_mask
from jaxalign._core.numerics import accum_dtype, binary_scale, matmul, safe_divide
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.stitching.ridge_path import generalized_cross_validation


@pytree_dataclass
class GramMisalignment:
    """Misalignment of two kernels; `float()` is the value.

    Attributes:
      value: mean over examples of the squared distance, in the feature space of the second kernel, in sample.
      variance: the value of mapping everything to 0, or to the mean.
      loo: each example left out of the fit that maps it; infinite where one cannot be spared.
      gcv: generalized cross-validation, KARE of the second kernel.
      degrees_of_freedom: the trace of the matrix that turns targets into fitted values.
      examples: how many count.
    """

    value: Scalar
    variance: Scalar
    loo: Scalar
    gcv: Scalar
    degrees_of_freedom: Scalar
    examples: Scalar

    def __float__(self) -> float:
        return float(self.value)

    @property
    def normalized(self) -> Scalar:
        """`value / variance`."""
        return safe_divide(self.value, self.variance, otherwise=jnp.nan)

    @property
    def degenerate(self) -> Bool[Array, ""]:
        """Whether the value says next to nothing: more than one degree of freedom for two examples, or NaN."""
        return (self.degrees_of_freedom > 0.5 * self.examples) | ~jnp.isfinite(self.value) | ~(self.variance > 0)


def gram_misalignment(
    k1: Float[Array, "n n"],
    k2: Float[Array, "n n"],
    *,
    ridge: float | Scalar = 0.0,
    center: bool = False,
    mask: Bool[Array, "n"] | None = None,
) -> GramMisalignment:
    r"""How far kernel ridge regression leaves one kernel's features from another's.

    $$\tilde A(\lambda) = \mathrm{tr}(B K_2 B) / n, \qquad B = \lambda (K_1 / n + \lambda I)^{-1}$$

    Args:
      k1: kernel matrix of the layer to go on from, `(n, n)`, positive semi-definite: `ja.RBF()(z1, z1)`, say. Only its
        symmetric part is read.
      k2: that of the layer to reach, same examples in the same order.
      ridge: λ, in the units of `k1`; without one B projects onto what `k1` does not span, and the value is 0 for
        kernels such as RBF, which span everything.
      center: center both matrices: maps with a bias, as CKA goes with.
      mask: shape `(n,)`; rows and columns with `False` may hold any value.

    Returns:
      A `GramMisalignment`, in the units of `k2`. For linear kernels it is that of `misalignment`, which has more
      digits: eigenvalues of `k1` are known to about 1e-7 of the largest in float32. First derivatives are right, for
      `ridge=0` among matrices of the same rank. NaN when nothing counts.

    Raises:
      ValueError: at trace time, for matrices that are not square or of one size, a mask that does not fit, or a
        negative ridge.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> z1, z2 = jnp.array([[1.], [-1.], [2.]]), jnp.array([[1.], [0.], [1.]])
      >>> round(float(gram_misalignment(z1 @ z1.T, z2 @ z2.T, ridge=0.1)), 4)
      0.1678

    Reference:
      Derived for this project.
    """
    check_ridge("gram_misalignment", ridge)
    return _gram_misalignment(k1, k2, ridge=ridge, center=center, mask=mask)


@jit(static=("center",))
def _gram_misalignment(
    k1: Float[Array, "n n"],
    k2: Float[Array, "n n"],
    *,
    ridge: float | Scalar,
    center: bool,
    mask: Bool[Array, "n"] | None = None,
) -> GramMisalignment:
    for argument, value in (("k1", k1), ("k2", k2)):
        check_floating("gram_misalignment", argument, value)
        if value.ndim != 2 or value.shape[0] != value.shape[1] or value.shape != k1.shape or 0 in value.shape:
            raise ValueError(
                f"gram_misalignment: {argument} must be a square kernel matrix, of the size of k1 {tuple(k1.shape)}, "
                f"got {describe(value)}"
            )
    check_mask("gram_misalignment", mask, k1.shape[0])
    dtype = accum_dtype(k1, k2)
    counted = jnp.ones(k1.shape[0], bool) if mask is None else mask
    n = jnp.sum(counted, dtype=dtype)
    k1, k2 = (_prepared(k.astype(dtype), counted, center) for k in (k1, k2))
    k1 = k1 / n
    penalty = jnp.asarray(ridge, dtype)

    # What a fit leaves of each eigenvector of the first kernel, as a matrix; constants, with the derivative put back.
    unit = binary_scale(lax.stop_gradient(k1))
    eigenvalues, vectors = jnp.linalg.eigh(lax.stop_gradient(k1) * unit)
    kept = (eigenvalues > 0) & numerical_rank_mask(jnp.abs(eigenvalues), (k1.shape[0], k1.shape[0]), dtype)
    eigenvalues = jnp.where(kept, eigenvalues, 0) / unit
    fixed = lax.stop_gradient(penalty)
    inverse = safe_divide(jnp.ones_like(eigenvalues), eigenvalues + fixed)
    lost = jnp.where(kept, fixed * inverse, 1)
    resolvent = matmul(vectors * inverse[None, :], vectors.T)
    left = matmul(vectors * lost[None, :], vectors.T)
    moved = k1 - lax.stop_gradient(k1)
    # Of B = λ (K + λ)⁻¹ the derivative is -B dK (K + λ)⁻¹ + (1 - B) (K + λ)⁻¹ dλ.
    grown = (penalty - fixed) * (resolvent - matmul(left, resolvent))
    residual = left - matmul(left, matmul(moved, resolvent)) + grown

    errors = jnp.sum(matmul(residual, k2) * residual, axis=1)
    value = jnp.sum(errors) / n
    slack = jnp.where(counted, jnp.diagonal(residual) - ((1 / n) if center else 0), 1)
    # The trace of what is left, without the constant vector, which a bias takes.
    free = jnp.sum(jnp.where(counted, slack, 0))
    resolved = slack > 16 * jnp.finfo(dtype).eps * n**0.5
    return GramMisalignment(
        value=value,
        variance=jnp.sum(jnp.diagonal(k2)) / n,
        loo=jnp.sum(jnp.where(resolved, errors / jnp.where(resolved, slack * slack, 1), jnp.inf)) / n,
        gcv=generalized_cross_validation(value, free, n),
        degrees_of_freedom=n - free,
        examples=n,
    )


def _prepared(kernel: Float[Array, "n n"], counted: Bool[Array, "n"], center: bool) -> Float[Array, "n n"]:
    """The symmetric part of what counts, 0 elsewhere, and centered if that is asked for."""
    pairs = counted[:, None] & counted[None, :]
    kernel = jnp.where(pairs, kernel, 0)
    kernel = (kernel + kernel.T) / 2
    if not center:
        return kernel
    n = jnp.maximum(jnp.sum(counted, dtype=kernel.dtype), 1)
    means = jnp.sum(kernel, axis=0) / n
    return jnp.where(pairs, kernel - means[:, None] - means[None, :] + jnp.sum(means) / n, 0)
