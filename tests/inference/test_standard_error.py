"""Influence values against small changes of weights, and standard errors against their definitions."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import measures
from jaxalign.inference import influence as module
from jaxalign.inference.influence import influence_values
from jaxalign.inference.standard_error import standard_error
from jaxalign.kernels.dot_product import Cosine
from jaxalign.kernels.radial import RBF

N = 26
GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((N, 4))
Y = X[:, :3] + GENERATOR.standard_normal((N, 3))


def contaminated(function, n, h=1e-6):
    """The derivative of a function of weights in the direction of each example, less that in the direction of all."""
    equal = np.full(n, 1 / n)
    ahead, behind = (
        np.asarray([function((1 - step) * equal + step * (np.arange(n) == i)) for i in range(n)]) for step in (h, -h)
    )
    return (ahead - behind) / (2 * h)


def weighted_hsic(k, m, w):
    h = np.eye(len(w)) - w[None, :]
    return w @ ((h @ k @ h.T) * (h @ m @ h.T)) @ w


def weighted_cka(k, m, w):
    return weighted_hsic(k, m, w) / np.sqrt(weighted_hsic(k, k, w) * weighted_hsic(m, m, w))


def weighted_alignment(k, m, w):
    return w @ (k * m) @ w / np.sqrt((w @ (k * k) @ w) * (w @ (m * m) @ w))


def weighted_predictivity(x, y, w):
    x, y = (np.sqrt(w)[:, None] * (v - w @ v) for v in (x, y))
    fit = np.linalg.lstsq(x, y)[0]
    return 1 - np.sum((y - x @ fit) ** 2) / np.sum(y * y)


K, M = X @ X.T, Y @ Y.T
G = np.exp(-np.sum((Y[:, None] - Y[None]) ** 2, axis=2) / (2 * 1.5**2))
#: Measures, and what they are of weights.
CASES = {
    "cka": (measures.cka(), lambda w: weighted_cka(K, M, w)),
    "cka, kernels": (measures.cka(kernel_y=RBF(1.5)), lambda w: weighted_cka(K, G, w)),
    "kernel_alignment": (measures.kernel_alignment(), lambda w: weighted_alignment(K, M, w)),
    "angular_cka": (measures.angular_cka(), lambda w: np.arccos(weighted_cka(K, M, w))),
    "hsic": (measures.hsic(), lambda w: weighted_hsic(K, M, w)),
    "linear_predictivity": (measures.linear_predictivity(), lambda w: weighted_predictivity(X, Y, w)),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n == "angular_cka" else ()) for n in CASES])
@pytest.mark.usefixtures("float64")
def test_influence_is_the_derivative_by_weights(name):
    measure, function = CASES[name]
    expected = contaminated(function, N)
    np.testing.assert_allclose(influence_values(measure, X, Y), expected, atol=1e-7 * np.abs(expected).max() + 1e-8)


@pytest.mark.slow
def test_influence_in_float32_with_a_mask():
    mask = np.arange(N) % 5 > 0
    for name in ("cka", "cka, kernels", "linear_predictivity"):
        measure = CASES[name][0]
        padded = [np.where(mask[:, None], v, np.nan).astype(np.float32) for v in (X, Y)]
        found = np.asarray(influence_values(measure, *padded, mask=mask))
        assert np.all(found[~mask] == 0)
        expected = influence_values(measure, *(v[mask].astype(np.float32) for v in (X, Y)))
        np.testing.assert_allclose(found[mask], expected, atol=2e-6)


@pytest.mark.parametrize("estimator", ["biased", "unbiased", pytest.param("lange", marks=pytest.mark.slow)])
def test_moments_of_features_give_the_same_as_matrices(estimator, monkeypatch):
    x, y = (v.astype(np.float32) for v in (X, Y))
    mask = np.arange(N) % 5 > 0
    measure = measures.cka(kernel=Cosine(), estimator=estimator)
    features = influence_values(measure, x, y, mask=mask)
    assert abs(float(jnp.sum(features))) < 1e-4
    wide = [np.pad(v, ((0, 0), (0, N))) for v in (x, y)]  # too many features: by matrices
    called = []
    true = module.centered_matrix
    monkeypatch.setattr(module, "centered_matrix", lambda *a: called.append(1) or true(*a))
    np.testing.assert_allclose(influence_values(measure, *wide, mask=mask), features, atol=1e-5)
    assert called


@pytest.mark.usefixtures("float64")
def test_scalings_and_forms():
    """Of HSIC and distance covariance, from matrices centered in NumPy."""
    n = N
    h = np.eye(n) - 1 / n
    distances = [-np.sqrt(np.sum((v[:, None] - v[None]) ** 2, axis=2)) for v in (X, Y)]
    k, m = (h @ d @ h for d in distances)
    dcov2 = np.sum(k * m) / n**2
    values = 2 * (n * np.sum(k * m, axis=1) / n**2 - dcov2)
    root = influence_values(measures.distance_covariance(), X, Y)
    np.testing.assert_allclose(root, values / (2 * np.sqrt(dcov2)), atol=1e-10)
    plain = influence_values(measures.hsic(), X, Y)
    other = influence_values(measures.hsic(scaling="nm1"), X, Y)
    np.testing.assert_allclose(other, plain * (n / (n - 1)) ** 2, rtol=1e-10)

    def u_center(d):
        d = d - np.diag(np.diag(d))
        d = d - (d.sum(0)[None] + d.sum(1)[:, None]) / (n - 2) + d.sum() / ((n - 1) * (n - 2))
        return d - np.diag(np.diag(d))

    k, m = (u_center(d) for d in distances)
    values = 2 * (n * np.sum(k * m, axis=1) - np.sum(k * m)) / (n * (n - 3))
    found = influence_values(measures.distance_covariance(estimator="unbiased"), X, Y)
    np.testing.assert_allclose(found, values, atol=1e-10)
    values = (
        (
            n * np.sum(k * m, axis=1) * 2 / np.sum(k * m)
            - n * np.sum(k * k, axis=1) / np.sum(k * k)
            - n * np.sum(m * m, axis=1) / np.sum(m * m)
        )
        * np.sum(k * m)
        / np.sqrt(np.sum(k * k) * np.sum(m * m))
    )
    found = influence_values(measures.distance_correlation(estimator="unbiased"), X, Y)
    np.testing.assert_allclose(found, values, atol=1e-10)


def leave_out(measure, groups, x, y):
    found = np.asarray([float(measure(x[groups != g], y[groups != g])) for g in np.unique(groups)])
    return np.sqrt((len(found) - 1) * np.var(found))


def test_delta_and_jackknife():
    x, y = (jnp.asarray(v, jnp.float32) for v in (X, Y))
    values = np.asarray(influence_values(measures.cka(), x, y))
    delta = float(standard_error(measures.cka(), x, y))
    assert delta == pytest.approx(values.std(ddof=1) / np.sqrt(N), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rsm_distance", "cka"])
def test_jackknife(name):
    """Of a measure that takes weights, and of one that takes masks only."""
    measure = {"rsm_distance": measures.rsm_distance(), "cka": measures.cka(estimator="unbiased")}[name]
    x, y = (v.astype(np.float32) for v in (X, Y))
    labels = np.asarray([3, 8, 8, -1, 3] * 6)[:N]
    groups, labels_of = {"cka": (None, np.arange(N)), "rsm_distance": (4, np.arange(N) * 4 // N)}[name]
    expected = leave_out(measure, labels_of, x, y)
    found = standard_error(measure, x, y, method="jackknife", groups=groups)
    assert float(found) == pytest.approx(expected, rel=1e-3)
    mask = np.arange(N) != 3  # the only ones of group -1 are in rows 3, 8, 13, ...
    mask[[8, 13, 18, 23]] = False
    expected = leave_out(measure, labels[mask], x[mask], y[mask])
    padded = [np.where(mask[:, None], v, np.nan) for v in (x, y)]
    found = standard_error(measure, *padded, method="jackknife", groups=labels, mask=mask)
    assert float(found) == pytest.approx(expected, rel=1e-3)


def test_measurements_of_an_example_are_left_out_together():
    g = np.random.default_rng(0)
    x = (np.tile(g.normal(size=(10, 4)), (2, 1)) + 0.3 * g.normal(size=(20, 4))).astype(np.float32)
    y = (x + 0.5 * g.normal(size=(20, 4))).astype(np.float32)
    measure = measures.rsa(metric="crossnobis", repeats=2, comparison="pearson")
    found = standard_error(measure, x, y, method="jackknife")
    expected = standard_error(measure, x, y, method="jackknife", groups=np.tile(np.arange(10), 2))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_undefined_is_nan():
    x = np.ones((N, 2), np.float32)
    for measure in (measures.cka(), measures.linear_predictivity()):
        assert np.isnan(standard_error(measure, x, Y.astype(np.float32)))
    assert np.isnan(standard_error(measures.cka(), x[:1], x[:1]))


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"method": "bootstrap"}, ValueError, "standard_error: method must be one of 'delta', 'jackknife'"),
        (
            {"measure": measures.rsa()},
            ValueError,
            "standard_error: method='delta' is for .* got rsa.*'jackknife' works",
        ),
        ({"groups": 3}, ValueError, 'standard_error: groups are for method="jackknife"'),
        ({"method": "jackknife", "groups": 1}, ValueError, "groups must be at least 2, got 1"),
        ({"method": "jackknife", "groups": 99}, ValueError, "groups must be at most the number of rows"),
        ({"method": "jackknife", "groups": np.zeros(N, int)}, ValueError, "at least 2 different ones"),
        ({"method": "jackknife", "groups": np.zeros(3, int)}, ValueError, "groups must have shape"),
        ({"method": "jackknife", "groups": np.zeros(N)}, TypeError, "groups must be an integer or integers"),
        ({"measure": None}, TypeError, "standard_error: measure must be a Measure"),
    ],
)
def test_mistakes_are_named(settings, error, says):
    given = {"measure": measures.cka(), "x": X.astype(np.float32), "y": Y.astype(np.float32)} | settings
    with pytest.raises(error, match=says):
        standard_error(**given)


def test_measures_without_influence_values_are_named():
    for measure in (measures.rsa(), measures.linear_predictivity(ridge=1.0), measures.linear_predictivity(folds=2)):
        with pytest.raises(ValueError, match=r"influence_values: .* got (rsa|linear_predictivity).*jackknife"):
            influence_values(measure, X.astype(np.float32), Y.astype(np.float32))
