"""From activations to a Gram matrix: prepare rows, fit the kernel, see what centering will take off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import binary_scale, center_columns, mask_rows, safe_sqrt, take_rows, widen
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.kernels.base import Kernel
from jaxalign.kernels.gram import Gram
from jaxalign.signatures.batching import map_layers

#: Rows against which all others are evaluated to see what centering will take off.
LANDMARKS = 32
#: Rows evaluated against the landmarks at a time.
BLOCK_ROWS = 1024


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GramSignature:
    """Makes the `Gram` of a representation.

    Args:
      kernel: the kernel.
      centered: whether the scores to come center the matrix. If so, rows of an inner product
        are centered first, which is the same thing and loses no digits, and every matrix gets
        a `shift` read off a few of its columns.
    """

    kernel: Kernel
    centered: bool = field(default=True, metadata={"static": True})

    #: One signature is as large as the representation: it is made when needed, not kept.
    compact: ClassVar[bool] = False

    @property
    def definition(self) -> str:
        """The kernel's own definition."""
        return self.kernel.definition

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Gram:
        """The signature of one representation, `(n, d)`."""
        return self.many([x], mask)[0]

    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> list[Gram]:
        """The signatures of several representations of the same examples."""
        rows, scales = zip(*(self._rows(x, mask) for x in layers), strict=True)
        settled = map_layers(lambda x: self._settle(x, mask), rows)
        return [
            Gram(x, kernel, mask, shift=shift, gain=gain, units=1 / (gain * scale * scale))
            for x, scale, (kernel, shift, gain) in zip(rows, scales, settled, strict=True)
        ]

    def _rows(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None) -> tuple[Float[Array, "n d"], Scalar]:
        """Rows as the kernel wants them, centered where the score does not notice, and how they were scaled.

        An inner product is brought near 1 through the rows, another kernel through a gain.
        """
        rows = self.kernel.features(mask_rows(widen(x), mask))
        scale = binary_scale(rows) if self.kernel.dot_product else jnp.ones((), rows.dtype)
        rows = rows * scale
        if self.kernel.translation_invariant or (self.centered and self.kernel.dot_product):
            rows = center_columns(rows, mask)
        return rows, scale

    def _settle(
        self, rows: Float[Array, "n d"], mask: Bool[Array, "n"] | None
    ) -> tuple[Kernel, Float[Array, "n"], Scalar]:
        """The fitted kernel, the shift of its matrix and the gain."""
        rows = lax.stop_gradient(rows)
        kernel = self.kernel.fit(rows, mask)
        shift, spread = _levels(rows, lax.stop_gradient(kernel), mask, self.centered)
        return kernel, shift, jnp.ones_like(spread) if kernel.dot_product else binary_scale(spread)


def _levels(
    rows: Float[Array, "n d"], kernel: Kernel, mask: Bool[Array, "n"] | None, centered: bool
) -> tuple[Float[Array, "n"], Scalar]:
    """What to take off each row and column of the matrix, and the size of what then is left.

    With `m_i` the mean of row `i` over the columns of some landmarks and `m` the mean of those
    of the landmarks themselves, `K_ij` is near `m_i + m_j - m`, even where a few rows lie far out.
    The diagonal does not take part.
    """
    n = rows.shape[0]
    size = min(n, LANDMARKS)
    even = jnp.arange(size, dtype=jnp.int32)
    if mask is None:
        chosen = even * n // size
    else:
        chosen = jnp.argsort(~mask, stable=True)[even * jnp.sum(mask, dtype=jnp.int32) // size]
    landmarks = take_rows(rows, chosen)

    def level(row: tuple[Array, Array]) -> Scalar:
        place, features = row
        entries = kernel.evaluate(features[None, :], landmarks)[0]
        # Differences from one of the entries: the mean of equal ones is then exactly that.
        one = jnp.where(place == chosen[0], entries[-1], entries[0])
        return one + _mean(entries - one, place != chosen)

    apart = chosen[:, None] != chosen[None, :]
    block = kernel.evaluate(landmarks, landmarks)
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
