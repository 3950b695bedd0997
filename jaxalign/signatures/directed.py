"""Rows as they are, and their directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from typing import ClassVar

import jax.numpy as jnp

from jaxalign._core.numerics import binary_scale, mask_rows, normalize_rows, row_count, take_rows, widen
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.signatures.batching import map_layers


@pytree_dataclass
class Directed:
    """A representation and the directions of its rows.

    Attributes:
      rows: `(n, d)`, in units of their own.
      directions: the rows with length 1.
      count: how many rows count.
      defined: none of them is 0.
    """

    rows: Float[Array, "n d"]
    directions: Float[Array, "n d"]
    count: Scalar
    defined: Bool[Array, ""]

    def permute(self, indices: Int[Array, "n"]) -> Directed:
        """Example `i` of the result is example `indices[i]`."""
        return replace(self, rows=take_rows(self.rows, indices), directions=take_rows(self.directions, indices))


@pytree_dataclass
class DirectedSignature:
    """Makes the `Directed` of a representation.

    Args:
      padded: whether layers may be padded with zero features: not where features are matched one to one.
    """

    padded: bool = field(default=True, metadata={"static": True})

    #: Twice as large as the representation.
    compact: ClassVar[bool] = False

    @property
    def ignores_zero_features(self) -> bool:
        """As said."""
        return self.padded

    @property
    def definition(self) -> str:
        """Says that nothing is taken off."""
        return "uncentered"

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Directed:
        """The signature of one representation, `(n, d)`."""
        rows = mask_rows(widen(x), mask)
        without_direction = jnp.all(rows == 0, axis=1)
        if mask is not None:
            without_direction &= mask
        return Directed(
            rows * binary_scale(rows), normalize_rows(rows), row_count(rows, mask), ~jnp.any(without_direction)
        )

    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> list[Directed]:
        """The signatures of several representations of the same examples."""
        return map_layers(lambda x: self(x, mask), layers) if self.padded else [self(x, mask) for x in layers]
