"""Scores under other orders of the examples: those of the reordered input, though nothing is computed again."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxalign as ja
from jaxalign import measures
from jaxalign.alignment import kernel_reordering
from jaxalign.alignment.kernel_reordering import ByFeatures, ByMatrices, BySweeps, Stacked
from jaxalign.alignment.reordering import Composed, OfSignatures, Recomputed, turned
from jaxalign.inference import permutation_test
from jaxalign.inference.null import prepare

N = 22
G = np.random.default_rng(3)
SHARED = G.standard_normal((N, 3))
X, Y, Z = ((SHARED @ G.standard_normal((3, d)) + G.standard_normal((N, d)) + 0.5).astype(np.float32) for d in (4, 4, 3))
MASK = np.arange(N) % 5 != 2
#: One for each kind of signature, and for each way to inner products.
KINDS = {
    "features": measures.cka(),
    "sweeps of features": measures.cka(estimator="unbiased"),
    "matrices": measures.hsic(kernel=ja.RBF()),
    "matrices, unbiased": measures.distance_correlation(estimator="unbiased"),
    "hollow": measures.cka(estimator="lange", kernel=ja.RBF(2.0)),
    "uncentered": measures.kernel_alignment(kernel=ja.Cosine()),
    "batches": measures.cka(estimator="minibatch", batch_size=5),
    "partial": measures.deconfounded_cka(Z),
    "ranks": measures.rsa(comparison="spearman"),
    "rho_a": measures.rsa(comparison="rho_a"),
    "orders": measures.rsa(metric="euclidean", comparison="kendall"),
    "second moments": measures.rsa(comparison="whitened_correlation"),
    "roots": measures.rsa(comparison="bures"),
    "distance matrices": measures.distance_alignment(),
    "repeats": measures.rsa(metric="crossnobis", repeats=2, comparison="pearson"),
    "stochastic": measures.stochastic_shape_distance(repeats=2, steps=3),
    "neighbors": measures.mutual_knn(k=3),
    "neighbor kernels": measures.cknna(k=4),
    "neighborhoods": measures.second_order_cosine(k=3),
    "soft neighbors": measures.soft_knn(k=3),
    "whitened": measures.cca(),
    "projected": measures.pwcca(),
    "regressors": measures.linear_predictivity(),
    "folds": measures.linear_predictivity(folds=4),
    "shapes": measures.procrustes_distance(),
    "tuning curves": measures.soft_matching_distance(),
    "standardized": measures.correlation_match(),
    "directions": measures.aligned_cosine(),
    "feature maps": measures.constrained_covariance(kernel=ja.RBF()),
    "predictions": measures.cohen_kappa(),
    "probabilities": measures.jensen_shannon(),
}
#: Those that are tested by default; all are among the slow tests.
TYPICAL = ("features", "matrices", "matrices, unbiased", "ranks", "orders", "repeats", "neighbors", "regressors")


def examples(measure):
    return N // getattr(measure.signature, "repeats", 1)


def order_of(count, mask, seed):
    """A permutation of examples in which those that do not count stay where they are."""
    indices = np.arange(count, dtype=np.int32)
    moving = indices if mask is None else np.flatnonzero(mask)
    indices[moving] = np.random.default_rng(seed).permutation(moving)
    return indices


def reordered(measure, y, indices):
    """The rows of `y` with examples, and all measurements of each, in another order."""
    repeats = getattr(measure.signature, "repeats", 1)
    return y.reshape(repeats, -1, y.shape[1])[:, indices].reshape(y.shape)


@jax.jit
def under(measure, x, y, mask, indices):
    return measure.reordering([x], [y], mask)(indices)[0, 0]


@pytest.mark.parametrize("kind", [pytest.param(k, marks=() if k in TYPICAL else pytest.mark.slow) for k in KINDS])
def test_a_reordered_signature_scores_like_the_reordered_input(kind, float64):
    measure = KINDS[kind]
    x, y = X.astype(np.float64), Y.astype(np.float64)
    indices = order_of(examples(measure), None, 0)
    value = under(measure, x, y, None, indices)
    expected = measure(x, reordered(measure, y, indices))
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)
    assert abs(float(value) - float(measure(x, y))) > 1e-9  # or the order would not have been changed


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "matrices",
        "folds",
        *(pytest.param(k, marks=pytest.mark.slow) for k in ("features", "ranks", "orders", "neighbors", "predictions")),
    ],
)
def test_rows_that_do_not_count_stay_where_they_are(kind, float64):
    measure = KINDS[kind]
    x, y = X.astype(np.float64), np.where(MASK[:, None], Y.astype(np.float64), np.nan)
    indices = order_of(N, MASK, 1)
    value = under(measure, x, y, jnp.asarray(MASK), indices)
    np.testing.assert_allclose(value, measure(x[MASK], y[indices][MASK]), rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "count", "turned"),
    [
        ("matrices", 21, True),
        pytest.param("matrices", 20, False, marks=pytest.mark.slow),
        pytest.param("ranks", 21, False, marks=pytest.mark.slow),
        pytest.param("neighbors", 21, False, marks=pytest.mark.slow),
    ],
)
def test_all_pairs_of_layers_see_one_order(kind, count, turned, float64):
    measure = KINDS[kind]
    a = [X[:count].astype(np.float64), Z[:count].astype(np.float64)]
    b = [Y[:count].astype(np.float64), X[:count, :2].astype(np.float64), a[1]]
    indices = order_of(count, None, 2)
    one, other = (b, a) if turned else (a, b)
    values = prepare(measure, one, other, None)(indices)
    np.testing.assert_allclose(values, measure.matrix(one, [y[indices] for y in other]), rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_the_cheapest_way_is_taken(monkeypatch):
    def way(measure):
        return type(prepare(measure, [X], [Y], None).cross)

    assert way(measures.cka()) is ByFeatures
    assert way(measures.cka(estimator="unbiased")) is BySweeps
    assert way(measures.cka(kernel=ja.RBF())) is ByMatrices
    wide = np.random.default_rng(0).normal(size=(N, 300)).astype(np.float32)
    assert type(prepare(measures.cka(), [wide], [wide], None).cross) is ByMatrices
    assert isinstance(prepare(measures.cca(), [X], [Y], None), OfSignatures)
    assert isinstance(prepare(KINDS["batches"], [X], [Y], None), Recomputed)


@pytest.mark.slow
def test_matrices_that_do_not_fit_are_swept(monkeypatch, float64):
    monkeypatch.setattr(kernel_reordering, "MATRIX_BYTES", 1000)
    measure = measures.hsic(kernel=ja.RBF(1.5), estimator="unbiased")
    indices = order_of(N, None, 3)
    swept = measure.reordering([jnp.asarray(X, float)], [jnp.asarray(Y, float)])
    assert isinstance(swept.cross, BySweeps)
    np.testing.assert_allclose(swept(indices)[0, 0], measure(X.astype(float), Y[indices].astype(float)), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "limit"), [("features", 5000), ("matrices", 15_000)])
def test_copies_that_do_not_fit_are_not_made(kind, limit, monkeypatch, float64):
    orders = jnp.asarray([order_of(N, None, seed) for seed in range(8)])
    indices = jnp.asarray(order_of(N, None, 9))
    scores = KINDS[kind].reordering([jnp.asarray(X, float)], [jnp.asarray(Y, float)])
    copied = turned(scores, orders)
    assert isinstance(copied.cross, Stacked)
    monkeypatch.setattr(kernel_reordering, "MATRIX_BYTES", limit)
    alone = turned(scores, orders)
    assert isinstance(alone.cross, Composed)
    np.testing.assert_allclose(alone(indices), copied(indices), rtol=1e-12)
    assert isinstance(turned(scores, orders[:2]).cross, Stacked)


def test_with_itself_signatures_are_made_once():
    made = []

    class Counted(type(measures.mutual_knn().signature)):
        def many(self, layers, mask=None):
            made.append(len(layers))
            return super().many(layers, mask)

    measure = measures.mutual_knn(k=3)
    object.__setattr__(measure, "signature", Counted(3))
    both = measure.reordering([jnp.asarray(X), jnp.asarray(Y)])
    assert made == [2]
    indices = order_of(N, None, 4)
    np.testing.assert_allclose(both(jnp.asarray(indices))[0, 1], ja.mutual_knn(X, Y[indices], k=3), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ja.MEASURES)
def test_every_measure_has_a_null_or_says_why_not(name):
    measure = ja.MEASURES[name]
    if name == "cycle_knn":  # with k = 10 of so few examples it is 1 whatever is done
        measure = measures.cycle_knn(k=2)
    indices = order_of(examples(measure), None, 5)
    moved = measure(X, reordered(measure, Y, indices))
    if not measure.paired:
        # Random signs that imd is estimated by are those of rows, and now meet others.
        np.testing.assert_allclose(moved, measure(X, Y), rtol=1e-4, atol=2e-3 if name == "imd" else 1e-6)
        with pytest.raises(ValueError, match=f"permutation_test: {name} compares clouds of points"):
            permutation_test(measure, X, Y, permutations=3, key=0)
        return
    np.testing.assert_allclose(under(measure, X, Y, None, indices), moved, rtol=2e-4, atol=2e-5)
    assert float(moved) != float(measure(X, Y))
