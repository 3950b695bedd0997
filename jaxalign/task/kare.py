"""The kernel alignment risk estimate: what kernel ridge regression will err on rows that it has not seen."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_positive, check_ridge
from jaxalign._core.jit import jit
from jaxalign._core.least_squares import (
    gram_solve,
    ridge_coefficients,
    ridge_residuals,
    with_derivative_of,
    with_ridge,
)
from jaxalign._core.numerics import cross_matmul, matmul, safe_divide
from jaxalign._core.penalties import SHARES, checked_penalties
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.kernels.base import Kernel
from jaxalign.kernels.dot_product import Linear
from jaxalign.task.spectrum import TaskSpectrum, task_spectrum


@pytree_dataclass
class KarePath:
    """The kernel alignment risk estimate over a path of penalties.

    Attributes:
      penalties: `(l,)`, in the units of the kernel.
      values: the estimate at each, `(l,)`, in the square of the units of the targets.
      chosen: the place of the least of `values`.
    """

    penalties: Float[Array, "l"]
    values: Float[Array, "l"]
    chosen: Int[Array, ""]

    @property
    def best_penalty(self) -> Scalar:
        """The penalty with the least estimate; at an end of the path the least one may lie beyond it."""
        return self.penalties[self.chosen]

    @property
    def best(self) -> Scalar:
        """The least estimate."""
        return self.values[self.chosen]


def kare(
    z: Float[Array, "n d"],
    y: Float[Array, "n t"],
    *,
    penalty: float | Scalar,
    kernel: Kernel = Linear(),  # noqa: B008 (immutable)
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Kernel alignment risk estimate (KARE): the error of kernel ridge regression on rows not seen, from those seen.

    $$\rho(\lambda) = \frac{\frac1n \|(K/n + \lambda I)^{-1} Y\|_F^2}
      {\big(\frac1n \mathrm{tr}\,(K/n + \lambda I)^{-1}\big)^2}$$

    It is the generalized cross-validation (GCV) of the fit $\hat Y = K (K + n\lambda I)^{-1} Y$, without a bias: for
    one, center `z` and `y` first, and mind that GCV then counts one degree of freedom less.

    Args:
      z: representation, shape `(n, d)`; row `i` is example `i`.
      y: targets, shape `(n, t)` or `(n,)`, same examples: numbers, or one-hot labels (`jax.nn.one_hot`). Those of
        another representation make it an estimate of the misalignment of ridge stitching.
      penalty: λ, above 0, in the units of the kernel: it is added to the eigenvalues of `K / n`. The `alpha` of
        scikit-learn is `n λ`.
      kernel: of the representation, positive semi-definite. Of an inner product of features no matrix of `n × n`
        is made when there are fewer features than rows.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, at least 0, in the square of the units of `y`: of mean squared lengths of its rows. That of `y`
      where `z` is 0. For λ towards 0 it goes to the GCV of least squares. NaN for a kernel matrix with a negative
      eigenvalue. Derivatives are right, also where eigenvalues coincide, with respect to `z`, `y` and `penalty`.

    Raises:
      ValueError: on rank or row-count mismatch, for a penalty that is not positive, or several.
      TypeError: on non-floating input, labels that are integers included.

    Example:
      >>> z = jnp.array([[1., 0.], [0., 1.], [2., 1.], [-1., 1.], [0., -2.]])
      >>> round(float(kare(z, jnp.array([1., 0., 2., -1., 1.]), penalty=0.1)), 6)
      0.232211

    Reference:
      Jacot et al. (2020), arXiv:2006.09796; Insulla et al. (2025), arXiv:2502.14047. GCV: Golub, Heath and Wahba
      (1979).
    """
    check_ridge("kare", penalty, argument="penalty")
    check_positive("kare", "penalty", penalty)
    return _kare(z, y, penalty=penalty, kernel=kernel, mask=mask)


