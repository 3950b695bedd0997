"""Gram matrices of representations, kept as rows and a kernel until someone looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxalign._core.numerics import mask_rows, row_count, take_rows
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.kernels.base import Kernel


@pytree_dataclass
class Gram:
    """The kernel matrix of rows, seen in tiles; never stored unless `matrix` is called.

    Rows are kept as they came; the factors and origins that prepare them are applied to a block
    when it is looked at, which costs nothing there and saves an array as large as the rows.
    Where layers are stacked in `Grams`, every array has an axis of layers in front.

    Attributes:
      raw: rows `(n, d)`; those that do not count may be any that the kernel can take.
      mask: which rows count, `(n,)`, or None for all.
      kernel: the fitted kernel.
      factors: what each row is multiplied by, `(n,)`.
      origins: vectors `(d,)` taken off every row then, one after the other.
      shift: a number for each row, `(n,)`: entry `(i, j)` of a tile has `shift_i + shift_j` taken
        off, which is about what centering takes off in the end. Centered scores do not
        depend on it, their rounding does. 0 where a score will not center.
      gain: a power of two that brings entries near 1.
      units: what an entry of a tile is in the user's units: `K_ij - shift_i - shift_j = tile_ij * units`.
      centered: tiles are for scores that center: they lack the constant that `Kernel.deviate` leaves out.
    """

    raw: Float[Array, "*layers n d"]
    mask: Bool[Array, "*layers n"] | None
    kernel: Kernel
    factors: Float[Array, "*layers n"]
    origins: tuple[Float[Array, "*layers d"], ...]
    shift: Float[Array, "*layers n"]
    gain: Float[Array, "*layers"]
    units: Float[Array, "*layers"]
    centered: bool = field(default=False, metadata={"static": True})

    @property
    def rows(self) -> Float[Array, "n d"]:
        """Prepared rows `(n, d)`, on which the kernel is evaluated; those that do not count are 0."""
        return prepare_rows(self.raw, self.mask, self.factors, self.origins)

    @property
    def count(self) -> Scalar:
        """How many rows count."""
        return row_count(self.raw, self.mask)

    def block(self, start: Array | int, size: int) -> Gram:
        """The Gram matrix of `size` of the rows, from `start` on."""
        return self._of_rows(lambda x: lax.dynamic_slice_in_dim(x, start, size))

    def tile(self, other: Gram) -> Float[Array, "b c"]:
        """`(K_ij - shift_i - shift_j) * gain` of these rows against those of another block of the same matrix.

        Rows and columns that do not count are 0.
        """
        entries = self._entries(other, self.kernel.deviate if self.centered else self.kernel.evaluate)
        return self._counted(other, (entries - (self.shift[:, None] + other.shift[None, :])) * self.gain)

    @property
    def diagonal(self) -> Float[Array, "n"]:
        """The diagonal of all tiles, `(K_ii - 2 shift_i) * gain`; 0 for rows that do not count."""
        evaluate = self.kernel.deviate if self.centered else self.kernel.evaluate
        own = jax.vmap(lambda row: evaluate(row[None, :], row[None, :])[0, 0])(self.rows)
        entries = (own - 2 * self.shift) * self.gain
        return entries if self.mask is None else jnp.where(self.mask, entries, 0)

    def matrix(self) -> Float[Array, "n n"]:
        """The whole matrix in the user's units, `O(n²)` memory; padded rows and columns are 0.

        Rows may have been centered: it is then equal to the kernel matrix of the user's
        rows only up to what centering the matrix removes.
        """
        return self._counted(self, self._entries(self, self.kernel.evaluate) * (self.gain * self.units))

    def _entries(self, other: Gram, evaluate: Callable[[Array, Array], Array]) -> Float[Array, "b c"]:
        """The kernel between all rows of both, whether they count or not."""
        x, y = (prepare_rows(gram.raw, None, gram.factors, gram.origins) for gram in (self, other))
        return evaluate(x, y)

    def _counted(self, other: Gram, entries: Float[Array, "b c"]) -> Float[Array, "b c"]:
        """Entries of rows that count in both, and 0: a kernel may be NaN elsewhere."""
        if self.mask is None or other.mask is None:
            return entries
        return jnp.where(self.mask[:, None] & other.mask[None, :], entries, 0)

    def permute(self, indices: Int[Array, "n"]) -> Gram:
        """Row `i` of the result is row `indices[i]`; nothing is recomputed."""
        return self._of_rows(lambda x: take_rows(x, indices))

    def _of_rows(self, choose: Callable[[Array], Array]) -> Gram:
        """The same with `choose` of every array that has a row for each example."""
        mask = None if self.mask is None else choose(self.mask)
        return replace(self, raw=choose(self.raw), mask=mask, factors=choose(self.factors), shift=choose(self.shift))


def prepare_rows(
    raw: Float[Array, "n d"],
    mask: Bool[Array, "n"] | None,
    factors: Float[Array, "n"],
    origins: Sequence[Float[Array, "d"]],
) -> Float[Array, "n d"]:
    """`raw * factors - origins[0] - origins[1] - ...`, and 0 in rows that do not count."""
    rows = raw * factors[:, None]
    for origin in origins:
        rows = rows - origin[None, :]
    return mask_rows(rows, mask)


@pytree_dataclass
class Grams(Sequence[Gram]):
    """The Gram matrices of several layers over the same examples, layers of about one width in one stack.

    The layers of a stack go through one compiled loop, however many they are. A sequence of
    `Gram` to those who do not care.

    Attributes:
      stacks: each a `Gram` with an axis of layers in front of every leaf; narrow rows end in zeros.
      members: which layers each stack holds.
      widths: features of each layer.
    """

    stacks: tuple[Gram, ...]
    members: tuple[tuple[int, ...], ...] = field(metadata={"static": True})
    widths: tuple[int, ...] = field(metadata={"static": True})

    @classmethod
    def of(cls, grams: Sequence[Gram]) -> Grams:
        """These Gram matrices, each in a stack of its own."""
        if isinstance(grams, Grams):
            return grams
        stacks = tuple(jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], gram) for gram in grams)
        members = tuple((index,) for index in range(len(grams)))
        return cls(stacks, members, tuple(gram.raw.shape[1] for gram in grams))

    def __len__(self) -> int:
        return len(self.widths)

    def __getitem__(self, index: int) -> Gram:  # pyright: ignore[reportIncompatibleMethodOverride] (no slices)
        index = range(len(self))[index]
        stack, members = next(pair for pair in zip(self.stacks, self.members, strict=True) if index in pair[1])
        gram: Gram = jax.tree.map(lambda leaf: leaf[members.index(index)], stack)
        width = self.widths[index]
        return replace(gram, raw=gram.raw[:, :width], origins=tuple(origin[:width] for origin in gram.origins))

    @property
    def examples(self) -> int:
        """Number of rows `n`, counted or not."""
        return self.stacks[0].raw.shape[1]

    @property
    def counted(self) -> Scalar:
        """How many rows count."""
        return row_count(self.stacks[0].raw[0], self.mask)

    @property
    def mask(self) -> Bool[Array, "n"] | None:
        """Which rows count, or None for all: the same in every layer."""
        mask = self.stacks[0].mask
        return None if mask is None else mask[0]

    @property
    def units(self) -> Float[Array, "L"]:
        """The `units` of each layer."""
        return self.in_order(jnp.concatenate([stack.units for stack in self.stacks]))

    def append(self, gram: Gram) -> Grams:
        """These and one more, in a stack of its own."""
        one = Grams.of([gram])
        return Grams((*self.stacks, *one.stacks), (*self.members, (len(self),)), (*self.widths, *one.widths))

    def map(self, work: Callable[[Gram], Array]) -> Array:
        """`work` of every layer, one after the other, in the order of the stacks; `(L, ...)`."""
        return jnp.concatenate([lax.map(work, stack) for stack in self.stacks])

    def in_order(self, values: Array, axis: int = 0) -> Array:
        """Values of layers in the order of the stacks, brought into that of the layers."""
        return jnp.take(values, np.argsort(np.concatenate(self.members)), axis=axis)
