"""Representations for regressions that are scored on rows they have not seen: rows dealt out to folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from typing import ClassVar

import jax.numpy as jnp
from jax import lax

from jaxalign._core.linalg import numerical_rank_mask, thin_svd
from jaxalign._core.numerics import (
    binary_scale,
    center_columns,
    column_mean,
    inverse_permutation,
    mask_rows,
    matmul,
    take_rows,
)
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.signatures.batching import map_layers


@pytree_dataclass
class Factor:
    """The training rows of one fold taken apart, `U diag(s) Vᵀ`, or those of each.

    Attributes:
      left: `U`, `(t, r)`; 0 beyond the numerical rank.
      singular: `s`, `(r,)`; 0 beyond the numerical rank.
      held_out: the held-out rows times `V`, `(m, r)`.
    """

    left: Float[Array, "*k t r"]
    singular: Float[Array, "*k r"]
    held_out: Float[Array, "*k m r"]


@pytree_dataclass
class FoldedRegressor:
    """A representation as input and as target of regressions, one for each fold.

    Attributes:
      rows: `(k, m, d)`, dealt out to `k` folds, centered, in units of their own; 0 where there is none.
      units: `(1, d)`, what features are multiplied by as inputs.
      counts: which of them count.
      order: `(n,)`, the rows in the order in which they were dealt out.
      factors: the training rows of each fold, taken apart; no gradient. None after rows changed places, and folds
        hold others than they were taken apart for: it then is a target only.
      penalties: `(k, l)`, added to squares of singular values.
      constant: all rows that count are equal.
    """

    rows: Float[Array, "k m d"]
    units: Float[Array, "1 d"]
    counts: Bool[Array, "k m"]
    order: Int[Array, "n"]
    factors: Factor | None
    penalties: Float[Array, "k l"]
    constant: Bool[Array, ""]

    def permute(self, indices: Int[Array, "n"]) -> FoldedRegressor:
        """Example `i` of the result is example `indices[i]`: a target, not an input of regressions."""
        dealt = self.rows.swapaxes(0, 1).reshape(-1, self.rows.shape[2])
        moved = take_rows(inverse_permutation(self.order), take_rows(indices, self.order))
        dealt = dealt.at[: moved.shape[0]].set(take_rows(dealt, moved))
        rows = dealt.reshape(-1, self.rows.shape[0], self.rows.shape[2]).swapaxes(0, 1)
        return replace(self, rows=rows, factors=None)


@pytree_dataclass
class FoldedRegressorSignature:
    """Makes the `FoldedRegressor` of a representation.

    Args:
      ridges: added to the variances of the input, one or several to choose from.
      folds: how many; 1 for rows that are all trained on, and all scored.
    """

    ridges: tuple[float | Scalar, ...] = (0.0,)
    folds: int = field(default=1, metadata={"static": True})

    #: Several times as large as the representation.
    compact: ClassVar[bool] = False

    @property
    def ignores_zero_features(self) -> bool:
        """True: they predict nothing, and are predicted."""
        return True

    @property
    def definition(self) -> str:
        """The ridges, and the folds."""
        ridges = " or ".join(f"{ridge}" for ridge in self.ridges)
        return f"ridge={ridges}" + (f",folds={self.folds}" if self.folds > 1 else "")

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> FoldedRegressor:
        """The signature of one representation, `(n, d)`.

        Raises:
          ValueError: for more folds than rows.
        """
        if self.folds > x.shape[0]:
            raise ValueError(f"linear_predictivity: folds must be at most the rows ({x.shape[0]}), got {self.folds}")
        rows, counts, order, scale = deal_rows(x, mask, self.folds)
        # A penalty without bound leaves nothing, as does one that is only too large to be squared.
        ridges = jnp.stack([jnp.asarray(ridge, rows.dtype) for ridge in self.ridges])
        ridges = jnp.minimum(ridges * scale * scale, jnp.finfo(rows.dtype).max ** 0.5)

        # Without a ridge, and with rows enough, predictions do not depend on the units of a feature; the rounding
        # does, and small features would be lost beside large ones.
        units = jnp.ones((1, rows.shape[2]), rows.dtype)
        if training_part(counts, jnp.int32(0)).shape[0] > rows.shape[2]:
            own = binary_scale(rows.reshape(-1, rows.shape[2]), axis=0)
            units = lax.stop_gradient(jnp.where(jnp.all(ridges == 0), own, units))

        def of_fold(fold: Int[Array, ""]) -> tuple[Factor, Float[Array, "l"]]:
            train, test = lax.stop_gradient(split_rows(rows * units[None, :, :], counts, fold))
            u, s, vt = thin_svd(train)
            inside = numerical_rank_mask(s, (train.shape[0], train.shape[1]), s.dtype).astype(s.dtype)
            factor = Factor(u * inside[None, :], s * inside, matmul(test, vt.T) * inside[None, :])
            return factor, ridges * jnp.sum(training_part(counts, fold), dtype=rows.dtype)

        factors, penalties = lax.map(of_fold, jnp.arange(self.folds))
        return FoldedRegressor(rows, units, counts, order, factors, penalties, jnp.all(rows == 0))

    def many(
        self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None
    ) -> list[FoldedRegressor]:
        """The signatures of several representations of the same examples."""
        return map_layers(lambda x: self(x, mask), layers)


def deal_rows(
    x: Float[Array, "n d"], mask: Bool[Array, "n"] | None, folds: int
) -> tuple[Float[Array, "k m d"], Bool[Array, "k m"], Int[Array, "n"], Scalar]:
    """Centered rows, the `i`-th of those that count to fold `i % folds`; which count; their order; their units."""
    rows = center_columns(x, mask)
    scale = binary_scale(rows)
    rows, counts = rows * scale, jnp.ones(rows.shape[0], bool)
    order = jnp.arange(rows.shape[0], dtype=jnp.int32)
    if mask is not None:  # first those that count
        order = jnp.argsort(~mask, stable=True).astype(jnp.int32)
        rows, counts = take_rows(rows, order), take_rows(mask, order)
    lacking = -rows.shape[0] % folds
    rows, counts = jnp.pad(rows, ((0, lacking), (0, 0))), jnp.pad(counts, (0, lacking))
    return rows.reshape(-1, folds, x.shape[1]).swapaxes(0, 1), counts.reshape(-1, folds).T, order, scale


def training_part(dealt: Array, fold: Int[Array, ""]) -> Array:
    """What all folds but one hold, in one piece; of a single fold, what it holds."""
    if dealt.shape[0] == 1:
        return dealt[0]
    others = jnp.roll(dealt, -1 - fold, axis=0)[:-1]
    return others.reshape(-1, *dealt.shape[2:])


def split_rows(
    rows: Float[Array, "k m d"], counts: Bool[Array, "k m"], fold: Int[Array, ""]
) -> tuple[Float[Array, "t d"], Float[Array, "m d"]]:
    """Training rows and held-out rows of a fold, less the mean of the training rows."""
    train, trained = training_part(rows, fold), training_part(counts, fold)
    mean = column_mean(train, trained)[None, :]
    return mask_rows(train - mean, trained), mask_rows(rows[fold] - mean, counts[fold])
