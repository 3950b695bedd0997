"""Neighbor search against a stable sort, in every way it can be cut into blocks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import neighbor_family as oracle

from jaxalign.engines import neighbors
from jaxalign.engines.neighbors import nearest_neighbors, two_stage_top_k

#: As one program: measures call it inside theirs.
compiled_neighbors = jax.jit(nearest_neighbors, static_argnames=("k", "metric"))
compiled_top_k = jax.jit(two_stage_top_k, static_argnums=(1, 2))


@pytest.mark.parametrize("k", [1, 10, 63])
@pytest.mark.parametrize("group", [1, 2, 16])
def test_two_stage_top_k_takes_the_lowest_of_equals(k, group):
    if group > 1 and k > 128 // group:
        k = 128 // group
    for high in (2, 5, 10**6):
        scores = np.random.default_rng(high).integers(0, high, (7, 128)).astype(np.float32)
        scores[0] = -np.inf
        values, places = compiled_top_k(jnp.asarray(scores), k, group)
        expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(places, expected)
        np.testing.assert_array_equal(values, np.take_along_axis(scores, expected, axis=1))


def integers(n, d, high, seed=0):
    """Integer rows: Euclidean scores are exact, and many are equal."""
    return np.random.default_rng(seed).integers(0, high, (n, d)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "k", "block", "tile"),
    [
        (2, 1, 512, 16384),
        (50, 49, 512, 16384),
        (50, 10, 7, 16384),
        (50, 10, 512, 16),
        (50, 49, 7, 16),
        (701, 10, 100, 160),  # groups of 16, the last tile and the last block are short
        (700, 1, 512, 16384),
    ],
)
def test_neighbors_of_integers_are_exact_whatever_the_blocks(monkeypatch, n, k, block, tile):
    monkeypatch.setattr(neighbors, "BLOCK_ROWS", block)
    monkeypatch.setattr(neighbors, "COLUMN_TILE", tile)
    # Doubled, so that halves of squared lengths are integers; a mean of 0 keeps the rows as they are.
    x = 2 * integers(n, 4, 4)
    x = np.concatenate([x, -x])[:n] if n > 2 else x
    # Not `compiled_neighbors`, which may know this shape under other settings.
    found = jax.jit(lambda x: nearest_neighbors(x, k=k, metric="euclidean"))(jnp.asarray(x))
    np.testing.assert_array_equal(found, oracle.neighbors(x, k, "euclidean"))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_random_rows(metric):
    x = np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32)
    found = compiled_neighbors(jnp.asarray(x), k=10, metric=metric)
    np.testing.assert_array_equal(found, oracle.neighbors(x, 10, metric))


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("n", "d"), [(257, 7), (257, 64)])
def test_equal_rows_come_lowest_index_first(metric, n, d):
    """Also where a matrix product has columns left over, which other code multiplies."""
    g = np.random.default_rng(n + d)
    label = g.integers(0, n // 3, n)
    x = g.standard_normal((n // 3, d)).astype(np.float32)[label]
    for offset in (0, 100):
        ids = np.asarray(compiled_neighbors(jnp.asarray(x + np.float32(offset)), k=10, metric=metric))
        assert not np.any(ids == np.arange(n)[:, None])
        for i, row in enumerate(ids):
            for group in set(label[row].tolist()):
                members = row[label[row] == group]
                copies = np.flatnonzero((label == group) & (np.arange(n) != i))
                np.testing.assert_array_equal(members, copies[: len(members)])
            own = np.flatnonzero((label == label[i]) & (np.arange(n) != i))[:10]
            np.testing.assert_array_equal(row[: len(own)], own)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_rows_that_do_not_count_are_nobodys_neighbors(metric):
    x = np.random.default_rng(1).standard_normal((60, 5)).astype(np.float32)
    mask = np.random.default_rng(2).random(60) < 0.6
    padded = np.where(mask[:, None], x, np.nan)
    found = np.asarray(compiled_neighbors(jnp.asarray(padded), k=5, metric=metric, mask=jnp.asarray(mask)))[mask]
    places = np.flatnonzero(mask)
    np.testing.assert_array_equal(found, places[oracle.neighbors(x[mask], 5, metric)])


@pytest.mark.slow
def test_scales_that_overflow_squares():
    x = np.random.default_rng(3).standard_normal((40, 6)).astype(np.float32)
    for metric in ("cosine", "euclidean"):
        expected = oracle.neighbors(x, 5, metric)
        for power in (60, -60):
            moved = jnp.asarray(np.ldexp(x, power))
            np.testing.assert_array_equal(compiled_neighbors(moved, k=5, metric=metric), expected)


@pytest.mark.slow
def test_no_gradient_flows():
    x = jnp.asarray(np.random.default_rng(4).standard_normal((20, 3)), jnp.float32)
    ids, tangents = jax.jvp(lambda x: nearest_neighbors(x, k=3, metric="cosine"), (x,), (x,))
    assert tangents.dtype == jax.dtypes.float0
    assert ids.shape == (20, 3)
