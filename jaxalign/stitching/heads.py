"""The rest of a network as a pure function: whatever it was written in, its parameters are leaves of a pytree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
from flax import linen, nnx
from jax import lax

from jaxalign._core.checks import describe
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array


@dataclass(frozen=True)
class _OfModule:
    """Applies an NNX module of this structure."""

    graphdef: nnx.GraphDef

    def __call__(self, parameters: Any, z: Array) -> Any:
        return nnx.merge(self.graphdef, parameters)(z)


@dataclass(frozen=True)
class _OfLinen:
    """Applies a Linen module."""

    module: linen.Module

    def __call__(self, parameters: Any, z: Array) -> Any:
        return self.module.apply(parameters, z)


@dataclass(frozen=True)
class _OfFunction:
    """Calls a function that has no parameters but those it closes over."""

    function: Any

    def __call__(self, parameters: Any, z: Array) -> Any:
        return self.function(z)


@dataclass(frozen=True)
class _OfPytree:
    """Calls a pytree, such as a closed form or `jax.tree_util.Partial`."""

    def __call__(self, parameters: Any, z: Array) -> Any:
        return parameters(z)


@pytree_dataclass
class Head:
    """A function of activations that is not trained: `head(z)`.

    Attributes:
      parameters: a pytree of arrays, without gradient. Heads that differ in them only share compiled programs.
      apply: a hashable function of the parameters and of activations.
    """

    parameters: Any
    apply: Any = field(metadata={"static": True})

    def __call__(self, z: Array) -> Any:
        """What comes out for activations `z`."""
        return self.apply(lax.stop_gradient(self.parameters), z)


def as_head(function: str, head: Any) -> Head:
    """A `Head` of whatever stands for one.

    Args:
      function: for the message.
      head: a function of activations; an NNX module, of which an evaluation copy is taken (`module.eval()`: no dropout,
        stored statistics), so that itself it does not change; a pair of a Linen module and its variables; or a
        callable pytree.

    Raises:
      TypeError: for anything else.

    Example:
      >>> import jax.numpy as jnp
      >>> as_head("fit", lambda z: 2 * z)(jnp.ones(3)).tolist()
      [2.0, 2.0, 2.0]
    """
    if isinstance(head, Head):
        return head
    if isinstance(head, nnx.Module):
        copy = nnx.merge(*nnx.split(head))
        copy.eval()
        graphdef, state = nnx.split(copy)
        return Head(state, _OfModule(graphdef))
    if isinstance(head, tuple) and len(head) == 2 and isinstance(head[0], linen.Module):
        return Head(head[1], _OfLinen(head[0]))
    if isinstance(head, linen.Module):
        raise TypeError(f"{function}: head is a Linen module without variables; pass (module, variables)")
    if isinstance(head, type) or not callable(head):
        raise TypeError(
            f"{function}: head must be a function, an NNX module or a pair (Linen module, variables), "
            f"got {describe(head)}"
        )
    if jax.tree.structure(head) == jax.tree.structure(0):
        return Head((), _OfFunction(head))
    return Head(head, _OfPytree())


def output_shape(function: str, argument: str, call: Callable[[Any], Any], z: Any, source: str) -> jax.ShapeDtypeStruct:
    """Shape and type of what a head or a stitching module makes of activations; nothing is computed.

    Args:
      function: for the message.
      argument: what `call` came as, for the message.
      call: takes activations.
      z: activations, an array or its shape and type.
      source: where they come from, for the message.

    Raises:
      ValueError: when `call` does not take them, or returns something else than one array with a row for each.
    """
    try:
        # Of a callable without a name JAX prints all that it holds.
        outputs = jax.eval_shape(lambda z: call(z), z)
    except Exception as error:  # whatever a user's network raises
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{function}: {argument} must take {source}, of width {z.shape[-1]} and shape {tuple(z.shape)}; it failed "
            f"with {type(error).__name__}: {reason}"
        ) from error
    if not isinstance(outputs, jax.ShapeDtypeStruct):
        raise ValueError(f"{function}: {argument} must return one array, got a {type(outputs).__name__}")
    if outputs.ndim < 2 or outputs.shape[0] != z.shape[0]:
        raise ValueError(
            f"{function}: {argument} must return an array of shape ({z.shape[0]}, ..., features), got {outputs.shape}"
        )
    return outputs
