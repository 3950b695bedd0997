"""Independence and k-sample tests: values from the definitions, one column or many, keys, mistakes, the simulations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import kernel_family

from benchmarks.dependence import SIMULATIONS, simulate
from jaxalign import measures
from jaxalign.inference import Within, independence_test, k_sample_test


def data(n=40, seed=0):
    g = np.random.default_rng(seed)
    x = g.standard_normal(n).astype(np.float32)
    return x, (x**2 + 0.3 * g.standard_normal(n)).astype(np.float32)


@pytest.mark.parametrize(
    "method", ["hsic", "mutual_knn", *(pytest.param(m, marks=pytest.mark.slow) for m in ("dcor", "rsa"))]
)
def test_dependence_without_correlation_is_seen(method):
    x, y = data()
    found = independence_test(x, y, method=method, permutations=199, key=0)
    assert float(found.pvalue) <= 0.02


@pytest.mark.slow
def test_values():
    """One number an example is one column; and what the statistics are."""
    x, y = data()
    found = {name: independence_test(x, y, method=name, null="moments") for name in ("hsic", "dcor", "rv")}
    columns = x[:, None], y[:, None]
    k, kk = (kernel_family.h_center(kernel_family.rbf(v, kernel_family.median_sigma(v))) for v in columns)
    assert float(found["hsic"].statistic) == pytest.approx(np.sum(k * kk) / 40**2, rel=1e-4)
    assert float(found["rv"].statistic) == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2, rel=1e-4)
    assert float(found["dcor"].statistic) == pytest.approx(float(measures.distance_correlation()(*columns)), rel=1e-5)
    assert float(found["hsic"].pvalue) < 1e-4
    assert float(found["rv"].pvalue) > 0.01


@pytest.mark.slow
def test_nulls_agree():
    """For a dependence that is just to be seen."""
    x = data()[0]
    y = data(seed=5)[1] + 0.4 * x
    pvalues = {
        null: float(independence_test(x, y, null=null, permutations=999, key=1).pvalue)
        for null in ("permutation", "moments", "gamma", "chi2")
    }
    assert 0.003 < pvalues["permutation"] < 0.3
    assert pvalues["moments"] == pytest.approx(pvalues["permutation"], abs=0.03)
    assert pvalues["gamma"] == pytest.approx(pvalues["permutation"], abs=0.05)
    assert pvalues["chi2"] == pytest.approx(pvalues["permutation"], abs=0.1)


@pytest.mark.slow
def test_any_measure_and_a_mask():
    x, y = data()
    mask = np.arange(40) % 3 != 1
    padded = [np.where(mask, v, np.nan).astype(np.float32) for v in (x, y)]
    for method in ("hsic", measures.cka(estimator="unbiased")):
        found, expected = (
            independence_test(*pair, method=method, null="moments", mask=m)
            for pair, m in ((padded, mask), ((x[mask], y[mask]), None))
        )
        assert float(found.statistic) == pytest.approx(float(expected.statistic), rel=1e-4)
        assert float(found.pvalue) == pytest.approx(float(expected.pvalue), rel=1e-3)


@pytest.mark.slow
def test_two_samples_with_hsic_are_compared_by_the_maximum_mean_discrepancy():
    g = np.random.default_rng(0)
    x, y = g.standard_normal((14, 2)).astype(np.float32), (g.standard_normal((20, 2)) + 0.5).astype(np.float32)
    found = k_sample_test([x, y], null="moments")
    pooled = np.concatenate([x, y])
    kernel = kernel_family.rbf(pooled, kernel_family.median_sigma(pooled))
    discrepancy = kernel[:14, :14].mean() + kernel[14:, 14:].mean() - 2 * kernel[:14, 14:].mean()
    assert float(found.statistic) == pytest.approx(2 * (14 * 20) ** 2 / 34**4 * discrepancy, rel=1e-4)
    values = []
    for _ in range(2000):
        o = g.permutation(34)
        a, b = o[:14], o[14:]
        values.append(kernel[np.ix_(a, a)].mean() + kernel[np.ix_(b, b)].mean() - 2 * kernel[np.ix_(a, b)].mean())
    assert float(found.pvalue) == pytest.approx(np.mean(np.array(values) >= discrepancy), abs=0.02)


@pytest.mark.slow
def test_orders_within_groups():
    labels = np.arange(40) // 20
    x, y = (np.random.default_rng(s).normal(size=40) + 5 * labels for s in (0, 1))
    free = independence_test(x.astype(np.float32), y.astype(np.float32), key=0, permutations=99)
    within = independence_test(
        x.astype(np.float32), y.astype(np.float32), key=0, permutations=99, scheme=Within(labels)
    )
    assert float(free.pvalue) == pytest.approx(0.01)
    assert float(within.pvalue) > 0.05
    with pytest.raises(ValueError, match=r"scheme must be Free\(\) for null='moments'"):
        independence_test(x.astype(np.float32), y.astype(np.float32), null="moments", scheme=Within(labels))


@pytest.mark.slow
def test_samples():
    g = np.random.default_rng(0)
    x, y, z = (g.standard_normal(n).astype(np.float32) for n in (20, 30, 25))
    for method in ("hsic", "dcor", "rv"):
        assert float(k_sample_test([x, y, z], method=method, null="moments").pvalue) > 0.05
        assert float(k_sample_test([x, y, z + 2], method=method, null="moments").pvalue) < 1e-4
    wider = [x, 3 * y]
    assert float(k_sample_test(wider, null="moments").pvalue) < 0.01
    assert float(k_sample_test(wider, permutations=199, key=0).pvalue) < 0.02


@pytest.mark.slow
def test_multiscale_graph_correlation():
    """SciPy's, of the rows that count, and the same for the same key."""
    from scipy.stats import multiscale_graphcorr

    x, y = data(30)
    mask = np.arange(30) < 25
    found, again = (independence_test(x, y, method="mgc", permutations=99, key=3, mask=mask) for _ in range(2))
    assert float(found.pvalue) == float(again.pvalue) <= 0.05
    with pytest.warns(RuntimeWarning):
        expected = multiscale_graphcorr(x[:25, None].astype(float), y[:25, None].astype(float), reps=1).statistic
    assert float(found.statistic) == pytest.approx(expected, rel=1e-5)
    assert float(k_sample_test([x, x + 3], method="mgc", permutations=99, key=0).pvalue) <= 0.02


