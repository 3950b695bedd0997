"""Whitened representations: orthonormal bases of their columns, of all or of the leading ones, or shrunk."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import field, replace
from typing import ClassVar

import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_ridge
from jaxalign._core.linalg import leading_polar_factor, orthonormal_basis, ridge_basis
from jaxalign._core.numerics import binary_scale, center_columns, cross_matmul, mask_rows, row_count, take_rows, widen
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.signatures.batching import map_layers, pad_features


class UninformativeWarning(UserWarning):
    """A score will be the same for almost any inputs of these shapes."""


def warn_if_spanning(x: Float[Array, "n d"], constraints: int = 1) -> None:
    """Warn, at trace time, when the columns of inputs of this shape span all that rows can be.

    Args:
      x: shape `(n, d)`.
      constraints: what rows have in common: 1 when they are centered.
    """
    n, d = x.shape
    if n - constraints <= d:
        warnings.warn(
            f"{n} examples of {d} features: they span everything, and the score says nothing; "
            "take more examples, a ridge (ridge_cca), or leading directions only (svcca)",
            UninformativeWarning,
            stacklevel=3,
        )


@pytree_dataclass
class Whitened:
    """A representation with the spread of its features taken off.

    Attributes:
      rows: `(n, d)` with singular values 1, or 0 beyond the numerical rank, or shrunk by a ridge.
      rank: how many directions there are, a floating scalar; no gradient.
      constant: all rows that count are equal.
    """

    rows: Float[Array, "n d"]
    rank: Scalar
    constant: Bool[Array, ""]

    def permute(self, indices: Int[Array, "n"]) -> Whitened:
        """Example `i` of the result is example `indices[i]`."""
        return replace(self, rows=take_rows(self.rows, indices))


@pytree_dataclass
class WhitenedSignature:
    """Makes the `Whitened` of a representation: `X (XᵀX + n·ridge I)^(-1/2)`, up to a rotation of its columns.

    Its derivative exists where singular values coincide or vanish.

    Args:
      ridge: added to the variances, in the square of the units of the input.
      centered: take off the column means first.
      variance: keep the leading directions that hold this share of the variance; without a ridge.
      rank: keep at most this many directions; without a ridge.
      shrunk: a ridge is used: whether `ridge` is 0 cannot be asked of a traced number.
    """

    ridge: float | Scalar = 0.0
    centered: bool = field(default=True, metadata={"static": True})
    variance: float = field(default=1.0, metadata={"static": True})
    rank: int | None = field(default=None, metadata={"static": True})
    shrunk: bool = field(default=False, metadata={"static": True})

    #: As large as the representation.
    compact: ClassVar[bool] = False

    def __post_init__(self):
        check_ridge("WhitenedSignature", self.ridge)

    @property
    def ignores_zero_features(self) -> bool:
        """True: they span nothing."""
        return True

    @property
    def definition(self) -> str:
        """What is kept, and the ridge."""
        parts = [] if self.centered else ["uncentered"]
        parts += [f"ridge={self.ridge}"] if self.shrunk else []
        parts += [f"variance={self.variance}"] if self.variance < 1 else []
        parts += [f"rank={self.rank}"] if self.rank is not None else []
        return ",".join(parts) or "whitened"

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Whitened:
        """The signature of one representation, `(n, d)`.

        Warns with `UninformativeWarning` at trace time when `n` examples are too few for so many
        features: without a ridge or a smaller rank the columns then span everything, and any two
        such inputs are alike.
        """
        self._warn(x)
        return self._whiten(x, mask)

    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> list[Whitened]:
        """The signatures of several representations of the same examples."""
        for x in layers:
            self._warn(x)
        return map_layers(lambda x: self._whiten(x, mask), layers)

    def _warn(self, x: Float[Array, "n d"]) -> None:
        if self.variance >= 1 and self.rank is None and not self.shrunk:
            warn_if_spanning(x, int(self.centered))

    def _whiten(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None) -> Whitened:
        rows = center_columns(x, mask) if self.centered else mask_rows(widen(x), mask)
        constant = jnp.all(rows == 0)
        if self.shrunk:
            count = row_count(rows, mask)
            directions = jnp.sum(jnp.any(rows != 0, axis=0), dtype=rows.dtype)
            return Whitened(
                ridge_basis(rows, self.ridge * count),
                jnp.minimum(directions, count - int(self.centered)),
                constant,
            )
        if self.variance < 1 or self.rank is not None:
            factor, rank = leading_polar_factor(rows, variance=self.variance, rank=self.rank)
            return Whitened(factor, lax.stop_gradient(rank), constant)
        factor = orthonormal_basis(rows)
        rank = lax.stop_gradient(jnp.round(jnp.sum(factor * factor)))
        return Whitened(factor, rank, constant)


@pytree_dataclass
class Regressor:
    """A representation as input and as target of a linear regression.

    Attributes:
      whitened: as input.
      target: centered rows `(n, d)`, as target, in units of their own.
    """

    whitened: Whitened
    target: Float[Array, "n d"]

    def permute(self, indices: Int[Array, "n"]) -> Regressor:
        """Example `i` of the result is example `indices[i]`."""
        return Regressor(self.whitened.permute(indices), take_rows(self.target, indices))


@pytree_dataclass
class RegressorSignature:
    """Makes the `Regressor` of a representation.

    Args:
      ridge: added to the variances of the input.
      shrunk: a ridge is used.
    """

    ridge: float | Scalar = 0.0
    shrunk: bool = field(default=False, metadata={"static": True})

    #: Twice as large as the representation.
    compact: ClassVar[bool] = False

    @property
    def ignores_zero_features(self) -> bool:
        """True: they predict nothing, and are predicted."""
        return True

    @property
    def definition(self) -> str:
        """The ridge."""
        return f"ridge={self.ridge}" if self.shrunk else "least_squares"

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Regressor:
        """The signature of one representation, `(n, d)`."""
        return self.many([x], mask)[0]

    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> list[Regressor]:
        """The signatures of several representations of the same examples."""

        def target(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
            centered = center_columns(x, mask)
            return centered * binary_scale(centered)

        whitened = WhitenedSignature(ridge=self.ridge, shrunk=self.shrunk).many(layers, mask)
        return [Regressor(*parts) for parts in zip(whitened, map_layers(target, layers), strict=True)]


@pytree_dataclass
class Projected:
    """A whitened representation, and what its features are in that basis.

    Attributes:
      whitened: the basis `Q`.
      features: `Qᵀ X` with centered `X`, `(d, d)`, in units of its own.
    """

    whitened: Whitened
    features: Float[Array, "d d"]

    def permute(self, indices: Int[Array, "n"]) -> Projected:
        """Example `i` of the result is example `indices[i]`."""
        return Projected(self.whitened.permute(indices), self.features)


@pytree_dataclass
class ProjectedSignature:
    """Makes the `Projected` of a representation."""

    #: Larger than the representation.
    compact: ClassVar[bool] = False

    @property
    def ignores_zero_features(self) -> bool:
        """True: they span nothing and weigh nothing."""
        return True

    @property
    def definition(self) -> str:
        """What the basis is."""
        return WhitenedSignature().definition

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Projected:
        """The signature of one representation, `(n, d)`."""
        return self.many([x], mask)[0]

    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> list[Projected]:
        """The signatures of several representations of the same examples."""
        bases = WhitenedSignature().many(layers, mask)

        def features(basis: Whitened, x: Float[Array, "n d"]) -> Float[Array, "d d"]:
            rows = pad_features(center_columns(x, mask), basis.rows.shape[1])
            return cross_matmul(basis.rows, rows * binary_scale(rows))

        return [Projected(basis, features(basis, x)) for basis, x in zip(bases, layers, strict=True)]
