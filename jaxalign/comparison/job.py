"""What all measures of one comparison share: the layers, the limits and where pieces are kept."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.digests import digest
from jaxalign._core.typing import Array
from jaxalign.comparison.sides import Layer, Side
from jaxalign.comparison.store import Store
from jaxalign.measures import Measure


@dataclass(frozen=True)
class Job:
    """One comparison.

    Attributes:
      a: layers of the rows of the score matrix.
      b: layers of the columns; `a` itself when `same`.
      same: one side is compared with itself.
      mask: which examples count, or None for all.
      max_memory: bytes that layers may take at a time.
      store: where finished pieces are kept.
    """

    a: Side
    b: Side
    same: bool
    mask: Array | None
    max_memory: int
    store: Store

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer of the comparison once."""
        return self.a.layers if self.same else (*self.a.layers, *self.b.layers)

    @property
    def dtype(self) -> np.dtype:
        """What all layers are computed in: float64 where one of them is."""
        return np.dtype(np.float64 if any(layer.dtype == np.float64 for layer in self.layers) else np.float32)

    def load(self, layer: Layer, *, width: int | None = None) -> Array:
        """A layer on the device, with zero features up to `width`."""
        x = layer.load(width=width)
        return x.astype(jnp.float64) if self.dtype == np.float64 else x

    @property
    def shape(self) -> tuple[int, int]:
        """Of the score matrix."""
        return len(self.a.layers), len(self.b.layers)

    def mirrored(self, measure: Measure) -> bool:
        """Whether half of the matrix is enough."""
        return self.same and measure.symmetric


def settings(measure: Measure) -> str:
    """What tells a measure from all others: its definition, and the numbers in it to the last digit."""
    return f"{measure.definition} {digest(*jax.tree.leaves(measure))}"


def piece_name(measure: Measure) -> str:
    """`settings` as the beginning of a file name."""
    return f"{measure.name[:40]}-{digest(np.asarray(settings(measure)))}"
