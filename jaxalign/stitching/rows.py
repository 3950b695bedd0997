"""Two layers as paired rows: tokens and pixels one below the other, weights and masks, centers, units."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_floating, describe
from jaxalign._core.numerics import accum_dtype, binary_scale, column_mean, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.stitching.maps import LinearStitch, resize

_KINDS = {
    2: "rows (n, features)",
    3: "tokens (examples, tokens, features)",
    4: "feature maps (examples, h, w, features)",
}


@pytree_dataclass
class PairedRows:
    """Rows of two layers as a fit takes them: centered if it has a bias, weighted, brought to size near 1.

    Attributes:
      x: `(n, p)`, times `x_unit` and the root of the share that the row has in all; 0 where it does not count.
      y: `(n, q)`, likewise.
      shares: weights of the rows, of sum 1.
      x_mean: what was taken off the rows of `x`, `(p,)`, in its own units; 0 for a linear map.
      y_mean: likewise, `(q,)`.
      x_unit: a power of two.
      y_unit: likewise.
    """

    x: Float[Array, "n p"]
    y: Float[Array, "n q"]
    shares: Float[Array, "n"]
    x_mean: Float[Array, "p"]
    y_mean: Float[Array, "q"]
    x_unit: Scalar
    y_unit: Scalar

    @property
    def examples(self) -> Scalar:
        """How many rows of equal weight would know as much; exact where all that count have one weight."""
        weights = self.shares / jnp.max(self.shares)
        return jnp.sum(weights) ** 2 / jnp.sum(weights * weights)

    @property
    def variance(self) -> Scalar:
        """The mean squared length of the targets, about their mean if that was taken off."""
        return jnp.sum(self.y * self.y) / (self.y_unit * self.y_unit)

    def stitch(
        self,
        kernel: Float[Array, "p q"],
        error: Scalar,
        *,
        loo_error: Scalar | None = None,
        rank: Array,
        condition: Scalar,
        degrees_of_freedom: Scalar | None = None,
        grid: tuple[int, int] | None,
    ) -> LinearStitch:
        """The map for the rows as they came, from the kernel and the errors of these."""
        kernel = kernel * (self.x_unit / self.y_unit)
        square = self.y_unit * self.y_unit
        unknown = jnp.asarray(jnp.nan, kernel.dtype)
        return LinearStitch(
            kernel=kernel,
            center=self.x_mean,
            value_at_center=self.y_mean,
            error=error / square,
            variance=self.variance,
            loo_error=unknown if loo_error is None else loo_error / square,
            rank=rank,
            condition=condition,
            degrees_of_freedom=unknown if degrees_of_freedom is None else degrees_of_freedom,
            examples=self.examples,
            grid=grid,
        )


def paired_rows(
    function: str, x: Array, y: Array, *, affine: bool, mask: Array | None, weights: Array | None
) -> tuple[PairedRows, tuple[int, int] | None]:
    """Two layers as rows, and the grid that feature maps of the first have to be resized to.

    Raises:
      ValueError, TypeError: for layers that are not paired, or weights that do not fit.
    """
    check_layers(function, x, y)
    lead = y.shape[:-1]
    grid = (lead[1], lead[2]) if y.ndim == 4 and x.shape[1:3] != lead[1:3] else None
    if grid is not None:
        x = resize(x, grid)
    dtype = accum_dtype(x, y)
    shares = row_shares(function, lead, dtype, mask=mask, weights=weights)
    x, y = (z.reshape(-1, z.shape[-1]).astype(dtype) for z in (x, y))
    used = shares > 0
    x, y = (jnp.where(used[:, None], z, 0) for z in (x, y))
    x, x_mean = _about_center(x, shares, used, affine)
    y, y_mean = _about_center(y, shares, used, affine)
    x_unit, y_unit = binary_scale(x), binary_scale(y)
    roots = safe_sqrt(shares)[:, None]
    return PairedRows(x * x_unit * roots, y * y_unit * roots, shares, x_mean, y_mean, x_unit, y_unit), grid


def check_layers(function: str, x: Array, y: Array, *, names: tuple[str, str] = ("x", "y")) -> None:
    """Raise unless both are rows, both tokens or both feature maps, of the same examples."""
    both = " and ".join(names)
    for argument, value in zip(names, (x, y), strict=True):
        check_floating(function, argument, value)
        if value.ndim not in _KINDS or 0 in value.shape:
            kinds = ", ".join(_KINDS.values())
            raise ValueError(f"{function}: {argument} must be one of {kinds}, not empty, got {describe(value)}")
    if x.ndim != y.ndim:
        raise ValueError(
            f"{function}: {both} must be of one kind, got {_KINDS[x.ndim]} and {_KINDS[y.ndim]}; "
            "jaxalign.preprocess pools and flattens"
        )
    if x.shape[0] != y.shape[0]:
        raise ValueError(
            f"{function}: {both} must hold the same examples in the same order, got {x.shape[0]} and {y.shape[0]}"
        )
    if x.ndim == 3 and x.shape[1] != y.shape[1]:
        raise ValueError(f"{function}: {both} must have the same tokens, got {x.shape[1]} and {y.shape[1]} an example")


def _spread(function: str, argument: str, value: Array | None, lead: tuple[int, ...]) -> Array | None:
    """A mask or weights, one for each example or for each row, as one for each row."""
    if value is None:
        return None
    if argument == "mask" and value.dtype != jnp.bool_:
        raise TypeError(f"{function}: mask must be boolean, got {describe(value)}")
    if argument == "weights":
        check_floating(function, argument, value)
    if value.shape not in (lead, lead[:1]):
        options = " or ".join(dict.fromkeys(map(str, (lead[:1], lead))))
        raise ValueError(f"{function}: {argument} must have shape {options}, got {tuple(value.shape)}")
    return jnp.broadcast_to(value.reshape(value.shape + (1,) * (len(lead) - value.ndim)), lead).reshape(-1)


def row_shares(
    function: str, lead: tuple[int, ...], dtype: jnp.dtype, *, mask: Array | None, weights: Array | None
) -> Float[Array, "n"]:
    """Weights of sum 1, 0 for rows that do not count; NaN where a weight is negative or NaN, or none is left.

    Args:
      function: for the message.
      lead: all axes of the rows, the examples first; `n` is the product.
      dtype: of the result.
      mask: one for each example or each row.
      weights: likewise.

    Raises:
      ValueError, TypeError: for a mask or weights that do not fit.
    """
    counts = _spread(function, "mask", mask, lead)
    weights = _spread(function, "weights", weights, lead)
    # Behind a barrier, or a compiler spends its time on sums of a million ones.
    ones = lax.optimization_barrier(jnp.ones(math.prod(lead), dtype))
    shares = ones if weights is None else weights.astype(dtype)
    if counts is not None:
        shares = jnp.where(counts, shares, 0)
    if weights is not None:
        shares = shares * binary_scale(shares)
        shares = jnp.where(shares >= 0, shares, jnp.nan)
    return safe_divide(shares, jnp.sum(shares) * jnp.ones_like(shares), otherwise=jnp.nan)


@jax.jit
def example_lengths(x: Float[Array, "n *axes"]) -> Float[Array, "n"]:
    """Euclidean length of each example, all its axes taken together, whatever its size."""
    rows = x.reshape(x.shape[0], -1)
    scale = binary_scale(rows, axis=1)
    return safe_sqrt(jnp.sum((rows * scale) ** 2, axis=1)) / scale[:, 0]


def _about_center(
    x: Float[Array, "n d"], shares: Float[Array, "n"], used: Bool[Array, "n"], affine: bool
) -> tuple[Float[Array, "n d"], Float[Array, "d"]]:
    """Rows less their weighted mean, and that; as they are for a linear map."""
    if not affine:
        return x, jnp.zeros(x.shape[1], x.dtype)
    # A mean is rounded at the size of the offset; what that leaves is taken off as well.
    mean = lax.stop_gradient(column_mean(x, used))
    x = jnp.where(used[:, None], x - mean[None, :], 0)
    left = jnp.sum(shares[:, None] * x, axis=0)
    return jnp.where(used[:, None], x - left[None, :], 0), mean + left
