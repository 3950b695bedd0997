"""Where in the spectrum of a kernel the targets lie: cumulative power, and how large a function they take."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_ridge
from jaxalign._core.jit import jit
from jaxalign._core.numerics import safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.kernels.base import Kernel
from jaxalign.kernels.dot_product import Linear
from jaxalign.task.spectrum import TaskSpectrum, task_spectrum


@pytree_dataclass
class CumulativePower:
    """How the targets spread over the eigenvectors of a kernel matrix, largest eigenvalue first.

    Attributes:
      values: `C(m)`, `(r,)`: the share of what lies in the span of the eigenvectors that the first `m` hold.
      explained: the share of the mean squared length of the targets that lies in that span at all.
      eigenvalues: of `K / n`, `(r,)`, in the units of the kernel; 0 beyond the numerical rank.
      powers: `a²`, `(r,)`, the mean squared length of the targets along each eigenvector.
      determined: `(r,)`, whether `C(m)` is: inside a group of equal eigenvalues it depends on which basis of their
        space the eigenvectors happen to be.
    """

    values: Float[Array, "r"]
    explained: Scalar
    eigenvalues: Float[Array, "r"]
    powers: Float[Array, "r"]
    determined: Bool[Array, "r"]


@jit()
def cumulative_power(
    z: Float[Array, "n d"],
    y: Float[Array, "n t"],
    *,
    kernel: Kernel = Linear(),  # noqa: B008 (immutable)
    mask: Bool[Array, "n"] | None = None,
) -> CumulativePower:
    r"""Cumulative power: the share of the targets in the leading eigenvectors of a kernel matrix.

    $$C(m) = \sum_{i \le m} a_i^2 \Big/ \sum_i a_i^2, \qquad a_i^2 = \|u_i^\top Y\|^2 / n$$

    A curve that is at 1 early is that of a task which the kernel learns from few examples.

    Args:
      z: representation, shape `(n, d)`; row `i` is example `i`.
      y: targets, shape `(n, t)` or `(n,)`, same examples: numbers, or one-hot labels (`jax.nn.one_hot`).
      kernel: of the representation, positive semi-definite.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A `CumulativePower`, with `r = min(n, d)` for an inner product of features, else `n`. What lies outside the span
      is in no value of the curve: see `explained`. NaN where the targets have no part in the span, `explained`
      where they or `z` are 0, all for a kernel matrix with a negative eigenvalue. First derivatives of `explained` are
      right; `values` and `powers` have those with respect to `y`, and `z` is a constant in them.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch.
      TypeError: at trace time, on non-floating input, labels that are integers included.

    Example:
      >>> z = jnp.array([[1., 0.], [0., 1.], [2., 1.], [-1., 1.], [0., -2.]])
      >>> power = cumulative_power(z, jnp.array([1., 0., 2., -1., 1.]))
      >>> [round(float(value), 4) for value in power.values], round(float(power.explained), 4)
      ([0.1058, 1.0], 0.9408)

    Reference:
      Canatar, Bordelon and Pehlevan (2021), arXiv:2006.13198; Insulla et al. (2025), arXiv:2502.14047. `explained` is
      derived for this project.
    """
    return power_of(task_spectrum("cumulative_power", z, y, kernel, mask))


def power_of(task: TaskSpectrum) -> CumulativePower:
    """The cumulative power of a spectrum."""
    energies, _ = task.energies()
    inside = task.parts.singular > 0
    edge = jnp.where(inside, safe_divide(jnp.ones_like(energies), task.values), 0)
    held = task.form(inside.astype(energies.dtype), jnp.zeros((energies.size, energies.size), energies.dtype), edge)
    all_of_it = jnp.sum(task.targets * task.targets)
    undefined = jnp.where(task.definite & (task.count > 0), 0, jnp.nan).astype(energies.dtype)
    total = jnp.sum(energies)
    values = safe_divide(jnp.cumsum(energies), total * jnp.ones_like(energies), otherwise=jnp.nan)
    # Beyond the rank nothing is added, whatever rounding says.
    values = jnp.where(inside, values, jnp.where(total > 0, 1, jnp.nan).astype(values.dtype))
    explained = safe_divide(held, all_of_it, otherwise=jnp.nan)
    s = task.parts.singular
    rounding = 8 * max(task.rows.shape) ** 0.5 * jnp.finfo(s.dtype).eps * s[0]
    following = jnp.concatenate([s[1:], jnp.full(1, -jnp.inf, s.dtype)])
    scale = safe_divide(task.target_unit**2, task.count) + undefined
    return CumulativePower(
        values=values + undefined,
        explained=jnp.where(task.zero, jnp.nan, explained + undefined),
        eigenvalues=task.eigenvalues + undefined,
        powers=energies * scale,
        determined=(s - following > rounding) | ~inside,
    )


def source_norm(
    z: Float[Array, "n d"],
    y: Float[Array, "n t"],
    *,
    order: float | Scalar,
    kernel: Kernel = Linear(),  # noqa: B008 (immutable)
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Source norm: how large a function the targets take that a power of the kernel's operator smooths to them.

    $$N_r = \Big(\sum_{\eta_i > 0} a_i^2 / \eta_i^{2r}\Big)^{1/2}, \qquad a_i^2 = \|u_i^\top Y\|^2 / n$$

    with the eigenvalues $\eta_i$ of $K / n$. It is the $L^2$ norm of $v$ in the source condition $h = L^r v$: bounded
    as `n` grows for tasks that are that smooth. Order 1/2 is the norm of the least interpolant,
    $\mathrm{tr}(Y^\top K^+ Y)^{1/2}$.

    Args:
      z: representation, shape `(n, d)`; row `i` is example `i`.
      y: targets, shape `(n, t)` or `(n,)`, same examples: numbers, or one-hot labels (`jax.nn.one_hot`).
      order: r, at least 0. At 0 the root of the mean squared length of what of `y` lies in the span.
      kernel: of the representation, positive semi-definite.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, at least 0, in the units of `y` over those of the kernel to the power `order`. The square is additive
      over outputs. Eigenvalues below the numerical rank do not count, nor does what lies outside the span: small ones
      that do count may decide the value. NaN where `z` is 0, and for a kernel matrix with a negative eigenvalue. First
      derivatives are right, also where eigenvalues coincide.

    Raises:
      ValueError: on rank or row-count mismatch, for a negative order, or several.
      TypeError: on non-floating input, labels that are integers included.

    Example:
      >>> z = jnp.array([[1., 0.], [0., 1.], [2., 1.], [-1., 1.], [0., -2.]])
      >>> round(float(source_norm(z, jnp.array([1., 0., 2., -1., 1.]), order=0.5)) ** 2, 4)
      1.1856

    Reference:
      Insulla et al. (2025), arXiv:2502.14047, whose condition is on the norm in the kernel's space (corrected here:
      the exponent 2r belongs to the norm in L²; the other one takes 2r + 1).
    """
    check_ridge("source_norm", order, argument="order")
    return _source_norm(z, y, order=order, kernel=kernel, mask=mask)


