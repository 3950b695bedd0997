"""Standardized features, whose products are correlations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import jax.numpy as jnp

from jaxalign._core.numerics import binary_scale, center_columns, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float


@pytree_dataclass
class CorrelatedSignature:
    """Centered columns of length 1: products of two are their correlations."""

    #: As large as the representation.
    compact: ClassVar[bool] = False

    @property
    def ignores_zero_features(self) -> bool:
        """False: their number is part of the score."""
        return False

    @property
    def definition(self) -> str:
        """Says what is done to features."""
        return "standardized"

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Float[Array, "n d"]:
        """The signature of one representation, `(n, d)`; a constant column is 0."""
        centered = center_columns(x, mask)
        centered = centered * binary_scale(centered, axis=0)
        lengths = safe_sqrt(jnp.sum(centered * centered, axis=0))
        return centered * safe_divide(jnp.ones_like(lengths), lengths)[None, :]

    def many(
        self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None
    ) -> list[Float[Array, "n _d"]]:
        """The signatures of several representations of the same examples."""
        return [self(x, mask) for x in layers]
