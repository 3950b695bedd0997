"""Stitching modules that can express less than an affine map: low rank, and rotations."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx

from jaxalign._core.checks import check_integer
from jaxalign._core.linalg import nuclear_norm, polar_factor, thin_svd
from jaxalign._core.numerics import matmul
from jaxalign._core.typing import Array, Float
from jaxalign.stitching.stitch_module import ClosedForm, Fixed, StitchModule, add_bias, closed_form


class LowRank(StitchModule):
    r"""An affine map through a bottleneck.

    $$s(x) = x D U + b,\quad D: (d_{in}, r),\; U: (r, d_{out})$$

    Args:
      d_in: features that come in.
      d_out: features that go out.
      rank: `r`, from 1 to `min(d_in, d_out)`.
      rngs: its `params` stream draws both factors, orthogonal matrices; the bias starts at 0.
      use_bias: without it the map is linear, and `bias` is None.
      param_dtype: of the parameters.

    Raises:
      ValueError: for widths below 1, or a rank that is out of range; when called, for anything but `(n, d_in)`.
      TypeError: for widths or a rank that are not integers.

    Example:
      >>> LowRank(3, 2, 1, rngs=nnx.Rngs(0))(jnp.ones((4, 3))).shape
      (4, 2)
    """

    def __init__(
        self, d_in: int, d_out: int, rank: int, *, rngs: nnx.Rngs, use_bias: bool = True, param_dtype: Any = jnp.float32
    ):
        super().__init__(d_in, d_out)
        check_integer("LowRank", "rank", rank, minimum=1)
        if rank > min(d_in, d_out):
            raise ValueError(f"LowRank: rank must be at most min(d_in, d_out) = {min(d_in, d_out)}, got {rank}")
        self.rank = int(rank)
        draw = nnx.initializers.orthogonal()
        self.down = nnx.Param(draw(rngs.params(), (d_in, rank), param_dtype))
        self.up = nnx.Param(draw(rngs.params(), (rank, d_out), param_dtype))
        self.bias = nnx.Param(jnp.zeros((d_out,), param_dtype)) if use_bias else None

    @property
    def kernel(self) -> Float[Array, "d_in d_out"]:
        """The product of the factors."""
        return matmul(self.down[...], self.up[...])

    def __call__(self, x: Float[Array, "n d_in"]) -> Float[Array, "n d_out"]:
        """The mapped activations, float32 or wider."""
        self.check_input(x)
        out = matmul(matmul(x, self.down[...]), self.up[...])
        return out if self.bias is None else add_bias(out, self.bias[...])

    @classmethod
    def from_stitch(cls, stitch: ClosedForm, *, rank: int) -> LowRank:
        """Start from the truncated singular value decomposition of a closed form, shared equally by both factors.

        It is the nearest matrix of that rank; equal to the closed form when that has no more.
        """
        kernel, bias = closed_form("LowRank.from_stitch", stitch)
        module = cls(*kernel.shape, rank=rank, rngs=nnx.Rngs(0))
        u, s, vt = thin_svd(kernel)
        root = jnp.sqrt(s[:rank])
        module.down, module.up = nnx.Param(u[:, :rank] * root[None, :]), nnx.Param(vt[:rank] * root[:, None])
        module.bias = nnx.Param(bias)
        return module


class Orthogonal(StitchModule):
    r"""A rotation or reflection, which it stays whatever the steps of the optimizer.

    $$s(x) = c\, x Q + b,\qquad Q = R Q_0 \;\text{or}\; Q_0 R,\qquad R = (I - A)^{-1} (I + A),\quad
    A = (G - G^\top) / 4$$

    `Q` has orthonormal rows for `d_in <= d_out`, else orthonormal columns. `Q0` does not change: the rotation `R` of
    the wider side, the Cayley transform of the parameter `G`, acts on it. So a square `Q` keeps the sign of its
    determinant: start from a closed form where reflections matter. One call solves a system of the size of the
    wider side, whose square the parameter has.

    Args:
      d_in: features that come in.
      d_out: features that go out.
      rngs: its `params` stream draws `Q0`; `G` and the bias start at 0, `c` at 1.
      use_scale: learn the factor `c`, a scalar; otherwise `scale` is None, and 1.
      use_bias: learn `b`; otherwise `bias` is None, and 0.
      param_dtype: of the parameters.

    Raises:
      ValueError: for widths below 1; when called, for anything but `(n, d_in)`.
      TypeError: for widths that are not integers.

    Example:
      >>> module = Orthogonal(3, 2, rngs=nnx.Rngs(0))
      >>> bool(jnp.allclose(module.kernel.T @ module.kernel, jnp.eye(2), atol=1e-6))
      True

    Reference:
      Lezcano-Casado and Martínez-Rubio (2019), arXiv:1901.08428, for maps onto rotations; Maiorca et al. (2023),
      arXiv:2311.00664, for rotations between latent spaces.
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        rngs: nnx.Rngs,
        use_scale: bool = False,
        use_bias: bool = True,
        param_dtype: Any = jnp.float32,
    ):
        super().__init__(d_in, d_out)
        wide = max(d_in, d_out)
        self.start = Fixed(nnx.initializers.orthogonal()(rngs.params(), (d_in, d_out), param_dtype))
        self.generator = nnx.Param(jnp.zeros((wide, wide), param_dtype))
        self.scale = nnx.Param(jnp.ones((), param_dtype)) if use_scale else None
        self.bias = nnx.Param(jnp.zeros((d_out,), param_dtype)) if use_bias else None

    @property
    def kernel(self) -> Float[Array, "d_in d_out"]:
        """The matrix that rows are multiplied by: `Q`, times the scale where there is one."""
        start, generator = self.start[...], self.generator[...]
        a = (generator - generator.T) / 4
        eye = jnp.eye(a.shape[0], dtype=a.dtype)
        if self.d_in > self.d_out:
            kernel = jnp.linalg.solve(eye - a, matmul(eye + a, start))
        else:  # the transpose of R is that of -A
            kernel = jnp.linalg.solve(eye + a, matmul(eye - a, start.T)).T
        return kernel if self.scale is None else kernel * self.scale[...]

    def __call__(self, x: Float[Array, "n d_in"]) -> Float[Array, "n d_out"]:
        """The mapped activations, float32 or wider."""
        self.check_input(x)
        out = matmul(x, self.kernel)
        return out if self.bias is None else add_bias(out, self.bias[...])

    @classmethod
    def from_stitch(cls, stitch: ClosedForm, *, use_scale: bool = False) -> Orthogonal:
        r"""Start from the polar factor of a closed form, the nearest matrix with orthonormal rows or columns.

        With a scale it starts from the nearest multiple of it, by $\|K\|_* / \min(d_{in}, d_{out})$. Equal to the
        closed form when that is (a multiple of) such a matrix, reflections included.

        Raises:
          ValueError: when the kernel has not full rank, so that no nearest one stands out.
        """
        kernel, bias = closed_form("Orthogonal.from_stitch", stitch)
        module = cls(*kernel.shape, rngs=nnx.Rngs(0), use_scale=use_scale)
        narrow = min(kernel.shape)
        nearest = polar_factor(kernel)
        rank = round(float(jnp.sum(nearest * nearest)))
        if rank < narrow:
            raise ValueError(f"Orthogonal.from_stitch: the kernel of stitch must have rank {narrow}, got rank {rank}")
        module.start = Fixed(nearest)
        module.generator = nnx.Param(jnp.zeros_like(module.generator[...], kernel.dtype))
        module.bias = nnx.Param(bias)
        if use_scale:
            module.scale = nnx.Param(nuclear_norm(kernel) / narrow)
        return module
