"""Intervals from samples drawn with replacement."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from jaxalign import measures
from jaxalign.inference.bootstrap import INTERVALS, bootstrap, summarize
from jaxalign.inference.resampling import draw
from tests.oracles import kernel_family, resampled

N = 30
GENERATOR = np.random.default_rng(0)
X = np.float32(GENERATOR.standard_normal((N, 4)))
Y = np.float32(X[:, :3] + GENERATOR.standard_normal((N, 3)))
CKA = measures.cka()


def quantiles(values, *levels):
    return np.quantile(values, levels)


@pytest.mark.parametrize("interval", INTERVALS)
def test_intervals(interval):
    replicates = np.random.default_rng(1).gamma(3.0, size=400)
    estimate, level = 2.2, 0.9
    low, high = quantiles(replicates, 0.05, 0.95)
    z0 = norm.ppf(np.mean(replicates < estimate))
    shift = estimate - replicates.mean()
    expected = {
        "centered": (low + shift, high + shift),
        "percentile": (low, high),
        "basic": (2 * estimate - high, 2 * estimate - low),
        "normal": estimate + shift + norm.ppf([0.05, 0.95]) * replicates.std(ddof=1),
        "bias_corrected": quantiles(replicates, *norm.cdf(2 * z0 + norm.ppf([0.05, 0.95]))),
    }[interval]
    with jax.enable_x64(True):
        found = summarize(jnp.asarray(estimate), jnp.asarray(replicates), interval, level)
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-10)
    assert float(found.standard_error) == pytest.approx(replicates.std(ddof=1))


@pytest.mark.slow
def test_all_samples_on_one_side_still_have_an_interval():
    found = summarize(jnp.asarray(9.0), jnp.linspace(0.0, 1.0, 100), "bias_corrected", 0.9)
    assert np.isfinite(found.low)
    assert 0 <= float(found.low) <= float(found.high) <= 1
    assert np.isnan(summarize(jnp.asarray(jnp.nan), jnp.linspace(0.0, 1.0, 100), "bias_corrected", 0.9).low)


@pytest.mark.slow
def test_replicates_are_the_scores_of_the_draws():
    found = bootstrap(CKA, X, Y, samples=50, key=7)
    weights = np.asarray(jax.vmap(lambda i: draw(jax.random.key(7), i, jnp.ones(N, bool)))(jnp.arange(50)))
    k, m = kernel_family.linear(X), kernel_family.linear(Y)
    expected = [resampled.kernel_score(k, m, w, "biased", "cosine") for w in weights]
    np.testing.assert_allclose(found.replicates, expected, rtol=2e-5)
    assert float(found.estimate) == pytest.approx(float(CKA(X, Y)))


@pytest.mark.slow
def test_keys_batches_and_masks():
    found = bootstrap(CKA, X, Y, samples=50, key=7)
    same = bootstrap(CKA, X, Y, samples=50, key=jax.random.key(7), batch_size=7)
    np.testing.assert_allclose(same.replicates, found.replicates, rtol=1e-5)
    assert not np.allclose(bootstrap(CKA, X, Y, samples=50, key=8).replicates, found.replicates)
    longer = bootstrap(CKA, X, Y, samples=60, key=7)
    np.testing.assert_allclose(longer.replicates[:50], found.replicates, rtol=1e-5)
    mask = np.arange(N + 9) % 4 > 0
    padded = np.full((2, N + 9, 3), np.nan, np.float32)
    padded[0, mask], padded[1, mask] = X[: mask.sum(), :3], Y[: mask.sum()]
    part = bootstrap(CKA, *padded, samples=50, key=7, mask=mask)
    whole = bootstrap(CKA, X[: mask.sum(), :3], Y[: mask.sum()], samples=50, key=7)
    np.testing.assert_allclose(part.replicates, whole.replicates, rtol=1e-5)


@pytest.mark.slow
def test_drawn_features():
    """Of inputs whose features are all the same one nothing depends on which are drawn."""
    x, y = np.repeat(X[:, :1], 3, axis=1), np.repeat(Y[:, :1], 2, axis=1)
    examples = bootstrap(CKA, x, y, samples=40, key=1)
    both = bootstrap(CKA, x, y, samples=40, key=1, features=True, batch_size=40)
    np.testing.assert_allclose(both.replicates, examples.replicates, rtol=1e-4)
    # Of others the spread is larger.
    examples = bootstrap(CKA, X, Y, samples=40, key=1)
    both = bootstrap(CKA, X, Y, samples=40, key=1, features=True, batch_size=40)
    assert float(both.standard_error) > 1.2 * float(examples.standard_error)


@pytest.mark.slow
@pytest.mark.parametrize(
    "measure", [measures.rsa(metric="euclidean"), measures.mutual_knn(k=3), measures.linear_predictivity()]
)
def test_other_kinds_of_measures(measure):
    found = bootstrap(measure, X, Y, samples=60, key=0)
    assert found.replicates.shape == (60,)
    assert float(found.low) < float(found.estimate) < float(found.high)
    features = bootstrap(measure, X, Y, samples=40, key=0, features=True)
    assert np.all(np.isfinite(features.replicates))


def test_precision_and_dtypes():
    found = jax.eval_shape(lambda x, y: bootstrap(CKA, x, y, samples=40, key=0), X.astype("bfloat16"), Y)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype("float32")}
    far = bootstrap(CKA, X + 100, Y - 100, samples=50, key=7)
    np.testing.assert_allclose(far.replicates, bootstrap(CKA, X, Y, samples=50, key=7).replicates, atol=1e-4)


def test_undefined_is_nan():
    found = bootstrap(CKA, np.ones_like(X), Y, samples=40, key=0)
    assert all(np.all(np.isnan(leaf)) for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"key": None}, TypeError, "bootstrap: key must be one key"),
        (
            {"samples": 30},
            ValueError,
            r"bootstrap: samples must be at least 2 / \(1 - level\) = 40 for level=0.95, got 30",
        ),
        ({"samples": 2.5}, TypeError, "bootstrap: samples must be an integer"),
        ({"level": 95}, ValueError, "bootstrap: level must be between 0 and 1, got 95"),
        ({"level": "95"}, TypeError, "bootstrap: level must be a number"),
        ({"interval": "bca"}, ValueError, "bootstrap: interval must be one of"),
        ({"batch_size": 0}, ValueError, "bootstrap: batch_size must be at least 1"),
        ({"measure": "cka"}, TypeError, "bootstrap: measure must be a Measure, such as jaxalign.measures.cka"),
        ({"measure": measures.rsm_distance()}, ValueError, "bootstrap: .*rsm_distance.*jackknife"),
        (
            {"measure": measures.cohen_kappa(), "y": X, "features": True},
            ValueError,
            "bootstrap: features must not be drawn",
        ),
        ({"y": Y[:5]}, ValueError, "bootstrap: x and y must have the same number of rows"),
    ],
)
def test_mistakes_are_named(settings, error, says):
    given = {"measure": CKA, "x": X, "y": Y, "key": 0} | settings
    with pytest.raises(error, match=says):
        bootstrap(**given)