@jit()
def _kare(
    z: Float[Array, "n d"],
    y: Float[Array, "n t"],
    *,
    penalty: float | Scalar,
    kernel: Kernel,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    task = task_spectrum("kare", z, y, kernel, mask)
    return risk_at(task, jnp.asarray(penalty, task.rows.dtype))


def kare_path(
    z: Float[Array, "n d"],
    y: Float[Array, "n t"],
    *,
    penalties: Float[Array, "l"] | tuple[float, ...] | None = None,
    kernel: Kernel = Linear(),  # noqa: B008 (immutable)
    mask: Bool[Array, "n"] | None = None,
) -> KarePath:
    r"""`kare` for many penalties from one decomposition, and the penalty where it is least.

    $$\lambda^* = \arg\min_\lambda \rho(\lambda)$$

    Args:
      z: representation, as in `kare`.
      y: targets, as in `kare`.
      penalties: `(l,)`, above 0; 24 by default, from 1e-7 to 10 times the largest eigenvalue of `K / n`.
      kernel: as in `kare`.
      mask: as in `kare`.

    Returns:
      A `KarePath`: at the minimum the choice is that of generalized cross-validation. With derivatives as those of
      `kare`, but none through the choice.

    Raises:
      ValueError: on rank or row-count mismatch, for penalties that are not positive, none, or no vector.
      TypeError: on non-floating input, labels that are integers included.

    Example:
      >>> z = jnp.array([[1., 0.], [0., 1.], [2., 1.], [-1., 1.], [0., -2.]])
      >>> path = kare_path(z, jnp.array([1., 0., 2., -1., 1.]), penalties=(0.01, 0.1, 1.0))
      >>> [round(float(value), 4) for value in path.values], round(float(path.best_penalty), 2)
      ([0.2282, 0.2322, 0.6284], 0.01)

    Reference:
      Jacot et al. (2020), arXiv:2006.09796; Golub, Heath and Wahba (1979).
    """
    if penalties is not None:
        penalties = checked_penalties("kare_path", penalties, positive=True)
    return _kare_path(z, y, penalties=penalties, kernel=kernel, mask=mask)


@jit()
def _kare_path(
    z: Float[Array, "n d"],
    y: Float[Array, "n t"],
    *,
    penalties: Float[Array, "l"] | None,
    kernel: Kernel,
    mask: Bool[Array, "n"] | None = None,
) -> KarePath:
    return path_of(task_spectrum("kare_path", z, y, kernel, mask), penalties)


def path_of(task: TaskSpectrum, penalties: Float[Array, "l"] | None) -> KarePath:
    """The path for a spectrum."""
    if penalties is None:
        penalties = jnp.asarray(SHARES, task.rows.dtype) * task.eigenvalues[0]
    penalties = penalties.astype(task.rows.dtype)
    values = jax.vmap(lambda penalty: risk_at(task, penalty))(penalties)
    return KarePath(penalties, values, jnp.argmin(values).astype(jnp.int32))


def risk_at(task: TaskSpectrum, penalty: Scalar) -> Scalar:
    """The estimate at one penalty."""
    ridge = penalty * task.count / task.kernel_unit
    energies, outside = lax.stop_gradient(task.energies())
    values, unknown = task.values, task.unknown
    # Both sides of the quotient over the largest factor: nothing overflows, and it has its limit at 0.
    least = jnp.where(unknown > 0, 0, jnp.min(jnp.where(values > 0, values, jnp.inf)))
    fixed = lax.stop_gradient(ridge)
    factors = safe_divide(jnp.where(values > 0, fixed + least, 0), fixed + values)
    bottom = jnp.sum(factors) + unknown
    value = safe_divide(jnp.sum(factors * factors * energies) + outside, bottom * bottom, otherwise=jnp.nan)
    value = with_derivative_of(value, _carrier(task, ridge)) * task.count * task.target_unit**2
    return jnp.where(task.definite & ~(penalty < 0) & (task.count > 0), value, jnp.nan)


def _carrier(task: TaskSpectrum, ridge: Scalar) -> Scalar:
    """The same from equations whose derivatives are right where eigenvalues coincide."""
    n, d = task.rows.shape
    parts, y = task.parts, task.targets
    if not task.square and d < n:
        kernel = ridge_coefficients(task.rows, y, ridge, parts)
        residuals = ridge_residuals(task.rows, y, ridge, parts, kernel)
        moments = cross_matmul(task.rows, task.rows)
        fitted = jnp.trace(gram_solve(task.rows, moments, ridge, parts.right, parts.singular))
        left = with_derivative_of(task.unknown + jnp.sum(parts.lost(ridge)), task.count - fitted)
    else:
        counted = jnp.ones(n, y.dtype) if task.mask is None else task.mask.astype(y.dtype)
        residuals = _solve(task, y, ridge)
        left = jnp.trace(_solve(task, jnp.diag(counted), ridge))
    return safe_divide(jnp.sum(residuals * residuals), left * left)


def _solve(task: TaskSpectrum, target: Float[Array, "n q"], ridge: Scalar) -> Float[Array, "n q"]:
    """`(K + ridge I)⁻¹ target`, with derivatives of any order."""
    parts = task.parts
    if not task.square:
        return gram_solve(task.rows.T, target, ridge, parts.left.T, parts.singular)

    def product(b: Array) -> Array:
        return matmul(task.rows, b) + ridge * b

    def solve(_: object, target: Array) -> Array:
        known = cross_matmul(parts.left, target)
        inside = matmul(parts.left, safe_divide(jnp.ones_like(task.values), task.values + ridge)[:, None] * known)
        return inside + with_ridge(target - matmul(parts.left, known), ridge)

    return lax.custom_linear_solve(product, target, solve, symmetric=True)
