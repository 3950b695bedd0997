"""The Gram matrix of one representation, kept as rows and a kernel until someone looks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import row_count, take_rows
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.kernels.base import Kernel


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Gram:
    """The kernel matrix of rows, seen in tiles; never stored unless `matrix` is called.

    Attributes:
      rows: prepared rows `(n, d)`; rows that do not count are 0.
      kernel: the fitted kernel.
      mask: which rows count, `(n,)`, or None for all.
      shift: a number for each row, `(n,)`: entry `(i, j)` of a tile has `shift_i + shift_j` taken
        off, which is about what centering takes off in the end. Centered scores do not
        depend on it, their rounding does. 0 where a score will not center.
      gain: a power of two that brings entries near 1.
      units: what an entry of a tile is in the user's units: `K_ij - shift_i - shift_j = tile_ij * units`.
    """

    rows: Float[Array, "n d"]
    kernel: Kernel
    mask: Bool[Array, "n"] | None
    shift: Float[Array, "n"]
    gain: Scalar
    units: Scalar

    @property
    def count(self) -> Scalar:
        """How many rows count."""
        return row_count(self.rows, self.mask)

    @property
    def weights(self) -> Float[Array, "n"]:
        """1 for rows that count, 0 for padding."""
        n = self.rows.shape[0]
        return jnp.ones(n, self.rows.dtype) if self.mask is None else self.mask.astype(self.rows.dtype)

    def tile(self, start: Array | int, start_other: Array | int, size: int) -> Float[Array, "b b"]:
        """`(K_ij - shift_i - shift_j) * gain` for `size` rows from one start against `size` from another."""
        block, other = (lax.dynamic_slice_in_dim(self.rows, at, size) for at in (start, start_other))
        shift, shift_other = (lax.dynamic_slice_in_dim(self.shift, at, size) for at in (start, start_other))
        return (self.kernel.evaluate(block, other) - (shift[:, None] + shift_other[None, :])) * self.gain

    def matrix(self) -> Float[Array, "n n"]:
        """The whole matrix in the user's units, `O(n²)` memory; padded rows and columns are 0.

        Rows may have been centered: it is then equal to the kernel matrix of the user's
        rows only up to what centering the matrix removes.
        """
        weights = self.weights
        entries = self.kernel.evaluate(self.rows, self.rows) * (self.gain * self.units)
        return entries * weights[:, None] * weights[None, :]

    def permute(self, indices: Int[Array, "n"]) -> Gram:
        """Row `i` of the result is row `indices[i]`; nothing is recomputed."""
        mask = None if self.mask is None else take_rows(self.mask, indices)
        return replace(self, rows=take_rows(self.rows, indices), mask=mask, shift=take_rows(self.shift, indices))
