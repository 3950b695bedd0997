"""Exact nearest neighbors of every row, by blocks of rows against tiles of columns.

A block of scores is one matrix product. Its top k are found in two stages: the maximum of
each group of columns, the k best groups, then the k best of their members. That is exact,
since a group whose maximum is not among the k best has no member among them, and it reads
the scores once where a full top-k would walk every row.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import binary_scale, column_mean, gram_matmul, mask_rows, row_count, unit_factors, widen
from jaxalign._core.typing import Array, Bool, Float, Int

#: How two rows may be compared.
METRICS = ("cosine", "euclidean")
#: Rows scored at a time.
BLOCK_ROWS = 256
#: Columns scored at a time, at most: bounds memory for any number of examples.
COLUMN_TILE = 16384
#: Columns whose maximum is taken first.
GROUP = 16
#: Term of a column that is nobody's neighbor: below every score, and finite, since products in
#: parts of lower precision make NaN of infinity.
NOBODY = -1e30
#: Rows are scored around their mean when it holds all but a part as small as this of their squares.
CONCENTRATED = 1 / 16


def nearest_neighbors(
    x: Float[Array, "n d"], *, k: int, metric: str, mask: Bool[Array, "n"] | None = None
) -> Int[Array, "n k"]:
    """Indices of the `k` nearest other rows of each row, nearest first.

    Equal scores are in the order of their index, lowest first; a row is never its own
    neighbor, a duplicate of it may be. With a mask, rows that do not count are nobody's
    neighbors (their own are without meaning). No gradient flows.

    Args:
      x: rows `(n, d)`.
      k: number of neighbors, `1 <= k < n`, static.
      metric: `"cosine"` or `"euclidean"`, static.
      mask: which rows count, `(n,)`.
    """
    rows, terms = _scoring_form(lax.stop_gradient(mask_rows(widen(x), mask)), metric, mask)
    n = rows.shape[0]
    # One more than asked for: a row finds itself too, and that is dropped from its list in the
    # end, which costs less than looking for its place in every block of scores.
    most = k + 1
    group = GROUP if most * GROUP * 4 <= n else 1
    tile = min(max(COLUMN_TILE, most * group), -(-n // group) * group)
    tiles = -(-n // tile)
    # Padded once, here: padding inside the loop would copy every block of scores. Terms are one
    # feature more, so that scores come out of the product complete.
    padding = tiles * tile - n
    candidates = jnp.concatenate(
        [
            jnp.pad(rows, ((0, padding), (0, 0))),
            jnp.pad(terms, (0, padding), constant_values=NOBODY)[:, None],
        ],
        axis=1,
    )
    size = min(BLOCK_ROWS, n)
    blocks = -(-n // size)

    def search(block: Array) -> Int[Array, "b k"]:
        start = jnp.minimum(block * size, n - size)
        query = lax.dynamic_slice_in_dim(candidates, start, size).at[:, -1].set(1)

        def best_of(column: Array) -> tuple[Array, Array]:
            first = column * tile
            scores = gram_matmul(query, lax.dynamic_slice_in_dim(candidates, first, tile))
            values, places = two_stage_top_k(scores, most, group)
            return values, places + first

        def merge(column: Array, best: tuple[Array, Array]) -> tuple[Array, Array]:
            values, ids = (jnp.concatenate(pair, axis=1) for pair in zip(best, best_of(column), strict=True))
            values, places = lax.top_k(values, most)
            return values, jnp.take_along_axis(ids, places, axis=1)

        if tiles == 1:
            ids = best_of(jnp.zeros_like(start))[1]
        else:
            nothing = (jnp.full((size, most), -jnp.inf, rows.dtype), jnp.zeros((size, most), start.dtype))
            ids = lax.fori_loop(0, tiles, merge, nothing)[1]
        own = start + jnp.arange(size, dtype=start.dtype)
        past_own = jnp.cumsum(ids == own[:, None], axis=1)[:, :k] > 0
        return jnp.where(past_own, ids[:, 1:], ids[:, :k])

    if blocks == 1:
        return search(jnp.asarray(0, jnp.int32))
    found = lax.map(search, jnp.arange(blocks, dtype=jnp.int32))
    # The last block was moved up to fit: keep only the rows that the others lack.
    last = n - (blocks - 1) * size
    return jnp.concatenate([found[:-1].reshape(-1, k), found[-1, size - last :]])


def two_stage_top_k(scores: Float[Array, "b n"], k: int, group: int) -> tuple[Float[Array, "b k"], Int[Array, "b k"]]:
    """The `k` largest of each row and their places, largest first, equals by lowest place.

    `group` must divide `n`; at `group = 1` this is `lax.top_k`.
    """
    if group == 1:
        values, places = lax.top_k(scores, k)
        return values, places
    grouped = scores.reshape(scores.shape[0], -1, group)
    _, groups = lax.top_k(jnp.max(grouped, axis=2), k)
    # In order of place, so that the second stage too takes the lowest of equals.
    groups = jnp.sort(groups, axis=1)
    members = jnp.take_along_axis(grouped, groups[:, :, None], axis=1).reshape(scores.shape[0], -1)
    values, places = lax.top_k(members, k)
    chosen = jnp.take_along_axis(groups, places // group, axis=1)
    return values, chosen * group + places % group


def _scoring_form(
    rows: Float[Array, "n d"], metric: str, mask: Bool[Array, "n"] | None
) -> tuple[Float[Array, "n d"], Float[Array, "n"]]:
    """Rows and column terms for which `rows_i · rows_j + term_j` ranks the neighbors of `i`.

    Nearest in Euclidean distance is largest `x_i·x_j - |x_j|²/2`, about any origin. For rows
    of unit length that is also largest in cosine, and taking their mean as origin keeps the
    digits that tell them apart when they all point the same way. Otherwise the plain product
    is used, in which equal cosines stay equal.
    """
    factors = unit_factors(rows) if metric == "cosine" else jnp.broadcast_to(binary_scale(rows), rows.shape[:1])
    rows = rows * factors[:, None]
    mean = column_mean(rows, mask)
    squares = jnp.sum(rows * rows) / jnp.maximum(row_count(rows, mask), 1)
    concentrated = jnp.sum(mean * mean) > (1 - CONCENTRATED) * squares
    rows = mask_rows(rows - jnp.where(concentrated, mean, 0)[None, :], mask)
    terms = -0.5 * jnp.sum(rows * rows, axis=1)
    if metric == "cosine":
        terms = jnp.where(concentrated, terms, 0)
    return rows, terms if mask is None else jnp.where(mask, terms, NOBODY)
