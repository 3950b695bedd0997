"""What a classifier says: the class it predicts of each example, or the logarithms of its probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import jax
import jax.numpy as jnp

from jaxalign._core.numerics import mask_rows, row_count, take_mask, take_rows, widen
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar


@pytree_dataclass
class Predictions:
    """The predicted class of every example.

    Attributes:
      classes: `(n,)`; of equal logits that of the lowest number.
      shares: `(c,)`, how often each class is predicted.
      mask: which rows count, `(n,)`, or None for all.
      defined: False when a row that counts holds NaN, or minus infinity everywhere.
    """

    classes: Int[Array, "n"]
    shares: Float[Array, "c"]
    mask: Bool[Array, "n"] | None
    defined: Bool[Array, ""]

    def permute(self, indices: Int[Array, "n"]) -> Predictions:
        """Example `i` of the result is example `indices[i]`."""
        return replace(self, classes=take_rows(self.classes, indices), mask=take_mask(self.mask, indices))

    def share(self, holds: Bool[Array, "n"]) -> Scalar:
        """The share of the rows that count in which something holds; NaN when none counts."""
        if self.mask is None:
            return jnp.mean(holds, dtype=self.shares.dtype)
        return jnp.sum(holds & self.mask, dtype=self.shares.dtype) / jnp.sum(self.mask, dtype=self.shares.dtype)


@pytree_dataclass
class PredictionSignature:
    """Makes the `Predictions` of logits or log-probabilities."""

    #: A number for each example: made once, and worth keeping.
    compact: ClassVar[bool] = True

    @property
    def ignores_zero_features(self) -> bool:
        """False: they would be classes."""
        return False

    @property
    def definition(self) -> str:
        """What is kept."""
        return "argmax"

    def __call__(self, x: Float[Array, "n c"], mask: Bool[Array, "n"] | None = None) -> Predictions:
        """The signature of one classifier's outputs, `(n, c)`."""
        logits = mask_rows(widen(x), mask)
        classes = jnp.argmax(logits, axis=1)
        weights = jnp.ones_like(logits[:, 0]) if mask is None else mask.astype(logits.dtype)
        shares = jnp.zeros_like(logits[0]).at[classes].add(weights) / row_count(logits, mask)
        return Predictions(classes, shares, mask, jnp.all(jnp.max(logits, axis=1) > -jnp.inf))

    def many(self, layers: Sequence[Float[Array, "n _c"]], mask: Bool[Array, "n"] | None = None) -> list[Predictions]:
        """The signatures of several outputs for the same examples."""
        return [self(x, mask) for x in layers]


@pytree_dataclass
class LogProbabilities:
    """The logarithms of the probabilities of every example.

    Attributes:
      values: `(n, c)`; those of equal probabilities in rows that do not count.
      mask: which rows count, `(n,)`, or None for all.
    """

    values: Float[Array, "n c"]
    mask: Bool[Array, "n"] | None

    def permute(self, indices: Int[Array, "n"]) -> LogProbabilities:
        """Example `i` of the result is example `indices[i]`."""
        return LogProbabilities(take_rows(self.values, indices), take_mask(self.mask, indices))


@pytree_dataclass
class LogProbabilitySignature:
    """Makes the `LogProbabilities` of logits; log-probabilities stay as they are."""

    #: As large as the representation.
    compact: ClassVar[bool] = False

    @property
    def ignores_zero_features(self) -> bool:
        """False: they would be classes."""
        return False

    @property
    def definition(self) -> str:
        """What is done to logits."""
        return "log_softmax"

    def __call__(self, x: Float[Array, "n c"], mask: Bool[Array, "n"] | None = None) -> LogProbabilities:
        """The signature of one classifier's outputs, `(n, c)`."""
        return LogProbabilities(jax.nn.log_softmax(mask_rows(widen(x), mask), axis=1), mask)

    def many(
        self, layers: Sequence[Float[Array, "n _c"]], mask: Bool[Array, "n"] | None = None
    ) -> list[LogProbabilities]:
        """The signatures of several outputs for the same examples."""
        return [self(x, mask) for x in layers]
