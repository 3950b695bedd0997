"""How far two numbers are apart, of which each describes one representation."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp

from jaxalign._core.numerics import accum_dtype
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Scalar


@pytree_dataclass
class DifferenceScore:
    """The absolute difference; its gradient is 0 where the numbers are equal."""

    def __call__(self, x: Scalar, y: Scalar) -> Scalar:
        """The score of one pair."""
        return self.matrix([x], [y])[0, 0]

    def matrix(self, a: Sequence[Scalar], b: Sequence[Scalar] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        dtype = accum_dtype(*a, *(b or ()))
        one, other = (jnp.stack([value.astype(dtype) for value in side]) for side in (a, a if b is None else b))
        return jnp.abs(one[:, None] - other[None, :])
