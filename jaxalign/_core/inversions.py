"""How many pairs of a sequence are out of order, in `m log m` steps that are sums and moves of whole arrays."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from jaxalign._core.typing import Array, Float, Int


def count_inversions(order: Int[Array, "m"], dtype: jnp.dtype) -> Float[Array, ""]:
    """Pairs `i < j` with `order[i] > order[j]`, for a permutation of `0, ..., m - 1`; exact but for one rounding a sum.

    From the highest bit of the values down, those with the bit at 0 are moved before those with it at 1, among
    values that agree in all higher bits. Each move passes some values, and every inversion is passed once.
    """
    size = order.shape[0]
    bits = max(1, (size - 1).bit_length())
    place = lax.iota(jnp.int32, 1 << bits)
    # To a power of two with values that are in order: groups of equal higher bits then are blocks of one size.
    values = jnp.concatenate([order.astype(jnp.int32), place[size:]])

    def by_bit(step: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        values, total = state
        bit = bits - 1 - step
        ones = (values >> bit) & 1
        half = jnp.left_shift(jnp.int32(1), bit)
        # In every block, half of the values have the bit.
        passed = jnp.cumsum(ones) - ones - (place >> (bit + 1)) * half
        start = place & ~(2 * half - 1)
        target = jnp.where(ones == 1, start + half + passed, place - passed)
        moved = jnp.zeros_like(values).at[target].set(values, unique_indices=True, mode="promise_in_bounds")
        return moved, total + exact_sum(jnp.where(ones == 1, 0, passed), dtype)

    return lax.fori_loop(0, bits, by_bit, (values, jnp.zeros((), dtype)))[1]


def exact_sum(counts: Int[Array, "m"], dtype: jnp.dtype) -> Float[Array, ""]:
    """The sum of `m` counts, each below `m`: in parts as integers, which are exact, and then as floats."""
    size = counts.shape[0]
    terms = min(max(1, size), 1 << max(0, 31 - size.bit_length()))
    parts = -(-size // terms)
    return jnp.sum(jnp.sum(jnp.pad(counts, (0, parts * terms - size)).reshape(parts, terms), axis=1).astype(dtype))
