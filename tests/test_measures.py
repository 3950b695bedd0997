"""Measures as values: equal to the functions, and every claim about them executed in both directions."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import MEASURES, alignment, measures
from jaxalign.kernels import RBF, Cosine, Distance, Laplacian, Linear, MedianDistance, Polynomial


def rows(n, d, seed):
    shared = np.random.default_rng(99).standard_normal((n, 2))
    g = np.random.default_rng(seed)
    return (shared @ g.standard_normal((2, d)) + g.standard_normal((n, d)) + 0.5).astype(np.float32)


X, Y, Z = rows(30, 5, 0), rows(30, 5, 1), rows(30, 3, 2)
#: More of the same: scores that count may agree by chance.
PAIRS = [(X, Y), (rows(30, 5, 10), rows(30, 5, 11)), (rows(30, 5, 12), rows(30, 5, 13))]
MASK = np.arange(30) % 4 != 0

VARIANTS = {
    # With k = 10 of 30 examples the cycles of any two inputs close: that score is 1 whatever is done.
    **{name: MEASURES[name] for name in MEASURES if name != "cycle_knn"},
    "cycle_knn few": measures.cycle_knn(k=2),
    "cka linear unbiased": measures.cka(estimator="unbiased"),
    "cka lange": measures.cka(estimator="lange", kernel=RBF(2.0)),
    "cka minibatch": measures.cka(estimator="minibatch", batch_size=8),
    "cka feature_corrected": measures.cka(estimator="feature_corrected"),
    "soft_knn euclidean": measures.soft_knn(k=5, temperature=0.2, metric="euclidean"),
    "cka cosine": measures.cka(kernel=Cosine()),
    "cka rbf median": measures.cka(kernel=RBF()),
    "cka rbf fixed": measures.cka(kernel=RBF(2.0), estimator="unbiased"),
    "cka laplacian": measures.cka(kernel=Laplacian(), estimator="unbiased"),
    "cka distance": measures.cka(kernel=Distance()),
    "cka polynomial": measures.cka(kernel=Polynomial(2)),
    "cka product": measures.cka(kernel=RBF() * Distance()),
    "kernel_alignment cosine": measures.kernel_alignment(kernel=Cosine()),
    "kernel_alignment distance": measures.kernel_alignment(kernel=Distance()),
    "hsic rbf median": measures.hsic(kernel=RBF(), estimator="unbiased"),
    "hsic cosine": measures.hsic(kernel=Cosine(), scaling="nm1"),
    "mutual_knn euclidean": measures.mutual_knn(k=5, metric="euclidean"),
    "angular_cka rbf": measures.angular_cka(kernel=RBF(2.0)),
    "distance_correlation unbiased": measures.distance_correlation(exponent=1.5, estimator="unbiased"),
    "distance_covariance unbiased": measures.distance_covariance(estimator="unbiased"),
    "cknna biased": measures.cknna(k=5, estimator="biased", eps=0.1),
    "cca squared": measures.cca(reduce="mean_squared"),
    "cca top": measures.cca(reduce="top"),
    "cca yanai": measures.cca(reduce="yanai"),
    "svcca variance": measures.svcca(variance=0.7),
    "svcca rank": measures.svcca(rank=2),
    "linear_predictivity ridge": measures.linear_predictivity(ridge=0.5),
    "gulp ridge": measures.gulp(ridge=0.5),
    "linear_predictivity held out": measures.linear_predictivity(folds=5),
    "linear_predictivity ridges": measures.linear_predictivity(ridge=(0.01, 0.3, 3.0), folds=3),
    "linear_predictivity ridges in sample": measures.linear_predictivity(ridge=(0.01, 0.3, 3.0)),
    "soft_matching_distance raw": measures.soft_matching_distance(scale="raw"),
    "soft_matching_distance feature": measures.soft_matching_distance(scale="feature"),
    "aligned_cosine permutation": measures.aligned_cosine(alignment="permutation"),
    "stochastic_shape_distance noise": measures.stochastic_shape_distance(repeats=3, alpha=0.5),
    "procrustes_distance raw": measures.procrustes_distance(scale="raw"),
    "permutation_distance raw": measures.permutation_distance(scale="raw"),
    "angular_procrustes whitened": measures.angular_procrustes(alpha=0),
    "angular_procrustes half": measures.angular_procrustes(alpha=0.5),
    "correlation_match soft": measures.correlation_match(kind="soft"),
    "rsa euclidean pearson": measures.rsa(metric="euclidean", comparison="pearson"),
    "rsa cosine kendall": measures.rsa(metric="cosine", comparison="kendall"),
    "rsa sqeuclidean cosine": measures.rsa(metric="sqeuclidean", comparison="cosine"),
    "rsa rho_a": measures.rsa(metric="sqeuclidean", comparison="rho_a"),
    "rsa mahalanobis pearson": measures.rsa(metric="mahalanobis", comparison="pearson"),
    "rsa crossnobis": measures.rsa(metric="crossnobis", comparison="whitened_correlation", repeats=2),
    "rsa averaged": measures.rsa(metric="cosine", comparison="whitened_cosine", repeats=3),
    "rsa bures": measures.rsa(metric="euclidean", comparison="bures"),
    "rsm_distance spectral": measures.rsm_distance(norm="spectral", metric="cosine"),
    "rsm_distance vector": measures.rsm_distance(norm="vector", metric="correlation"),
    "distance_alignment raw": measures.distance_alignment(rows="raw", centered=True),
    "rsa tau_a": measures.rsa(comparison="tau_a"),
    "constrained_covariance rbf": measures.constrained_covariance(kernel=RBF(2.0), kernel_y=Linear()),
    "kernel_canonical_correlation rbf": measures.kernel_canonical_correlation(kernel=RBF(), ridge=0.01),
    "kernel_mutual_information cosine": measures.kernel_mutual_information(kernel=Cosine()),
    "lcs_knn length": measures.lcs_knn(k=5, normalize=False),
    "second_order_cosine distance": measures.second_order_cosine(entries="distance"),
    "intrinsic_dimension_difference mle": measures.intrinsic_dimension_difference(method="mle", k=8),
    "uniformity_difference warm": measures.uniformity_difference(temperature=0.5),
    "imd few": measures.imd(key=1, k=3, steps=4, probes=20),
    "two kernels": measures.cka(kernel=RBF(), kernel_y=Linear()),
}

G = np.random.default_rng(3)
ACTIONS = {
    "translation": lambda x: x + np.array([3, -2, 1, 0, 5], np.float32),
    "scaling": lambda x: 2.5 * x,
    "row_scaling": lambda x: x * np.exp(np.linspace(-1, 1, 30))[:, None],
    "permutation": lambda x: x[:, [3, 0, 4, 1, 2]],
    "orthogonal": lambda x: x @ np.linalg.qr(G.standard_normal((5, 5)))[0],
    "feature_scaling": lambda x: x @ np.diag([1.0, 3, 0.3, 2, 0.1]),
    "invertible_linear": lambda x: x @ (np.diag([1.0, 3, 0.3, 2, 0.1]) + np.eye(5, k=2)),
}
#: What follows from a claim is no separate claim: a measure claims all that it has.
assert set(ACTIONS) == set(measures.INVARIANCES)


#: Every measure once, and with other settings.
CATALOGUE, SETTINGS = tuple(VARIANTS)[: len(MEASURES)], tuple(VARIANTS)[len(MEASURES) :]
each = pytest.mark.parametrize(
    "names",
    [pytest.param(CATALOGUE, id="catalogue"), pytest.param(SETTINGS, id="settings", marks=pytest.mark.slow)],
)


@partial(jax.jit, static_argnums=0)
def scored(names, x, y):
    return {name: VARIANTS[name](x, y) for name in names}


def everything(x, y):
    return scored(CATALOGUE, x, y) | scored(SETTINGS, x, y)


@pytest.mark.slow
@pytest.mark.parametrize("action", ACTIONS)
def test_claimed_invariances_hold_and_unclaimed_ones_fail(action):
    act = ACTIONS[action]
    found = [(everything(x, y), everything(act(x).astype(np.float32), y)) for x, y in PAIRS]
    for name, measure in VARIANTS.items():
        # A difference may be near 0.
        least = 0.1 if "_difference" in name else 0.0
        changes = [abs(float(b[name]) - float(a[name])) / max(abs(float(b[name])), least) for b, a in found]
        assert (max(changes) < 5e-5) == (action in measure.invariances), (name, changes)


@each
def test_the_second_input_may_have_its_features_in_any_order(names):
    """Unless they are classes."""
    before, after = scored(names, X, Y), scored(names, X, Y[:, ::-1] * 1)
    for name in names:
        unchanged = float(after[name]) == pytest.approx(float(before[name]), rel=2e-5, abs=5e-6)
        assert unchanged != VARIANTS[name].same_features, name


@each
def test_claimed_bounds_and_symmetry_hold(names):
    forth, back = ([scored(names, *pair[::step]) for pair in PAIRS] for step in (1, -1))
    noise = scored(names, X, rows(30, 5, 7)[::-1])
    for name in names:
        measure = VARIANTS[name]
        low, high = measure.bounds
        for found in (*forth, *back, noise):
            assert low - 1e-6 <= float(found[name]) <= high + 1e-6, name
        differences = [float(one[name]) - float(other[name]) for one, other in zip(forth, back, strict=True)]
        largest = max(1, abs(float(forth[0][name])))
        assert (np.max(np.abs(differences)) < 2e-6 * largest) == measure.symmetric, name
    # Distances are negative, and so may their uncentered alignment with a positive kernel be.
    assert float(measures.kernel_alignment(kernel=Distance(), kernel_y=RBF(2.0))(X, Y)) < 0


@pytest.mark.slow
def test_measures_equal_the_functions():
    cases = [
        ("cka", {"kernel": RBF(), "estimator": "unbiased"}),
        ("kernel_alignment", {"kernel": Cosine(), "kernel_y": RBF(2.0)}),
        ("hsic", {"kernel": Laplacian(), "scaling": "nm1"}),
        ("mutual_knn", {"k": 3, "metric": "euclidean"}),
        ("angular_cka", {"kernel": Laplacian()}),
        ("distance_correlation", {"exponent": 0.5, "estimator": "unbiased"}),
        ("distance_covariance", {}),
        ("cknna", {"k": 4, "eps": 1e-3}),
        ("cca", {"reduce": "yanai"}),
        ("svcca", {"rank": 2}),
        ("pwcca", {}),
        ("ridge_cca", {"ridge": 0.3}),
        ("eigenspace_overlap", {}),
        ("linear_predictivity", {"ridge": 0.3}),
        ("gulp", {}),
        ("pls_svd", {}),
        ("gaussian_mutual_information", {}),
        ("gaussian_wasserstein_dependence", {}),
        ("procrustes_distance", {"scale": "raw"}),
        ("constrained_covariance", {"kernel": RBF()}),
        ("kernel_canonical_correlation", {"ridge": 0.1}),
        ("kernel_mutual_information", {}),
        ("rsa", {"metric": "euclidean", "comparison": "kendall"}),
        ("angular_procrustes", {"alpha": 0.3}),
        ("permutation_distance", {}),
        ("correlation_match", {"kind": "soft"}),
        ("lcs_knn", {"k": 3, "normalize": False}),
        ("rank_similarity_knn", {"k": 3, "metric": "euclidean"}),
        ("second_order_cosine", {"k": 3, "entries": "distance"}),
    ]

    @jax.jit
    def both(x, y, mask):
        found = []
        for name, options in cases:
            measure, function = getattr(measures, name)(**options), getattr(alignment, name)
            found.append((measure(x, y, mask=mask), function(x, y, mask=mask, **options)))
        return found

    for by_measure, by_function in both(X, Y, MASK):
        np.testing.assert_allclose(by_measure, by_function, rtol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "measure",
    [
        pytest.param(measures.cka(kernel=RBF(), estimator="unbiased"), marks=pytest.mark.slow),
        measures.cka(kernel=RBF(2.0), kernel_y=Linear()),
        measures.mutual_knn(k=4),
        pytest.param(measures.cycle_knn(k=2), marks=pytest.mark.slow),
        pytest.param(measures.second_order_cosine(k=4), marks=pytest.mark.slow),
        pytest.param(measures.cknna(k=4), marks=pytest.mark.slow),
        measures.cca(),
        pytest.param(measures.svcca(variance=0.8), marks=pytest.mark.slow),
        pytest.param(measures.pwcca(), marks=pytest.mark.slow),
        measures.linear_predictivity(),
        pytest.param(measures.gulp(ridge=0.1), marks=pytest.mark.slow),
        pytest.param(measures.pls_svd(), marks=pytest.mark.slow),
        pytest.param(measures.procrustes_distance(), marks=pytest.mark.slow),
        pytest.param(measures.constrained_covariance(), marks=pytest.mark.slow),
        pytest.param(measures.rsa(), marks=pytest.mark.slow),
        pytest.param(measures.permutation_distance(scale="raw"), marks=pytest.mark.slow),
        pytest.param(measures.correlation_match(), marks=pytest.mark.slow),
        pytest.param(measures.distance_correlation(), marks=pytest.mark.slow),
    ],
    ids=lambda m: m.definition,
)
def test_a_matrix_is_the_loop_over_pairs(measure):
    """Of layers of two widths: four kinds of pairs, each of them compiled once."""
    a, b = [X, Z], [Y]

    @jax.jit
    def score(x, y):
        return measure(x, y, mask=MASK)

    across, within = ([[score(x, y) for y in side] for x in a] for side in (b, a))
    np.testing.assert_allclose(measure.matrix(a, b, mask=MASK), across, rtol=5e-6, atol=1e-6)
    own = measure.matrix(a, mask=MASK)
    np.testing.assert_allclose(own, within, rtol=5e-6, atol=1e-6)
    if measure.symmetric:
        np.testing.assert_array_equal(own, np.asarray(own).T)


def test_definitions():
    assert {measure.definition for measure in MEASURES.values()} >= {
        "kernel_alignment[linear]",
        "cka[linear,biased]",
        "hsic[linear,biased,n2]",
        "mutual_knn[k=10,metric=cosine]",
        "second_order_cosine[k=10,similarity]",
    }
    assert VARIANTS["two kernels"].definition == "cka[rbf(median),linear,biased]"
    assert (
        measures.hsic(estimator="unbiased", kernel=Distance(1.5)).definition == "hsic[distance(exponent=1.5),unbiased]"
    )
    rule = RBF(MedianDistance(scale=0.5, diagonal=True))
    assert measures.cka(kernel=rule, estimator="unbiased").definition == "cka[rbf(kornblith,scale=0.5),unbiased]"
    assert len({m.definition for m in VARIANTS.values()}) == len(VARIANTS)


def test_the_catalogue_is_read_only():
    for name, measure in MEASURES.items():
        assert measure.name == name
        assert measure.reference
        assert measure.chance
        assert measure.invariances <= set(measures.INVARIANCES)
    with pytest.raises(TypeError):
        MEASURES["mine"] = MEASURES["cka"]
    with pytest.raises(TypeError):
        measures.INVARIANCES["mine"] = "anything"
    with pytest.raises(AttributeError):
        MEASURES["cka"].name = "mine"


@pytest.mark.slow
def test_a_measure_is_a_pytree_of_its_settings():
    measure = measures.cka(kernel=RBF(2.0), kernel_y=Laplacian(3.0))
    assert jax.tree.leaves(measure) == [2.0, 3.0]
    assert jax.tree.leaves(measures.mutual_knn()) == []
    wider = jax.tree.map(lambda sigma: 2 * sigma, measure)
    assert wider.signature.kernel == RBF(4.0)
    assert wider.name == "cka"
    slope = jax.grad(lambda m: m(X, Y))(measure)
    assert all(float(leaf) != 0 for leaf in jax.tree.leaves(slope))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: measures.cka(estimator="biassed"), ValueError, "did you mean 'biased'?"),
        (
            lambda: measures.cka(kernel="rbf"),
            TypeError,
            "cka: kernel must be a Kernel such as jaxalign.RBF(), got 'rbf'",
        ),
        (lambda: measures.hsic(kernel=RBF), TypeError, "hsic: kernel must be a Kernel"),
        (lambda: measures.hsic(scaling="n"), ValueError, "hsic: scaling must be one of"),
        (lambda: measures.mutual_knn(k=0), ValueError, "k must be at least 1"),
        (lambda: measures.mutual_knn(metric="cosin"), ValueError, "did you mean 'cosine'?"),
        (lambda: measures.cka()(X, Y[:9]), ValueError, "cka: x and y must have the same number of rows"),
        (lambda: measures.cka()(X.tolist(), Y), TypeError, "cka: x must be an array"),
        (lambda: measures.cka().matrix([]), ValueError, "cka: a must hold at least one representation"),
        (lambda: measures.cka().matrix([X], []), ValueError, "cka: b must hold at least one representation"),
        (lambda: measures.cka().matrix([X, Y[:9]]), ValueError, "cka: a[1] must have 30 rows like a[0], got 9"),
        (lambda: measures.cka().matrix([X], [Y, Y[0]]), ValueError, "cka: b[1] must have shape (examples, features)"),
        (lambda: measures.cka().matrix([X], mask=MASK[:9]), ValueError, "cka: mask must have shape (30,)"),
        (lambda: measures.mutual_knn(k=30).matrix([X]), ValueError, "k must be smaller than the number of rows (30)"),
    ],
)
def test_mistakes_are_named(call, error, says):
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_layers_of_different_dtypes_meet_in_the_widest():
    a = [jnp.asarray(X, "float64"), jnp.asarray(Y, "float32"), jnp.asarray(Z, "bfloat16")]
    for measure in (measures.cka(), measures.cka(kernel=RBF(2.0)), measures.mutual_knn()):
        assert jax.eval_shape(measure.matrix, a).dtype == jnp.float64
    measure = measures.cka(kernel=RBF(2.0))
    np.testing.assert_allclose(measure.matrix(a), measure.matrix([x.astype("float64") for x in a]), rtol=1e-9)


@pytest.mark.slow
def test_measures_that_claim_to_be_metrics_are():
    """The triangle inequality for every three of some inputs, and 0 from an input to itself."""
    inputs = [X, Y, rows(30, 5, 20), X + 0.1 * Y, rows(30, 5, 21), Y[::-1] * 1.0]
    claiming = {name: measure for name, measure in VARIANTS.items() if measure.metric}
    assert claiming
    for name, measure in claiming.items():
        assert not measure.larger_is_closer
        assert measure.bounds[0] == 0
        distances = np.asarray(measure.matrix(inputs), np.float64)
        assert np.all(np.diag(distances) < 1e-3 * distances.max()), name
        through = distances[:, :, None] + distances[None, :, :]
        assert np.all(distances[:, None, :] <= through + 1e-5), name


@each
def test_distances_grow_as_an_input_is_disturbed(names):
    noise = rows(30, 5, 30)
    near, far = (scored(names, X, (X + amount * noise).astype(np.float32)) for amount in (0.1, 3.0))
    for name in names:
        # Covariances grow with their inputs, and 2 of 30 neighbors are a coarse scale; differences of two
        # numbers, or of curves drawn by few random vectors, say nothing about what is between.
        coarse = ("hsic", "distance_covariance", "constrained_covariance", "cycle", "imd few")
        if not name.startswith(coarse) and "_difference" not in name:
            assert (float(near[name]) > float(far[name])) == VARIANTS[name].larger_is_closer, name
