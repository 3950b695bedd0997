"""Which reorderings of examples leave a null hypothesis true: all, those within groups, of blocks, or shifts."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxalign._core.checks import check_integer
from jaxalign._core.numerics import take_rows
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Int


@dataclass(frozen=True)
class Scheme(ABC):
    """A set of reorderings of examples, each as likely as any other when unrelated representations are compared."""

    @property
    def closed(self) -> bool:
        """Whether one reordering after another is one of them again."""
        return True

    @abstractmethod
    def draw(self, key: Array, n: int, mask: Bool[Array, "n"] | None = None) -> Int[Array, "n"]:
        """One at random: example `i` of the reordered input is example `indices[i]`.

        Examples that do not count stay where they are.

        Args:
          key: a PRNG key.
          n: number of examples.
          mask: which of them count.
        """

    @abstractmethod
    def orders(self, function: str, n: int, mask: Bool[Array, "n"] | None = None) -> float:
        """How many reorderings there are; infinity for very many, and where that is not known under `jit`.

        Args:
          function: for errors.
          n: number of examples.
          mask: which of them count.

        Raises:
          ValueError: where there is only one, or the scheme is not for so many examples.
        """


@pytree_dataclass
class Free(Scheme):
    """Every order of the examples: they are independent draws.

    Example:
      >>> Free().draw(jax.random.key(0), 4).shape
      (4,)
    """

    def draw(self, key: Array, n: int, mask: Bool[Array, "n"] | None = None) -> Int[Array, "n"]:
        """A uniform permutation of the examples that count."""
        if mask is None:
            return jax.random.permutation(key, jnp.arange(n, dtype=jnp.int32))
        return _exchange_within(key, jnp.zeros(n, jnp.int32), mask)

    def orders(self, function: str, n: int, mask: Bool[Array, "n"] | None = None) -> float:
        """`n!` of the examples that count."""
        if isinstance(mask, Tracer):
            return math.inf
        return _several(function, "Free", _factorial(n if mask is None else int(np.sum(np.asarray(mask)))))


@pytree_dataclass
class Within(Scheme):
    """Orders that leave each example among those with its label: exchangeability blocks, strata.

    Examples of one subject, session or class are exchanged with one another only, so that what differs between
    groups is not mistaken for alignment.

    Args:
      labels: shape `(n,)`, integers: the group of each example, in any order.
    """

    labels: Int[Array, "n"]

    def draw(self, key: Array, n: int, mask: Bool[Array, "n"] | None = None) -> Int[Array, "n"]:
        """A uniform permutation within each group."""
        return _exchange_within(key, jnp.asarray(self.labels), mask)

    def orders(self, function: str, n: int, mask: Bool[Array, "n"] | None = None) -> float:
        """The product of the factorials of the sizes of groups.

        Raises:
          ValueError: unless labels are integers, one for each example, and some group has two that count.
        """
        labels = self.labels
        if tuple(np.shape(labels)) != (n,) or not np.issubdtype(np.dtype(labels.dtype), np.integer):
            raise ValueError(
                f"{function}: labels of Within must be integers of shape ({n},), "
                f"got {labels.dtype} {tuple(np.shape(labels))}"
            )
        if isinstance(labels, Tracer) or isinstance(mask, Tracer):
            return math.inf
        counted = np.asarray(labels) if mask is None else np.asarray(labels)[np.asarray(mask)]
        _, sizes = np.unique(counted, return_counts=True)
        return _several(function, "Within", math.prod(_factorial(int(size)) for size in sizes))


@pytree_dataclass
class Blocks(Scheme):
    """Orders of consecutive blocks of examples, each of which stays as it is: for examples that depend on neighbors.

    Args:
      size: examples of a block.
    """

    size: int = field(metadata={"static": True})

    def __post_init__(self):
        check_integer("Blocks", "size", self.size, minimum=1)

    def draw(self, key: Array, n: int, mask: Bool[Array, "n"] | None = None) -> Int[Array, "n"]:
        """A uniform permutation of the blocks."""
        blocks = jax.random.permutation(key, jnp.arange(n // self.size, dtype=jnp.int32))
        return (blocks[:, None] * self.size + jnp.arange(self.size, dtype=jnp.int32)[None, :]).reshape(-1)

    def orders(self, function: str, n: int, mask: Bool[Array, "n"] | None = None) -> float:
        """The factorial of the number of blocks.

        Raises:
          ValueError: unless blocks divide the examples into two or more; for a mask.
        """
        if n % self.size or n < 2 * self.size:
            raise ValueError(
                f"{function}: blocks of {self.size} examples must divide the {n} examples into two or more; "
                "cut the rest off"
            )
        _refuse_mask(function, "Blocks", mask)
        return _factorial(n // self.size)


@pytree_dataclass
class CircularShift(Scheme):
    """Shifts of all examples by the same number, the end going to the front: one stationary series against another.

    No shift is one of the orders, as likely as any other: p-values are not below one over their number but by luck.
    They are exact for `least = 1` and a series that ends where it began, and about right for another that hardly
    remembers itself after `least` examples.

    Args:
      least: the smallest shift, either way.
    """

    least: int = field(default=1, metadata={"static": True})

    def __post_init__(self):
        check_integer("CircularShift", "least", self.least, minimum=1)

    @property
    def closed(self) -> bool:
        """Only where any shift will do: one after another may be a smaller one."""
        return self.least == 1

    def draw(self, key: Array, n: int, mask: Bool[Array, "n"] | None = None) -> Int[Array, "n"]:
        """A shift between `least` and `n - least`, or none."""
        number = jax.random.randint(key, (), 0, n - 2 * self.least + 2, dtype=jnp.int32)
        shift = jnp.where(number == 0, 0, number + (self.least - 1))
        return (jnp.arange(n, dtype=jnp.int32) + shift) % n

    def orders(self, function: str, n: int, mask: Bool[Array, "n"] | None = None) -> float:
        """The number of shifts, and none.

        Raises:
          ValueError: where the smallest shift is beyond half of the series; for a mask.
        """
        if n < 2 * self.least:
            raise ValueError(f"{function}: shifts of at least {self.least} need {2 * self.least} examples, got {n}")
        _refuse_mask(function, "CircularShift", mask)
        return float(n - 2 * self.least + 2)


def _exchange_within(key: Array, labels: Int[Array, "n"], mask: Bool[Array, "n"] | None) -> Int[Array, "n"]:
    """A uniform permutation that keeps labels; examples that do not count stay in place."""
    place = jnp.arange(labels.shape[0], dtype=jnp.int32)
    # A uniform order first: its places break ties, which numbers of 32 bits have when there are very many.
    shuffled = jax.random.permutation(key, place)
    if mask is None:
        groups = (labels,)
    else:  # each that does not count is a group of its own
        hidden = ~jnp.asarray(mask)
        groups = (hidden.astype(jnp.int32), jnp.where(hidden, place.astype(labels.dtype), labels))
    *_, there = jax.lax.sort((*groups, place), num_keys=len(groups), is_stable=True)
    *_, here = jax.lax.sort(
        (*(take_rows(group, shuffled) for group in groups), shuffled), num_keys=len(groups), is_stable=True
    )
    return jnp.zeros_like(place).at[there].set(here, unique_indices=True)


def _factorial(count: int) -> float:
    return math.exp(min(math.lgamma(count + 1), 700.0))


def _several(function: str, scheme: str, orders: float) -> float:
    if orders < 1.5:
        raise ValueError(f"{function}: {scheme} leaves every example where it is: no group has two examples")
    return orders


def _refuse_mask(function: str, scheme: str, mask: Array | None) -> None:
    if mask is not None:
        raise ValueError(
            f"{function}: {scheme} takes no mask, as examples that do not count would be moved; drop them first"
        )
