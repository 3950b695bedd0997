"""From activations to a Gram matrix: prepare rows, fit the kernel, find a typical entry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxalign._core.numerics import binary_scale, center_columns, mask_rows, safe_sqrt, take_rows, widen
from jaxalign._core.typing import Bool, Float, Scalar
from jaxalign.kernels.base import Kernel
from jaxalign.kernels.gram import Gram

#: Rows used to estimate the typical entry of a kernel matrix.
SAMPLE_ROWS = 256


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GramSignature:
    """Makes the `Gram` of a representation.

    Args:
      kernel: the kernel.
      centered: whether the scores to come center the matrix. If so, rows of a linear
        kernel are centered first, which is the same thing and loses no digits, and other
        kernels get a `shift` read off a sample of their entries.
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
        rows = self.kernel.features(mask_rows(widen(x), mask))
        if self.kernel.translation_invariant or (self.centered and self.kernel.dot_product):
            rows = center_columns(rows, mask)
        one, zero = jnp.ones((), rows.dtype), jnp.zeros((), rows.dtype)
        if self.kernel.dot_product:
            scale = binary_scale(rows)
            return Gram(rows * scale, self.kernel, mask, shift=zero, gain=one, units=1 / (scale * scale))
        kernel = self.kernel.fit(rows, mask)
        shift, spread = _typical_entry(rows, kernel, mask)
        gain = binary_scale(spread if self.centered else jnp.abs(shift) + spread)
        return Gram(rows, kernel, mask, shift=shift if self.centered else zero, gain=gain, units=1 / gain)


def _typical_entry(
    rows: Float[Array, "n d"], kernel: Kernel, mask: Bool[Array, "n"] | None
) -> tuple[Scalar, Scalar]:
    """Mean and standard deviation of the off-diagonal entries among some evenly spaced rows."""
    n = rows.shape[0]
    size = min(n, SAMPLE_ROWS)
    chosen = jnp.asarray(np.arange(size) * n // size)
    sample = take_rows(rows, chosen)
    weight = jnp.ones(size, rows.dtype) if mask is None else take_rows(mask, chosen).astype(rows.dtype)
    pairs = weight[:, None] * weight[None, :] * (1 - jnp.eye(size, dtype=rows.dtype))
    entries = lax.stop_gradient(kernel.evaluate(sample, sample))
    total = jnp.maximum(jnp.sum(pairs), 1)
    # Taking one entry off first makes the mean of equal entries exactly that entry.
    first = entries[0, -1]
    mean = first + jnp.sum((entries - first) * pairs) / total
    scale = binary_scale(entries)
    deviation = (entries - mean) * scale
    return mean, safe_sqrt(jnp.sum(deviation * deviation * pairs) / total) / scale
