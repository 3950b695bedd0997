"""RSA: dissimilarities and comparisons against SciPy and rsatoolbox's values, ties, masks, sizes, gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from scipy.spatial.distance import pdist, squareform
from scipy.stats import kendalltau, pearsonr, rankdata, spearmanr

from jaxalign import cka, rdm, rsa
from jaxalign.signatures.rdm import DISSIMILARITIES, pairs_once, ranks


def tau_a(a, b):
    signs = [np.sign(v[:, None] - v[None, :]) for v in (a, b)]
    return np.sum(signs[0] * signs[1]) / (len(a) * (len(a) - 1))


def rho_a(a, b):
    """The mean of Spearman's coefficient over random orders of equals."""
    u, v = (rankdata(values) - (len(values) + 1) / 2 for values in (a, b))
    return np.sum(u * v) * 12 / (len(a) ** 3 - len(a))


COMPARED = {
    "spearman": lambda a, b: spearmanr(a, b)[0],
    "pearson": lambda a, b: pearsonr(a, b)[0],
    "cosine": lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b),
    "kendall": lambda a, b: kendalltau(a, b)[0],
    "tau_a": tau_a,
    "rho_a": rho_a,
}


@jax.jit
def everything(x, y, mask=None):
    return {(m, c): rsa(x, y, metric=m, comparison=c, mask=mask) for m in DISSIMILARITIES for c in COMPARED}


@pytest.mark.parametrize("n", [pytest.param(15, marks=pytest.mark.slow), 16])
def test_values_equal_the_definitions(x64, n):
    """For an odd number of examples, and an even one, where half a row of pairs is there twice."""
    x, y = (v[:n] for v in CASES["A"])
    for (metric, comparison), value in everything(jnp.asarray(x, float), jnp.asarray(y, float)).items():
        expected = COMPARED[comparison](pdist(x, metric), pdist(y, metric))
        # In float32 two of a hundred close dissimilarities may change places.
        tolerance = 1e-10 if x64 else {"pearson": 2e-6, "cosine": 2e-6}.get(comparison, 1e-3)
        assert abs(float(value) - expected) < tolerance, (metric, comparison)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("metric", "comparison", "a", "b"),
    [
        ("correlation", "spearman", 0.5102917107575095, 0.8068222435504434),
        ("correlation", "pearson", 0.5258605895177022, 0.8235080204193461),
        ("euclidean", "spearman", 0.38150626475150273, 0.7247031584915112),
        ("euclidean", "pearson", 0.3919784291978258, 0.7185348329866162),
        ("sqeuclidean", "pearson", 0.3726677778130371, 0.6971190266411151),
    ],
)
def test_reference_values(metric, comparison, a, b):
    """Cases A and B; rsatoolbox and ReSi agree with plain NumPy and SciPy here."""
    for case, value in (("A", a), ("B", b)):
        assert float(rsa(*CASES[case], metric=metric, comparison=comparison)) == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize("metric", DISSIMILARITIES)
def test_matrices_equal_the_definition(x64, metric):
    x = CASES["A"][0] + 100  # far from the origin
    found = rdm(jnp.asarray(x, float), metric=metric)
    expected = squareform(pdist(jnp.asarray(x, float), metric))
    np.testing.assert_allclose(found, expected, rtol=1e-9 if x64 else 2e-4, atol=1e-12 if x64 else 1e-6)
    np.testing.assert_array_equal(np.diag(found), 0)
    np.testing.assert_allclose(found, np.asarray(found).T, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 6, 7, 10])
def test_every_pair_counts_once(n):
    columns, weights = pairs_once(n)
    total = np.zeros((n, n))
    for i, (row, weight) in enumerate(zip(np.asarray(columns), np.asarray(weights), strict=True)):
        for j, w in zip(row, weight, strict=True):
            total[i, j] += w
            total[j, i] += w
    np.testing.assert_array_equal(total, 1 - np.eye(n))


