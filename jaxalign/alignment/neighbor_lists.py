"""How much two ordered lists of neighbors agree, example by example.

Lists have shape `(k, n)`: examples on the minor axis, where comparisons vectorize. Members of
one list are distinct, nearest first. Every function returns one number an example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax.numpy as jnp
from jax import lax

from jaxalign._core.typing import Array, Bool, Float, Int


def shared(a: Int[Array, "k n"], b: Int[Array, "k n"]) -> Int[Array, "n"]:
    """How many members two lists have in common."""
    return jnp.sum(_equal(a, b), axis=(0, 1), dtype=jnp.int32)


def overlap(a: Int[Array, "k n"], b: Int[Array, "k n"]) -> Float[Array, "n"]:
    """The share of members in common."""
    return shared(a, b).astype(_dtype()) / a.shape[0]


def jaccard(a: Int[Array, "k n"], b: Int[Array, "k n"]) -> Float[Array, "n"]:
    """Members in common over members of either."""
    common = shared(a, b).astype(_dtype())
    return common / (2 * a.shape[0] - common)


def cycle(a: Int[Array, "k n"], b: Int[Array, "k n"]) -> Float[Array, "n"]:
    """1 where a step in `b` and then one in `a` can lead back to the example."""
    k, n = a.shape
    here = jnp.arange(n, dtype=a.dtype)

    def back(step: Array, found: Bool[Array, "n"]) -> Bool[Array, "n"]:
        # Row by row: all k² members at once would be k lists of neighbors.
        return found | jnp.any(jnp.take(a, b[step], axis=1) == here[None, :], axis=0)

    return lax.fori_loop(0, k, back, jnp.zeros(n, bool)).astype(_dtype())


def common_subsequence(a: Int[Array, "k n"], b: Int[Array, "k n"]) -> Float[Array, "n"]:
    """Length of the longest common subsequence, at most `k`."""
    k, n = a.shape

    def row(lengths: Int[Array, "k n"], member: Int[Array, "n"]) -> tuple[Int[Array, "k n"], None]:
        def column(left: tuple[Array, Array], cell: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
            (best, corner), (above, other) = left, cell
            best = jnp.where(member == other, corner + 1, jnp.maximum(best, above))
            return (best, above), best

        nothing = jnp.zeros(n, jnp.int32)
        return lax.scan(column, (nothing, nothing), (lengths, b))[1], None

    lengths, _ = lax.scan(row, jnp.zeros((k, n), jnp.int32), a)
    return lengths[-1].astype(_dtype())


def ordered_overlap(a: Int[Array, "k n"], b: Int[Array, "k n"]) -> Float[Array, "n"]:
    """`common_subsequence` as a share of `k`."""
    return common_subsequence(a, b) / a.shape[0]


def edit_similarity(a: Int[Array, "k n"], b: Int[Array, "k n"]) -> Float[Array, "n"]:
    """1 less the Levenshtein distance (insert, remove, replace) as a share of `k`."""
    k, n = a.shape
    start = jnp.broadcast_to(jnp.arange(1, k + 1, dtype=jnp.int32)[:, None], (k, n))

    def row(above_row: Int[Array, "k n"], member: tuple[Array, Array]) -> tuple[Int[Array, "k n"], None]:
        number, member_a = member

        def column(left: tuple[Array, Array], cell: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
            (best, corner), (above, other) = left, cell
            replaced = corner + (member_a != other).astype(jnp.int32)
            best = jnp.minimum(replaced, jnp.minimum(best, above) + 1)
            return (best, above), best

        edge = jnp.full(n, number, jnp.int32)
        return lax.scan(column, (edge + 1, edge), (above_row, b))[1], None

    distances, _ = lax.scan(row, start, (jnp.arange(k, dtype=jnp.int32), a))
    return (k - distances[-1]).astype(_dtype()) / k


def rank_similarity(a: Int[Array, "k n"], b: Int[Array, "k n"]) -> Float[Array, "n"]:
    """Agreement of the ranks of common members, near ones weighing most; 0 without common members."""
    k = a.shape[0]
    rank = jnp.arange(1, k + 1, dtype=_dtype())
    apart, both = jnp.abs(rank[:, None] - rank[None, :]), rank[:, None] + rank[None, :]
    weights = 2 / ((1 + apart) * both)
    agreement = jnp.sum(jnp.where(_equal(a, b), weights[:, :, None], 0), axis=(0, 1))
    # What equal ranks 1, ..., m of m common members would give.
    harmonic = jnp.concatenate([jnp.ones(1, _dtype()), jnp.cumsum(1 / rank)])
    return agreement / jnp.take(harmonic, shared(a, b))


def joint_rank_jaccard(a: Int[Array, "k n"], b: Int[Array, "k n"]) -> Float[Array, "n"]:
    """`jaccard` times `rank_similarity`."""
    return jaccard(a, b) * rank_similarity(a, b)


#: By the name that `NeighborScore` takes.
AGREEMENTS: Mapping[str, Callable[[Array, Array], Array]] = MappingProxyType(
    {
        "overlap": overlap,
        "jaccard": jaccard,
        "cycle": cycle,
        "common_subsequence": common_subsequence,
        "ordered_overlap": ordered_overlap,
        "edit_similarity": edit_similarity,
        "rank_similarity": rank_similarity,
        "joint_rank_jaccard": joint_rank_jaccard,
    }
)
#: Those that depend on which list comes first.
DIRECTED = frozenset({"cycle"})


def _equal(a: Int[Array, "k n"], b: Int[Array, "k n"]) -> Bool[Array, "k k n"]:
    return a[:, None, :] == b[None, :, :]


def _dtype() -> jnp.dtype:
    """The default floating type: agreements are counts, whatever the type of the activations."""
    return jnp.result_type(float)
