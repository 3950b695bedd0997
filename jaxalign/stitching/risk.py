"""What a stitched model costs on the task: the risk of a map followed by the rest of another network."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx

from jaxalign._core.checks import as_array, describe
from jaxalign._core.numerics import accum_dtype, fill_rows, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.stitching.heads import Head, as_head, output_shape
from jaxalign.stitching.losses import Loss, cross_entropy, squared
from jaxalign.stitching.rows import row_shares


@pytree_dataclass
class MeanRisk:
    """A mean over examples, and how far it would vary over other examples; `float()` of it is the mean.

    Attributes:
      value: the mean; NaN where no example counts.
      standard_error: of the mean, for a model that was made without these examples; NaN for a single one.
      examples: how many count: `(Σ w)² / Σ w²` of weights `w`.
    """

    value: Scalar
    standard_error: Scalar
    examples: Scalar

    def __float__(self) -> float:
        return float(self.value)


def stitching_error(
    x: Float[Array, "n *axes p"],
    head: Any,
    targets: Float[Array, "n *axes"] | Int[Array, "n *axes"],
    *,
    stitch: Any,
    loss: Loss | None = None,
    mask: Bool[Array, "n"] | None = None,
    weights: Float[Array, "n"] | None = None,
) -> MeanRisk:
    r"""Mean risk of a stitched model: one network up to a layer, a map, the rest of another network.

    $$R_2(g \circ s \circ f) = \textstyle\sum_i w_i\, \ell(g(s(x_i)), t_i), \qquad \sum_i w_i = 1$$

    Of a given map; that of the best one is not above it (`linear_stitching_risk` has it for linear heads). For maps
    that were fitted pass other rows than they were fitted on; `evaluate_stitch` does, and sets controls beside it.

    Args:
      x: activations of the layer to go on from, examples first.
      head: the rest of the other network: a function, an NNX module, a pair of a Linen module and its variables, or a
        callable pytree.
      targets: integer labels, or numbers; whatever the loss takes, one row for each example.
      stitch: a map from activations of the one layer to those of the other: a `LinearStitch`, any function, or an NNX
        module (of which an evaluation copy is taken, without gradient).
      loss: `squared`, `cross_entropy`, `kl_divergence`, `zero_one`, or any function from outputs and targets to one
        value for each example; by default cross-entropy for integers, else squared.
      mask: shape `(n,)`; examples with `False` may hold any value.
      weights: shape `(n,)`, at least 0; only their ratios matter.

    Returns:
      A `MeanRisk`. Its `value` has derivatives with respect to `x` and the parameters of a pytree `stitch`, not of the
      head.

    Raises:
      ValueError: for targets of another length, widths that do not fit, or a loss that is not one value an example.
      TypeError: for a head or a map that cannot be called.

    Example:
      >>> from jaxalign.stitching import LinearStitch
      >>> stitch, head = LinearStitch.of(jnp.eye(2), jnp.zeros(2)), lambda z: 2 * z
      >>> risk = stitching_error(jnp.array([[1., 0.], [0., 1.]]), head, jnp.array([[2., 0.], [0., 0.]]), stitch=stitch)
      >>> float(risk), float(risk.standard_error)
      (2.0, 2.0)

    Reference:
      Lenc and Vedaldi (2015), arXiv:1411.5908; Insulla et al. (2025), arXiv:2502.14047, section 4.
    """
    x, targets = as_array("stitching_error", "x", x), as_array("stitching_error", "targets", targets)
    check_targets("stitching_error", x, targets)
    mask = None if mask is None else as_array("stitching_error", "mask", mask)
    weights = None if weights is None else as_array("stitching_error", "weights", weights)
    shares = row_shares("stitching_error", x.shape[:1], accum_dtype(x), mask=mask, weights=weights)
    used = shares > 0
    x, targets = fill_rows(x, used), fill_rows(targets, used)
    mapped = as_stitch("stitching_error", stitch)(x)
    outputs = apply_head("stitching_error", as_head("stitching_error", head), mapped, "stitch")
    return mean_risk(example_losses("stitching_error", outputs, targets, loss), shares)


def as_stitch(function: str, stitch: Any) -> Any:
    """A map that can be called as often as need be; an NNX module as it evaluates.

    Raises:
      TypeError: for what cannot be called.
    """
    if isinstance(stitch, nnx.Module):
        return as_head(function, stitch)
    if isinstance(stitch, type) or not callable(stitch):
        raise TypeError(f"{function}: stitch must be a map that can be called on activations, got {describe(stitch)}")
    return stitch


def check_targets(function: str, x: Array, targets: Array) -> None:
    """Raise unless there is one row of targets for each example."""
    for argument, value in (("x", x), ("targets", targets)):
        if value.ndim == 0 or value.shape[0] == 0:
            raise ValueError(f"{function}: {argument} must hold at least one example, got {describe(value)}")
    if x.shape[0] != targets.shape[0]:
        raise ValueError(
            f"{function}: targets must have one row for each of the {x.shape[0]} examples, got {describe(targets)}"
        )


def apply_head(function: str, head: Head, z: Array, source: str) -> Array:
    """What the head makes of activations.

    Raises:
      ValueError: when it does not take them.
    """
    output_shape(function, "head", head, z, source)
    return head(z)


def example_losses(function: str, outputs: Array, targets: Array, loss: Loss | None) -> Float[Array, "n"]:
    """One value for each example; by default cross-entropy for integers, else squared.

    Raises:
      ValueError: when the loss gives something else.
    """
    if loss is None:
        loss = cross_entropy if jnp.issubdtype(targets.dtype, jnp.integer) else squared
    losses = loss(outputs, targets)
    if getattr(losses, "shape", None) != outputs.shape[:1]:
        raise ValueError(
            f"{function}: loss must return one value an example, shape {outputs.shape[:1]}, got {describe(losses)}"
        )
    return losses


def mean_risk(losses: Float[Array, "n"], shares: Float[Array, "n"] | None = None) -> MeanRisk:
    """The weighted mean and its standard error; for weights 0 a loss may be anything finite.

    Args:
      losses: one for each example.
      shares: weights of sum 1, equal by default.
    """
    shares = jnp.full_like(losses, 1 / losses.shape[0]) if shares is None else shares.astype(losses.dtype)
    mean = jnp.sum(shares * losses)
    squares = jnp.sum(shares * shares)
    deviations = jnp.sum(shares * shares * (losses - mean) ** 2)
    # 1 - squares is (n - 1) / n for equal weights.
    return MeanRisk(
        value=mean,
        standard_error=safe_sqrt(safe_divide(deviations, 1 - squares, otherwise=jnp.nan)),
        examples=safe_divide(jnp.ones_like(squares), squares),
    )
