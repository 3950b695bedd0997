"""What all stitching modules share: widths that are checked, a start from a closed form, a bridge to Linen."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from flax import linen, nnx

from jaxalign._core.checks import check_integer, describe
from jaxalign._core.typing import Array, Float


@runtime_checkable
class ClosedForm(Protocol):
    """A map `x @ kernel + bias`, such as the closed forms of this package return."""

    @property
    def kernel(self) -> Any:
        """Shape `(d_in, d_out)`."""
        ...

    @property
    def bias(self) -> Any:
        """Shape `(d_out,)`."""
        ...


class Fixed(nnx.Variable):
    """An array that belongs to a module and is not trained."""


class StitchModule(nnx.Module):
    """A map from activations with `d_in` features to activations with `d_out`, both on the last axis.

    Attributes:
      d_in: features that come in.
      d_out: features that go out.
    """

    #: Axes of the activations that the module takes; the last are features.
    axes = ("examples", "features")

    def __init__(self, d_in: int, d_out: int):
        name = type(self).__name__
        check_integer(name, "d_in", d_in, minimum=1)
        check_integer(name, "d_out", d_out, minimum=1)
        self.d_in, self.d_out = int(d_in), int(d_out)

    def check_input(self, x: Array) -> None:
        """Raise `ValueError` unless `x` has the axes and the width that the module takes."""
        if x.ndim != len(self.axes) or x.shape[-1] != self.d_in:
            shape = ", ".join((*self.axes[:-1], str(self.d_in)))
            raise ValueError(f"{type(self).__name__}: x must have shape ({shape}), got {describe(x)}")

    def as_linen(self) -> tuple[linen.Module, dict[str, Any]]:
        """The same map as a Flax Linen module, and variables that hold a copy of its weights.

        What is trained is in the collection `params`; arrays that are not trained are in collections of their own.

        Example:
          >>> from jaxalign.stitching.affine import Affine
          >>> module, variables = Affine(3, 2, rngs=nnx.Rngs(0)).as_linen()
          >>> module.apply(variables, jnp.ones((4, 3))).shape
          (4, 2)
        """
        module = nnx.bridge.ToLinen(_Copies(self), skip_rng=True, metadata_fn=None)
        return module, dict(module.init({}, nnx_method=lambda _: None))


class _Copies:
    """Makes copies of a module. Equal to itself only, so that programs of two modules are not confused."""

    def __init__(self, module: StitchModule):
        self.graphdef, self.state = nnx.split(module)

    def __call__(self) -> StitchModule:
        return nnx.merge(self.graphdef, self.state, copy=True)  # variables of the trace that asks for them


def closed_form(
    function: str, stitch: ClosedForm, *, resizes: bool = False
) -> tuple[Float[Array, "d_in d_out"], Float[Array, "d_out"]]:
    """The kernel and the bias of a closed form, in float32 or wider.

    Args:
      function: for messages.
      stitch: a map with a kernel and a bias.
      resizes: the module resizes feature maps, so that the closed form may, too.

    Raises:
      TypeError: when it has none.
      ValueError: for a kernel that is no matrix, a bias that does not fit it, or a map that does what the module does
        not.
    """
    if not hasattr(stitch, "kernel") or not hasattr(stitch, "bias"):
        raise TypeError(f"{function}: stitch must have a kernel and a bias, got {describe(stitch)}")
    kernel, bias = (jnp.asarray(a[...]) for a in (stitch.kernel, stitch.bias))
    if kernel.ndim != 2 or bias.shape != kernel.shape[1:]:
        raise ValueError(
            f"{function}: stitch must have a kernel (d_in, d_out) and a bias (d_out,), "
            f"got {describe(kernel)} and {describe(bias)}"
        )
    grid = getattr(stitch, "grid", None)
    if grid is not None and not resizes:
        raise ValueError(
            f"{function}: stitch must be a map of features, got one that resizes feature maps to {grid}; "
            "use Conv1x1.from_stitch"
        )
    return kernel, bias


def add_bias(x: Array, bias: Array) -> Array:
    """`x + bias` over the last axis, in the type of `x`, the wider one of both."""
    return x + bias.astype(x.dtype).reshape((1,) * (x.ndim - 1) + bias.shape)
