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
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.alignment.reordering import turned
from jaxalign.inference.arguments import check_measure
from jaxalign.inference.schemes import Scheme
from jaxalign.measures import Measure

#: Rows of the table of orders that are looked at together: what is read for one then is there for all.
BATCH_SIZE = 8
#: Bytes that what is kept of representations may take, in all the orders that are looked at together.
BATCH_BYTES = 512 * 2**20
#: Columns of the table of orders, at most.
COLUMNS = 8


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


def design(scheme: Scheme, permutations: int) -> tuple[int, int]:
    """Rows and columns of the table of orders, of which there are so many and one, that of the data.

    Args:
      scheme: how orders are drawn.
      permutations: how many are asked for.
    """
    columns = max(m for m in range(1, COLUMNS + 1) if (permutations + 1) % m == 0) if scheme.closed else 1
    return (permutations + 1) // columns, columns


@functools.partial(jax.jit, static_argnames=("n", "count", "columns", "batch_size"))
def draw_scores(
    scores: Any,
    scheme: Scheme,
    key: Array,
    first: Array,
    mask: Bool[Array, "n"] | None,
    *,
    n: int,
    count: int,
    columns: int,
    batch_size: int | None = None,
) -> Float[Array, "rows columns La Lb"]:
    """Scores in some rows of a table of orders, the first entry of which is that of the data.

    The examples of one side are put in an order for each row, those of the other in one for each column. Only how
    they stand to one another counts: an entry is the order of its row after the inverse of that of its column.
    Any two entries are independent. Under the null hypothesis rows may change places, and so may columns: the data
    have any rank in the table with the same probability.

    Args:
      scores: from `prepare`.
      scheme: how orders are drawn.
      key: a PRNG key; each order is drawn from it and its number alone.
      first: the number of the first row.
      mask: which examples count.
      n: number of examples.
      count: number of rows.
      columns: number of columns, 1 for a scheme that is not closed.
      batch_size: how many rows are looked at together; None for `fitting_batch`.
    """
    of_rows, of_columns = jax.random.split(key)

    def order(key: Array, number: Array) -> Int[Array, "n"]:
        drawn = scheme.draw(jax.random.fold_in(key, number), n, mask)
        return jnp.where(number == 0, jnp.arange(n, dtype=drawn.dtype), drawn)

    across = lax.map(lambda number: order(of_columns, number), jnp.arange(columns, dtype=jnp.uint32))
    many = turned(scores, across)
    numbers = first + jnp.arange(count, dtype=jnp.uint32)
    size = fitting_batch(scores) if batch_size is None else batch_size
    return lax.map(lambda number: many(order(of_rows, number)), numbers, batch_size=None if size == 1 else size)


def fitting_batch(scores: Any) -> int:
    """How many rows of the table of orders are looked at together: fewer where they would copy too much.

    Args:
      scores: from `prepare`.
    """
    kept = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(scores))
    return max(1, min(BATCH_SIZE, BATCH_BYTES // max(kept, 1)))


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
    return null_of(scores, n, permutations, key, scheme, batch_size, examples_that_count(mask, n))


def null_of(
    scores: Any,
    n: int,
    permutations: int,
    key: Array,
    scheme: Scheme,
    batch_size: int | None,
    mask: Bool[Array, "n"] | None,
) -> Float[Array, "B La Lb"]:
    """The scores of `prepare` in so many random orders of `n` examples."""
    rows, columns = design(scheme, permutations)
    table = draw_scores(
        scores,
        scheme,
        key,
        jnp.uint32(0),
        mask,
        n=n,
        count=rows,
        columns=columns,
        batch_size=batch_size,
    )
    return table.reshape(-1, *table.shape[2:])[1:]


def check_permutations(function: str, permutations: int, batch_size: int | None, *, name: str = "permutations") -> None:
    """Raise unless both are positive integers; the batch size may be None."""
    check_integer(function, name, permutations, minimum=1)
    if batch_size is not None:
        check_integer(function, "batch_size", batch_size, minimum=1)


def examples_that_count(mask: Bool[Array, "n"] | None, n: int) -> Bool[Array, "m"] | None:
    """Which examples count: those of which every measurement does."""
    return mask if mask is None or mask.shape[0] == n else jnp.all(mask.reshape(-1, n), axis=0)
