"""The Gram matrices of batches of examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import ClassVar

import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import binary_scale, mask_rows, take_rows, widen
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.kernels.base import Kernel
from jaxalign.kernels.gram import Gram, Grams
from jaxalign.signatures.gram import GramSignature


@pytree_dataclass
class MinibatchSignature:
    """Makes the `Gram` of every batch of a representation, along a leading axis of all arrays.

    Args:
      kernel: the kernel.
      batch_size: rows of a batch; batches are consecutive rows of those that count.
    """

    kernel: Kernel
    batch_size: int = field(metadata={"static": True})

    #: As large as the representation.
    compact: ClassVar[bool] = False
    #: Rows in another order are in other batches: their signature is not this one reordered.
    depends_on_order: ClassVar[bool] = True

    @property
    def ignores_zero_features(self) -> bool:
        """Whether the kernel does."""
        return self.kernel.ignores_zero_features

    @property
    def definition(self) -> str:
        """The kernel's own definition, and the batch size."""
        return f"{self.kernel.definition},batch_size={self.batch_size}"

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Gram:
        """The signature of one representation, `(n, d)`."""
        places, counted = cut_into_batches(x.shape[0], self.batch_size, mask)
        one = GramSignature(self.kernel, centering="unbiased")
        return lax.map(lambda batch: one(*batch), (take_rows(self._near_one(x, mask), places), counted))

    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> Grams:
        """The signatures of several representations of the same examples."""
        places, counted = cut_into_batches(layers[0].shape[0], self.batch_size, mask)
        one = GramSignature(self.kernel, centering="unbiased")
        batches = [take_rows(self._near_one(x, mask), places) for x in layers]
        return lax.map(lambda batch: one.many(*batch), (batches, counted))

    def _near_one(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None) -> Float[Array, "n d"]:
        """Rows of about one size, where the score does not depend on it: batches then can be added up."""
        rows = mask_rows(widen(x), mask)
        return rows * binary_scale(rows) if self.kernel.homogeneous else rows


def cut_into_batches(
    n: int, size: int, mask: Bool[Array, "n"] | None
) -> tuple[Int[Array, "m c"], Bool[Array, "m c"] | None]:
    """The rows of each batch, and which of them count; None when all do.

    There are as many batches as hold at least `size` rows each, of sizes that differ by at most one.
    With a mask that is said of the rows that count, and batches may be left without any.
    """
    most = max(1, n // size)
    batch = jnp.arange(most, dtype=jnp.int32)
    if mask is None:
        batches, rest, capacity = most, jnp.int32(n % most), -(-n // most)
        each = jnp.full((), n // most, jnp.int32)
    else:
        total = jnp.sum(mask, dtype=jnp.int32)
        batches = jnp.maximum(total // size, 1)
        each, rest, capacity = total // batches, total % batches, min(n, 2 * size - 1)
    lengths = jnp.where(batch < batches, each + (batch < rest).astype(jnp.int32), 0)
    step = jnp.arange(capacity, dtype=jnp.int32)
    places = jnp.minimum((jnp.cumsum(lengths) - lengths)[:, None] + step[None, :], n - 1)
    if mask is None and n % most == 0:
        return places, None
    counted = step[None, :] < lengths[:, None]
    if mask is not None:
        places = jnp.argsort(~mask, stable=True).astype(jnp.int32)[places]
    return places, counted
