"""Moments over permutations: all of them at small n, patterns of indices at larger ones; masks, sizes, mistakes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import kernel_family
from oracles import permutation_moments as oracle

from jaxalign import measures
from jaxalign.inference import matrix_invariants as invariants
from jaxalign.inference.permutation_moments import permutation_moments
from jaxalign.kernels import RBF, Distance

CASES = {
    "cka": (measures.cka(), kernel_family.linear),
    "hsic": (measures.hsic(kernel=RBF(1.5), estimator="unbiased"), lambda x: kernel_family.rbf(x, 1.5)),
}


def data(n, seed=0):
    g = np.random.default_rng(seed)
    return g.standard_normal((n, 2)) ** 3, g.standard_normal((n, 3)) ** 3


def centered(matrix, *, unbiased):
    """`HKH`, or U-centered."""
    n = matrix.shape[0]
    if not unbiased:
        h = np.eye(n) - 1 / n
        return h @ matrix @ h
    k = matrix - np.diag(np.diag(matrix))
    rows = k.sum(1)
    k = k - rows[:, None] / (n - 2) - rows[None] / (n - 2) + k.sum() / ((n - 1) * (n - 2))
    return k - np.diag(np.diag(k))


def matrices(name, x, y):
    """Two matrices whose inner product is the score."""
    one, other = (centered(CASES[name][1](v), unbiased=name == "hsic") for v in (x, y))
    n = x.shape[0]
    return (one / np.linalg.norm(one), other / np.linalg.norm(other)) if name == "cka" else (one, other / (n * (n - 3)))


def found(name, x, y, mask=None):
    moments = permutation_moments(CASES[name][0], x, y, mask=mask)
    return [float(v) for v in (moments.mean, moments.standard_deviation, moments.skewness)]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", CASES)
def test_all_permutations_of_few_examples(name):
    """Forms of degree 3 that vanish for few examples are left out; those that do not count have NaN in their rows."""
    for n in range(4 if name == "hsic" else 2, 8):
        x, y = data(n)
        one, other = matrices(name, x, y)
        expected = oracle.over_all(lambda order: np.sum(one * other[np.ix_(order, order)]), n)  # noqa: B023
        mask = np.arange(7) < n
        padded = [np.concatenate([v, np.full((7 - n, v.shape[1]), np.nan)]) for v in (x, y)]
        np.testing.assert_allclose(found(name, *padded, mask), expected, atol=1e-10, rtol=1e-10, err_msg=str(n))


def test_too_few_examples():
    """Where the score is not defined; and where it is the same for all permutations."""
    x, y = (np.float32(v) for v in data(7))
    for n, name in ((1, "cka"), (3, "hsic")):
        assert np.all(np.isnan(found(name, x, y, np.arange(7) < n)))
    mean, deviation, skewness = found("cka", x, y, np.arange(7) < 2)
    assert mean == pytest.approx(1, abs=1e-6)
    assert deviation == 0
    assert np.isnan(skewness)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_patterns_of_indices_of_more_examples(x64, name):
    """Another derivation: sums over distinct indices by Möbius inversion. One example lies far out."""
    x, y = data(30)
    x[3] *= 5
    expected = oracle.by_patterns(*matrices(name, x, y))
    values = found(name, *(jnp.asarray(v, float) for v in (x, y)))
    np.testing.assert_allclose(values, expected, rtol=1e-10 if x64 else 2e-5, atol=1e-12 if x64 else 1e-7)


def test_the_patterns_are_those_of_all_permutations():
    """The oracles agree, so that the second may be believed at sizes that the first cannot reach."""
    one, other = matrices("cka", *data(6, seed=1))
    expected = oracle.over_all(lambda order: np.sum(one * other[np.ix_(order, order)]), 6)
    np.testing.assert_allclose(oracle.by_patterns(one, other), expected, rtol=1e-9)


def test_any_units():
    x, y = (np.float32(v) for v in data(30))
    expected = found("cka", x, y)
    for scale in (1e-12, 1e12):
        np.testing.assert_allclose(found("cka", x * np.float32(scale), y), expected, rtol=1e-4)


@pytest.mark.slow
def test_the_trace_of_a_cube_by_blocks(monkeypatch):
    monkeypatch.setattr(invariants, "BLOCK_ROWS", 3)
    for n in (1, 5, 16, 23):
        a = np.random.default_rng(n).standard_normal((n, n)).astype(np.float32)
        a = a + a.T
        exact = np.trace(np.linalg.matrix_power(a.astype(float), 3))
        assert float(invariants.cube_trace(jnp.asarray(a))) == pytest.approx(exact, rel=1e-5)


@pytest.mark.slow
def test_roots_and_angles_have_the_moments_of_what_they_are_taken_of():
    x, y = (np.float32(v) for v in data(30))
    squared = found("cka", x, y)
    angle = permutation_moments(measures.angular_cka(), x, y)
    np.testing.assert_allclose([angle.mean, angle.standard_deviation, angle.skewness], squared, rtol=1e-6)
    root = permutation_moments(measures.distance_correlation(), x, y)
    square = permutation_moments(measures.cka(kernel=Distance()), x, y)
    for a, b in zip(jax.tree.leaves(root), jax.tree.leaves(square), strict=True):
        assert float(a) == pytest.approx(float(b), rel=1e-5)


def test_what_is_not_defined_is_nan():
    x, y = (np.float32(v) for v in data(30))
    for bad in (np.ones_like(x), np.where(np.arange(30)[:, None] == 4, np.nan, x)):
        assert np.all(np.isnan(found("cka", np.float32(bad), y)))
    # All examples equally far apart: every permutation scores the same.
    mean, deviation, skewness = found("cka", np.eye(30, dtype=np.float32), y)
    assert np.isfinite(mean)
    assert deviation == 0
    assert np.isnan(skewness)


@pytest.mark.parametrize(
    ("measure", "error", "says"),
    [
        (measures.mutual_knn(), ValueError, "permutation_moments: measure must be an inner product.*mutual_knn"),
        (measures.kernel_alignment(), ValueError, "permutation_moments: measure must be .*got kernel_alignment"),
        (measures.cka(estimator="lange"), ValueError, "permutation_test takes every measure"),
        (measures.cka, TypeError, "permutation_moments: measure must be a Measure"),
    ],
)
def test_mistakes_are_named(measure, error, says):
    x, y = (np.float32(v) for v in data(12))
    with pytest.raises(error, match=says):
        permutation_moments(measure, x, y)


def test_mistakes_of_shape_are_named():
    x, y = (np.float32(v) for v in data(12))
    with pytest.raises(ValueError, match="permutation_moments: x and y must have the same number of rows"):
        permutation_moments(measures.cka(), x, y[1:])
    with pytest.raises(TypeError, match="permutation_moments: y must be floating point"):
        permutation_moments(measures.cka(), x, np.ones((12, 2), np.int32))
