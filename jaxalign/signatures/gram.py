"""From activations to a Gram matrix: prepare rows, fit the kernel, see what centering will take off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import ClassVar

import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import binary_scale, column_centers, fill_rows, safe_sqrt, take_rows, widen
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.engines.heavy import heaviest_rows, leave_out, row_lengths
from jaxalign.engines.products import WITHOUT_DIAGONAL
from jaxalign.kernels.base import Kernel
from jaxalign.kernels.gram import Gram, Grams, prepare_rows
from jaxalign.signatures.batching import stack_layers

#: Rows against which all others are evaluated to see what centering will take off.
LANDMARKS = 32
#: Rows evaluated against the landmarks at a time.
BLOCK_ROWS = 1024


@pytree_dataclass
class GramSignature:
    """Makes the `Gram` of a representation.

    Args:
      kernel: the kernel.
      centering: how the scores to come center the matrix, one of `engines.CENTERINGS`. Unless
        not at all, rows of an inner product are centered first, which is the same thing and
        loses no digits, and the matrix of another kernel gets a `shift` read off a few of its
        columns.
    """

    kernel: Kernel
    centering: str = field(default="biased", metadata={"static": True})

    #: One signature is as large as the representation: it is made when needed, not kept.
    compact: ClassVar[bool] = False

    @property
    def ignores_zero_features(self) -> bool:
        """Whether the kernel does."""
        return self.kernel.ignores_zero_features

    @property
    def definition(self) -> str:
        """The kernel's own definition."""
        return self.kernel.definition

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Gram:
        """The signature of one representation, `(n, d)`."""
        raw = fill_rows(widen(x), mask)
        return Gram(raw, mask, *self._settle(raw, mask), centered=self.centering != "none")

    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> Grams:
        """The signatures of several representations of the same examples."""
        rows = [fill_rows(widen(x), mask) for x in layers]
        stacks = stack_layers(rows, pad=self.kernel.ignores_zero_features)

        def gram(raw: Float[Array, "g n d"]) -> Gram:
            masks = None if mask is None else jnp.broadcast_to(mask, raw.shape[:2])
            settled = lax.map(lambda x: self._settle(x, mask), raw)
            return Gram(raw, masks, *settled, centered=self.centering != "none")

        return Grams(
            tuple(gram(raw) for _, raw in stacks),
            members=tuple(members for members, _ in stacks),
            widths=tuple(x.shape[1] for x in layers),
        )

    def _settle(
        self, raw: Float[Array, "n d"], mask: Bool[Array, "n"] | None
    ) -> tuple[Kernel, Float[Array, "n"], tuple[Float[Array, "d"], ...], Float[Array, "n"], Scalar, Scalar]:
        """All of a `Gram` but the rows: kernel, factors, origins, shift, gain, units."""
        factors = self.kernel.row_factors(raw)
        one = jnp.ones((), raw.dtype)
        if not self.kernel.dot_product:
            centered = self.kernel.translation_invariant
            origins = column_centers(raw * factors[:, None], mask) if centered else ()
            rows = lax.stop_gradient(prepare_rows(raw, mask, factors, origins))
            kernel = self.kernel.fit(rows, mask)
            shift, spread = _levels(rows, lax.stop_gradient(kernel), mask, self.centering != "none")
            gain = binary_scale(spread)
            return kernel, factors, origins, shift, gain, one / gain
        # Entries of an inner product are brought near 1, and centered, through the rows. Means are
        # scaled, not taken of scaled rows, which would be written to memory for it.
        scale = one if self.kernel.row_scale_free else binary_scale(raw)
        origins = ()
        if self.centering != "none":
            origins = tuple(origin * scale for origin in column_centers(raw * factors[:, None], mask))
        factors = factors * scale
        if self.centering in WITHOUT_DIAGONAL:
            # Centering allows any origin. About the mean of the other rows, far outliers have
            # no large off-diagonal sums, which would have to cancel. All rows together sum to 0.
            rows = lax.stop_gradient(prepare_rows(raw, mask, factors, origins))
            heavy = heaviest_rows(row_lengths([rows]))
            others = jnp.sum(leave_out(heavy, rows.shape[0], mask), dtype=rows.dtype)
            origins = (*origins, -jnp.sum(take_rows(rows, heavy), axis=0) / jnp.maximum(others, 1))
        return self.kernel, factors, origins, jnp.zeros_like(factors), one, 1 / (scale * scale)


def _levels(
    rows: Float[Array, "n d"], kernel: Kernel, mask: Bool[Array, "n"] | None, centered: bool
) -> tuple[Float[Array, "n"], Scalar]:
    """What to take off each row and column of the matrix, and the size of what then is left.

    With `m_i` the mean of row `i` over the columns of some landmarks and `m` the mean of those
    of the landmarks themselves, `K_ij` is near `m_i + m_j - m`, even where a few rows lie far out.
    The diagonal does not take part.
    """
    n = rows.shape[0]
    evaluate = kernel.deviate if centered else kernel.evaluate
    size = min(n, LANDMARKS)
    even = jnp.arange(size, dtype=jnp.int32)
    if mask is None:
        chosen = even * n // size
    else:
        chosen = jnp.argsort(~mask, stable=True).astype(jnp.int32)[even * jnp.sum(mask, dtype=jnp.int32) // size]
    landmarks = take_rows(rows, chosen)

    def level(row: tuple[Array, Array]) -> Scalar:
        place, features = row
        entries = evaluate(features[None, :], landmarks)[0]
        # Differences from one of the entries: the mean of equal ones is then exactly that.
        one = jnp.where(place == chosen[0], entries[-1], entries[0])
        return one + _mean(entries - one, place != chosen)

    apart = chosen[:, None] != chosen[None, :]
    block = evaluate(landmarks, landmarks)
    shift = jnp.zeros(n, rows.dtype)
    if centered:
        levels = lax.map(level, (jnp.arange(n, dtype=jnp.int32), rows), batch_size=BLOCK_ROWS)
        own = take_rows(levels, chosen)
        shift = levels - (own[0] + _mean(own - own[0], jnp.ones(size, bool))) / 2
        own = take_rows(shift, chosen)
        block = block - (own[:, None] + own[None, :])
    scale = binary_scale(block)
    return shift, safe_sqrt(_mean((block * scale) ** 2, apart)) / scale


def _mean(values: Array, counted: Array) -> Scalar:
    """Mean of the values that count; 0 where none does."""
    return jnp.sum(jnp.where(counted, values, 0)) / jnp.maximum(jnp.sum(counted, dtype=values.dtype), 1)
