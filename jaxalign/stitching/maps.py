"""What a closed form returns: an affine map between features that can be called, and how good it is."""

from __future__ import annotations

from dataclasses import field

import jax
import jax.numpy as jnp

from jaxalign._core.checks import check_floating, describe
from jaxalign._core.numerics import accum_dtype, matmul, safe_divide
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar


@pytree_dataclass
class LinearStitch:
    """An affine map from the features of one layer to those of another: `(x - center) @ kernel + value_at_center`.

    Call it on anything with the features last: rows `(n, p)`, tokens `(b, t, p)`, feature maps `(b, h, w, p)`.

    Attributes:
      kernel: `(p, q)`, the transpose of the `S` of the literature.
      center: `(p,)`, taken off `x` before the product: the mean of the inputs for an affine map, 0 for a linear one.
        A product with features far from 0 would lose the digits of what varies in them.
      value_at_center: `(q,)`, what the center is mapped to.
      error: the misalignment on the rows it was made for: the mean over rows of the squared distance, summed over
        features, of what it maps to from the target. Of tokens and pixels each is a row.
      variance: the mean squared length of the targets, about their mean for an affine map: the error of mapping
        everything to one point, or to 0.
      loo_error: the error when each row is left out of the fit that maps it; infinite where a row cannot be spared.
        NaN where that has no closed form.
      rank: of the inputs, centered for an affine map; of the kernel for a map of low rank, a permutation or partial
        least squares; of the matrix of cross moments for an orthogonal map.
      condition: the largest over the smallest singular value that the rank counts, of the same matrix.
      degrees_of_freedom: the trace of the matrix that turns targets into fitted values, the bias counted; NaN where
        the map is not linear in the targets.
      examples: how many rows counted: `(Σ w)² / Σ w²` of weights `w`.
      grid: height and width that feature maps are resized to, or None.

    Example:
      >>> stitch = LinearStitch.of(jnp.eye(2), jnp.ones(2))
      >>> stitch(jnp.array([[1., 2.]])).tolist()
      [[2.0, 3.0]]
    """

    kernel: Float[Array, "p q"]
    center: Float[Array, "p"]
    value_at_center: Float[Array, "q"]
    error: Scalar
    variance: Scalar
    loo_error: Scalar
    rank: Int[Array, ""]
    condition: Scalar
    degrees_of_freedom: Scalar
    examples: Scalar
    grid: tuple[int, int] | None = field(default=None, metadata={"static": True})

    @classmethod
    def of(cls, kernel: Float[Array, "p q"], bias: Float[Array, "q"]) -> LinearStitch:
        """A map of which nothing else is known: errors and the rest are NaN, the rank is the smaller side."""
        unknown = jnp.asarray(jnp.nan, kernel.dtype)
        rank = jnp.int32(min(kernel.shape))
        center = jnp.zeros(kernel.shape[0], kernel.dtype)
        return cls(kernel, center, bias, unknown, unknown, unknown, rank, unknown, unknown, unknown)

    def __call__(self, x: Float[Array, "*rows p"]) -> Float[Array, "*rows q"]:
        """The features of the other layer.

        Raises:
          ValueError: when the last axis of `x` is not as long as the kernel is high, or `x` is no feature map
            although the map resizes them.
        """
        check_floating("stitch", "x", x)
        if x.ndim < 1 or x.shape[-1] != self.kernel.shape[0]:
            raise ValueError(f"stitch: x must have {self.kernel.shape[0]} features, the last axis, got {describe(x)}")
        if self.grid is not None:
            if x.ndim != 4:
                raise ValueError(
                    f"stitch: x must be feature maps (examples, height, width, {x.shape[-1]}), "
                    f"which this map resizes to {self.grid}, got {describe(x)}"
                )
            x = resize(x, self.grid)
        return _mapped(x, self.center, self.kernel, self.value_at_center)

    @property
    def bias(self) -> Float[Array, "q"]:
        """What 0 is mapped to, `(q,)`; 0 for a linear map."""
        return self.value_at_center - jnp.sum(self.center[:, None] * self.kernel, axis=0)

    @property
    def r_squared(self) -> Scalar:
        """`1 - error / variance`: the share of the variance that the map explains of its own rows."""
        return 1 - safe_divide(self.error, self.variance, otherwise=jnp.nan)

    @property
    def loo_r_squared(self) -> Scalar:
        """The same of rows left out one at a time; negative where the mean of the targets would be better."""
        return 1 - safe_divide(self.loo_error, self.variance, otherwise=jnp.nan)

    @property
    def overfit(self) -> Bool[Array, ""]:
        """Whether there is more than one degree of freedom for two rows: then `error` says next to nothing.

        Where degrees of freedom are unknown they are taken to be `rank + 1`, as of a regression on so many features.
        Always False where `examples` is unknown too.
        """
        unknown = jnp.isnan(self.degrees_of_freedom)
        freedom = jnp.where(unknown, (self.rank + 1).astype(self.examples.dtype), self.degrees_of_freedom)
        return freedom > 0.5 * self.examples


@jax.jit
def _mapped(x: Array, center: Array, kernel: Array, value_at_center: Array) -> Float[Array, "*rows q"]:
    x = x.astype(accum_dtype(x, kernel))
    ahead = (1,) * (x.ndim - 1)
    return matmul(x - center.reshape(*ahead, -1), kernel) + value_at_center.reshape(*ahead, -1)


def resize(x: Float[Array, "b h w c"], grid: tuple[int, int]) -> Float[Array, "b g k c"]:
    """Feature maps on another grid, by linear interpolation; averaged where it is coarser. Unchanged on the same."""
    if x.shape[1:3] == grid:
        return x
    shape = (x.shape[0], *grid, x.shape[3])
    return jax.image.resize(x, shape, "linear", antialias=True)
