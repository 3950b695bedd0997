"""Which engine serves a set of layers, by counting multiplications."""

from __future__ import annotations

from collections.abc import Sequence

from jaxalign.engines.moments import moment_products
from jaxalign.engines.products import Products
from jaxalign.engines.tiles import tile_products
from jaxalign.kernels.gram import Gram, Grams


def gram_products(
    a: Sequence[Gram], b: Sequence[Gram] | None = None, *, centering: str, norms: bool = True
) -> Products:
    """Inner products of all kernel matrices of one side with all of the other.

    Args:
      a: layers of one side, over the same `n` examples.
      b: layers of the other, or None to compare `a` with itself.
      centering: one of `CENTERINGS`, static.
      norms: whether products of layers with themselves will be used, static.
    """
    a, b = Grams.of(a), None if b is None else Grams.of(b)
    if moments_are_cheaper(a, b, norms=norms):
        return moment_products(a, b, centering=centering)
    return tile_products(a, b, centering=centering)


def moments_are_cheaper(a: Grams, b: Grams | None, *, norms: bool = True) -> bool:
    """Whether every kernel is an inner product and moments of features cost less than tiles."""
    if not all(stack.kernel.dot_product for side in (a, b) if side for stack in side.stacks):
        return False
    widths = a.widths, b.widths if b else ()
    return moment_cost(a.examples, *widths, norms=norms) <= tile_cost(a.examples, *widths)


def moment_cost(n: int, a: Sequence[int], b: Sequence[int], *, norms: bool = True) -> float:
    """Multiplications for moments of layers of these widths; an empty `b` means `a` with itself."""
    within = float(sum(d * d for d in [*a, *b]))
    across = float(sum(a)) * sum(b) if b else (float(sum(a)) ** 2 - within) / 2
    return n * (within * norms + across)


def tile_cost(n: int, a: Sequence[int], b: Sequence[int]) -> float:
    """Multiplications for one of each two mirrored tiles, and for the products of tiles."""
    pairs = len(a) * (len(b) if b else len(a))
    return float(n) * n / 2 * (sum(a) + sum(b) + pairs)
