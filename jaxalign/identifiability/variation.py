"""Standard deviations of differences of two scaled log-probability vectors: what d_LLV is made of."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import center_columns, row_count, safe_sqrt, widen
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.identifiability.row_blocks import map_in_groups

#: Vectors that are looked at together; more are taken one group after the other.
GROUP = 128


@pytree_dataclass
class Entries:
    """Of each vector against the pivot.

    Attributes:
      scale: standard deviation of the vector minus the pivot, first model; NaN where rounding explains it.
      scale2: of the second model.
      rest: standard deviation of the difference of both models' vectors, each divided by its scale.
      pivot: of the difference of both models' pivots, divided by the same scales.
    """

    scale: Float[Array, "s"]
    scale2: Float[Array, "s"]
    rest: Float[Array, "s"]
    pivot: Float[Array, "s"]


def deviation(values: Float[Array, "n"], mask: Bool[Array, "n"] | None = None) -> Scalar:
    """The standard deviation, with `n - 1`; 0 with zero gradient where nothing varies."""
    centered = center_columns(values[:, None], mask)[:, 0]
    return _size(centered, mask)


def _size(centered: Float[Array, "n"], mask: Bool[Array, "n"] | None) -> Scalar:
    return safe_sqrt(jnp.sum(centered * centered) / (row_count(centered[:, None], mask) - 1))


def scale_of(vector: Float[Array, "n"], pivot: Float[Array, "n"], mask: Bool[Array, "n"] | None) -> Scalar:
    """The deviation of a vector from the pivot; NaN where it is no more than rounding of the two."""
    difference = vector - pivot
    found = deviation(difference, mask)
    largest = lax.stop_gradient(jnp.maximum(jnp.max(jnp.abs(vector)), jnp.max(jnp.abs(pivot))))
    return jnp.where(found <= 2 * float(jnp.finfo(found.dtype).eps) * largest, jnp.nan, found)


def entries_of(
    take: Callable[[Int[Array, ""]], tuple[Float[Array, "n"], Float[Array, "n"]]],
    pivot: Int[Array, ""],
    indices: Int[Array, "s"],
    mask: Bool[Array, "n"] | None = None,
) -> Entries:
    """The entries of some vectors.

    Args:
      take: the vectors of both models at an index; 0 where the mask is False.
      pivot: index of the pivot.
      indices: of the others.
      mask: which entries of the vectors count.
    """
    a0, b0 = (widen(vector) for vector in take(pivot))
    centered_a0, centered_b0 = (center_columns(vector[:, None], mask)[:, 0] for vector in (a0, b0))

    def of(index: Int[Array, ""]) -> Entries:
        a, b = (widen(vector) for vector in take(index))
        scale, scale2 = scale_of(a, a0, mask), scale_of(b, b0, mask)
        centered_a, centered_b = (center_columns(vector[:, None], mask)[:, 0] for vector in (a, b))
        return Entries(
            scale=scale,
            scale2=scale2,
            rest=_size(centered_a / scale - centered_b / scale2, mask),
            pivot=_size(centered_a0 / scale - centered_b0 / scale2, mask),
        )

    return map_in_groups(of, indices, GROUP)
