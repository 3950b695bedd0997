"""Shapes: centered representations, of unit size if wanted, and partly whitened if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import ClassVar

import jax.numpy as jnp

from jaxalign._core.linalg import polar_factor
from jaxalign._core.numerics import binary_scale, center_columns, safe_divide, safe_sqrt, take_rows
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.signatures.batching import map_layers
from jaxalign.signatures.whitened import warn_if_spanning

#: What is done about size.
SCALES = ("unit", "raw")


@pytree_dataclass
class Shape:
    """A centered representation.

    Attributes:
      rows: `(n, d)`, of Frobenius norm 1, or in the user's units; 0 for a constant input.
      size: their Frobenius norm.
    """

    rows: Float[Array, "n d"]
    size: Scalar

    def permute(self, indices: Int[Array, "n"]) -> Shape:
        """Example `i` of the result is example `indices[i]`."""
        return Shape(take_rows(self.rows, indices), self.size)


@pytree_dataclass
class ShapeSignature:
    """Makes the `Shape` of a representation.

    Args:
      scale: `"unit"` divides by the Frobenius norm, `"raw"` does not.
      alpha: singular values `s` become `alpha * s + 1 - alpha`: 1 leaves them, 0 whitens.
      padded: whether layers may be padded with zero features: not where features are matched one to one.
    """

    scale: str = field(default="unit", metadata={"static": True})
    alpha: float = field(default=1.0, metadata={"static": True})
    padded: bool = field(default=True, metadata={"static": True})

    #: As large as the representation.
    compact: ClassVar[bool] = False

    @property
    def ignores_zero_features(self) -> bool:
        """As said."""
        return self.padded

    @property
    def definition(self) -> str:
        """Scale and whitening."""
        return self.scale if self.alpha == 1 else f"{self.scale},alpha={self.alpha}"

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Shape:
        """The signature of one representation, `(n, d)`."""
        if self.alpha == 0:
            warn_if_spanning(x)
        rows = center_columns(x, mask)
        if self.alpha == 0:
            rows = polar_factor(rows * binary_scale(rows, axis=0))
        elif self.alpha != 1:
            rows = self.alpha * rows + (1 - self.alpha) * polar_factor(rows)
        scale = binary_scale(rows)
        near_one = rows * scale
        size = safe_sqrt(jnp.sum(near_one * near_one))
        if self.scale == "raw":
            return Shape(rows, size / scale)
        rows = near_one * safe_divide(jnp.ones_like(size), size)
        return Shape(rows, jnp.where(size > 0, size / size, size))

    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> list[Shape]:
        """The signatures of several representations of the same examples."""
        return map_layers(lambda x: self(x, mask), layers) if self.padded else [self(x, mask) for x in layers]
