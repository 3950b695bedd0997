"""Closed forms of maps between layers, against their definitions and other libraries."""

from __future__ import annotations

from itertools import permutations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge, RidgeCV

from jaxalign.stitching import (
    least_squares,
    low_rank,
    orthogonal,
    partial_least_squares,
    permutation,
    ridge,
    ridge_path,
)
from tests.oracles import stitching as oracle
from tests.oracles.stitching import Z1, Z2, Y

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6)) + 2
TARGET = X @ RNG.normal(size=(6, 4)) + 0.5 * RNG.normal(size=(40, 4)) - 3
WEIGHTS = RNG.uniform(0.1, 2, size=40)

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.filterwarnings("ignore:least_squares. 5 rows for 3 features")
def test_values_known_of_five_examples():
    linear = least_squares(Z1, Z2, affine=False)
    affine = least_squares(Z1, Z2)
    np.testing.assert_allclose(linear.error, 58 / 41, rtol=1e-12)
    np.testing.assert_allclose(affine.error, 0.443428571429, rtol=1e-11)
    np.testing.assert_allclose(least_squares(Z2, Z1[:, :]).error, 0.2, rtol=1e-11)
    np.testing.assert_allclose(least_squares(Z2, Z1, affine=False).error, 0.685714285714, rtol=1e-11)
    np.testing.assert_allclose(linear.loo_error, 4.550793224971, rtol=1e-11)
    np.testing.assert_allclose(affine.r_squared, 0.886880466472, rtol=1e-11)
    np.testing.assert_allclose([linear.variance, affine.variance], [5, 3.92], rtol=1e-12)
    kernel = [[1.317073170732, 0.09756097561], [0.390243902439, 0.658536585366], [-0.682926829268, 0.09756097561]]
    np.testing.assert_allclose(linear.kernel.T, kernel, atol=1e-11)
    np.testing.assert_allclose(ridge(Z1, Z2, penalty=0.1, affine=False).error, 1.43393547326, rtol=1e-11)
    np.testing.assert_allclose(low_rank(Z1, Z2, rank=1, affine=False).error, 1.929340441433, rtol=1e-11)
    np.testing.assert_allclose(orthogonal(Z1, Z2, affine=False).error, 1.964420921467, rtol=1e-11)
    scaled = orthogonal(Z1, Z2, affine=False, scale=True)
    np.testing.assert_allclose(scaled.error, 1.946177735539, rtol=1e-11)
    for target, known in ((Z2, 3.620657196409), (Y, 0.232211427986)):
        path = ridge_path(Z1, target, penalties=(0.1,), affine=False)
        np.testing.assert_allclose(path.gcv_errors, [known], rtol=1e-11)  # KARE of the kernel of the inputs


def test_rotations_and_scales_are_found_exactly():
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    stitch = orthogonal(Z1, np.sqrt(2) * Z1 @ turn, affine=False, scale=True)
    np.testing.assert_allclose(stitch.error, 0, atol=1e-28)
    np.testing.assert_allclose(stitch.kernel, np.sqrt(2) * turn, atol=1e-14)


