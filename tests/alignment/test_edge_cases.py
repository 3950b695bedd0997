"""What is undefined is NaN, what is defined is right: few rows, constants, extreme scales, NaN."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from oracles import kernel_family as oracle

from jaxalign.alignment import cka, hsic, kernel_alignment, mutual_knn
from jaxalign.kernels import RBF, Cosine, Distance, Laplacian, Linear, Polynomial

KERNELS = {
    "linear": Linear(),
    "cosine": Cosine(),
    "rbf": RBF(1.0),
    "rbf median": RBF(),
    "laplacian": Laplacian(1.0),
    "distance": Distance(),
    "distance 1.5": Distance(1.5),
    "polynomial": Polynomial(),
}


def random(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


@jax.jit
def scores(x, y):
    """Of every kernel, CKA and HSIC."""
    found = {}
    for name, kernel in KERNELS.items():
        found[name, "cka"] = cka(x, y, kernel=kernel)
        found[name, "hsic"] = hsic(x, y, kernel=kernel)
    return {str(k): v for k, v in found.items()}


def test_a_constant_input_has_no_cka_and_no_hsic():
    """At a size where the mean of equal numbers does not round to that number."""
    n, y = 65, random(65, 3)
    assert np.mean(np.full(n, 0.1, np.float32)) != np.float32(0.1)
    for value in (0.1, 1e8, 0.0):
        for name, score in scores(np.full((n, 3), value, np.float32), y).items():
            if "cka" in name:
                assert np.isnan(score), (name, value)
            elif "polynomial" not in name or value < 1:
                assert abs(float(score)) < 1e-12, (name, value)


@pytest.mark.slow
def test_one_row():
    for name, score in scores(random(1, 3), random(1, 3, 1)).items():
        assert np.isnan(score) if "cka" in name else float(score) == 0, name


def test_nan_and_infinity_reach_the_result():
    for value in (np.nan, np.inf):
        x = random(65, 3)
        x[4, 1] = value
        for name, score in {**scores(x, random(65, 3, 1)), **scores(random(65, 3, 1), x)}.items():
            assert np.isnan(score), (name, value)
        for metric in ("cosine", "euclidean"):
            assert np.isnan(mutual_knn(x, random(65, 3, 1), k=3, metric=metric))


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [pytest.param("biased", marks=pytest.mark.slow), "unbiased"])
def test_a_nearly_constant_kernel_keeps_the_digits_that_tell_its_entries_apart(estimator):
    """Bandwidths far above all distances, and rows far shorter than the offset of a polynomial."""
    x, y = random(60, 8), random(60, 5, 1) + random(60, 8)[:, :5]
    tiny = np.float32(1e-4)

    @jax.jit
    def found(x, y):
        rbf, laplacian = RBF(1e4), Laplacian(1e5)
        return [
            cka(x, y, kernel=rbf, estimator=estimator),
            hsic(x, y, kernel=rbf, estimator=estimator) * 1e16,
            cka(x, y, kernel=laplacian, estimator=estimator),
            cka(x, y, kernel=rbf + laplacian, estimator=estimator),
            cka(x * tiny, y * tiny, kernel=Polynomial(), estimator=estimator),
            cka(x * tiny, y * tiny, kernel=RBF(1.0), estimator=estimator),
        ]

    def less_one(x, rbf, laplacian):
        lengths = -oracle.distance(x)
        return rbf * np.expm1(-(lengths**2) / 2e8) + laplacian * np.expm1(-lengths / 1e5)

    def scores(*weights):
        kernels = less_one(x, *weights), less_one(y, *weights)
        return oracle.cka(*kernels, estimator), hsic_of(*kernels)

    hsic_of = oracle.hsic_biased if estimator == "biased" else oracle.hsic_song
    near, small = scores(1, 0)
    linear = oracle.cka(oracle.linear(x), oracle.linear(y), estimator)
    expected = [near, small * 1e16, scores(0, 1)[0], scores(1, 1)[0], linear, linear]
    np.testing.assert_allclose(found(x, y), expected, rtol=1e-6)


@pytest.mark.slow
def test_unbiased_needs_four_examples():
    x, y = random(6, 3), random(6, 2, 1)

    @jax.jit
    def unbiased(x, y):
        return [cka(x, y, estimator="unbiased"), hsic(x, y, kernel=RBF(1.0), estimator="unbiased")]

    for n in (1, 2, 3):
        assert np.isnan(unbiased(x[:n], y[:n])).all()
    for n in (4, 5):
        linear = oracle.cka(oracle.linear(x[:n]), oracle.linear(y[:n]), "unbiased")
        rbf = oracle.hsic_song(oracle.rbf(x[:n], 1.0), oracle.rbf(y[:n], 1.0))
        np.testing.assert_allclose(unbiased(x[:n], y[:n]), [linear, rbf], rtol=1e-4, atol=1e-6)


def test_scalings_of_one_row():
    x = random(1, 2)
    assert float(hsic(x, x)) == 0
    assert np.isnan(hsic(x, x, scaling="nm1"))


def test_constant_columns_zero_rows_and_duplicates():
    x, y = random(65, 3), random(65, 3, 1)
    x[:, 1] = 0.1
    x[5:8] = 0
    x[20:40] = x[20]
    of = {
        "linear": oracle.linear,
        "cosine": oracle.cosine,
        "rbf": lambda x: oracle.rbf(x, 1.0),
        "rbf median": lambda x: oracle.rbf(x, oracle.median_sigma(x)),
        "laplacian": lambda x: oracle.laplacian(x, 1.0),
        "distance": oracle.distance,
        "distance 1.5": lambda x: oracle.distance(x, 1.5),
        "polynomial": oracle.polynomial,
    }
    found = scores(x, y)
    for name, kernel in of.items():
        assert float(found[str((name, "cka"))]) == pytest.approx(oracle.cka(kernel(x), kernel(y)), abs=1e-6), name


def test_all_rows_zero():
    zero = np.zeros((65, 3), np.float32)
    assert np.isnan(kernel_alignment(zero, random(65, 3)))
    assert np.isnan(kernel_alignment(random(65, 3), zero))


@pytest.mark.parametrize("kernel", [Linear(), Cosine()])
def test_any_scale_of_float32(kernel):
    x, y = random(64, 4), random(64, 4, 1)
    run = jax.jit(lambda x, y: [cka(x, y, kernel=kernel, estimator=e) for e in ("biased", "unbiased")])
    expected = run(x, y)
    for scale in (1e12, 1e18, 1e-12, 1e-20):
        np.testing.assert_allclose(run(x * np.float32(scale), y), expected, atol=1e-6)
        np.testing.assert_allclose(run(x * np.float32(scale), y * np.float32(scale)), expected, atol=1e-6)


@pytest.mark.slow
def test_a_median_of_0_makes_the_kernel_constant():
    x = random(65, 3)
    x[:60] = x[0]
    assert np.isnan(cka(x, random(65, 3, 1), kernel=RBF()))
    assert not np.isnan(cka(x, random(65, 3, 1), kernel=RBF(1.0)))


def test_neighbors_of_equal_rows_are_undefined():
    x, y = random(20, 3), np.full((20, 3), 0.1, np.float32)
    assert np.isnan(mutual_knn(x, y, k=3))
    assert np.isnan(mutual_knn(y, x, k=3))
    y[7] *= 2
    assert not np.isnan(mutual_knn(x, y, k=3))
    assert float(mutual_knn(x, x, k=19)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_bounds_and_self_similarity(estimator):
    """Random inputs of many shapes, those with fewer rows than features among them."""
    for n, d in ((6, 2), (20, 3), (12, 40)):
        x, y = random(n, d), random(n, d, 1)
        own = cka(x, x, estimator=estimator)
        assert float(own) == pytest.approx(1, abs=2e-6)
        assert (0 if estimator == "biased" else -1) <= float(cka(x, y, estimator=estimator)) <= 1 + 1e-6
        assert float(cka(x, -2 * x + 1, estimator=estimator)) == pytest.approx(1, abs=2e-6)
