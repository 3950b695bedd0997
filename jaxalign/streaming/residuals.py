"""Mean squared residuals of maps between two layers, over data that come in batches."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import as_array, check_pair, describe
from jaxalign._core.jit import jit
from jaxalign._core.numerics import mask_rows, row_count
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.stitching.maps import LinearStitch
from jaxalign.streaming.accumulate import batch_arrays


@dataclass(frozen=True)
class MeanResidual:
    """A mean of squared distances over rows.

    Attributes:
      value: the mean; NaN without rows.
      standard_error: the standard deviation of the squared distances over the root of their number; NaN below two rows.
      examples: number of rows.
    """

    value: float
    standard_error: float
    examples: int


@dataclass(frozen=True)
class MapResiduals:
    """Mean squared residuals of four maps.

    Attributes:
      linear_forward: of the linear map from `x` to `y`.
      linear_backward: of the one from `y` to `x`.
      affine_forward: of the affine map from `x` to `y`.
      affine_backward: of the one from `y` to `x`.
    """

    linear_forward: MeanResidual
    linear_backward: MeanResidual
    affine_forward: MeanResidual
    affine_backward: MeanResidual


def map_residuals(maps: tuple[LinearStitch, ...], batches: Iterable[Any]) -> MapResiduals:
    """Residuals of maps that go forward and backward in turn.

    Args:
      maps: linear forward and backward, affine forward and backward.
      batches: as for `stream`.

    Raises:
      ValueError, TypeError: for a batch that does not fit; the message has its number.
    """
    count, means, squares = 0, np.zeros(len(maps)), np.zeros(len(maps))
    for number, batch in enumerate(batches):
        name = f"Misalignment.residuals: batch {number}"
        try:
            arrays, mask = batch_arrays(("x", "y", "targets"), batch)
        except (ValueError, TypeError) as error:
            raise type(error)(f"{name}: {error}") from error
        if len(arrays) < 2:
            raise ValueError(f"{name}: must have x and y, got one array")
        x, y = as_array(name, "x", arrays[0]), as_array(name, "y", arrays[1])
        check_pair(name, x, y, None if mask is None else as_array(name, "mask", mask))
        for argument, layer, width in zip("xy", (x, y), maps[0].kernel.shape, strict=True):
            if layer.shape[1] != width:
                raise ValueError(f"{name}: {argument} must have {width} columns, got {describe(layer)}")
        rows, mean, square = (np.asarray(a, np.float64) for a in _block(x, y, maps=maps, mask=mask))
        if rows == 0:
            continue
        # Means and sums of squares about them, merged as blocks come (Chan, Golub and LeVeque).
        total = count + int(rows)
        apart = mean - means
        means = means + apart * (rows / total)
        squares = squares + square + apart**2 * (count * rows / total)
        count = total
    found = []
    for mean, square in zip(means, squares, strict=True):
        error = math.sqrt(square / (count - 1) / count) if count > 1 else math.nan
        found.append(MeanResidual(float(mean) if count else math.nan, error, count))
    return MapResiduals(*found)


@jit()
def _block(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    maps: tuple[LinearStitch, ...],
    mask: Bool[Array, "n"] | None = None,
) -> tuple[Array, Array, Array]:
    """Number of rows, mean of the squared residuals of each map, and sums of squares about these."""
    x, y = mask_rows(x, mask), mask_rows(y, mask)
    lengths = []
    for index, stitch in enumerate(maps):
        source, target = (x, y) if index % 2 == 0 else (y, x)
        reached = stitch(source)
        lengths.append(jnp.sum((reached - target.astype(reached.dtype)) ** 2, axis=1))
    rows = mask_rows(jnp.stack(lengths, axis=1), mask)
    count = row_count(rows, mask)
    mean = jnp.sum(rows, axis=0) / jnp.maximum(count, 1)
    return count, mean, jnp.sum(mask_rows(rows - mean[None, :], mask) ** 2, axis=0)
