"""Ties between neighbors: lists are right up to what is mathematically equal, in both dtypes."""

from __future__ import annotations

from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from oracles import neighbor_family as oracle

from jaxalign.alignment import mutual_knn
from jaxalign.engines.neighbors import nearest_neighbors


@cache
def exact(side):
    return oracle.exact_cosines(CASES["D"][side])


@pytest.mark.parametrize("k", [1, 5, 10])
def test_every_list_is_a_nearest_list_up_to_ties(x64, k):
    """Of each list, the exact cosines are those of the exact k nearest."""
    for side in (0, 1):
        x = CASES["D"][side]
        found = np.asarray(nearest_neighbors(jnp.asarray(x, float), k=k, metric="cosine"))
        best = oracle.exact_neighbors(exact(side), k)
        for i, (row, right) in enumerate(zip(found.tolist(), best.tolist(), strict=True)):
            assert i not in row
            assert sorted(exact(side)[i][j] for j in row) == sorted(exact(side)[i][j] for j in right)


def test_equal_rows_come_lowest_index_first(x64):
    x = CASES["D"][0]
    found = np.asarray(nearest_neighbors(jnp.asarray(x, float), k=30, metric="cosine"))
    for i, row in enumerate(found):
        for j in row:
            copies = [c for c in np.flatnonzero((x == x[j]).all(axis=1)) if c != i]
            listed = [c for c in row if c in copies]
            assert listed == copies[: len(listed)]


@pytest.mark.slow
def test_the_value_with_ties(x64):
    """The reference implementation, whose cosines are rounded, finds 0, 0.0667, 0.1650 here.

    By exact arithmetic with ties to the lowest row it is 0, 0.07, 0.1633. Rows that point the
    same way but differ in length have cosines that are equal on paper and not in floating
    point, so an implementation may differ from that by the lists it breaks such ties in.
    """
    x, y = CASES["D"]
    for k, value in ((1, 0.0), (5, 0.07), (10, 0.49 / 3)):
        lists = [oracle.exact_neighbors(exact(side), k) for side in (0, 1)]
        assert oracle.overlap(*lists) == pytest.approx(value)
        found = float(mutual_knn(jnp.asarray(x, float), jnp.asarray(y, float), k=k))
        assert abs(found - value) <= 0.02


@pytest.mark.slow
def test_without_rounding_ties_go_to_the_lowest_row(x64):
    """Signs in four dimensions: rows have length 2 and every cosine is exact."""
    g = np.random.default_rng(0)
    x, y = (np.sign(g.standard_normal((60, 4))) for _ in range(2))
    for k in (1, 5, 10):
        lists = [oracle.exact_neighbors(oracle.exact_cosines(v), k) for v in (x, y)]
        found = float(mutual_knn(jnp.asarray(x, float), jnp.asarray(y, float), k=k))
        assert found == pytest.approx(oracle.overlap(*lists), abs=1e-6)
