"""A long sweep over kernel matrices in parts, so that a killed one goes on where it was."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.progress import Tick
from jaxalign._core.typing import Array
from jaxalign.alignment.kernel import KernelScore
from jaxalign.comparison.store import Store
from jaxalign.engines import tiles
from jaxalign.kernels.gram import Grams
from jaxalign.measures import Measure
from jaxalign.signatures.gram import GramSignature


def count_parts(measure: Measure, n: int, parts: float) -> int:
    """In how many parts to sweep: about `parts`, at most one a tile, and one where only the measure knows how."""
    if not isinstance(measure.signature, GramSignature) or not isinstance(measure.score, KernelScore):
        return 1
    return max(1, min(math.ceil(parts), tiles.tile_count(n)))


def sweep_in_parts(
    measure: Measure,
    a: list[Array],
    b: list[Array] | None,
    mask: Array | None,
    *,
    parts: int,
    store: Store,
    piece: str,
    tick: Tick,
) -> np.ndarray:
    """`measure.matrix(a, b, mask=mask)`, keeping what was added up after each part.

    Args:
      measure: of the kernel family.
      a: layers of one side.
      b: layers of the other, or None.
      mask: which examples count.
      parts: from `count_parts`.
      store: where the sums are kept.
      piece: their name there.
      tick: called after each part.
    """
    score: Any = measure.score
    grams_a, grams_b = _prepare(measure, a, b, mask)
    n = grams_a.examples
    state = tiles.init(grams_a, grams_b)
    leaves, structure = jax.tree.flatten(state)
    done = jax.ShapeDtypeStruct((), np.dtype(np.int64))
    kept = store.load(piece, [done, *(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)])
    first = 0
    if kept is not None:
        first, state = int(kept[0]), jax.tree.unflatten(structure, jax.device_put(kept[1:]))
    ends = [tiles.tile_count(n) * part // parts for part in range(1, parts + 1)]
    for end in ends:
        if end > first:
            state = _advance(state, grams_a, grams_b, first, end, centering=score.centering)
            first = end
            store.save(piece, [np.int64(first), *jax.tree.leaves(jax.block_until_ready(state))])
        tick()
    return np.asarray(_finish(score, state, grams_a, grams_b))


@jax.jit
def _prepare(measure: Measure, a: list[Array], b: list[Array] | None, mask: Array | None) -> tuple[Any, Any]:
    grams = measure.signature.many(a, mask)
    if b is None and measure.signature_y is None:
        return grams, None
    return grams, (measure.signature_y or measure.signature).many(a if b is None else b, mask)


@functools.partial(jax.jit, static_argnames="centering")
def _advance(
    state: tiles.TileSums, a: Grams, b: Grams | None, first: Any, end: Any, *, centering: str
) -> tiles.TileSums:
    first, end = (jnp.asarray(step, jnp.int32) for step in (first, end))
    return tiles.advance(state, a, b, first, end, centering=centering)


@jax.jit
def _finish(score: KernelScore, state: tiles.TileSums, a: Grams, b: Grams | None) -> Array:
    return score.finish(tiles.finish(state, a, b, score.centering))
