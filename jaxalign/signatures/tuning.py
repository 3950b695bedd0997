"""Features as points: the tuning curve of each, a coordinate for every example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import ClassVar

import jax.numpy as jnp

from jaxalign._core.numerics import take_rows
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.signatures.correlated import CorrelatedSignature
from jaxalign.signatures.shaped import SCALES as SHAPE_SCALES
from jaxalign.signatures.shaped import ShapeSignature

#: What is done about the size of all features, or of each.
SCALES = (*SHAPE_SCALES, "feature")


@pytree_dataclass
class TuningCurves:
    """Centered features.

    Attributes:
      rows: `(n, d)`; 0 for a constant input.
      spread: the mean of their squared lengths.
    """

    rows: Float[Array, "n d"]
    spread: Scalar

    def permute(self, indices: Int[Array, "n"]) -> TuningCurves:
        """Example `i` of the result is example `indices[i]`."""
        return TuningCurves(take_rows(self.rows, indices), self.spread)


@pytree_dataclass
class TuningCurvesSignature:
    """Makes the `TuningCurves` of a representation.

    Args:
      scale: `"unit"` brings the mean squared length of features to 1, `"feature"` every length, `"raw"` none.
    """

    scale: str = field(default="unit", metadata={"static": True})

    #: As large as the representation.
    compact: ClassVar[bool] = False

    @property
    def ignores_zero_features(self) -> bool:
        """False: a feature that does not vary is one among others."""
        return False

    @property
    def definition(self) -> str:
        """The scale."""
        return self.scale

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> TuningCurves:
        """The signature of one representation, `(n, d)`."""
        width = x.shape[1]
        if self.scale == "feature":
            rows = CorrelatedSignature()(x, mask)
        else:
            rows = ShapeSignature(self.scale, padded=False)(x, mask).rows
            rows = rows * width**0.5 if self.scale == "unit" else rows
        return TuningCurves(rows, jnp.sum(rows * rows) / width)

    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> list[TuningCurves]:
        """The signatures of several representations of the same examples."""
        return [self(x, mask) for x in layers]
