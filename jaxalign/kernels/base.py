"""What a kernel is, and sums and products of kernels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp

from jaxalign._core.checks import as_array, check_matrix, check_pytree
from jaxalign._core.numerics import accum_dtype, column_mean, widen
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float


class Kernel(ABC):
    """A similarity of two rows, evaluated on all pairs at once.

    `kernel(x, y)` is the `(n, m)` matrix, `kernel(x)` is `kernel(x, x)` and
    `kernel.diag(x)` its diagonal, a vector. Every kernel is an immutable pytree.

    An engine uses the parts: `row_factors` once per representation, `fit` once to settle
    what depends on the data, then `evaluate` on blocks of prepared rows.
    """

    #: `k(x + c, y + c) == k(x, y)`: rows may be centered before evaluating.
    translation_invariant: ClassVar[bool] = False
    #: Centering the matrix removes the effect of translating rows.
    translation_centered: ClassVar[bool] = False
    #: `k(c x, c y)` is `k(x, y)` times a constant that depends on `c` alone.
    homogeneous: ClassVar[bool] = False
    #: That constant is 1.
    scale_free: ClassVar[bool] = False
    #: `k` does not change when rows are multiplied by positive numbers, each by its own.
    row_scale_free: ClassVar[bool] = False
    #: `evaluate` is the inner product of prepared rows: moments can replace the matrix.
    dot_product: ClassVar[bool] = False
    #: Zero features, the same number in all rows, change nothing: layers of about one width may
    #: be padded to the same.
    ignores_zero_features: ClassVar[bool] = False

    @property
    @abstractmethod
    def definition(self) -> str:
        """A short text that states the kernel and its settings, e.g. `rbf(median)`."""

    @abstractmethod
    def evaluate(self, x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
        """The kernel matrix between two sets of prepared rows; the kernel must be fitted."""

    def deviate(self, x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
        """`evaluate`, less a constant that a kernel may choose: enough for scores that center.

        Where all entries are near one number, what tells them apart keeps its digits.
        """
        return self.evaluate(x, y)

    @abstractmethod
    def diag(self, x: Float[Array, "n d"]) -> Float[Array, "n"]:
        """`k(x_i, x_i)`, the diagonal of `kernel(x)`."""

    def row_factors(self, x: Float[Array, "n d"]) -> Float[Array, "n"]:
        """What to multiply each row by before `evaluate`; 1 unless a kernel scales rows."""
        return jnp.ones(x.shape[0], accum_dtype(x))

    def scaled(self, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """Rows times their `row_factors`."""
        return widen(x) * self.row_factors(x)[:, None]

    def fit(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Kernel:
        """The kernel with every setting that depends on the data made a number.

        Args:
          x: rows as `evaluate` will get them: scaled, and centered for a kernel that is
            translation invariant.
          mask: which rows count.
        """
        return self

    def __call__(self, x: Float[Array, "n d"], y: Float[Array, "m d"] | None = None) -> Float[Array, "n m"]:
        """The kernel matrix between rows of `x` and `y`, or of `x` with itself.

        A setting that depends on the data (`bandwidth="median"`) is taken from `x`.

        Raises:
          ValueError: when the arrays are not matrices with the same number of features.
        """
        name = type(self).__name__
        x = as_array(name, "x", x)
        check_matrix(name, "x", x)
        y = x if y is None else as_array(name, "y", y)
        check_matrix(name, "y", y)
        if x.shape[1] != y.shape[1]:
            raise ValueError(
                f"{name}: x and y must have the same number of features, got {x.shape[1]} and {y.shape[1]}"
            )
        x, y = self.scaled(x), self.scaled(y)
        if self.translation_invariant:  # distances between rows far from the origin lose digits
            dtype = accum_dtype(x, y)
            origin = column_mean(x.astype(dtype))[None, :]
            x, y = x.astype(dtype) - origin, y.astype(dtype) - origin
        return self.fit(x).evaluate(x, y)

    def __add__(self, other: Kernel) -> Sum:
        return Sum(self, other)

    def __mul__(self, other: Kernel) -> Product:
        return Product(self, other)


def check_kernel(function: str, kernel: Any) -> None:
    """Raise `TypeError` unless `kernel` is a kernel, an instance, whose class is a pytree."""
    if not isinstance(kernel, Kernel):
        raise TypeError(f"{function}: kernel must be a Kernel such as jaxalign.RBF(), got {kernel!r}")
    check_pytree(function, "kernel", kernel, "registered pytree")


@dataclass(frozen=True)
class _Pair(Kernel):
    """Two kernels evaluated on the same rows."""

    left: Kernel
    right: Kernel

    symbol: ClassVar[str]

    @property
    def definition(self) -> str:
        return f"({self.left.definition} {self.symbol} {self.right.definition})"

    @property
    def translation_invariant(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.left.translation_invariant and self.right.translation_invariant

    @property
    def translation_centered(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.translation_invariant

    @property
    def scale_free(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.left.scale_free and self.right.scale_free

    @property
    def ignores_zero_features(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.left.ignores_zero_features and self.right.ignores_zero_features

    @property
    def homogeneous(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.scale_free

    def fit(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> _Pair:
        return type(self)(self.left.fit(x, mask), self.right.fit(x, mask))

    def _both(self, x: Float[Array, "n d"], y: Float[Array, "m d"]) -> list[Float[Array, "n m"]]:
        return [k.evaluate(k.scaled(x), k.scaled(y)) for k in (self.left, self.right)]

    def _diagonals(self, x: Float[Array, "n d"]) -> list[Float[Array, "n"]]:
        return [k.diag(x) for k in (self.left, self.right)]


@pytree_dataclass
class Sum(_Pair):
    """`left + right`."""

    symbol: ClassVar[str] = "+"

    def evaluate(self, x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
        """Sums of entries."""
        left, right = self._both(x, y)
        return left + right

    def deviate(self, x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
        """Sums of entries, less both constants."""
        left, right = (k.deviate(k.scaled(x), k.scaled(y)) for k in (self.left, self.right))
        return left + right

    def diag(self, x: Float[Array, "n d"]) -> Float[Array, "n"]:
        """Sums of diagonals."""
        left, right = self._diagonals(x)
        return left + right


@pytree_dataclass
class Product(_Pair):
    """`left * right`, entry by entry."""

    symbol: ClassVar[str] = "*"

    @property
    def homogeneous(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether both factors are."""
        return self.left.homogeneous and self.right.homogeneous

    def evaluate(self, x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
        """Products of entries."""
        left, right = self._both(x, y)
        return left * right

    def diag(self, x: Float[Array, "n d"]) -> Float[Array, "n"]:
        """Products of diagonals."""
        left, right = self._diagonals(x)
        return left * right
