"""Scores of representations under very many orders of the examples of one side: what permutation tests look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jaxalign._core.numerics import take_rows
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.signatures.permutation import permute

#: From an order of the examples to scores, `(La, Lb)`; a pytree.
Reordering = Callable[[Int[Array, "n"]], Float[Array, "La Lb"]]


def reordering(score: Any, a: Sequence[Any], b: Sequence[Any]) -> Reordering:
    """The scores of all pairs as a function of the order of the examples of `b`: example `i` becomes `indices[i]`.

    What does not depend on the order is worked out here, once. A score that knows more of that than that signatures
    stay what they are has a method `reordering(a, b)`.

    Args:
      score: of two signatures.
      a: signatures of one side.
      b: those of the other.
    """
    return score.reordering(a, b) if hasattr(score, "reordering") else OfSignatures(score, list(a), list(b))


@pytree_dataclass
class OfSignatures:
    """By putting what is kept of one side in order, nothing more.

    Attributes:
      score: of two signatures.
      a: signatures of one side.
      b: those of the other.
    """

    score: Any
    a: list[Any]
    b: list[Any]

    def __call__(self, indices: Int[Array, "n"]) -> Float[Array, "La Lb"]:
        """The scores when example `i` of `b` is what was example `indices[i]`."""
        return self.score.matrix(self.a, [permute(signature, indices) for signature in self.b])


@pytree_dataclass
class Recomputed:
    """By making the signatures of one side again: where they are not those of the old order, reordered.

    Attributes:
      score: of two signatures.
      signature: makes them.
      a: signatures of one side.
      rows: representations of the other.
      mask: which rows count.
    """

    score: Any
    signature: Any
    a: Sequence[Any]
    rows: list[Float[Array, "n _d"]]
    mask: Bool[Array, "n"] | None

    def __call__(self, indices: Int[Array, "n"]) -> Float[Array, "La Lb"]:
        """The scores when example `i` of `b` is what was example `indices[i]`."""
        return self.score.matrix(self.a, self.signature.many([take_rows(x, indices) for x in self.rows], self.mask))
