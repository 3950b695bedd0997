"""Scores of weighted samples: with weights of 0 and 1 the masked measure, with others the draws written out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from jaxalign import measures
from jaxalign.inference.resampling import (
    check_takes_weights,
    draw,
    in_batches,
    reweighted,
    takes_weights,
)
from jaxalign.kernels.radial import RBF, Distance, Laplacian
from jaxalign.measures.catalogue import MEASURES
from tests.oracles import kernel_family, resampled

N = 24
GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((N, 5))
Y = X[:, :4] + GENERATOR.standard_normal((N, 4))
#: Which examples count at all, and which of them have weight 1.
BASE = GENERATOR.random(N) < 0.9
KEPT = BASE & (GENERATOR.random(N) < 0.7)
WEIGHTS = np.where(BASE, GENERATOR.multinomial(N, np.ones(N) / N), 0)

SUPPORTED = {
    "kernel_alignment": measures.kernel_alignment(),
    "cka": measures.cka(),
    "cka, unbiased": measures.cka(estimator="unbiased"),
    "cka, lange": measures.cka(estimator="lange"),
    "cka, two kernels": measures.cka(kernel=RBF(2.0), kernel_y=Laplacian(1.5)),
    "angular_cka": measures.angular_cka(),
    "hsic": measures.hsic(scaling="nm1"),
    "hsic, unbiased": measures.hsic(kernel=RBF(2.0), estimator="unbiased"),
    "distance_correlation": measures.distance_correlation(),
    "distance_correlation, unbiased": measures.distance_correlation(estimator="unbiased"),
    "distance_covariance": measures.distance_covariance(),
    "rsa, pearson": measures.rsa(comparison="pearson"),
    "rsa, spearman": measures.rsa(metric="euclidean"),
    "rsa, cosine": measures.rsa(metric="cosine", comparison="cosine"),
    "rsa, rho_a": measures.rsa(metric="sqeuclidean", comparison="rho_a"),
    "mutual_knn": measures.mutual_knn(k=4),
    "cycle_knn": measures.cycle_knn(k=2),
    "lcs_knn": measures.lcs_knn(k=4, metric="euclidean"),
    "edit_distance_knn": measures.edit_distance_knn(k=4),
    "jaccard_knn": measures.jaccard_knn(k=4),
    "rank_similarity_knn": measures.rank_similarity_knn(k=4),
    "joint_rank_jaccard_knn": measures.joint_rank_jaccard_knn(k=4),
    "cca": measures.cca(),
    "svcca": measures.svcca(),
    "pwcca": measures.pwcca(),
    "ridge_cca": measures.ridge_cca(),
    "eigenspace_overlap": measures.eigenspace_overlap(),
    "linear_predictivity": measures.linear_predictivity(),
    "gulp": measures.gulp(ridge=0.1),
    "pls_svd": measures.pls_svd(),
    "gaussian_mutual_information": measures.gaussian_mutual_information(),
    "gaussian_wasserstein_dependence": measures.gaussian_wasserstein_dependence(),
    "procrustes_distance": measures.procrustes_distance(),
    "angular_procrustes": measures.angular_procrustes(),
    "permutation_distance": measures.permutation_distance(),
    "soft_matching_distance": measures.soft_matching_distance(),
    "correlation_match": measures.correlation_match(),
    "disagreement": measures.disagreement(),
    "cohen_kappa": measures.cohen_kappa(),
    "jensen_shannon": measures.jensen_shannon(),
    "kl_divergence": measures.kl_divergence(),
}
#: One of each kind in the default run: all others are their relatives.
TYPICAL = ("cka", "cka, unbiased", "cka, lange", "rsa, pearson", "rsa, spearman", "mutual_knn", "linear_predictivity")


def inputs(measure, dtype=np.float32):
    y = X[:, ::-1] + 0.5 * X if measure.same_features else Y
    return jnp.asarray(X, dtype), jnp.asarray(y, dtype)


@jax.jit
def scored(measure, x, y, mask, weights):
    return reweighted(measure, x, y, mask).many(weights)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in TYPICAL else pytest.mark.slow) for n in SUPPORTED])
def test_weights_of_0_and_1_are_a_mask(name):
    measure = SUPPORTED[name]
    x, y = inputs(measure)
    broken = [jnp.where(jnp.asarray(BASE)[:, None], v, jnp.nan) for v in (x, y)]
    found = scored(measure, *broken, jnp.asarray(BASE), jnp.asarray([KEPT, BASE], jnp.float32))
    expected = [float(measure(x, y, mask=jnp.asarray(m))) for m in (KEPT, BASE)]
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def test_every_measure_of_the_catalogue_is_supported_or_says_what_to_do():
    unsupported = {name for name, measure in MEASURES.items() if not takes_weights(measure)}
    assert unsupported == set(MEASURES) - {measure.name for measure in SUPPORTED.values()}
    for name in unsupported:
        with pytest.raises(ValueError, match=f'bootstrap: .*{name}.*method="jackknife"'):
            check_takes_weights("bootstrap", MEASURES[name])
    refused = [measures.rsa(comparison="kendall"), measures.rsa(metric="mahalanobis"), measures.rsa(repeats=2)]
    refused += [measures.linear_predictivity(folds=3), measures.cka(estimator="minibatch")]
    assert not any(takes_weights(measure) for measure in refused)


SMALL = np.asarray([2, 0, 1, 1, 3, 1, 0])


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["biased", "unbiased", "lange"])
def test_weighted_kernel_scores_are_those_of_the_draws(estimator):
    """Not all kernels for all estimators: they only meet in a matrix."""
    n = len(SMALL)
    centering = {"lange": "hollow"}.get(estimator, estimator)
    kernel = Distance() if estimator == "unbiased" else RBF(1.5)
    k, m = (kernel_family.distance(v) if estimator == "unbiased" else kernel_family.rbf(v, 1.5) for v in (X[:n], Y[:n]))
    for make, scaling in ((measures.cka, "cosine"), (measures.hsic, "n2" if estimator == "biased" else "u")):
        found = scored(
            make(kernel=kernel, estimator=estimator),
            *(jnp.asarray(v[:n], "f") for v in (X, Y)),
            None,
            jnp.asarray(SMALL[None], "f"),
        )
        expected = resampled.kernel_score(k, m, SMALL, centering, scaling)
        assert float(found[0]) == pytest.approx(expected, rel=2e-5), scaling


def test_weighted_kernel_alignment_is_that_of_the_draws():
    found = scored(measures.kernel_alignment(), *inputs(measures.cka()), None, jnp.asarray(WEIGHTS[None], "f"))
    k, m = kernel_family.linear(X), kernel_family.linear(Y)
    assert float(found[0]) == pytest.approx(resampled.kernel_score(k, m, WEIGHTS, "none", "cosine"), rel=2e-5)


@pytest.mark.slow
def test_equal_weights_and_a_far_mean_change_nothing():
    """Twice every example: the estimators without bias stay, as the copies are no pairs; so do levels of matrices."""
    x, y = inputs(measures.cka())
    for estimator in ("biased", "unbiased"):
        measure = measures.cka(kernel=RBF(2.0), estimator=estimator)
        near = scored(measure, x, y, None, jnp.asarray(WEIGHTS[None], "f"))
        far = scored(measure, x + 50, y - 50, None, jnp.asarray(WEIGHTS[None], "f"))
        np.testing.assert_allclose(far, near, atol=2e-5)
    measure = measures.hsic(estimator="unbiased")
    twice = scored(measure, x, y, None, jnp.full((1, N), 2.0))
    np.testing.assert_allclose(twice, measure(x, y), rtol=2e-5)


@pytest.mark.slow
def test_the_unbiased_score_stays_unbiased_in_samples_that_are_drawn():
    """The mean over samples of HSIC times the number of fours is the HSIC of the sample."""
    generator = np.random.default_rng(1)
    weights = generator.multinomial(8, np.ones(8) / 8, size=20_000)
    x, y = (jnp.asarray(v[:8], "f") for v in (X, Y))
    measure = measures.hsic(estimator="unbiased")
    found = np.asarray(scored(measure, x, y, None, jnp.asarray(weights, "f")))
    p = [np.sum(weights**power, axis=1, dtype=float) for power in range(5)]
    fours = p[1] ** 4 - 6 * p[1] ** 2 * p[2] + 3 * p[2] ** 2 + 8 * p[1] * p[3] - 6 * p[4]
    assert np.all(np.isnan(found) == (fours == 0))
    mean = np.nansum(found * fours) / np.sum(fours)
    assert mean == pytest.approx(float(measure(x, y)), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    "comparison", ["pearson", "spearman", *(pytest.param(c, marks=pytest.mark.slow) for c in ("cosine", "rho_a"))]
)
def test_weighted_dissimilarities_are_those_of_the_draws(comparison):
    x = np.round(2 * X)  # ties
    measure = measures.rsa(metric="euclidean", comparison=comparison)
    for n in (N, N - 1):
        found = scored(
            measure, jnp.asarray(x[:n], "f"), jnp.asarray(Y[:n], "f"), None, jnp.asarray(WEIGHTS[None, :n], "f")
        )
        expected = resampled.rsa(cdist(x[:n], x[:n]), cdist(Y[:n], Y[:n]), WEIGHTS[:n], comparison)
        assert float(found[0]) == pytest.approx(expected, abs=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "agreement"),
    [(measures.mutual_knn, "overlap"), (measures.jaccard_knn, "jaccard"), (measures.cycle_knn, "cycle")],
)
def test_weighted_neighbors_are_those_of_the_draws(make, agreement):
    weights = np.stack([WEIGHTS, np.where(np.arange(N) % 5 == 0, 4, 0), np.arange(N) // 2 == 3])
    found = scored(make(k=4, metric="euclidean"), *inputs(measures.cka()), None, jnp.asarray(weights, "f"))
    d, e = cdist(X, X), cdist(Y, Y)
    expected = [resampled.knn(d, e, w, 4, agreement) for w in weights[:2]]
    np.testing.assert_allclose(found[:2], expected, atol=1e-6)
    assert np.isnan(found[2])  # two examples have no four neighbors


@pytest.mark.slow
def test_neighbors_far_down_the_order_are_found():
    """Lists are read to a depth that is nearly always enough, and to the end when it is not."""
    generator = np.random.default_rng(2)
    x, y = generator.standard_normal((2, 80, 3))
    weights = np.zeros(80)
    weights[generator.permutation(80)[:6]] = 1
    found = scored(
        measures.mutual_knn(k=2, metric="euclidean"),
        jnp.asarray(x, "f"),
        jnp.asarray(y, "f"),
        None,
        jnp.asarray(np.stack([weights, np.ones(80)]), "f"),
    )
    expected = [resampled.knn(cdist(x, x), cdist(y, y), w, 2, "overlap") for w in (weights, np.ones(80))]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_weighted_rows_are_repeated_rows():
    measure = measures.linear_predictivity()
    draws = resampled.draws_of(WEIGHTS)
    found = scored(measure, *inputs(measure), None, jnp.asarray(WEIGHTS[None], "f"))
    expected = measure(jnp.asarray(X[draws], "f"), jnp.asarray(Y[draws], "f"))
    assert float(found[0]) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.slow
def test_many_blocks_of_rows_are_one(monkeypatch):
    from jaxalign.inference import reweighted_kernels

    x, y = inputs(measures.cka())
    weights = jnp.asarray(WEIGHTS[None], "f")
    whole = reweighted(measures.cka(estimator="unbiased"), x, y, None).many(weights)
    monkeypatch.setattr(reweighted_kernels, "BLOCK_ROWS", 9)
    parts = reweighted(measures.cka(estimator="unbiased"), x, y, None).many(weights)
    np.testing.assert_allclose(parts, whole, rtol=1e-5)


@pytest.mark.slow
def test_constant_inputs_have_no_score():
    x, y = inputs(measures.cka())
    for name in ("cka", "cka, unbiased", "rsa, pearson", "mutual_knn", "linear_predictivity"):
        measure = measures.rsa(metric="euclidean", comparison="pearson") if name == "rsa, pearson" else SUPPORTED[name]
        assert np.isnan(scored(measure, jnp.ones_like(x), y, None, jnp.asarray(WEIGHTS[None], "f"))[0]), name


@pytest.mark.slow
def test_draws_are_of_rows_that_count_and_do_not_depend_on_others():
    key = jax.random.key(3)
    mask = jnp.asarray(BASE)
    found = np.asarray(jax.vmap(lambda i: draw(key, i, mask))(jnp.arange(400)))
    assert np.all(found[:, ~BASE] == 0)
    assert np.all(found.sum(1) == BASE.sum())
    subset = np.asarray(jax.vmap(lambda i: draw(key, i, jnp.ones(BASE.sum(), bool)))(jnp.arange(400)))
    np.testing.assert_array_equal(found[:, BASE], subset)
    # Mean 1, variance 1 - 1/n.
    np.testing.assert_allclose(subset.mean(0), 1, atol=5 / 20)
    assert subset.var() == pytest.approx(1 - 1 / BASE.sum(), rel=0.05)


@pytest.mark.parametrize(("count", "size"), [(7, 3), (6, 3), (5, 9)])
def test_batches_cover_all_numbers(count, size):
    np.testing.assert_array_equal(in_batches(lambda i: {"a": i * i}, count, size)["a"], np.arange(count) ** 2)
