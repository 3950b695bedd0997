"""Scores of representations whose examples were put in random orders: what scores are when nothing is shared."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_integer
from jaxalign._core.numerics import accum_dtype
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.inference.arguments import check_measure
from jaxalign.inference.schemes import Scheme
from jaxalign.measures import Measure

#: Orders looked at together on a processor with many cores; on a CPU one after the other, in the nearest cache.
BATCH_SIZE = 16
#: Differences that are rounding, in units of the last digit: such scores are equal.
ROUNDING = 64


def check_null(function: str, measure: Measure) -> None:
    """Raise unless the measure depends on which example is which."""
    check_measure(function, measure)
    if not measure.paired:
        raise ValueError(
            f"{function}: {measure.name} compares clouds of points, and does not depend on which example is which: "
            "it has no null distribution under permutations"
        )


def examples_of(measure: Measure, rows: int) -> int:
    """How many examples so many rows are: repeated measurements of one go together."""
    return rows // getattr(measure.signature, "repeats", 1)


def check_orders(function: str, measure: Measure, scheme: Any, rows: int, mask: Array | None) -> float:
    """How many orders of the examples there are.

    Raises:
      TypeError: when `scheme` is none.
      ValueError: when there is only one, or the scheme is not for such examples.
    """
    if not isinstance(scheme, Scheme):
        raise TypeError(
            f"{function}: scheme must be one of jaxalign.inference, such as Free() or Within(labels), "
            f"got {type(scheme).__name__}"
        )
    n = examples_of(measure, rows)
    return scheme.orders(function, n, examples_that_count(mask, n))


@jax.jit
def prepare(measure: Measure, a: list[Array], b: list[Array] | None, mask: Bool[Array, "n"] | None) -> Any:
    """The measure's `reordering` of all layers; without `b`, of `a` with itself."""
    dtype = accum_dtype(*a, *(b or ()))
    a, b = jax.tree.map(lambda x: x.astype(dtype), (a, b))
    return measure.reordering(a, b, mask)


@functools.partial(jax.jit, static_argnames=("n", "count", "batch_size"))
def draw_scores(
    scores: Any,
    scheme: Scheme,
    key: Array,
    first: Array,
    mask: Bool[Array, "n"] | None,
    *,
    n: int,
    count: int,
    batch_size: int,
) -> Float[Array, "count La Lb"]:
    """Scores in the orders `first`, ..., `first + count - 1`; each is drawn from the key and its number alone.

    Args:
      scores: from `prepare`.
      scheme: how orders are drawn.
      key: a PRNG key.
      first: the number of the first order.
      mask: which examples count.
      n: number of examples.
      count: number of orders.
      batch_size: how many are looked at together.
    """

    def one(number: Array) -> Float[Array, "La Lb"]:
        return scores(scheme.draw(jax.random.fold_in(key, number), n, mask))

    numbers = first + jnp.arange(count, dtype=jnp.uint32)
    return lax.map(one, numbers, batch_size=None if batch_size == 1 else batch_size)


def null_scores(
    measure: Measure,
    a: Sequence[Array],
    b: Sequence[Array],
    *,
    permutations: int,
    key: Array,
    scheme: Scheme,
    batch_size: int | None,
    mask: Bool[Array, "n"] | None,
) -> Float[Array, "B La Lb"]:
    """Scores of all pairs of layers in so many random orders of the examples of `b`, the same for all pairs."""
    n = examples_of(measure, a[0].shape[0])
    scores = prepare(measure, list(a), list(b), mask)
    return draw_scores(
        scores,
        scheme,
        key,
        jnp.uint32(0),
        examples_that_count(mask, n),
        n=n,
        count=permutations,
        batch_size=default_batch_size() if batch_size is None else batch_size,
    )


def default_batch_size() -> int:
    """How many orders are looked at together unless said: one on a CPU."""
    return 1 if jax.default_backend() == "cpu" else BATCH_SIZE


def check_permutations(function: str, permutations: int, batch_size: int | None, *, name: str = "permutations") -> None:
    """Raise unless both are positive integers, or the batch size None."""
    check_integer(function, name, permutations, minimum=1)
    if batch_size is not None:
        check_integer(function, "batch_size", batch_size, minimum=1)


def examples_that_count(mask: Bool[Array, "n"] | None, n: int) -> Bool[Array, "m"] | None:
    """Which examples count: those of which every measurement does."""
    return mask if mask is None or mask.shape[0] == n else jnp.all(mask.reshape(-1, n), axis=0)


def at_least(null: Float[Array, "B ..."], statistic: Float[Array, "..."]) -> Bool[Array, "B ..."]:
    """Where scores of the null are as large as a statistic, or equal to it but for rounding; or undefined."""
    size = jnp.maximum(jnp.abs(null), jnp.abs(statistic)[None])
    return ~(null < statistic[None] - ROUNDING * jnp.finfo(null.dtype).eps * size)


def share_at_least(null: Float[Array, "B ..."], statistic: Float[Array, "..."]) -> Float[Array, "..."]:
    """The p-value of a statistic of which large values are extreme, itself counted among them; NaN where it is NaN."""
    count = jnp.sum(at_least(null, statistic), axis=0, dtype=jnp.int32).astype(null.dtype)
    return jnp.where(jnp.isnan(statistic), jnp.nan, (1 + count) / (1 + null.shape[0]))