@jit()
def _source_norm(
    z: Float[Array, "n d"],
    y: Float[Array, "n t"],
    *,
    order: float | Scalar,
    kernel: Kernel,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    task = task_spectrum("source_norm", z, y, kernel, mask)
    return norm_of(task, jnp.asarray(order, task.rows.dtype))


def norm_of(task: TaskSpectrum, order: Scalar) -> Scalar:
    """The source norm of a spectrum."""
    power = -2 * order
    inside = task.parts.singular > 0
    kept = jnp.where(inside, task.values, 1)
    # In units of the largest eigenvalue, of which powers are at least 1.
    largest = lax.stop_gradient(jnp.max(jnp.where(inside, task.values, 0)))
    largest = jnp.where(largest > 0, largest, 1)
    logs = jnp.log(kept / largest)
    weights = jnp.where(inside, jnp.exp(power * logs), 0)
    over = jnp.where(inside, 1 / kept, 0)
    apart = logs[:, None] - logs[None, :]
    ratio = jnp.where(apart == 0, power, jnp.expm1(power * apart) / jnp.expm1(jnp.where(apart == 0, 1, apart)))
    slopes = jnp.where(inside[:, None] & inside[None, :], ratio * (weights * over)[None, :], 0)
    square = task.form(weights, slopes, weights * over)
    unit = (largest * task.kernel_unit / task.count) ** (power / 2)
    norm = safe_sqrt(square) * unit * task.target_unit / jnp.sqrt(task.count)
    return jnp.where(task.definite & ~task.zero, norm, jnp.nan)
