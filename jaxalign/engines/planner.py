"""Which engine serves a set of layers, by counting multiplications."""

from __future__ import annotations

from collections.abc import Sequence

from jaxalign.engines.moments import moment_products
from jaxalign.engines.products import Products
from jaxalign.engines.tiles import tile_products
from jaxalign.kernels.gram import Gram


def gram_products(a: Sequence[Gram], b: Sequence[Gram] | None = None, *, centering: str) -> Products:
    """Inner products of all kernel matrices of one side with all of the other.

    Args:
      a: layers of one side, over the same `n` examples.
      b: layers of the other, or None to compare `a` with itself.
      centering: `"none"`, `"biased"` or `"unbiased"`, static.
    """
    if moments_are_cheaper(a, b):
        return moment_products(a, b, centering=centering)
    return tile_products(a, b, centering=centering)


def moments_are_cheaper(a: Sequence[Gram], b: Sequence[Gram] | None) -> bool:
    """Whether every kernel is an inner product and moments of features cost less than tiles."""
    layers = [*a, *(b or ())]
    if not all(gram.kernel.dot_product for gram in layers):
        return False
    n = layers[0].rows.shape[0]
    widths = [[gram.rows.shape[1] for gram in side] for side in (a, b or ())]
    return moment_cost(n, *widths) <= tile_cost(n, *widths)


def moment_cost(n: int, a: Sequence[int], b: Sequence[int]) -> float:
    """Multiplications for moments of layers of these widths; an empty `b` means `a` with itself."""
    within = float(sum(d * d for d in [*a, *b]))
    across = float(sum(a)) * sum(b) if b else (float(sum(a)) ** 2 - within) / 2
    return n * (within + across)


def tile_cost(n: int, a: Sequence[int], b: Sequence[int]) -> float:
    """Multiplications for one of each two mirrored tiles, and for the products of tiles."""
    pairs = len(a) * (len(b) if b else len(a))
    return float(n) * n / 2 * (sum(a) + sum(b) + pairs)
