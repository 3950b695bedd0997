"""CKA from batches of examples: HSIC averaged over batches before the ratio is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import safe_divide
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Scalar
from jaxalign.engines.planner import gram_products
from jaxalign.engines.products import Products
from jaxalign.kernels.gram import Gram


@pytree_dataclass
class MinibatchScore:
    """The ratio of mean unbiased HSICs of batches, not the mean of their ratios, which is biased."""

    def __call__(self, x: Gram, y: Gram) -> Scalar:
        """The score of one pair."""
        return self.matrix([x], [y])[0, 0]

    def matrix(self, a: Sequence[Gram], b: Sequence[Gram] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""

        def of_batch(batch: tuple[Sequence[Gram], Sequence[Gram] | None]) -> Products:
            return gram_products(*batch, centering="unbiased")

        return _mean(lax.map(of_batch, (a, b))).cosine()


def _mean(batches: Products) -> Products:
    """Means over the leading axis, of HSIC in common units; batches without examples do not take part."""
    present = batches.count > 0
    weights = safe_divide(jnp.ones_like(batches.count), batches.count * (batches.count - 3))

    def relative(units: Float[Array, "m L"], own: Float[Array, "m L"]) -> Float[Array, "m L"]:
        # Powers of two, at most 1; a constant batch may have any, and adds nothing.
        largest = jnp.max(jnp.where(own > 0, units, 0), axis=0, keepdims=True)
        return jnp.where(own > 0, safe_divide(units, largest), 1)

    def total(values: Array) -> Array:
        kept = present.reshape(-1, *[1] * (values.ndim - 1))
        return jnp.sum(jnp.where(kept, values * weights.reshape(kept.shape), 0), axis=0)

    one, other = (
        relative(units, own) for units, own in ((batches.units_a, batches.self_a), (batches.units_b, batches.self_b))
    )
    return replace(
        batches,
        cross=total(batches.cross * one[:, :, None] * other[:, None, :]),
        self_a=total(batches.self_a * one * one),
        self_b=total(batches.self_b * other * other),
    )
