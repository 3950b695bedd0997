"""Differences of two scores on the same examples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from jaxalign import measures
from jaxalign.inference.bootstrap import bootstrap
from jaxalign.inference.difference import alignment_difference

N = 30
GENERATOR = np.random.default_rng(0)
X, Y, Z, W = np.float32(GENERATOR.standard_normal((4, N, 3))) + np.float32(GENERATOR.standard_normal((N, 3)))
CKA = measures.cka()


def test_samples_are_the_same_for_both_scores():
    found = alignment_difference(CKA, X, Y, Z, samples=50, key=1, x2=W)
    one, two = bootstrap(CKA, X, Y, samples=50, key=1), bootstrap(CKA, W, Z, samples=50, key=1)
    replicates = np.asarray(one.replicates - two.replicates)
    np.testing.assert_allclose(found.replicates, replicates, atol=1e-6)
    difference = float(one.estimate - two.estimate)
    assert float(found.difference) == pytest.approx(difference, abs=1e-6)
    low, high = np.quantile(replicates, [0.025, 0.975]) + difference - replicates.mean()
    np.testing.assert_allclose([found.low, found.high], [low, high], atol=1e-5)
    beyond = np.sum(np.abs(replicates - replicates.mean()) >= abs(difference))
    assert float(found.pvalue) == pytest.approx((1 + beyond) / 51, abs=1.1 / 51)
    assert float(found.standard_error) == pytest.approx(replicates.std(ddof=1), rel=1e-4)


@pytest.mark.slow
def test_the_same_pair_does_not_differ_and_a_far_one_does():
    same = alignment_difference(CKA, X, Y, Y, samples=40, key=0)
    assert float(same.difference) == 0
    assert float(same.pvalue) == 1
    far = alignment_difference(CKA, X, X + 0.01 * Y, Z, samples=99, key=0)
    assert float(far.pvalue) == pytest.approx(0.01)
    assert float(far.low) > 0
    back = alignment_difference(CKA, X, Z, X + 0.01 * Y, samples=99, key=0)
    assert float(back.difference) == pytest.approx(-float(far.difference))
    assert float(back.pvalue) == pytest.approx(float(far.pvalue))


@pytest.mark.slow
def test_masked_rows_do_not_count():
    mask = np.arange(N) % 3 > 0
    expected = alignment_difference(CKA, X[mask], Y[mask], Z[mask], samples=40, key=0)
    broken = [np.where(mask[:, None], v, np.nan) for v in (X, Y, Z)]
    found = alignment_difference(CKA, *broken, samples=40, key=0, mask=mask, batch_size=9)
    for name in ("difference", "low", "high", "pvalue"):
        assert float(getattr(found, name)) == pytest.approx(float(getattr(expected, name)), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "measure", [CKA, pytest.param(measures.rsa(comparison="kendall"), marks=pytest.mark.slow)], ids=["weights", "masks"]
)
def test_jackknife(measure):
    x, y, z = X[:15], Y[:15], Z[:15]
    found = alignment_difference(measure, x, y, z, method="jackknife", level=0.9)
    without = [np.delete(np.arange(15), i) for i in range(15)]
    left = np.array([float(measure(x[i], y[i]) - measure(x[i], z[i])) for i in without])
    np.testing.assert_allclose(found.replicates, left, atol=2e-5)
    error = np.sqrt(14 / 15 * np.sum((left - left.mean()) ** 2))
    assert float(found.standard_error) == pytest.approx(error, rel=1e-3)
    difference = float(measure(x, y) - measure(x, z))
    expected = difference + error * norm.ppf([0.05, 0.95])
    np.testing.assert_allclose([found.low, found.high], expected, atol=1e-4)
    assert float(found.pvalue) == pytest.approx(2 * norm.sf(abs(difference) / error), rel=1e-2)
    same = alignment_difference(measure, x, y, y, method="jackknife")
    assert float(same.pvalue) == 1


def test_undefined_is_nan():
    found = alignment_difference(CKA, X, Y, np.ones_like(Z), samples=40, key=0)
    assert np.isnan(found.pvalue)
    assert np.isnan(found.low)


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"z": Z[:4]}, ValueError, "alignment_difference: x and z must have the same number of rows"),
        ({"z": Z[:4], "x2": X[:4]}, ValueError, "alignment_difference: x2 must have the same number of rows as x"),
        ({"samples": 10}, ValueError, "alignment_difference: samples must be at least"),
        ({"measure": measures.imd()}, ValueError, "alignment_difference: .*imd.*jackknife"),
        ({"key": "a"}, TypeError, "alignment_difference: key must be"),
        ({"key": None}, ValueError, "alignment_difference: method='bootstrap' needs a key"),
        ({"method": "delta"}, ValueError, "alignment_difference: method must be one of"),
    ],
)
def test_mistakes_are_named(settings, error, says):
    with pytest.raises(error, match=says):
        alignment_difference(**{"measure": CKA, "x": X, "y": Y, "z": Z, "key": 0} | settings)
