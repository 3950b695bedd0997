"""Affine stitching modules: of matrices, tokens and feature maps."""

from __future__ import annotations

from typing import Any, TypeVar

import jax.numpy as jnp
from flax import nnx

from jaxalign._core.checks import check_integer, describe
from jaxalign._core.numerics import matmul, widen
from jaxalign._core.typing import Array, Float
from jaxalign.stitching.maps import resize
from jaxalign.stitching.stitch_module import ClosedForm, StitchModule, add_bias, closed_form

M = TypeVar("M", bound="Affine")


class Affine(StitchModule):
    r"""An affine map of features.

    $$s(x) = x K + b$$

    Args:
      d_in: features that come in.
      d_out: features that go out.
      rngs: its `params` stream draws the kernel, an orthogonal matrix; the bias starts at 0.
      use_bias: without it the map is linear, and `bias` is None.
      param_dtype: of the parameters. Products are accumulated in float32 or wider whatever it is.

    Raises:
      ValueError: for widths below 1; when called, for anything but `(n, d_in)`.
      TypeError: for widths that are not integers.

    Example:
      >>> Affine(3, 2, rngs=nnx.Rngs(0))(jnp.ones((4, 3))).shape
      (4, 2)

    Reference:
      Lenc and Vedaldi (2015), arXiv:1411.5908; Bansal et al. (2021), arXiv:2106.07682.
    """

    def __init__(self, d_in: int, d_out: int, *, rngs: nnx.Rngs, use_bias: bool = True, param_dtype: Any = jnp.float32):
        super().__init__(d_in, d_out)
        self.kernel = nnx.Param(nnx.initializers.orthogonal()(rngs.params(), (d_in, d_out), param_dtype))
        self.bias = nnx.Param(jnp.zeros((d_out,), param_dtype)) if use_bias else None

    def __call__(self, x: Float[Array, "*axes d_in"]) -> Float[Array, "*axes d_out"]:
        """The mapped activations, float32 or wider."""
        self.check_input(x)
        out = matmul(x, self.kernel[...])
        return out if self.bias is None else add_bias(out, self.bias[...])

    @classmethod
    def from_stitch(cls: type[M], stitch: ClosedForm) -> M:
        """Start from a closed form, which it then equals exactly."""
        kernel, bias = closed_form(f"{cls.__name__}.from_stitch", stitch, resizes="height" in cls.axes)
        module = cls(*kernel.shape, rngs=nnx.Rngs(0))
        module.kernel, module.bias = nnx.Param(kernel), nnx.Param(bias)
        return module


class TokenAffine(Affine):
    """The same affine map of every token of `(b, t, d)`; everything else is as in `Affine`.

    Example:
      >>> TokenAffine(3, 2, rngs=nnx.Rngs(0))(jnp.ones((4, 7, 3))).shape
      (4, 7, 2)
    """

    axes = ("examples", "tokens", "features")


class Conv1x1(Affine):
    """The same affine map of the channels at every position of a feature map `(b, h, w, c)`.

    Maps of another size are brought to the target's grid first, by linear interpolation; where they shrink, by
    averages (`jax.image.resize`).

    Args:
      d_in: channels that come in.
      d_out: channels that go out.
      rngs: its `params` stream draws the kernel, an orthogonal matrix; the bias starts at 0.
      grid: height and width that go out; None for those that come in.
      use_bias: without it the map is linear, and `bias` is None.
      param_dtype: of the parameters.

    Raises:
      ValueError: for widths or a grid below 1; when called, for anything but `(b, h, w, d_in)`.
      TypeError: for widths or a grid that are not integers.

    Example:
      >>> Conv1x1(3, 2, grid=(4, 4), rngs=nnx.Rngs(0))(jnp.ones((1, 8, 8, 3))).shape
      (1, 4, 4, 2)

    Reference:
      Csiszárik et al. (2021), arXiv:2110.14633.
    """

    axes = ("examples", "height", "width", "channels")

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        rngs: nnx.Rngs,
        grid: tuple[int, int] | None = None,
        use_bias: bool = True,
        param_dtype: Any = jnp.float32,
    ):
        super().__init__(d_in, d_out, rngs=rngs, use_bias=use_bias, param_dtype=param_dtype)
        self.grid = _checked_grid(grid)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b _h _w d_out"]:
        """The mapped feature maps on the target's grid, float32 or wider."""
        self.check_input(x)
        # The map and the interpolation commute: weights of a position sum to 1.
        return super().__call__(x if self.grid is None else resize(widen(x), self.grid))

    @classmethod
    def from_stitch(cls, stitch: ClosedForm, *, grid: tuple[int, int] | None = None) -> Conv1x1:
        """Start from a closed form over channels, which it then equals exactly at every position of the grid.

        The grid is that of the closed form, unless another one is given.
        """
        module = super().from_stitch(stitch)
        module.grid = _checked_grid(getattr(stitch, "grid", None) if grid is None else grid)
        return module


def _checked_grid(grid: Any) -> tuple[int, int] | None:
    if grid is None:
        return None
    if not isinstance(grid, tuple) or len(grid) != 2:
        raise TypeError(f"Conv1x1: grid must be a tuple (height, width), got {describe(grid)}")
    for name, size in zip(("height", "width"), grid, strict=True):
        check_integer("Conv1x1", f"{name} of grid", size, minimum=1)
    return int(grid[0]), int(grid[1])
