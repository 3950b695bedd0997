"""Scores of representations under very many orders of the examples of one side: what permutation tests look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax

from jaxalign._core.numerics import inverse_permutation, take_rows
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


def turned(scores: Reordering, orders: Int[Array, "m n"]) -> Callable[[Int[Array, "n"]], Float[Array, "m La Lb"]]:
    """The scores in several orders at once, as a function of another order: in `indices ∘ orders[k]⁻¹` for each `k`.

    Both sides may be reordered: `b` by `indices`, and `a` by any of a few `orders`, for which it is prepared once.
    Where looking up entries is what takes time, each look-up then serves all of them. Scores that can do that have
    a method `turned`.

    Args:
      scores: from `reordering`.
      orders: each a permutation, int32.
    """
    own = getattr(scores, "turned", None)
    return Composed(scores, orders) if own is None else own(orders)


@pytree_dataclass
class Composed:
    """`turned`, one order after the other.

    Attributes:
      scores: in one order.
      orders: `(m, n)`.
    """

    scores: Any
    orders: Int[Array, "m n"]

    def __call__(self, indices: Int[Array, "n"]) -> Float[Array, "m La Lb"]:
        """The scores in each of the orders."""

        def one(order: Int[Array, "n"]) -> Float[Array, "La Lb"]:
            return self.scores(take_rows(indices, inverse_permutation(order)))

        if self.orders.shape[0] == 1:
            return one(self.orders[0])[None]
        return lax.map(one, self.orders)


@pytree_dataclass
class Finished:
    """`turned`, of scores that are finished from inner products.

    Attributes:
      scores: with a method `finish` from those of one order to scores.
      cross: them, of several orders.
    """

    scores: Any
    cross: Any

    def __call__(self, indices: Int[Array, "n"]) -> Float[Array, "m La Lb"]:
        """The scores in each of the orders."""
        return jax.vmap(self.scores.finish)(self.cross(indices))


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
