"""Losses that change no faster than outputs do: how a distance of outputs bounds a difference of risks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxalign._core.checks import check_positive, describe, nearest
from jaxalign._core.numerics import safe_sqrt, widen
from jaxalign._core.typing import Array, Float
from jaxalign.stitching.losses import Loss, cross_entropy, squared


@dataclass(frozen=True)
class LipschitzLoss:
    r"""A loss with $|\ell(o, y) - \ell(o', y)| \le L \|o - o'\|$ for all outputs and targets.

    Attributes:
      function: from outputs and targets to one value for each example, as those of `jaxalign.stitching`.
      constant: L, with respect to the Euclidean norm of the outputs for one prediction.
      of_positions: whether the loss of an example is a sum over its positions (tokens, pixels), of which each has this
        constant: over `t` of them it is `L √t`.

    Raises:
      ValueError, TypeError: for a constant that is not a positive number.
    """

    function: Loss
    constant: float
    of_positions: bool = False

    def __post_init__(self):
        check_positive("LipschitzLoss", "constant", self.constant)

    def for_outputs(self, outputs: Array) -> float:
        """The constant with respect to all outputs of an example."""
        positions = math.prod(outputs.shape[1:-1]) if self.of_positions else 1
        return self.constant * math.sqrt(positions)


def distance(outputs: Float[Array, "n *axes"], targets: Float[Array, "n *axes"]) -> Float[Array, "n"]:
    """Euclidean distance of all outputs of an example from its targets."""
    return safe_sqrt(squared(outputs, targets))


def huber(outputs: Float[Array, "n *axes"], targets: Float[Array, "n *axes"]) -> Float[Array, "n"]:
    """Huber's loss, with threshold 1, of the distance of all outputs from the targets."""
    square = squared(outputs, targets)
    return jnp.where(square <= 1, square / 2, safe_sqrt(square) - 0.5)


def hinge(outputs: Float[Array, "n 1"], targets: Float[Array, "n 1"]) -> Float[Array, "n"]:
    """`max(0, 1 - y o)` for one output and targets of -1 and 1."""
    return jnp.sum(jax.nn.relu(1 - _signed("hinge", outputs, targets)), axis=-1)


def logistic(outputs: Float[Array, "n 1"], targets: Float[Array, "n 1"]) -> Float[Array, "n"]:
    """`log(1 + exp(-y o))` for one output and targets of -1 and 1, in nats."""
    return jnp.sum(jax.nn.softplus(-_signed("logistic", outputs, targets)), axis=-1)


def multiclass_hinge(outputs: Float[Array, "n c"], targets: Any) -> Float[Array, "n"]:
    """`max(0, 1 + max over j ≠ y of o_j - o_y)` for integer labels, after Crammer and Singer."""
    outputs = widen(outputs)
    if not jnp.issubdtype(targets.dtype, jnp.integer) or targets.shape != outputs.shape[:1] or outputs.ndim != 2:
        raise ValueError(
            "multiclass_hinge: outputs must have shape (n, classes) and targets be n integers, "
            f"got {describe(outputs)} and {describe(targets)}"
        )
    own = jnp.arange(outputs.shape[1], dtype=targets.dtype)[None, :] == targets[:, None]
    right = jnp.sum(jnp.where(own, outputs, 0), axis=1)
    return jax.nn.relu(1 + jnp.max(jnp.where(own, -jnp.inf, outputs), axis=1) - right)


def _signed(function: str, outputs: Array, targets: Array) -> Array:
    """`y o`, in float32 or wider."""
    if outputs.ndim != 2 or outputs.shape[1] != 1 or targets.shape != outputs.shape:
        raise ValueError(
            f"{function}: outputs and targets must have shape (n, 1), got {describe(outputs)} and {describe(targets)}"
        )
    return widen(outputs) * targets.astype(widen(outputs).dtype)


#: Standard constants; that of cross-entropy is the greatest length of `softmax(o) - y`.
LIPSCHITZ_LOSSES: dict[str, LipschitzLoss] = {
    "cross_entropy": LipschitzLoss(cross_entropy, math.sqrt(2), of_positions=True),
    "distance": LipschitzLoss(distance, 1.0),
    "huber": LipschitzLoss(huber, 1.0),
    "hinge": LipschitzLoss(hinge, 1.0),
    "logistic": LipschitzLoss(logistic, 1.0),
    "multiclass_hinge": LipschitzLoss(multiclass_hinge, math.sqrt(2)),
}


def chosen_loss(function: str, loss: Any) -> LipschitzLoss | None:
    """A loss with its constant; None for the squared one, which has none.

    Raises:
      ValueError, TypeError: for another.
    """
    if loss is squared or loss == "squared":
        return None
    if isinstance(loss, LipschitzLoss):
        return loss
    for known in LIPSCHITZ_LOSSES.values():
        if loss is known.function:
            return known
    if isinstance(loss, Callable):
        raise TypeError(
            f"{function}: of the loss {getattr(loss, '__name__', loss)!r} no Lipschitz constant is known; pass "
            "LipschitzLoss(function, constant)"
        )
    if not isinstance(loss, str) or loss not in LIPSCHITZ_LOSSES:
        names = ", ".join(map(repr, ("squared", *LIPSCHITZ_LOSSES)))
        hint = nearest(loss, ("squared", *LIPSCHITZ_LOSSES)) if isinstance(loss, str) else ""
        raise ValueError(f"{function}: loss must be one of {names} or a LipschitzLoss, got {describe(loss)}{hint}")
    return LIPSCHITZ_LOSSES[loss]
