"""Maps that know nothing of how two layers are related, to set beside a stitch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxalign._core.checks import describe
from jaxalign._core.jit import jit
from jaxalign._core.numerics import matmul, safe_divide, safe_sqrt
from jaxalign._core.typing import Array, Float
from jaxalign.stitching.maps import LinearStitch
from jaxalign.stitching.ridge_path import RidgePath, ridge_path
from jaxalign.stitching.risk import as_stitch
from jaxalign.stitching.rows import paired_rows

#: Fits a map from one layer to another.
Stitcher = Callable[[Array, Array], Any]


def control_maps(stitcher: Stitcher, x: Array, y: Array, *, key: Array) -> dict[str, Callable[[Array], Array]]:
    """Maps fitted to the same rows as a stitch, without what makes it one.

    Args:
      stitcher: how the stitch itself was fitted.
      x: activations of the source layer, examples first.
      y: activations of the target layer, same examples.
      key: of what is random in them.

    Returns:
      `"identity"`, where both layers have one shape: activations as they are. `"random map"`: Gaussian weights, with
      outputs of the mean and the variance of `y`. `"shuffled source"`: the stitcher on examples paired at random.
      `"mean"`: the mean of `y`, whatever comes in.
    """
    weights, order = jax.random.split(key)
    maps: dict[str, Callable[[Array], Array]] = {}
    if x.shape[1:] == y.shape[1:]:
        maps["identity"] = _unchanged
    maps["random map"] = random_map(x, y, weights)
    shuffled = jax.random.permutation(order, x.shape[0])
    maps["shuffled source"] = fitted("control_maps", stitcher, x[shuffled], y)
    maps["mean"] = mean_map(x, y)
    return maps


def best_ridge(x: Float[Array, "*rows p"], y: Float[Array, "*rows q"]) -> LinearStitch:
    """The ridge regression with the penalty of least generalized cross-validation error: `ridge_path(x, y).stitch`."""
    return ridge_path(x, y).stitch


def fitted(function: str, stitcher: Stitcher, x: Array, y: Array) -> Any:
    """The map that a stitcher finds; of an NNX module a copy as it evaluates, so that no rows that it maps change it.

    Raises:
      TypeError: when it cannot be called, or what it returns cannot.
    """
    if not callable(stitcher):
        raise TypeError(
            f"{function}: stitcher must be a function of x and y that returns a map, got {describe(stitcher)}"
        )
    result = stitcher(x, y)
    if isinstance(result, RidgePath):
        return result.stitch
    if not callable(result):
        raise TypeError(f"{function}: stitcher must return a map that can be called, got {describe(result)}")
    return as_stitch(function, result)


@jit()
def random_map(x: Float[Array, "*rows p"], y: Float[Array, "*rows q"], key: Array) -> LinearStitch:
    """Independent Gaussian weights; outputs have the mean and the total variance of `y`."""
    rows, grid = paired_rows("random_map", x, y, affine=True, mask=None, weights=None)
    kernel = jax.random.normal(key, (rows.x.shape[1], rows.y.shape[1]), rows.x.dtype)
    outputs = matmul(rows.x, kernel)
    size = safe_sqrt(safe_divide(jnp.sum(rows.y**2), jnp.sum(outputs**2)))
    return _map_of(rows, kernel * size, grid)


@jit()
def mean_map(x: Float[Array, "*rows p"], y: Float[Array, "*rows q"]) -> LinearStitch:
    """The mean of `y`, whatever comes in."""
    rows, grid = paired_rows("mean_map", x, y, affine=True, mask=None, weights=None)
    return _map_of(rows, jnp.zeros((rows.x.shape[1], rows.y.shape[1]), rows.x.dtype), grid)


def _map_of(rows: Any, kernel: Array, grid: tuple[int, int] | None) -> LinearStitch:
    """An affine map with this kernel, in units of the rows, that takes means to means."""
    residuals = rows.y - matmul(rows.x, kernel)
    unknown = jnp.asarray(jnp.nan, kernel.dtype)
    rank = jnp.int32(min(kernel.shape))
    return rows.stitch(kernel, jnp.sum(residuals**2), rank=rank, condition=unknown, grid=grid)


def _unchanged(x: Array) -> Array:
    return x
