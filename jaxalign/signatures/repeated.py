"""Repeated measurements of examples: the mean of each, and how they scatter about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import ClassVar

import jax.numpy as jnp

from jaxalign._core.checks import check_integer
from jaxalign._core.numerics import center_columns, row_count, take_rows
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.signatures.batching import map_layers
from jaxalign.signatures.dissimilarities import check_divides, examples_that_count


@pytree_dataclass
class Repeated:
    """Means and covariances of the measurements of each example.

    Attributes:
      means: `(m, d)`, less their mean; 0 for examples that do not count.
      roots: `(m, r, d)`, deviations from the mean over `sqrt(r - 1)`: `rootᵀ root` is the covariance.
      count: how many examples count.
    """

    means: Float[Array, "m d"]
    roots: Float[Array, "m r d"]
    count: Scalar

    def permute(self, indices: Int[Array, "m"]) -> Repeated:
        """Example `i` of the result is example `indices[i]`."""
        return Repeated(take_rows(self.means, indices), take_rows(self.roots, indices), self.count)


@pytree_dataclass
class RepeatedSignature:
    """Makes the `Repeated` of a representation.

    Args:
      repeats: how often every example was measured. Rows come in so many blocks of the same examples in the
        same order.
    """

    repeats: int = field(metadata={"static": True})

    #: As large as the representation.
    compact: ClassVar[bool] = False

    def __post_init__(self):
        check_integer("stochastic_shape_distance", "repeats", self.repeats, minimum=2)

    @property
    def ignores_zero_features(self) -> bool:
        """True: they do not vary."""
        return True

    @property
    def definition(self) -> str:
        """The number of repeats."""
        return f"repeats={self.repeats}"

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Repeated:
        """The signature of one representation, `(n, d)`.

        Raises:
          ValueError: where the rows are no multiple of the repeats.
        """
        check_divides("stochastic_shape_distance", self.repeats, x.shape[0])
        examples = examples_that_count(mask, self.repeats)
        rows = center_columns(x, None if examples is None else jnp.tile(examples, self.repeats))
        blocks = rows.reshape(self.repeats, -1, x.shape[1])
        changes = blocks - blocks[:1]  # of equal measurements exactly 0
        mean_change = jnp.mean(changes, axis=0)
        roots = (changes - mean_change[None]) / (self.repeats - 1) ** 0.5
        means = blocks[0] + mean_change
        return Repeated(means, roots.swapaxes(0, 1), row_count(means, examples))

    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> list[Repeated]:
        """The signatures of several representations of the same examples."""
        return map_layers(lambda x: self(x, mask), layers)
