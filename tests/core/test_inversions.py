"""Counts of pairs out of order against counting them one by one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign._core.inversions import count_inversions, exact_sum


@jax.jit
def counted(order):
    return count_inversions(order, jnp.float32)


@pytest.mark.parametrize("size", [1, 5, 16])
def test_inversions_of_permutations(size):
    g = np.random.default_rng(size)
    for order in (np.arange(size), np.arange(size)[::-1], *(g.permutation(size) for _ in range(3))):
        expected = sum(int(np.sum(order[i] > order[i + 1 :])) for i in range(size))
        assert int(counted(jnp.asarray(order))) == expected


def test_a_large_count_keeps_its_digits():
    size = 300_000
    assert float(counted(jnp.arange(size)[::-1])) == pytest.approx(size * (size - 1) / 2, rel=1e-7)
    counts = np.random.default_rng(0).integers(0, size, size)
    assert float(exact_sum(jnp.asarray(counts), jnp.float32)) == pytest.approx(int(counts.sum()), rel=1e-7)