@pytest.mark.parametrize("affine", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
@pytest.mark.parametrize("penalty", [0.0, 0.3])
def test_ridge_solves_the_weighted_problem(penalty, weights, affine):
    stitch = ridge(X, TARGET, penalty=penalty, affine=affine, weights=weights)
    kernel, bias = oracle.ridge(X, TARGET, penalty, affine, weights)
    np.testing.assert_allclose(stitch.kernel, kernel, rtol=1e-10)
    np.testing.assert_allclose(stitch.bias, bias, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(stitch(X), X @ kernel + bias, rtol=1e-9)
    np.testing.assert_allclose(stitch.error, oracle.error(X, TARGET, kernel, bias, weights), rtol=1e-10)
    loo = oracle.leave_one_out(X, TARGET, penalty, affine, weights)
    np.testing.assert_allclose(stitch.loo_error, loo, rtol=1e-9)
    if weights is None:
        freedom = np.trace(oracle.hat_matrix(X, penalty, affine))
        np.testing.assert_allclose(stitch.degrees_of_freedom, freedom, rtol=1e-9)
        np.testing.assert_allclose(stitch.examples, 40)


def test_ridge_is_that_of_scikit_learn():
    theirs = Ridge(alpha=0.2 * 40).fit(X, TARGET)
    stitch = ridge(X, TARGET, penalty=0.2)
    np.testing.assert_allclose(stitch.kernel, theirs.coef_.T, rtol=1e-9)
    np.testing.assert_allclose(stitch.bias, theirs.intercept_, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("wide", [False, True], ids=["more_rows", "more_features"])
def test_path_and_choice_are_those_of_scikit_learn(wide):
    x = np.hstack([X, RNG.normal(size=(40, 60))]) if wide else X
    penalties = np.logspace(-4, 2, 12)
    theirs = RidgeCV(alphas=penalties * 40, store_cv_results=True).fit(x, TARGET)
    path = ridge_path(x, TARGET, penalties=penalties, select="loo")
    np.testing.assert_allclose(path.loo_errors, theirs.cv_results_.sum(axis=1).mean(axis=0), rtol=1e-8)
    np.testing.assert_allclose(path.penalty * 40, theirs.alpha_, rtol=1e-12)
    np.testing.assert_allclose(path.stitch.kernel, theirs.coef_.T, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(path.stitch.loo_error, path.loo_errors[path.chosen], rtol=1e-9)


def test_path_by_generalized_cross_validation():
    penalties = (0.0, 1e-2, 1.0, 100.0)
    path = ridge_path(X, TARGET, penalties=penalties)
    expected = []
    for penalty, err, freedom in zip(penalties, path.errors, path.degrees_of_freedom, strict=True):
        hat = oracle.hat_matrix(X, penalty)
        left = TARGET - hat @ TARGET
        np.testing.assert_allclose(err, (left**2).sum() / 40, rtol=1e-9)
        np.testing.assert_allclose(freedom, np.trace(hat), rtol=1e-9)
        expected.append((left**2).sum() / 40 / (1 - np.trace(hat) / 40) ** 2)
    np.testing.assert_allclose(path.gcv_errors, expected, rtol=1e-9)
    assert int(path.chosen) == int(np.argmin(expected))
    np.testing.assert_array_equal(path(X), path.stitch(X))
    assert path.loo_errors is None


@pytest.mark.slow
def test_default_penalties_find_a_middle():
    noise = np.random.default_rng(3).normal(size=(60, 40))
    y = noise[:, :1] + np.random.default_rng(4).normal(size=(60, 1))
    path = ridge_path(noise, y)
    assert path.penalties.shape == (24,)
    largest = np.linalg.eigvalsh(np.cov(noise.T, bias=True))[-1]
    np.testing.assert_allclose(path.penalties[jnp.array([0, 23])], [1e-7 * largest, 10 * largest], rtol=1e-9)
    assert 0 < int(path.chosen) < 23


def test_gcv_without_anything_left_to_judge_by_is_infinite():
    x = np.random.default_rng(0).normal(size=(8, 20))
    path = ridge_path(x, x[:, :1], penalties=(0.0, 1.0))
    assert np.isinf(path.gcv_errors[0])
    assert int(path.chosen) == 1


@pytest.mark.slow
@pytest.mark.parametrize("rank", [1, 2, 3, 9])
def test_low_rank_is_the_projected_regression(rank):
    stitch = low_rank(X, TARGET, rank=rank)
    x, y = X - X.mean(axis=0), TARGET - TARGET.mean(axis=0)
    kernel = oracle.low_rank(x, y, rank)
    np.testing.assert_allclose(stitch.kernel, kernel, atol=1e-10)
    np.testing.assert_allclose(stitch.error, ((x @ kernel - y) ** 2).sum() / 40, rtol=1e-10)
    assert int(stitch.rank) == min(rank, 4)


def test_low_rank_with_a_penalty_is_a_least_of_its_objective():
    x, y = X - X.mean(axis=0), TARGET - TARGET.mean(axis=0)
    penalty = 0.4
    kernel = np.asarray(low_rank(X, TARGET, rank=2, penalty=penalty).kernel)

    def objective(b):
        return ((x @ b - y) ** 2).sum() / 40 + penalty * (b**2).sum()

    # As least squares with rows of the penalty added, of which the best of a rank is known.
    added = np.vstack([x / np.sqrt(40), np.sqrt(penalty) * np.eye(6)])
    best = oracle.low_rank(added, np.vstack([y / np.sqrt(40), np.zeros((6, 4))]), 2)
    np.testing.assert_allclose(kernel, best, atol=1e-10)
    assert objective(kernel) < objective(oracle.low_rank(x, y, 2))


def test_orthogonal_is_that_of_scipy():
    x, y = X - X.mean(axis=0), (X @ RNG.normal(size=(6, 6)))
    y = y - y.mean(axis=0)
    expected, sum_of_singular = orthogonal_procrustes(x, y)
    stitch = orthogonal(X, y + 7)
    np.testing.assert_allclose(stitch.kernel, expected, atol=1e-10)
    np.testing.assert_allclose(stitch.error, ((x @ expected - y) ** 2).sum() / 40, rtol=1e-10)
    scaled = orthogonal(X, y + 7, scale=True)
    np.testing.assert_allclose(scaled.kernel, expected * sum_of_singular / (x**2).sum(), atol=1e-10)


@pytest.mark.parametrize(("p", "q"), [(3, 6), (6, 3)])
def test_orthogonal_between_widths(p, q):
    rng = np.random.default_rng(p)
    x, y = rng.normal(size=(30, p)), rng.normal(size=(30, q))
    kernel = np.asarray(orthogonal(x, y, affine=False).kernel)
    product = kernel @ kernel.T if p <= q else kernel.T @ kernel
    np.testing.assert_allclose(product, np.eye(min(p, q)), atol=1e-12)
    wide = max(p, q)
    padded_x, padded_y = (np.pad(z, ((0, 0), (0, wide - z.shape[1]))) for z in (x, y))
    reached = np.linalg.norm(padded_x.T @ padded_y, "nuc")
    np.testing.assert_allclose((x @ kernel * y).sum(), reached, rtol=1e-10)
    if p <= q:
        for seed in range(20):  # no other one is better
            other = np.linalg.qr(np.random.default_rng(seed).normal(size=(q, p)))[0].T
            assert ((x @ other - y) ** 2).sum() >= ((x @ kernel - y) ** 2).sum()


def test_orthogonal_stays_orthogonal_where_moments_do_not_determine_it():
    x = np.random.default_rng(0).normal(size=(20, 4))
    y = x[:, :1] @ np.ones((1, 4))
    stitch = orthogonal(x, y)
    np.testing.assert_allclose(stitch.kernel @ stitch.kernel.T, np.eye(4), atol=1e-12)
    assert int(stitch.rank) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("p", "q"), [(4, 4), (3, 5), pytest.param(5, 3, marks=pytest.mark.slow)])
def test_permutation_is_the_best_of_all(p, q):
    rng = np.random.default_rng(p + 10 * q)
    x, y = rng.normal(size=(25, p)), rng.normal(size=(25, q))
    stitch = permutation(x, y)
    centered_x, centered_y = x - x.mean(axis=0), y - y.mean(axis=0)
    products = np.zeros((max(p, q),) * 2)
    products[:p, :q] = centered_x.T @ centered_y
    best = max(sum(products[i, j] for i, j in enumerate(order)) for order in permutations(range(max(p, q))))
    kernel = np.asarray(stitch.kernel)
    assert set(np.unique(kernel)) <= {0.0, 1.0}
    assert kernel.sum() == min(p, q)
    assert kernel.sum(axis=0).max() == kernel.sum(axis=1).max() == 1
    np.testing.assert_allclose((products[:p, :q] * kernel).sum(), best, rtol=1e-10)
    np.testing.assert_allclose(stitch.error, ((stitch(x) - y) ** 2).sum() / 25, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("components", [1, 2, 5])
def test_partial_least_squares_is_that_of_scikit_learn(components):
    theirs = PLSRegression(n_components=components, scale=False, tol=1e-30, max_iter=10_000).fit(X, TARGET)
    stitch = partial_least_squares(X, TARGET, components=components)
    np.testing.assert_allclose(stitch.kernel, theirs.coef_.T, rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(stitch(X), theirs.predict(X), rtol=1e-8)
    assert int(stitch.rank) == components


def test_partial_least_squares_with_all_components_is_least_squares():
    flat = np.hstack([X, X[:, :1]])  # of rank 6
    stitch = partial_least_squares(flat, TARGET, components=7)
    assert int(stitch.rank) == 6
    np.testing.assert_allclose(stitch.error, least_squares(X, TARGET).error, rtol=1e-9)


def test_rank_and_condition_are_those_of_the_inputs():
    x = np.random.default_rng(0).normal(size=(30, 5))
    x[:, 4] = x[:, 0] - x[:, 1]
    stitch = least_squares(x, TARGET[:30], affine=False)
    assert int(stitch.rank) == 4
    singular = np.linalg.svd(x * 0.5 ** np.ceil(np.log2(abs(x).max(axis=0))), compute_uv=False)
    assert 1 < float(stitch.condition) < 4 * singular[0] / singular[3]
    np.testing.assert_allclose(
        ridge(x, TARGET[:30], penalty=0.1, affine=False).condition,
        np.divide(*np.linalg.svd(x, compute_uv=False)[[0, 3]]),
        rtol=1e-8,
    )


def test_fewer_rows_than_features_give_the_map_of_least_norm():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 9)), rng.normal(size=(5, 3))
    with pytest.warns(UserWarning, match="5 rows for 9 features"):
        stitch = least_squares(x, y, affine=False)
    np.testing.assert_allclose(stitch.kernel, np.linalg.pinv(x) @ y, atol=1e-12)
    np.testing.assert_allclose(stitch.error, 0, atol=1e-25)
    assert np.isinf(stitch.loo_error)
    assert bool(stitch.overfit)


def test_overfit_is_more_than_one_degree_of_freedom_for_two_rows():
    assert not bool(least_squares(X, TARGET).overfit)
    assert bool(ridge(np.random.default_rng(0).normal(size=(8, 20)), TARGET[:8], penalty=1e-6).overfit)
    assert not bool(ridge(np.random.default_rng(0).normal(size=(8, 20)), TARGET[:8], penalty=1e6).overfit)
