"""CKA of populations of features, of which the inputs show a few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import jax.numpy as jnp

from jaxalign._core.numerics import mask_rows, matmul, take_rows
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Scalar
from jaxalign.engines.heavy import heaviest_rows, leave_out, row_lengths
from jaxalign.engines.planner import gram_products
from jaxalign.engines.products import combine, drop_rounding
from jaxalign.kernels.gram import Gram


@pytree_dataclass
class FeatureCorrectedScore:
    """CKA with every HSIC unbiased, in examples and in features.

    The linear kernel is a sum of kernels of single features. Two inputs have different features, and
    their HSIC estimates that of the populations. The HSIC of an input with itself also holds each
    feature with itself, which in a large population weighs nothing: those terms are taken off.
    """

    def __call__(self, x: Gram, y: Gram) -> Scalar:
        """The score of one pair."""
        return self.matrix([x], [y])[0, 0]

    def matrix(self, a: Sequence[Gram], b: Sequence[Gram] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        products = gram_products(a, b, centering="unbiased")
        self_a, factors_a = self._own(a, products.self_a)
        self_b, factors_b = (self_a, factors_a) if b is None else self._own(b, products.self_b)
        cross = products.cross * factors_a[:, None] * factors_b[None, :]
        return replace(products, cross=cross, self_a=self_a, self_b=self_b).cosine()

    def _own(self, layers: Sequence[Gram], products: Float[Array, "L"]) -> tuple[Float[Array, "L"], Float[Array, "L"]]:
        """HSIC of each layer with itself without that of its features with themselves; and what the cross terms take.

        There are `p (p - 1)` pairs of different features in a layer, and `p q` between two layers.
        """
        alone = jnp.stack([features_with_themselves(gram) for gram in layers])
        widths = [gram.raw.shape[1] for gram in layers]
        factors = jnp.asarray([((p - 1) / p) ** 0.5 for p in widths], products.dtype)
        return drop_rounding(products - alone, products), factors


def features_with_themselves(gram: Gram) -> Scalar:
    """`Σ_f ⟨K_f, K_f⟩` over features `f`, each with the U-centered matrix of its own linear kernel.

    Entries of `K_f` are products of values `v` of the feature. Sums over other rows are taken apart for the
    longest rows: as differences from sums over all they would lose the digits of what is left.
    """
    rows = gram.rows
    heavy = heaviest_rows(row_lengths([rows]))
    few, light = take_rows(rows, heavy), mask_rows(rows, leave_out(heavy, rows.shape[0], gram.mask))
    apart = 1 - jnp.eye(heavy.shape[0], dtype=rows.dtype)
    light_sum, light_square = jnp.sum(light, axis=0), jnp.sum(light * light, axis=0)
    others = light_sum[None, :] + jnp.sum(few, axis=0)[None, :] - light
    others_of_few = light_sum[None, :] + matmul(apart, few)
    once = light_square[None, :]
    with_few = jnp.sum(few * few * (2 * once + matmul(apart, few * few)), axis=0)
    raw = light_square * light_square - jnp.sum(light**4, axis=0) + with_few
    along = jnp.sum((light * others) ** 2, axis=0) + jnp.sum((few * others_of_few) ** 2, axis=0)
    total = jnp.sum(light * others, axis=0) + jnp.sum(few * others_of_few, axis=0)
    return jnp.sum(combine(raw, along, total * total, gram.count, "unbiased"))
