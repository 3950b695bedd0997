"""Sums that keep the digits that rounding takes off them: a number as the sum of two floats."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float


@pytree_dataclass
class Compensated:
    """Numbers of about twice the digits of their dtype, `high + low`.

    A sum of thousands of float32 terms then loses no more than the terms have lost already. Infinite
    numbers become NaN.

    Attributes:
      high: the sum, rounded.
      low: what rounding took off it, smaller by the precision of the dtype.

    Example:
      >>> total = Compensated.of(jnp.float32(1e8))
      >>> for _ in range(3):
      ...     total = total + Compensated.of(jnp.float32(1))  # float32 alone would stay at 1e8
      >>> float((total - Compensated.of(jnp.float32(1e8))).value)
      3.0
    """

    high: Float[Array, "*shape"]
    low: Float[Array, "*shape"]

    @classmethod
    def of(cls, value: Float[Array, "*shape"]) -> Compensated:
        """A number of one float."""
        return cls(value, jnp.zeros_like(value))

    @property
    def value(self) -> Float[Array, "*shape"]:
        """The nearest number of one float."""
        return self.high + self.low

    def __add__(self, other: Compensated) -> Compensated:
        total, lost = _two_sum(self.high, other.high)
        return Compensated(*_renormalized(total, lost + (self.low + other.low)))

    def __neg__(self) -> Compensated:
        return Compensated(-self.high, -self.low)

    def __sub__(self, other: Compensated) -> Compensated:
        return self + (-other)


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded sum and, exactly, what rounding took (Knuth 1969)."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def _renormalized(high: Array, low: Array) -> tuple[Array, Array]:
    """The same number with all that `high` can hold in `high`; exact where `low` is the smaller one."""
    total = high + low
    return total, low - (total - high)
