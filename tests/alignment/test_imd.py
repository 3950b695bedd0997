"""Intrinsic multi-scale distance: exact heat traces, convergence to them, keys, masks, no gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from oracles import geometry_family as oracle

from jaxalign.alignment.imd import HeatTraceScore, imd
from jaxalign.measures.heat import imd as imd_measure
from jaxalign.signatures.heat import HeatTraceSignature, heat_times

X, Y = CASES["A"]
Y = Y[:, :16]  # of one shape, for one program
#: Times that the score looks at: others have a weight below a tenth of the largest.
LOOKED_AT = np.exp(-2 * (oracle.TIMES + 1 / oracle.TIMES)) > 0.1 * np.exp(-4)


@jax.jit
def traces(x, keys):
    return jax.lax.map(lambda key: HeatTraceSignature(key, probes=60)(x), keys)


def test_times_and_weights(x64):
    times = heat_times(jnp.dtype("float64" if x64 else "float32"))
    np.testing.assert_allclose(times, oracle.TIMES, rtol=1e-12 if x64 else 1e-5)
    zero, one = jnp.zeros(256), jnp.zeros(256).at[128].set(-5.0)
    expected = 5 * np.exp(-2 * (oracle.TIMES[128] + 1 / oracle.TIMES[128]))
    assert float(HeatTraceScore()(zero, one)) == pytest.approx(expected, rel=1e-5)


def test_estimates_converge_to_the_trace(x64):
    """With 60 probes, and with 25 times as many, whose error is smaller by the root of that."""
    for x in (X, Y):
        found = np.asarray(traces(jnp.asarray(x, float), jnp.arange(25)), np.float64)[:, LOOKED_AT]
        exact = oracle.heat_trace(x)[LOOKED_AT]
        noise = np.std(found, axis=0)
        assert np.all(noise < 0.03 * exact)
        assert np.all(np.abs(found - exact) < 5 * noise + 1e-4)
        assert np.all(np.abs(found.mean(axis=0) - exact) < 4 * noise / 5 + 1e-4)


@pytest.mark.usefixtures("float64")
def test_values_are_near_the_definition():
    assert float(imd(X, Y, key=0, probes=3000)) == pytest.approx(oracle.imd(X, Y), rel=0.25)


@pytest.mark.slow
def test_pairs_of_points():
    """The graph of one neighbor joins the two of a pair: eigenvalues 0 and 2, as often, and two steps are all."""
    pairs = 10 * np.arange(20)[:, None, None] + np.array([[0.0], [1.0]])
    found = HeatTraceSignature(0, k=1, steps=5, probes=2000)(jnp.asarray(pairs.reshape(40, 1), jnp.float32))
    exact = 20 * (1 + np.exp(-2 * oracle.TIMES))
    np.testing.assert_allclose(found[LOOKED_AT], exact[LOOKED_AT], rtol=0.01)


@pytest.mark.slow
def test_the_same_key_is_the_same_value():
    x, y = X.astype(np.float32), Y.astype(np.float32)
    found = float(imd(x, y, key=4))
    assert found > 0
    assert float(imd(x, y, key=5)) != found
    assert float(imd_measure(key=4)(x, y)) == pytest.approx(found, rel=1e-3)


@pytest.mark.slow
def test_equal_graphs_have_equal_traces_and_examples_need_not_be_paired():
    """Shuffled rows have the same graph, but signs of their own: what differs is noise."""
    shuffled = np.random.default_rng(0).permutation(64)
    one, scaled, other = (
        np.asarray(traces(jnp.asarray(x, jnp.float32), jnp.arange(25))) for x in (X, 2 * X + 1, X[shuffled])
    )
    np.testing.assert_array_equal(one, scaled)
    noise = np.std(one, axis=0) + np.std(other, axis=0)
    assert np.all(np.abs(one.mean(axis=0) - other.mean(axis=0)) < noise + 1e-3)
    assert not np.array_equal(one, other)


@pytest.mark.slow
def test_masked_rows_do_not_count():
    mask = np.arange(64) % 4 != 1
    x, y = X.astype(np.float32), Y.astype(np.float32)
    padded = [np.where(mask[:, None], v, np.float32(np.nan)) for v in (x, y)]
    expected = float(imd(x[mask], y[mask], key=0))
    assert float(imd(*padded, key=0, mask=mask)) == pytest.approx(expected, rel=2e-2)
    assert float(imd(x, y, key=0)) != pytest.approx(expected, rel=2e-2)


@pytest.mark.slow
def test_undefined_is_nan_and_there_is_no_gradient():
    x, y = X.astype(np.float32), Y.astype(np.float32)
    bad = x.copy()
    bad[4, 1] = np.nan
    value = jax.jit(jax.value_and_grad(lambda x, mask: imd(x, y, key=0, mask=mask)))
    everyone = np.ones(64, bool)
    assert np.isfinite(value(x, everyone)[0])
    for rows, mask in ((np.ones_like(x), everyone), (bad, everyone), (x, np.arange(64) < 5)):
        assert np.isnan(value(rows, mask)[0])
    assert np.isfinite(value(x, np.arange(64) < 6)[0])
    assert np.all(value(x, everyone)[1] == 0)


def test_a_measure_has_the_seed_in_its_definition_and_as_a_leaf():
    measure = imd_measure(key=2, k=4)
    assert measure.definition == "imd[k=4,steps=10,probes=100,seed=2]"
    assert jax.tree.leaves(measure) == [2]


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: imd(X, Y, key=0, k=64), ValueError, r"imd: k must be smaller than the number of rows \(64\)"),
        (lambda: imd(X, Y, key=0, steps=1), ValueError, "imd: steps must be at least 2, got 1"),
        (lambda: imd(X, Y, key=0, probes=2.0), TypeError, "imd: probes must be an integer"),
        (lambda: imd(X, Y, key=jnp.zeros(3)), TypeError, "imd: key must be one key"),
        (lambda: imd(X, Y[:9], key=0), ValueError, "imd: x and y must have the same number of rows"),
    ],
)
def test_mistakes_are_named(call, error, says):
    with pytest.raises(error, match=says):
        call()
