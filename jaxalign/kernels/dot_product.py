"""Kernels of the inner product: linear, polynomial, cosine."""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar

import jax.numpy as jnp

from jaxalign._core.checks import check_integer
from jaxalign._core.numerics import accum_dtype, gram_matmul, unit_factors, widen
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float
from jaxalign.kernels.base import Kernel


def _as_setting(value: float | Array, like: Array) -> Array:
    """A hyperparameter in the dtype of the data it meets."""
    return jnp.asarray(value, accum_dtype(like))


@pytree_dataclass
class Linear(Kernel):
    """`k(x, y) = x · y`."""

    dot_product: ClassVar[bool] = True
    translation_centered: ClassVar[bool] = True
    homogeneous: ClassVar[bool] = True
    ignores_zero_features: ClassVar[bool] = True

    @property
    def definition(self) -> str:
        """`linear`."""
        return "linear"

    def evaluate(self, x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
        """Inner products of rows."""
        return gram_matmul(x, y)

    def diag(self, x: Float[Array, "n d"]) -> Float[Array, "n"]:
        """Squared lengths of rows."""
        x = widen(x)
        return jnp.sum(x * x, axis=1)


@pytree_dataclass
class Cosine(Linear):
    """`k(x, y) = x · y / (|x| |y|)`; 0 where a row is zero.

    It is the linear kernel of rows scaled to unit length, and is computed as that.
    """

    translation_centered: ClassVar[bool] = False
    scale_free: ClassVar[bool] = True
    row_scale_free: ClassVar[bool] = True

    @property
    def definition(self) -> str:
        """`cosine`."""
        return "cosine"

    def row_factors(self, x: Float[Array, "n d"]) -> Float[Array, "n"]:
        """What brings rows to unit length."""
        return unit_factors(x)

    def diag(self, x: Float[Array, "n d"]) -> Float[Array, "n"]:
        """Ones up to rounding, and 0 where a row is zero."""
        return super().diag(self.scaled(x))


@pytree_dataclass
class Polynomial(Kernel):
    """`k(x, y) = (scale · x·y + offset) ** degree`.

    Positive semi-definite for `scale > 0`, `offset >= 0` and `degree` a positive integer.
    It is not invariant to translation: rows far from the origin make it ill-conditioned,
    and no arithmetic in float32 repairs that; center them first if that is what you mean.

    Raises:
      TypeError, ValueError: when `degree` is not an integer of at least 1.
    """

    ignores_zero_features: ClassVar[bool] = True

    degree: int = field(default=3, metadata={"static": True})
    scale: float | Array = 1.0
    offset: float | Array = 1.0

    def __post_init__(self):
        check_integer("Polynomial", "degree", self.degree, minimum=1)

    @property
    def definition(self) -> str:
        """`polynomial(degree, scale, offset)`."""
        return f"polynomial(degree={self.degree},scale={self.scale},offset={self.offset})"

    def evaluate(self, x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
        """Powers of shifted inner products of rows."""
        return self._power(gram_matmul(x, y))

    def deviate(self, x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
        """Entries less `offset ** degree`, which short rows bring them near to."""
        product = gram_matmul(x, y)
        offset, moved = _as_setting(self.offset, product), _as_setting(self.scale, product) * product
        # a^p - b^p = (a - b) (a^(p-1) + a^(p-2) b + ... + b^(p-1)): nothing large is subtracted.
        powers = jnp.ones_like(moved)
        for exponent in range(1, self.degree):
            powers = powers * (moved + offset) + offset**exponent
        return moved * powers

    def diag(self, x: Float[Array, "n d"]) -> Float[Array, "n"]:
        """Powers of shifted squared lengths."""
        x = widen(x)
        return self._power(jnp.sum(x * x, axis=1))

    def _power(self, product: Array) -> Array:
        return (_as_setting(self.scale, product) * product + _as_setting(self.offset, product)) ** self.degree