def test_ranks_with_many_ties():
    values = np.random.default_rng(0).integers(0, 5, (9, 4)).astype(np.float32)
    found = np.asarray(ranks(jnp.asarray(values), jnp.ones((9, 4), jnp.float32)))
    np.testing.assert_allclose(found.ravel(), (rankdata(values) - 0.5) / 36, atol=1e-6)


def test_ties_between_dissimilarities(x64):
    """One-hot rows: few different distances. Coefficients that correct for ties, and those that do not."""
    g = np.random.default_rng(1)
    x, y = (np.eye(4)[g.integers(0, 4, 20)] for _ in range(2))
    a, b = (pdist(v) for v in (x, y))
    for comparison, of in COMPARED.items():
        for metric in ("euclidean", "cosine"):
            inputs = (jnp.asarray(v, float) for v in (x, y))
            found = float(rsa(*inputs, metric=metric, comparison=comparison))
            assert found == pytest.approx(of(a, b), abs=1e-9 if x64 else 2e-6), (comparison, metric)


def test_masked_rows_do_not_count():
    mask = np.arange(16) % 4 != 1
    x, y = (v[:16].astype(np.float32) for v in CASES["A"])
    padded = [np.where(mask[:, None], v, np.float32(np.nan)) for v in (x, y)]
    for metric, comparison in zip(DISSIMILARITIES, ("spearman", "kendall", "pearson", "rho_a"), strict=True):
        found = rsa(*padded, metric=metric, comparison=comparison, mask=mask)
        expected = rsa(x[mask], y[mask], metric=metric, comparison=comparison)
        assert float(found) == pytest.approx(float(expected), abs=1e-5), (metric, comparison)
    assert np.isnan(np.asarray(rdm(x, mask=mask))[~mask]).all()


def test_what_is_not_defined_is_nan():
    x, y = (v[:10].astype(np.float32) for v in CASES["A"])
    flat, zero = x.copy(), x.copy()
    flat[3] = 0.1
    zero[3] = 0
    assert np.isnan(rsa(flat, y))
    assert np.isnan(rsa(zero, y, metric="cosine"))
    assert np.isfinite(rsa(zero, y, metric="euclidean"))
    assert np.isnan(rsa(np.ones_like(x), y, metric="euclidean"))
    assert np.isnan(np.asarray(rdm(flat))[3]).all()


@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences_and_are_finite():
    x, y = (v[:10] for v in CASES["A"])
    for metric in DISSIMILARITIES:

        @jax.jit
        def score(x, metric=metric):
            return rsa(x, y, metric=metric, comparison="pearson")

        gradient = jax.grad(score)(x)
        direction = np.random.default_rng(0).standard_normal(x.shape)
        slope = (score(x + 1e-6 * direction) - score(x - 1e-6 * direction)) / 2e-6
        assert float(jnp.sum(gradient * direction)) == pytest.approx(float(slope), rel=1e-5), metric
        doubled = x.copy()
        doubled[4] = doubled[3]
        assert np.all(np.isfinite(jax.grad(score)(doubled))), metric
    assert not np.any(jax.grad(lambda x: rsa(x, y))(x))


@pytest.mark.usefixtures("float64")
def test_centered_matrices_make_it_cka():
    """Linear CKA is the cosine of squared Euclidean matrices after double centering, and not before."""
    x, y = CASES["A"]
    h = np.eye(64) - 1 / 64
    centered = [h @ np.asarray(rdm(v, metric="sqeuclidean")) @ h for v in (x, y)]
    assert COMPARED["cosine"](*(m.ravel() for m in centered)) == pytest.approx(float(cka(x, y)))
    assert float(rsa(x, y, metric="sqeuclidean", comparison="cosine")) > 0.85 > float(cka(x, y))


@pytest.mark.parametrize(("setting", "says"), [({"metric": "l1"}, "metric"), ({"comparison": "tau"}, "comparison")])
def test_mistakes_are_named(setting, says):
    x = CASES["A"][0].astype(np.float32)
    with pytest.raises(ValueError, match=f"rsa: {says} must be one of"):
        rsa(x, x, **setting)
