"""Intrinsic dimension: surfaces of known dimension, duplicates, neighbors closer than rounding, blocks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import geometry_family as oracle

from jaxalign.alignment import intrinsic
from jaxalign.alignment.intrinsic import intrinsic_dimension


def surface(n, dimension, seed=0):
    """A piece of a curved surface in 20 dimensions."""
    g = np.random.default_rng(seed)
    return np.sin(g.random((n, dimension)) @ g.standard_normal((dimension, 20)))


@pytest.mark.parametrize("dimension", [1, 2, 4])
def test_the_dimension_of_a_surface_is_found(dimension):
    x = surface(600, dimension).astype(np.float32)
    assert float(intrinsic_dimension(x)) == pytest.approx(dimension, rel=0.12)
    assert float(intrinsic_dimension(x, method="mle")) == pytest.approx(dimension, rel=0.12)


def test_it_is_close_to_the_line_through_the_distribution():
    """The estimate of the authors: a line through the origin, without the largest tenth."""
    x = surface(600, 3)
    near = np.sort(oracle.cdist(x, x), axis=1)
    logs = np.sort(np.log(near[:, 2] / near[:, 1]))[:540]
    heights = -np.log(1 - np.arange(1, 541) / 600)
    line = (logs @ heights) / (logs @ logs)
    found = float(intrinsic_dimension(x.astype(np.float32)))
    assert found == pytest.approx(line, rel=0.05)
    assert abs(found / line - 1) > 1e-3


def test_rows_with_a_duplicate_do_not_count():
    x = surface(500, 2).astype(np.float32)
    repeated = np.concatenate([x, x[:100]])
    found = float(intrinsic_dimension(repeated))
    assert found == pytest.approx(oracle.intrinsic_dimension(repeated.astype(np.float64)), rel=1e-5)
    assert np.isfinite(found)


def test_neighbors_nearer_than_the_rounding_of_products():
    """Distances of 1e-5 at size 1 leave nothing in squares that are differences of float32 products."""
    g = np.random.default_rng(0)
    clusters = 3 * g.standard_normal((120, 1, 20)) + 1e-4 * g.standard_normal((120, 5, 20))
    x = clusters.reshape(600, 20).astype(np.float32)
    expected = oracle.intrinsic_dimension(x.astype(np.float64))
    assert float(intrinsic_dimension(x)) == pytest.approx(expected, rel=1e-4)


def test_two_neighbors_of_either_method_are_the_same():
    x = surface(600, 3).astype(np.float32)
    assert float(intrinsic_dimension(x)) == float(intrinsic_dimension(x, method="mle", k=2))


def test_blocks_are_all_of_the_rows(monkeypatch):
    x = surface(600, 3).astype(np.float32)
    whole = float(intrinsic_dimension(x))
    monkeypatch.setattr(intrinsic, "BLOCK_ROWS", 64)
    # With a mask it is another program, which sees the patch.
    assert float(intrinsic_dimension(x, mask=jnp.ones(600, bool))) == pytest.approx(whole, rel=1e-6)


@pytest.mark.slow
def test_too_few_rows_that_count_and_lattices_are_nan():
    x = surface(12, 2).astype(np.float32)
    value = jax.jit(jax.value_and_grad(lambda x, mask: intrinsic_dimension(x, mask=mask)))
    # Fewer than a list holds: what does not count is in some, and must not be taken for near.
    few, _ = value(x, jnp.arange(12) < 4)
    assert float(few) == pytest.approx(float(intrinsic_dimension(x[:4])), rel=1e-5)
    none, slope = value(x, jnp.arange(12) < 2)
    assert np.isnan(none)
    assert np.all(slope == 0)
    assert np.isnan(intrinsic_dimension(jnp.eye(4, 20)))