@pytest.mark.slow
def test_the_simulations_are_dependent_and_uncorrelated_where_said():
    """Twenty, each of finite numbers in one column, another for every key."""
    assert len(SIMULATIONS) == 20
    for name in SIMULATIONS:
        x, y = (np.asarray(v)[:, 0] for v in simulate(name, jax.random.key(0), 4000))
        assert np.all(np.isfinite(x))
        assert np.all(np.isfinite(y))
        correlated = name in ("linear", "exponential", "cubic", "joint normal", "step", "spiral", "sine 4 pi")
        # A root of 4000 is 63: four standard deviations.
        assert (abs(np.corrcoef(x, y)[0, 1]) > 0.064) == correlated, name


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({}, ValueError, "independence_test: key is needed to draw permutations"),
        ({"method": "mgc"}, ValueError, "independence_test: key is needed"),
        ({"key": "0"}, TypeError, "independence_test: key must be one key"),
        ({"method": "hsik", "key": 0}, ValueError, "independence_test: method must be one of .*did you mean 'hsic'"),
        ({"null": "normal"}, ValueError, "independence_test: null must be one of 'permutation', 'moments'"),
        ({"method": "rsa", "null": "gamma"}, ValueError, "independence_test: null='gamma' is for hsic, dcor, rv"),
        ({"method": measures.rsa(), "null": "moments"}, ValueError, "independence_test: measure must be an inner"),
        ({"permutations": 0, "key": 0}, ValueError, "independence_test: permutations must be at least 1"),
    ],
)
def test_mistakes_are_named(settings, error, says):
    with pytest.raises(error, match=says):
        independence_test(*data(), **settings)


def test_mistakes_of_shape_are_named():
    x, y = data()
    with pytest.raises(ValueError, match="independence_test: x and y must have the same number of rows"):
        independence_test(x, y[1:], null="moments")
    with pytest.raises(ValueError, match="independence_test: x must have shape"):
        independence_test(x[:, None, None], y, null="moments")
    with pytest.raises(ValueError, match="k_sample_test: samples must be a list of at least two"):
        k_sample_test([x], null="moments")
    with pytest.raises(ValueError, match=r"k_sample_test: samples\[1\] must have 1 features like samples\[0\], got 2"):
        k_sample_test([x, np.stack([y, y], axis=1)], null="moments")
    with pytest.raises(ValueError, match="k_sample_test: method must be one of 'hsic', 'dcor', 'rv', 'mgc'"):
        k_sample_test([x, y], method="rsa", null="moments")
    with pytest.raises(TypeError, match=r"k_sample_test: samples\[0\] must be floating point"):
        k_sample_test([jnp.arange(4), jnp.arange(4)], null="moments")
