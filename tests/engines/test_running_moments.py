"""Streamed moments equal those of all rows at once, in any split, order of merging, and offset."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import kernel_family as oracle

from jaxalign.engines import running_moments as running
from jaxalign.engines.products import CENTERINGS

WIDTHS = (5, 12, 3)
#: Each as one program, as they are used; operation by operation they are hundreds of small ones.
update, merge = jax.jit(running.update), jax.jit(running.merge)
finish = jax.jit(running.finish, static_argnames="centering")


def dense(layers, centering):
    """Normalized inner products of n × n matrices, in float64."""
    grams = [x.astype(np.float64) @ x.astype(np.float64).T for x in layers]
    grams = [oracle.CENTER[centering](k) for k in grams]
    inner = np.array([[np.sum(k * m) for m in grams] for k in grams])
    return inner / np.sqrt(np.outer(np.diag(inner), np.diag(inner)))


def values(state):
    """All moments, each as one float."""
    return [m.value for m in (state.count, state.mean, state.second, state.third, state.fourth)]


def drifting(n, offset, seed=0):
    """Layers whose mean moves from 0 to `offset` standard deviations along the stream."""
    g = np.random.default_rng(seed)
    z = g.standard_normal((n, 4))
    drift = np.linspace(0, offset, n)[:, None]
    return [
        (z @ g.standard_normal((4, d)) + 0.5 * g.standard_normal((n, d)) + drift * g.standard_normal(d)).astype(
            np.float32
        )
        for d in WIDTHS
    ]


def stream(layers, sizes):
    state, start = running.init(WIDTHS), 0
    for size in sizes:
        state = update(state, [jnp.asarray(x[start : start + size]) for x in layers])
        start += size
    return state


@pytest.mark.parametrize("centering", CENTERINGS)
@pytest.mark.parametrize("offset", [0, 20])
def test_a_stream_of_blocks_equals_all_rows_at_once(centering, offset):
    layers = drifting(300, offset)
    state = stream(layers, [100, 100, 60, 40])
    np.testing.assert_allclose(finish(state, centering=centering).cosine(), dense(layers, centering), atol=1e-6, rtol=0)


def test_constant_offset_costs_no_digits():
    layers = [x + np.float32(100) for x in drifting(400, 0)]
    state = stream(layers, [100] * 4)
    for centering in ("biased", "unbiased"):
        np.testing.assert_allclose(
            finish(state, centering=centering).cosine(), dense(layers, centering), atol=1e-6, rtol=0
        )


@pytest.mark.slow
def test_merging_is_independent_of_how_rows_were_split():
    layers = drifting(240, 5)
    parts = [stream([x[i : i + 60] for x in layers], [60]) for i in range(0, 240, 60)]
    left = functools.reduce(merge, parts)
    tree = merge(merge(parts[0], parts[1]), merge(parts[2], parts[3]))
    with_nothing = merge(running.init(WIDTHS), left)
    for state in (tree, with_nothing):
        for got, want in zip(values(state), values(left), strict=True):
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5 * float(jnp.max(jnp.abs(want))))


@pytest.mark.slow
def test_masked_rows_do_not_count():
    layers = drifting(100, 3)
    mask = np.arange(100) % 3 != 0
    padded = [np.where(mask[:, None], x, np.nan) for x in layers]
    masked = update(running.init(WIDTHS), [jnp.asarray(x) for x in padded], jnp.asarray(mask))
    subset = update(running.init(WIDTHS), [jnp.asarray(x[mask]) for x in layers])
    for got, want in zip(values(masked), values(subset), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_too_few_rows_are_undefined_and_hsic_has_the_users_units(float64):
    layers = [x.astype(np.float64) for x in drifting(3, 0)]
    state = update(running.init(WIDTHS, jnp.dtype(jnp.float64)), [jnp.asarray(x) for x in layers])
    assert np.isnan(finish(state, centering="unbiased").cosine()).all()
    inner = finish(state, centering="biased").inner()
    x, y = (a - a.mean(0) for a in layers[:2])
    np.testing.assert_allclose(inner[0, 1], np.sum((x.T @ y) ** 2), rtol=1e-12)


@pytest.mark.slow
def test_a_bad_layer_spoils_no_other():
    """Wherever in the stream it was bad."""
    g = np.random.default_rng(0)
    blocks = [[jnp.asarray(g.standard_normal((20, d)), jnp.float32) for d in (3, 2, 4)] for _ in range(3)]
    state = good = running.init([3, 2, 4])
    for index, block in enumerate(blocks):
        bad = [block[0], block[1].at[4, 0].set(jnp.inf) if index == 1 else block[1], block[2]]
        state, good = update(state, bad), update(good, block)
    found, expected = (np.array(finish(s, centering="unbiased").cosine()) for s in (state, good))
    expected[1, :] = expected[:, 1] = np.nan
    np.testing.assert_allclose(found, expected, rtol=1e-5)
