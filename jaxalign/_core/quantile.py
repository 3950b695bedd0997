"""Exact order statistics and quantiles of magnitudes, without sorting.

The bit pattern of a non-negative float, read as an integer, grows with the float. An
order statistic is therefore found by bisection on those integers: each pass counts how
many entries lie at or below a few thresholds, and two bits of the answer follow. Passes
are fused reductions that work under `jit`, `vmap` and on any device, the result is an
entry of the input (not an approximation), and no array is sorted or copied more than
once. Entries are read by magnitude: the sign is ignored.

Thresholds found here are constants to differentiation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import widen
from jaxalign._core.typing import Array, Float, Int

BITS_PER_PASS = 2  # three thresholds; one reads memory more often, seven no longer fit the registers of a CPU


def magnitude_bits(values: Float[Array, "..."]) -> Int[Array, "..."]:
    """The integer that orders like `|values|`: int32 for up to 32 bits, int64 for 64.

    NaN comes after infinity.
    """
    values = lax.stop_gradient(widen(values))
    integer = jnp.int32 if values.dtype == jnp.float32 else jnp.int64
    return lax.bitcast_convert_type(values, integer) & jnp.asarray(jnp.iinfo(integer).max, integer)


def from_bits(bits: Int[Array, "..."]) -> Float[Array, "..."]:
    """The non-negative float with these `magnitude_bits`."""
    return lax.bitcast_convert_type(bits, jnp.float32 if bits.dtype == jnp.int32 else jnp.float64)


def search(
    count_at_most: Callable[[Int[Array, "m"]], Int[Array, "m"]], rank: Int[Array, ""], dtype: jnp.dtype
) -> Int[Array, ""]:
    """The bits of the entry with `rank` entries before it, given only a way to count.

    For entries that never exist all at once, such as the distances of a tiled matrix.

    Args:
      count_at_most: from thresholds `(m,)`, in `magnitude_bits`, to how many entries have
        bits at or below each, int32. Called once, inside a loop of 16 passes (32 for float64).
      rank: from 0, int32; smaller than the number of entries.
      dtype: of the entries, float32 or float64.
    """
    integer, bits = (jnp.int32, 31) if jnp.dtype(dtype) == jnp.float32 else (jnp.int64, 63)
    steps = jnp.arange(1, 2**BITS_PER_PASS, dtype=integer)

    def narrow(i: Array, low: Array) -> Array:
        shift = jnp.maximum(bits - BITS_PER_PASS * (i + 1), 0).astype(integer)
        counts = count_at_most(low + (steps << shift) - 1)
        return low + (jnp.sum(counts <= rank, dtype=integer) << shift)

    return lax.fori_loop(0, math.ceil(bits / BITS_PER_PASS), narrow, jnp.zeros((), integer))


def order_statistics(values: Float[Array, "..."], ranks: Sequence[int | Int[Array, ""]]) -> Float[Array, "r"]:
    """The entries that would stand at `ranks` if all magnitudes were sorted, smallest first.

    Args:
      values: any shape, of fewer than 2³¹ entries; padding can be `+inf`, NaN sorts last.
      ranks: each from 0 to `values.size - 1`, Python integers or traced ones. Every rank
        costs one search; for neighboring ranks use `quantile`.

    Returns:
      Shape `(len(ranks),)`, float32 or wider.

    Raises:
      ValueError: when `values` is empty or too large, or a Python rank is out of range.
    """
    _check_size("order_statistics", values)
    for rank in ranks:
        if isinstance(rank, int) and not 0 <= rank < values.size:
            raise ValueError(f"order_statistics: ranks must lie between 0 and {values.size - 1}, got {rank}")
    bits = magnitude_bits(values).ravel()
    dtype = widen(values).dtype
    wanted = [jnp.asarray(rank).astype(jnp.int32) for rank in ranks]
    return from_bits(jnp.stack([search(lambda t: _count_at_most(bits, t), rank, dtype) for rank in wanted]))


def quantile(
    values: Float[Array, "..."],
    q: float,
    *,
    count: Int[Array, ""] | None = None,
    interpolate: bool = True,
) -> Float[Array, ""]:
    """The `q` quantile of the magnitudes of `values`, over all of them.

    Linear interpolation between the two entries around position `q (n − 1)`, which is
    `numpy.quantile` and `torch.quantile` by default.

    Args:
      values: any shape, of fewer than 2³¹ entries.
      q: in `[0, 1]`, a Python number.
      count: how many entries count, int32, when the others are padding; padding must be
        `+inf`. All of them by default.
      interpolate: `False` takes the entry at rank `floor(q n)`, and no other.

    Returns:
      A scalar, float32 or wider; NaN when an entry is NaN or `count` is 0.

    Raises:
      ValueError: when `values` is empty or too large, or `q` is outside `[0, 1]`.
    """
    _check_size("quantile", values)
    if not 0 <= q <= 1:
        raise ValueError(f"quantile: q must lie between 0 and 1, got {q}")
    q = float(q)  # a NumPy float32 would round positions
    bits = magnitude_bits(values).ravel()
    dtype = widen(values).dtype
    if count is None:
        position = q * (values.size - 1) if interpolate else min(math.floor(q * values.size), values.size - 1)
        rank = jnp.asarray(math.floor(position), jnp.int32)
        fraction = jnp.asarray(position - math.floor(position), dtype)
    else:
        count = count.astype(jnp.int32)
        last = jnp.maximum(count - 1, 0)
        rank, fraction = _product(q, last, dtype, 0.0) if interpolate else _product(q, count, dtype, 2**-14)
        rank = jnp.minimum(rank, last)
    lower_bits = search(lambda t: _count_at_most(bits, t), rank, dtype)
    below, next_bits, largest = _around(bits, lower_bits)
    value = lower = from_bits(lower_bits)
    if interpolate:
        upper = jnp.where((below == rank + 1) & (fraction > 0), from_bits(next_bits), lower)
        gap = jnp.where(jnp.isfinite(upper), upper - lower, 0)
        value = jnp.where(fraction < 0.5, lower + gap * fraction, upper - gap * (1 - fraction))
        value = jnp.where(jnp.isfinite(upper), value, upper)
    undefined = largest > magnitude_bits(jnp.asarray(jnp.inf, dtype))
    if count is not None:
        undefined |= count < 1
    return jnp.where(undefined, jnp.nan, value)


def _check_size(function: str, values: Array) -> None:
    if not 0 < values.size < 2**31:
        raise ValueError(f"{function}: values must have between 1 and 2**31 - 1 entries, got {values.size}")


def _count_at_most(bits: Int[Array, "n"], thresholds: Int[Array, "m"]) -> Int[Array, "m"]:
    """How many entries lie at or below each threshold: one reduction with many results reads `bits` once."""
    flags = tuple((bits <= threshold).astype(jnp.int32) for threshold in thresholds)
    zeros = (jnp.zeros((), jnp.int32),) * len(flags)
    return jnp.stack(lax.reduce(flags, zeros, lambda a, b: jax.tree.map(jnp.add, a, b), (0,)))


def _around(bits: Int[Array, "n"], low: Int[Array, ""]) -> tuple[Array, Array, Array]:
    """How many entries lie at or below `low`, the smallest one above it, and the largest of all."""
    top = jnp.asarray(jnp.iinfo(bits.dtype).max, bits.dtype)
    operands = ((bits <= low).astype(jnp.int32), jnp.where(bits <= low, top, bits), bits)
    start = (jnp.zeros((), jnp.int32), top, jnp.zeros((), bits.dtype))

    def combine(a: tuple[Array, ...], b: tuple[Array, ...]) -> tuple[Array, Array, Array]:
        return a[0] + b[0], jnp.minimum(a[1], b[1]), jnp.maximum(a[2], b[2])

    return lax.reduce(operands, start, combine, (0,))


def _product(q: float, n: Int[Array, ""], dtype: jnp.dtype, slack: float) -> tuple[Int[Array, ""], Float[Array, ""]]:
    """`q n` as a whole number and a fraction, for int32 `n` that is not known yet.

    A float32 product has no fraction left from `n = 2²⁴` on, so the product is formed in
    integers, six bits of `n` at a time, with 24 bits behind the point. What lies within
    `slack` below a whole number is counted as that number.
    """
    if dtype == jnp.float64:
        product = q * n.astype(dtype)
        whole = jnp.floor(product)
        return whole.astype(jnp.int32), product - whole
    whole, rest = jnp.zeros((), jnp.int32), jnp.asarray(round(slack * 2**24), jnp.int32)
    for shift in range(0, 31, 6):
        digit = (n >> shift) & 63
        step = q * 2**shift
        rest += round((step - math.floor(step)) * 2**24) * digit
        whole += math.floor(step) * digit + (rest >> 24)
        rest &= 2**24 - 1
    return whole, rest.astype(dtype) * 2.0**-24
