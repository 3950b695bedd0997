"""Soft matching: a linear program, the relation to permutations, repeated features, masks, gradients."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from golden.inputs import CASES
from oracles import soft_matching as oracle
from oracles.shape_family import correlation_match, permutation_distance

from jaxalign.alignment.soft_matching import soft_matching_distance
from jaxalign.measures.shape import soft_matching_distance as measure
from jaxalign.signatures.tuning import SCALES

X, Y = CASES["A"]
X, Y = X[:, :6], Y[:, :9]


@jax.jit
def everything(x, y, mask=None):
    return {scale: soft_matching_distance(x, y, scale=scale, mask=mask) for scale in SCALES}


@pytest.mark.usefixtures("float64")
def test_values_equal_the_linear_program():
    """Of masked inputs, which are the subset."""
    mask = np.arange(64) % 4 != 1
    found = everything(*(np.where(mask[:, None], v, np.nan) for v in (X, Y)), mask)
    for scale, value in found.items():
        expected = oracle.soft_matching_distance(X[mask], Y[mask], scale)
        assert float(value) == pytest.approx(expected, rel=1e-9), scale


@pytest.mark.slow
def test_values_in_single_precision():
    for scale, value in everything(X.astype(np.float32), Y.astype(np.float32)).items():
        assert float(value) == pytest.approx(oracle.soft_matching_distance(X, Y, scale), rel=5e-6), scale


@pytest.mark.parametrize("scale", ["unit", *(pytest.param(s, marks=pytest.mark.slow) for s in ("raw", "feature"))])
@pytest.mark.usefixtures("float64")
def test_between_equal_numbers_it_is_the_permutation_distance(scale):
    x, y = X[:, :5], Y[:, :5]
    found = float(soft_matching_distance(x, y, scale=scale))
    if scale == "feature":
        # The soft matching correlation: with one partner for each, the mean correlation of the best matching.
        assert 1 - found**2 / 2 == pytest.approx(correlation_match(x, y))
    else:
        assert found == pytest.approx(permutation_distance(x, y, scale) / (1 if scale == "unit" else np.sqrt(5)))


def test_repeated_features_and_their_order_do_not_matter():
    x = X[:, :3].astype(np.float32)
    twice, thrice = np.tile(x, 2), np.tile(x[:, ::-1], 3)
    assert all(float(value) == 0 for value in everything(twice, thrice).values())
    assert all(float(value) > 1 for value in everything(twice, -thrice).values())


@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences():
    directions = [np.random.default_rng(i).standard_normal(v.shape) for i, v in enumerate((X, Y))]

    _, slope = jax.jit(lambda x, y: jax.jvp(soft_matching_distance, (x, y), tuple(directions)))(X, Y)
    step = 1e-6
    ahead, behind = (float(soft_matching_distance(X + h * directions[0], Y + h * directions[1])) for h in (step, -step))
    assert float(slope) == pytest.approx((ahead - behind) / (2 * step), rel=1e-6)


def test_degenerate_inputs():
    x, y = X.astype(np.float32), Y.astype(np.float32)
    still = y.copy()
    still[:, 2] = 1
    bad = y.copy()
    bad[4, 1] = np.nan
    for inputs in ((x, np.ones_like(y)), (x, bad)):
        assert all(np.isnan(value) for value in everything(*inputs).values())
    assert all(np.isfinite(value) for value in everything(x, still).values())
    gradient = jax.grad(soft_matching_distance)(x, np.tile(x[:, :3], 3))
    assert np.all(np.isfinite(gradient))


@pytest.mark.slow
def test_it_is_a_metric_between_sets_of_different_sizes():
    layers = [
        CASES["A"][side][:, a:b].astype(np.float32) for side, a, b in ((0, 0, 6), (1, 0, 9), (0, 4, 8), (1, 3, 20))
    ]
    for scale in SCALES:
        distances = np.asarray(measure(scale=scale).matrix(layers))
        assert np.all(distances[:, None] <= distances[:, :, None] + distances[None] + 1e-5)
        np.testing.assert_array_equal(distances, distances.T)
        assert np.all(np.diag(distances) == 0)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="soft_matching_distance: scale must be one of"):
        soft_matching_distance(X, Y, scale="features")
    with pytest.raises(ValueError, match="soft_matching_distance: scale must be one of"):
        measure(scale="all")
    with pytest.raises(ValueError, match="soft_matching_distance: x and y must have the same"):
        soft_matching_distance(X, Y[:9])
