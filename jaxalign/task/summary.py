"""All that is known here about how a representation suits a task, in one result that can be printed."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.jit import jit
from jaxalign._core.penalties import checked_penalties
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.kernels.base import Kernel
from jaxalign.kernels.dot_product import Linear
from jaxalign.task.alignment import kernel_target_alignment
from jaxalign.task.kare import KarePath, path_of
from jaxalign.task.power import CumulativePower, norm_of, power_of
from jaxalign.task.risk_bound import KtaRiskBound, bound_of
from jaxalign.task.spectrum import task_spectrum

#: Of the cumulative power, what a summary counts the directions for.
SHARE = 0.9


@pytree_dataclass
class TaskAlignment:
    """How a representation suits a task; `print` it for a page.

    Attributes:
      alignment: `kernel_target_alignment`.
      centered_alignment: the same with `center=True`.
      power: `cumulative_power`.
      kare: `kare_path`.
      source_norm: of order 1/2, that of the least function in the kernel's space which has the part of the targets
        that the kernel reaches.
      bound: `kta_risk_bound`.
      scale: the mean squared length of the targets, the risk of predicting 0.
      examples: how many rows counted.
      rank: the numerical rank of the kernel matrix.
    """

    alignment: Scalar
    centered_alignment: Scalar
    power: CumulativePower
    kare: KarePath
    source_norm: Scalar
    bound: KtaRiskBound
    scale: Scalar
    examples: Scalar
    rank: Int[Array, ""]

    @property
    def directions(self) -> Int[Array, ""]:
        """How many leading eigenvectors hold 90 % of what of the targets lies in their span; 0 if that is NaN."""
        enough = self.power.values >= SHARE
        return jnp.where(jnp.any(enough), jnp.argmax(enough) + 1, 0).astype(jnp.int32)

    def __str__(self) -> str:
        scale = float(self.scale)

        def risk(value: Scalar) -> str:
            share = "" if not scale > 0 else f"  ({100 * float(value) / scale:.1f} % of predicting 0)"
            return f"{float(value):.4g}{share}"

        path = self.kare
        place = int(path.chosen)
        at_end = ", an end of the path" if place in (0, path.penalties.shape[0] - 1) else ""
        lines = [
            ("kernel-target alignment", f"{float(self.alignment):.4f}, centered {float(self.centered_alignment):.4f}"),
            (
                "explained",
                f"{100 * float(self.power.explained):.1f} % of the targets in the span of {int(self.rank)} directions",
            ),
            ("cumulative power", f"90 % of that in the first {int(self.directions)}"),
            ("source norm, order 1/2", f"{float(self.source_norm):.4g}"),
            ("KARE, least", f"{risk(path.best)} at penalty {float(path.best_penalty):.2g}{at_end}"),
            ("risk of K Y / ‖K‖", risk(self.bound.risk)),
            ("its bound by alignment", risk(self.bound.bound)),
        ]
        width = max(len(name) for name, _ in lines)
        return "\n".join([*(f"{name:<{width}}  {text}" for name, text in lines), f"{int(self.examples)} examples"])


def task_alignment(
    z: Float[Array, "n d"],
    y: Float[Array, "n t"],
    *,
    kernel: Kernel = Linear(),  # noqa: B008 (immutable)
    penalties: Float[Array, "l"] | tuple[float, ...] | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> TaskAlignment:
    r"""How well the kernel of a representation suits a task: alignment, spectrum, risk estimate and bound, at once.

    $$A(K, YY^\top), \quad C(m), \quad \min_\lambda \rho(\lambda), \quad N_{1/2}, \quad
      \tfrac1n\|Y - KY/\|K\|\|^2 \le \tfrac2n(\|Y\|^2 - A\|Y^\top Y\|)$$

    One decomposition serves all of them.

    Args:
      z: representation, shape `(n, d)`; row `i` is example `i`.
      y: targets, shape `(n, t)` or `(n,)`, same examples: numbers, or one-hot labels (`jax.nn.one_hot`).
      kernel: of the representation, positive semi-definite.
      penalties: of `kare_path`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A `TaskAlignment`, which prints as a short page. Parts are NaN, and have derivatives, where the functions of
      their names are and have.

    Raises:
      ValueError: on rank or row-count mismatch, for penalties that are not positive, none, or no vector.
      TypeError: on non-floating input, labels that are integers included.

    Example:
      >>> z = jnp.array([[1., 0.], [0., 1.], [2., 1.], [-1., 1.], [0., -2.]])
      >>> print(task_alignment(z, jnp.array([1., 0., 2., -1., 1.]), penalties=(0.01, 0.1, 1.0)))
      kernel-target alignment  0.5667, centered 0.5723
      explained                94.1 % of the targets in the span of 2 directions
      cumulative power         90 % of that in the first 2
      source norm, order 1/2   1.089
      KARE, least              0.2282  (16.3 % of predicting 0) at penalty 0.01, an end of the path
      risk of K Y / ‖K‖        0.2983  (21.3 % of predicting 0)
      its bound by alignment   1.213  (86.7 % of predicting 0)
      5 examples

    Reference:
      Insulla et al. (2025), arXiv:2502.14047, as corrected in the functions of which this is made.
    """
    if penalties is not None:
        penalties = checked_penalties("task_alignment", penalties, positive=True)
    return _task_alignment(z, y, penalties=penalties, kernel=kernel, mask=mask)


@jit()
def _task_alignment(
    z: Float[Array, "n d"],
    y: Float[Array, "n t"],
    *,
    penalties: Float[Array, "l"] | None,
    kernel: Kernel,
    mask: Bool[Array, "n"] | None = None,
) -> TaskAlignment:
    task = task_spectrum("task_alignment", z, y, kernel, mask)
    return TaskAlignment(
        alignment=kernel_target_alignment(z, y, kernel=kernel, mask=mask),
        centered_alignment=kernel_target_alignment(z, y, kernel=kernel, center=True, mask=mask),
        power=power_of(task),
        kare=path_of(task, penalties),
        source_norm=norm_of(task, jnp.asarray(0.5, task.rows.dtype)),
        bound=bound_of("task_alignment", z, y, kernel, mask),
        scale=jnp.sum(task.targets * task.targets) * task.target_unit**2 / task.count,
        examples=task.count,
        rank=task.parts.rank,
    )
