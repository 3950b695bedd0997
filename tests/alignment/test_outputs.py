"""Outputs of classifiers: other libraries, extreme logits, masks, gradients, classes that differ."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import output_family as oracle
from scipy.special import log_softmax

from jaxalign import compare
from jaxalign.alignment.divergences import jensen_shannon, kl_divergence
from jaxalign.alignment.outputs import accuracy, accuracy_difference, cohen_kappa, disagreement
from jaxalign.measures import outputs as measures

G = np.random.default_rng(0)
SHARED = 2 * G.standard_normal((60, 5))
X, Y = (SHARED + G.standard_normal((60, 5)) for _ in range(2))
LABELS = SHARED.argmax(axis=1)
FUNCTIONS = {
    "disagreement": (disagreement, oracle.disagreement),
    "cohen_kappa": (cohen_kappa, oracle.cohen_kappa),
    "jensen_shannon": (jensen_shannon, oracle.jensen_shannon),
    "kl_divergence": (kl_divergence, oracle.kl_divergence),
    "accuracy": (
        lambda x, y, mask=None: accuracy(x, LABELS[: len(x)], mask=mask),
        lambda x, y: oracle.accuracy(x, LABELS),
    ),
    "accuracy_difference": (
        lambda x, y, mask=None: accuracy_difference(x, y, LABELS[: len(x)], mask=mask),
        lambda x, y: abs(oracle.accuracy(x, LABELS) - oracle.accuracy(y, LABELS)),
    ),
}
MEASURES = [getattr(measures, name)() for name in ("disagreement", "cohen_kappa", "jensen_shannon", "kl_divergence")]


@jax.jit
def everything(x, y, mask=None):
    return {name: function(x, y, mask=mask) for name, (function, _) in FUNCTIONS.items()}


@jax.jit
def divergences(x, y):
    return jnp.stack([jensen_shannon(x, y), kl_divergence(x, y)])


def log(*rows):
    with np.errstate(divide="ignore"):
        return jnp.log(jnp.asarray(rows, jnp.float32))


def test_values_equal_those_of_other_libraries(x64):
    for x, y in ((X, Y), (10 * X, Y), (log_softmax(X, axis=1), Y - 3), (Y, X)):
        found = everything(jnp.asarray(x, float), jnp.asarray(y, float))
        for name, (_, definition) in FUNCTIONS.items():
            tolerance = 1e-12 if x64 else 2e-6
            assert float(found[name]) == pytest.approx(definition(x, y), rel=tolerance, abs=tolerance), name


def test_known_values():
    same, other = log([0.5, 0.5], [0.9, 0.1]), log([0.25, 0.75], [0.1, 0.9])
    assert float(kl_divergence(same[:1], other[:1])) == pytest.approx(np.log(4 / 3) / 2, rel=1e-6)
    assert float(disagreement(same, other)) == 1
    assert float(jensen_shannon(log([1.0, 0.0]), log([0.0, 1.0]))) == pytest.approx(np.log(2), rel=1e-6)
    assert float(jensen_shannon(log([0.5, 0.5, 0.0]), log([0.5, 0.0, 0.5]))) == pytest.approx(np.log(2) / 2, rel=1e-6)
    found = everything(X, X)
    expected = {"cohen_kappa": 1, "accuracy": oracle.accuracy(X, LABELS)}
    for name, value in found.items():
        assert float(value) == pytest.approx(expected.get(name, 0), rel=1e-6), name


def test_small_divergences_keep_their_digits():
    """Of probabilities that differ by a millionth, the terms of the sum are larger than it by as much."""
    x = X.astype(np.float32)
    y = x + (1e-3 * G.standard_normal(x.shape)).astype(np.float32)
    exact = [
        function(x.astype(np.float64), y.astype(np.float64))
        for function in (oracle.jensen_shannon, oracle.kl_divergence)
    ]
    np.testing.assert_allclose(divergences(x, y), exact, rtol=2e-3)
    assert exact[1] < 1e-6


def test_extreme_logits():
    inf = np.inf
    sure, unsure, excluded = [1e4, -1e4, 0.0], [0.0, 0.0, -1e4], [1.0, 2.0, -inf]
    opposite, less = [-1e4, 1e4, 0.0], [1.0, -inf, -inf]
    cases = [  # Jensen-Shannon, Kullback-Leibler
        (sure, sure, 0, 0),
        (sure, opposite, np.log(2), 2e4),
        (excluded, excluded, 0, 0),
        (excluded, unsure, None, None),
        (less, excluded, None, np.log1p(np.e)),
        (excluded, less, None, inf),
        (unsure, sure, None, 0.5 * 2e4 - np.log(2)),
        (less, [-inf, 1.0, 1.0], np.log(2), inf),
    ]
    slopes = jax.jit(
        lambda x, y: [jnp.stack(jax.grad(f, argnums=(0, 1))(x, y)) for f in (jensen_shannon, kl_divergence)]
    )
    for x, y, jensen, kullback in cases:
        x, y = (jnp.asarray([v], jnp.float32) for v in (x, y))
        found, back = np.asarray(divergences(x, y)), np.asarray(divergences(y, x))
        assert not np.any(np.isnan(found)), (x, y)
        assert 0 <= found[0] <= np.float32(np.log(2)), (x, y)
        assert found[0] == back[0], (x, y)
        assert jensen is None or found[0] == pytest.approx(jensen, rel=1e-6, abs=1e-7), (x, y)
        assert kullback is None or found[1] == pytest.approx(kullback, rel=1e-6, abs=1e-7), (x, y)
        for value, slope in zip(found, slopes(x, y), strict=True):
            assert np.isinf(value) or np.all(np.isfinite(slope)), (x, y)
    found = everything(*(jnp.asarray(rows, jnp.float32) for rows in ([sure, less] * 3, [excluded, less] * 3)))
    assert float(found["disagreement"]) == 0.5


def test_masked_rows_do_not_count():
    mask = np.arange(60) % 4 != 1
    x, y = (np.where(mask[:, None], v, np.nan).astype(np.float32) for v in (X, Y))
    found = everything(x, y, mask)
    for name, (_, definition) in FUNCTIONS.items():
        if not name.startswith("accuracy"):
            assert float(found[name]) == pytest.approx(definition(X[mask], Y[mask]), rel=1e-5), name
    right = X[mask].argmax(axis=1) == LABELS[mask]
    assert float(found["accuracy"]) == pytest.approx(right.mean(), rel=1e-6)
    slope = jax.jit(jax.grad(lambda x: jensen_shannon(x, y, mask=mask) + kl_divergence(y, x, mask=mask)))(x)
    assert np.all(np.isfinite(slope))
    assert np.all(np.asarray(slope)[~mask] == 0)


def test_undefined_is_nan():
    x, y = X.astype(np.float32), Y.astype(np.float32)
    for hole in (np.nan, -np.inf):
        bad = x.copy()
        bad[4] = hole
        for inputs in ((bad, y), (y, bad)):
            for name, value in everything(*inputs).items():
                assert np.isnan(value) == (name != "accuracy" or inputs[0] is bad), name
    for name, value in everything(x, y, np.zeros(60, bool)).items():
        assert np.isnan(value), name
    always = np.tile(np.float32([0, 1, 0, 0, 0]), (60, 1))
    assert np.isnan(cohen_kappa(always, 2 * always))
    assert float(cohen_kappa(always, always[:, [1, 0, 2, 3, 4]])) == 0
    assert float(cohen_kappa(always, x)) == pytest.approx(0, abs=1e-6)


@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences():
    directions = [G.standard_normal(v.shape) for v in (X, Y)]
    _, slopes = jax.jit(lambda x, y: jax.jvp(divergences, (x, y), tuple(directions)))(X, Y)
    ahead, behind = (divergences(X + h * directions[0], Y + h * directions[1]) for h in (1e-6, -1e-6))
    np.testing.assert_allclose(slopes, (ahead - behind) / 2e-6, rtol=1e-7)


def test_what_counts_has_gradient_zero():
    slopes = jax.jit(
        jax.jacrev(lambda x: [everything(x, Y.astype(np.float32))[n] for n in ("disagreement", "cohen_kappa")])
    )
    assert all(np.all(slope == 0) for slope in slopes(X.astype(np.float32)))


def test_equal_logits_are_the_first_class_and_strange_labels_are_missed():
    tied = jnp.zeros((3, 4))
    assert float(accuracy(tied, jnp.array([0, 0, 1]))) == pytest.approx(2 / 3)
    for labels in (np.array([0, -1, 4]), np.array([0, 255, 9], np.uint8)):
        assert float(accuracy(tied, labels)) == pytest.approx(1 / 3)


@pytest.mark.slow
def test_measures_equal_the_functions_pair_by_pair():
    a, b = [X.astype(np.float32), Y.astype(np.float32)], [SHARED.astype(np.float32)]
    result = compare(a, b, measures=MEASURES, progress=False)
    within = compare(a, measures=MEASURES, progress=False)
    for measure in MEASURES:
        function = FUNCTIONS[measure.name][0]
        np.testing.assert_allclose(result.values[measure.name][1, 0], function(a[1], b[0]), rtol=1e-6)
        np.testing.assert_allclose(within.values[measure.name][0, 1], function(*a), rtol=1e-6)
        assert (within.values[measure.name][0, 1] == within.values[measure.name][1, 0]) == measure.symmetric


MISMATCH = "x and y must have one column for each class, the same in both, got 5 and 4 columns"


@pytest.mark.parametrize("name", [measure.name for measure in MEASURES])
def test_other_classes_are_named(name):
    function, measure = FUNCTIONS[name][0], getattr(measures, name)()
    narrow = X[:, :4]
    for call in (
        partial(function, X, narrow),
        partial(measure, X, narrow),
        partial(measure.matrix, [X, narrow]),
        partial(compare, [X], [narrow], measures=measure, progress=False),
    ):
        with pytest.raises(ValueError, match=f"{name}: {MISMATCH}"):
            call()


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: accuracy(X, LABELS[:9]), ValueError, r"accuracy: labels must have shape \(60,\), one for each row"),
        (lambda: accuracy(X, LABELS * 1.0), TypeError, "accuracy: labels must be integers"),
        (lambda: accuracy_difference(X, Y[:, :4], LABELS), ValueError, f"accuracy_difference: {MISMATCH}"),
        (lambda: accuracy_difference(X, Y, LABELS[:, None]), ValueError, "accuracy_difference: labels must have shape"),
        (lambda: kl_divergence(X, Y[:9]), ValueError, "kl_divergence: x and y must have the same number of rows"),
        (lambda: disagreement(LABELS, LABELS), TypeError, "disagreement: x must be floating point"),
    ],
)
def test_mistakes_are_named(call, error, says):
    with pytest.raises(error, match=says):
        call()
