"""Closed-form tests: p-values from the definitions of the nulls, size, direction, masks, lowering, mistakes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import kernel_family
from oracles import permutation_moments as oracle
from scipy import stats

from jaxalign import measures
from jaxalign.inference.closed_form import closed_form_test
from jaxalign.kernels import RBF, Laplacian

HSIC = measures.hsic(kernel=RBF())
DCOR = measures.distance_correlation(estimator="unbiased")


def data(n=24, strength=0.8, seed=0):
    g = np.random.default_rng(seed)
    x = g.standard_normal((n, 3))
    return x, strength * x[:, :2] ** 2 + g.standard_normal((n, 2))


def hsic_matrices(x, y):
    return (kernel_family.h_center(kernel_family.rbf(v, kernel_family.median_sigma(v))) for v in (x, y))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("null", ["moments", "gamma"])
def test_p_values_of_hsic(null):
    x, y = data()
    one, other = hsic_matrices(x, y)
    mean, deviation, skewness = oracle.by_patterns(one, other)
    value = np.sum(one * other)
    if null == "moments":
        expected = stats.pearson3.sf((value - mean) / deviation, skewness)
    else:
        expected = stats.gamma.sf(value, (mean / deviation) ** 2, scale=deviation**2 / mean)
    found = closed_form_test(HSIC, x, y, null=null)
    assert float(found.statistic) == pytest.approx(value / 24**2, rel=1e-10)
    assert float(found.pvalue) == pytest.approx(expected, rel=1e-8)
    assert 1e-4 < expected < 0.3


@pytest.mark.usefixtures("float64")
def test_p_value_by_the_chi_square():
    for strength in (0.5, -2.0, 0.0):
        x, y = data(strength=strength)
        found = closed_form_test(DCOR, x, y, null="chi2")
        statistic = float(DCOR(x, y))
        assert float(found.statistic) == pytest.approx(statistic, rel=1e-10)
        assert float(found.pvalue) == pytest.approx(stats.chi2.sf(24 * statistic + 1, 1), rel=1e-9)


def test_p_values_are_near_those_of_permutations():
    x, y = data(40, strength=0.5)
    g = np.random.default_rng(1)
    one, other = hsic_matrices(x, y)
    orders = (g.permutation(40) for _ in range(4000))
    null = np.array([np.sum(one * other[np.ix_(order, order)]) for order in orders])
    expected = np.mean(null >= np.sum(one * other))
    assert 0.01 < expected < 0.2
    found = closed_form_test(HSIC, np.float32(x), np.float32(y))
    assert float(found.pvalue) == pytest.approx(expected, abs=0.012)


@pytest.mark.slow
def test_p_values_in_float32_and_with_a_mask():
    """Rows that do not count hold NaN; the median is over those that do. A mean far off takes no digits."""
    x, y = data(30, strength=1.0)
    mask = np.arange(30) % 5 != 2
    for measure in (HSIC, measures.angular_cka(kernel=Laplacian())):
        with jax.enable_x64(True):
            exact = closed_form_test(measure, x[mask], y[mask])
        padded = (np.where(mask[:, None], v + 100, np.nan).astype(np.float32) for v in (x, y))
        found = closed_form_test(measure, *padded, mask=mask)
        assert float(found.statistic) == pytest.approx(float(exact.statistic), rel=1e-4)
        assert float(found.pvalue) == pytest.approx(float(exact.pvalue), rel=1e-3)
        assert found.pvalue.dtype == np.float32


@pytest.mark.slow
def test_the_statistic_is_the_measure():
    x, y = (np.float32(v) for v in data())
    for measure in (DCOR, measures.distance_correlation(), measures.distance_covariance()):
        assert float(closed_form_test(measure, x, y).statistic) == pytest.approx(float(measure(x, y)), rel=2e-5)


@pytest.mark.slow
def test_close_inputs_have_small_p_values_whatever_the_direction_of_the_measure():
    x, y = (np.float32(v) for v in data())
    for measure in (measures.cka(), measures.angular_cka()):
        near, far = (float(closed_form_test(measure, x, v).pvalue) for v in (2 * x + 1, y))
        assert near < 1e-6 < 0.001 < far


NULLS = {
    "hsic moments": (HSIC, "moments"),
    "hsic gamma": (HSIC, "gamma"),
    "rv moments": (measures.cka(), "moments"),
    "dcor moments": (DCOR, "moments"),
    "dcor chi2": (DCOR, "chi2"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in ("hsic gamma", "dcor moments") else ()) for n in NULLS]
)
def test_size(name):
    """1000 pairs of unrelated inputs: about 5 % of p-values are below 0.05, fewer by the chi-square."""
    measure, null = NULLS[name]
    keys = jax.random.split(jax.random.key(0), 1000)

    @jax.jit
    def pvalues(keys):
        def one(key):
            x, y = (jax.random.normal(k, (30, 2)) for k in jax.random.split(key))
            return closed_form_test(measure, x, y, null=null).pvalue

        return jax.lax.map(one, keys, batch_size=100)

    rate = np.mean(np.asarray(pvalues(keys)) < 0.05)
    # Two standard deviations of a rate of 0.05 are 0.014.
    assert rate < 0.064
    assert rate > (0.02 if null == "chi2" else 0.036)


def test_what_is_not_defined_is_nan():
    x, y = (np.float32(v) for v in data())
    for measure in (measures.cka(), HSIC, DCOR):
        assert np.isnan(closed_form_test(measure, np.ones_like(x), y).pvalue)
    assert np.isnan(closed_form_test(measures.cka(), np.where(x == x[3], np.nan, x), y).pvalue)


@pytest.mark.slow
def test_lowers_for_every_platform():
    shapes = [jax.ShapeDtypeStruct(s, t) for s, t in (((300, 4), "float32"), ((300, 9), "float32"), ((300,), "bool"))]
    for measure, null in (NULLS["hsic moments"], NULLS["rv moments"], NULLS["dcor chi2"]):
        call = jax.jit(lambda x, y, mask, m=measure, null=null: closed_form_test(m, x, y, null=null, mask=mask))
        exported = jax.export.export(call, platforms=["cpu", "cuda", "tpu"])(*shapes)
        assert [out.dtype for out in exported.out_avals] == [jnp.float32] * 2


@pytest.mark.parametrize(
    ("measure", "null", "error", "says"),
    [
        (HSIC, "normal", ValueError, "closed_form_test: null must be one of 'moments', 'gamma', 'chi2', got 'normal'"),
        (DCOR, "gamma", ValueError, "closed_form_test: null='gamma' is for biased estimators"),
        (HSIC, "chi2", ValueError, "closed_form_test: null='chi2' is for the unbiased cka and distance_correlation"),
        (measures.hsic(estimator="unbiased"), "chi2", ValueError, "got hsic.*use 'moments'"),
        (measures.rsa(), "moments", ValueError, "closed_form_test: measure must be an inner product .*rsa"),
        ("hsic", "moments", TypeError, "closed_form_test: measure must be a Measure.*got str"),
    ],
)
def test_mistakes_are_named(measure, null, error, says):
    x, y = (np.float32(v) for v in data())
    with pytest.raises(error, match=says):
        closed_form_test(measure, x, y, null=null)
