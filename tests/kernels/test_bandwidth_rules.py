"""Bandwidths read off the data, against all pairs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import kernel_family as oracle

from jaxalign.kernels import RBF, MeanDistance, MedianDistance, bandwidth

compiled = jax.jit(lambda rule, x, mask=None: rule(x, mask))


def rows(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 5)) * np.arange(1, 6) + 3


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("n", [2, 3, 5, 8, 41])
def test_the_median_is_that_of_all_pairs(n, diagonal):
    """Even and odd numbers of rows, and of pairs."""
    x = rows(n)
    found = compiled(MedianDistance(scale=0.5, diagonal=diagonal), x)
    np.testing.assert_allclose(found, oracle.median_sigma(x, 0.5, diagonal), rtol=1e-12)


@pytest.mark.usefixtures("float64")
def test_rules_read_only_the_rows_that_count():
    x, mask = rows(30), np.random.default_rng(1).random(30) < 0.5
    for padding in (np.nan, np.inf, 1e6):
        padded = jnp.asarray(np.where(mask[:, None], x, padding))
        for diagonal in (False, True):
            found = compiled(MedianDistance(diagonal=diagonal), padded, mask)
            np.testing.assert_allclose(found, oracle.median_sigma(x[mask], 1.0, diagonal), rtol=1e-12)
        found = compiled(MeanDistance(), padded, mask)
        np.testing.assert_allclose(found, oracle.mean_sigma(x[mask]), rtol=1e-12)


@pytest.mark.usefixtures("float64")
def test_the_mean_is_that_of_all_pairs():
    np.testing.assert_allclose(compiled(MeanDistance(scale=3.0), rows(20)), 3 * oracle.mean_sigma(rows(20)), rtol=1e-12)


def test_rules_keep_their_digits_far_from_the_origin():
    x = (rows(50) + 1e4).astype(np.float32)
    np.testing.assert_allclose(compiled(MedianDistance(), x), oracle.median_sigma(x), rtol=1e-5)
    np.testing.assert_allclose(compiled(MeanDistance(), x), oracle.mean_sigma(x), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("counted", [2, 8, 90, 400])
def test_what_is_exact_goes_by_the_rows_that_count(monkeypatch, counted):
    """Many rows of padding neither make a median of few rows a sample, nor thin out the sample of more."""
    monkeypatch.setattr(bandwidth, "EXACT_ROWS", 100)
    x = np.random.default_rng(0).standard_normal((1200, 5))
    mask = np.zeros(1200, bool)
    mask[np.random.default_rng(1).permutation(1200)[:counted]] = True
    x[~mask] = np.nan
    found = float(jax.jit(MedianDistance())(jnp.asarray(x, jnp.float32), jnp.asarray(mask)))
    assert found == pytest.approx(oracle.median_sigma(x[mask]), rel=1e-5 if counted < 100 else 5e-3)


@pytest.mark.slow
def test_many_rows_are_sampled(monkeypatch):
    monkeypatch.setattr(bandwidth, "EXACT_ROWS", 100)
    monkeypatch.setattr(bandwidth, "SAMPLED_PAIRS", 20_000)
    # Rows in periodic order, with which regular offsets would go wrong.
    x = (rows(1200) + 20 * (np.arange(1200) % 4 == 0)[:, None]).astype(np.float32)
    found = MedianDistance()(jnp.asarray(x))
    assert abs(float(found) / oracle.median_sigma(x) - 1) < 0.02
    mask = np.arange(1200) < 700
    padded = jnp.asarray(np.where(mask[:, None], x, np.nan))
    found = MedianDistance()(padded, jnp.asarray(mask))
    assert abs(float(found) / oracle.median_sigma(x[mask]) - 1) < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 4])
def test_without_distinct_rows_the_bandwidth_is_0(n):
    x = jnp.full((n, 3), 0.1)
    assert float(compiled(MedianDistance(), x)) == 0
    assert float(compiled(MeanDistance(), x)) == 0
    assert float(compiled(MedianDistance(), x, jnp.zeros(n, bool))) == 0


def test_no_gradient_flows_through_a_rule_in_a_kernel():
    x = jnp.asarray(rows(8), jnp.float32)

    @jax.jit
    def gradients(x):
        fixed = RBF(jax.lax.stop_gradient(MedianDistance()(x)))
        by_rule = jax.grad(lambda x: jnp.sum(RBF().fit(x).evaluate(x, x)))(x)
        return by_rule, jax.grad(lambda x: jnp.sum(fixed.evaluate(x, x)))(x)

    by_rule, by_number = gradients(x)
    np.testing.assert_allclose(by_rule, by_number, rtol=1e-6)
    assert float(jnp.max(jnp.abs(by_rule))) > 1e-3
