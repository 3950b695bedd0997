"""Chance levels against the average over all permutations of few examples."""

from __future__ import annotations

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import measures
from jaxalign.inference.chance import chance_adjusted, chance_level
from jaxalign.kernels import RBF, Cosine

MEASURES = [
    measures.cka(),
    measures.cka(kernel=RBF(1.0), kernel_y=Cosine(), estimator="lange"),
    measures.cka(estimator="unbiased"),
    measures.kernel_alignment(),
    measures.kernel_alignment(kernel=RBF(1.0)),
    measures.hsic(kernel=RBF(2.0), scaling="nm1"),
    measures.mutual_knn(k=2),
    measures.linear_predictivity(),
    measures.linear_predictivity(ridge=0.3),
    measures.cca(reduce="mean_squared"),
    measures.cca(reduce="yanai"),
    measures.eigenspace_overlap(),
    measures.disagreement(),
    measures.cohen_kappa(),
]
ROWS = 6
ORDERS = np.array(list(permutations(range(ROWS))))


def inputs(measure):
    g = np.random.default_rng(0)
    return g.standard_normal((ROWS, 2)) ** 3 + 0.3, g.standard_normal((ROWS, 2 if measure.same_features else 3)) + 0.5


def over_all(measure, x, y):
    """The score of every permutation, which knows nothing of the formulas."""
    own, other = measure.signature(jnp.asarray(x)), measure.signature_y or measure.signature
    return np.asarray(jax.jit(jax.vmap(lambda order: measure.score(own, other(jnp.asarray(y)[order]))))(ORDERS))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "measure",
    [pytest.param(m, marks=pytest.mark.slow if i % 4 else ()) for i, m in enumerate(MEASURES)],
    ids=lambda m: m.definition,
)
def test_the_mean_of_all_permutations(measure):
    """Also with a row that does not count and holds NaN, in which the rank and the counts would otherwise show."""
    x, y = inputs(measure)
    expected = np.mean(over_all(measure, x, y))
    padded = [np.concatenate([v[:2], np.full((1, v.shape[1]), np.nan), v[2:]]) for v in (x, y)]
    found = chance_level(measure, *padded, mask=np.arange(ROWS + 1) != 2)
    assert float(found) == pytest.approx(expected, abs=1e-12, rel=1e-12)


@pytest.mark.slow
def test_values_in_float32():
    """Far more features than examples: nearly all of a biased score is chance."""
    g = np.random.default_rng(0)
    x, y = (g.standard_normal((64, 500)).astype(np.float32) + 10 for _ in range(2))
    h = np.eye(64) - 1 / 64
    k, kk = (h @ (v.astype(float) @ v.T.astype(float)) @ h for v in (x, y))
    expected = np.trace(k) * np.trace(kk) / 63 / np.linalg.norm(k) / np.linalg.norm(kk)
    assert float(chance_level(measures.cka(), x, y)) == pytest.approx(expected, rel=1e-5)
    assert expected > 0.8
    assert abs(float(chance_adjusted(measures.cka(), x, y))) < 0.05


@pytest.mark.slow
def test_adjusted_scores():
    """0 on average, 1 for an input with itself, a similarity of a distance; NaN where chance is already best."""
    x, y = (np.float32(v) for v in inputs(measures.mutual_knn()))
    for measure in (measures.mutual_knn(k=2), measures.cka(), measures.cka(estimator="unbiased")):
        assert float(chance_adjusted(measure, x, x)) == pytest.approx(1, abs=1e-5)
    knn = measures.mutual_knn(k=2)
    assert float(chance_adjusted(knn, x, y)) == pytest.approx((float(knn(x, y)) - 0.4) / 0.6, rel=1e-5)
    logits = np.float32(inputs(measures.disagreement())[1])
    same, other = measures.disagreement(), measures.cohen_kappa()
    assert float(chance_adjusted(same, x, logits)) == pytest.approx(float(other(x, logits)), abs=1e-6)
    assert np.isnan(chance_adjusted(measures.mutual_knn(k=5), x, y))


@pytest.mark.slow
def test_what_is_not_defined_is_nan():
    x, y = (np.float32(v) for v in inputs(measures.cka()))
    for measure in (measures.cka(), measures.mutual_knn(k=2), measures.linear_predictivity()):
        assert np.isnan(chance_level(measure, np.ones_like(x), y))
        assert np.isnan(chance_adjusted(measure, np.ones_like(x), y))


@pytest.mark.parametrize(
    ("function", "measure", "says"),
    [
        (chance_level, measures.jaccard_knn(k=2), "chance_level: no closed form .*jaccard_knn.*calibrate"),
        (chance_level, measures.angular_cka(), "chance_level: no closed form .*angular_cka"),
        (chance_level, measures.cca(), "chance_level: no closed form .*cca"),
        (chance_adjusted, measures.rsa(), "chance_adjusted: no closed form .*rsa"),
        (chance_adjusted, measures.hsic(), "chance_adjusted: measure must have a best value, got hsic"),
    ],
)
def test_mistakes_are_named(function, measure, says):
    x, y = (np.float32(v) for v in inputs(measures.cka()))
    with pytest.raises(ValueError, match=says):
        function(measure, x, y)
