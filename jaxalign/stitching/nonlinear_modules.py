"""Stitching modules that can express more than an affine map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
from flax import nnx

from jaxalign._core.checks import check_integer, describe
from jaxalign._core.numerics import matmul
from jaxalign._core.typing import Array, Float
from jaxalign.stitching.affine import Affine
from jaxalign.stitching.stitch_module import ClosedForm, StitchModule, add_bias, closed_form


class MLP(StitchModule):
    r"""A perceptron, with a linear map around it if wanted.

    $$s(x) = \phi(\dots \phi(x K_1 + b_1) \dots) K_l + b_l \; [+\; x S]$$

    Args:
      d_in: features that come in.
      d_out: features that go out.
      hidden: widths of the hidden layers, at least one.
      rngs: its `params` stream draws the kernels, normal with variance 2 over the width that comes in (1 over it for
        the last); biases start at 0.
      activation: of the hidden layers.
      skip: add the linear map, whose kernel `skip` starts as an orthogonal matrix; otherwise `skip` is None.
      param_dtype: of the parameters.

    Raises:
      ValueError: for widths below 1, or no hidden layer; when called, for anything but `(n, d_in)`.
      TypeError: for widths that are not integers.

    Example:
      >>> MLP(3, 2, hidden=[8], rngs=nnx.Rngs(0))(jnp.ones((4, 3))).shape
      (4, 2)
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        hidden: Sequence[int],
        rngs: nnx.Rngs,
        activation: Callable[[Array], Array] = nnx.relu,
        skip: bool = False,
        param_dtype: Any = jnp.float32,
    ):
        super().__init__(d_in, d_out)
        widths = [d_in, *_checked_hidden(type(self).__name__, hidden), d_out]
        inner, last = nnx.initializers.he_normal(), nnx.initializers.lecun_normal()
        draws = [*[inner] * (len(widths) - 2), last]
        self.kernels = nnx.List(
            [
                nnx.Param(draw(rngs.params(), shape, param_dtype))
                for draw, shape in zip(draws, pairwise(widths), strict=True)
            ]
        )
        self.biases = nnx.List([nnx.Param(jnp.zeros((width,), param_dtype)) for width in widths[1:]])
        straight = nnx.initializers.orthogonal()
        self.skip = nnx.Param(straight(rngs.params(), (d_in, d_out), param_dtype)) if skip else None
        self.activation = activation

    def __call__(self, x: Float[Array, "n d_in"]) -> Float[Array, "n d_out"]:
        """The mapped activations, float32 or wider."""
        self.check_input(x)
        out = x
        for depth, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            out = add_bias(matmul(self.activation(out) if depth else out, kernel[...]), bias[...])
        return out if self.skip is None else out + matmul(x, self.skip[...]).astype(out.dtype)

    @classmethod
    def from_stitch(
        cls,
        stitch: ClosedForm,
        *,
        hidden: Sequence[int],
        rngs: nnx.Rngs,
        activation: Callable[[Array], Array] = nnx.relu,
    ) -> MLP:
        """Start from a closed form, which it then equals exactly.

        The closed form is the linear map around the perceptron, whose last kernel starts at 0. The layers below it
        get a gradient from the second step on.
        """
        kernel, bias = closed_form("MLP.from_stitch", stitch)
        module = cls(*kernel.shape, hidden=hidden, rngs=rngs, activation=activation, skip=True)
        module.skip, module.biases[-1] = nnx.Param(kernel), nnx.Param(bias)
        module.kernels[-1] = nnx.Param(jnp.zeros_like(module.kernels[-1][...]))
        return module


class Residual(StitchModule):
    r"""An affine map and a perceptron that starts at 0: what is not linear in the relation is learned on top.

    $$s(x) = x K + b + m(x)$$

    Args:
      d_in: features that come in.
      d_out: features that go out.
      hidden: widths of the hidden layers of the branch `m`, at least one.
      rngs: its `params` stream draws the kernels; that of the last layer of the branch is 0.
      activation: of the hidden layers.
      param_dtype: of the parameters.

    Attributes:
      base: the affine map, an `Affine`.
      branch: the perceptron, an `MLP`.

    Raises:
      ValueError: for widths below 1, or no hidden layer; when called, for anything but `(n, d_in)`.
      TypeError: for widths that are not integers.

    Example:
      >>> module, x = Residual(3, 2, hidden=[8], rngs=nnx.Rngs(0)), jnp.ones((4, 3))
      >>> bool(jnp.all(module(x) == module.base(x)))
      True
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        hidden: Sequence[int],
        rngs: nnx.Rngs,
        activation: Callable[[Array], Array] = nnx.relu,
        param_dtype: Any = jnp.float32,
    ):
        super().__init__(d_in, d_out)
        hidden = _checked_hidden("Residual", hidden)
        self.base = Affine(d_in, d_out, rngs=rngs, param_dtype=param_dtype)
        self.branch = MLP(d_in, d_out, hidden=hidden, rngs=rngs, activation=activation, param_dtype=param_dtype)
        self.branch.kernels[-1] = nnx.Param(jnp.zeros((hidden[-1], d_out), param_dtype))

    def __call__(self, x: Float[Array, "n d_in"]) -> Float[Array, "n d_out"]:
        """The mapped activations, float32 or wider."""
        self.check_input(x)
        out = self.base(x)
        return out + self.branch(x).astype(out.dtype)

    @classmethod
    def from_stitch(
        cls,
        stitch: ClosedForm,
        *,
        hidden: Sequence[int],
        rngs: nnx.Rngs,
        activation: Callable[[Array], Array] = nnx.relu,
    ) -> Residual:
        """Start from a closed form, which it then equals exactly: the affine map is that, and the branch 0."""
        kernel, _ = closed_form("Residual.from_stitch", stitch)
        module = cls(*kernel.shape, hidden=hidden, rngs=rngs, activation=activation)
        module.base = Affine.from_stitch(stitch)
        return module


def _checked_hidden(function: str, hidden: Any) -> list[int]:
    """The widths of hidden layers, at least one, as integers."""
    if isinstance(hidden, str) or not isinstance(hidden, Sequence):
        raise TypeError(f"{function}: hidden must be a list or tuple of widths, got {describe(hidden)}")
    if not hidden:
        raise ValueError(f"{function}: hidden must name at least one layer, got {hidden!r}; without one, use Affine")
    for i, width in enumerate(hidden):
        check_integer(function, f"hidden[{i}]", width, minimum=1)
    return [int(width) for width in hidden]
