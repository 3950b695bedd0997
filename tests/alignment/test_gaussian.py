"""Gaussian dependence: determinants and transport, exact values, digits at both ends, ranks, masks, gradients."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from oracles import linear_family as oracle

import jaxalign as ja
from jaxalign import UninformativeWarning

X, Y = CASES["A"]
MOST = 4 - 2 * np.sqrt(2)


@jax.jit
def both(x, y, mask=None):
    return jnp.stack(
        [ja.gaussian_mutual_information(x, y, mask=mask), ja.gaussian_wasserstein_dependence(x, y, mask=mask)]
    )


def defined(x, y):
    return np.array([oracle.gaussian_mutual_information(x, y), oracle.gaussian_wasserstein_dependence(x, y)])


def of_angles(sines):
    """Two representations of 60 examples with these sines between them, in float64."""
    k = len(sines)
    g = np.random.default_rng(0)
    basis = np.linalg.qr(oracle.centered(g.standard_normal((60, 2 * k))))[0]
    one, other = basis[:, :k], basis[:, k:]
    return one, one * np.sqrt(1 - np.square(sines)) + other * np.asarray(sines)


def test_values_equal_the_definitions(x64):
    for x, y in ((X, Y), (Y, X), (X[:, :3], Y[:, :5])):
        found = both(jnp.asarray(x, float), jnp.asarray(y, float))
        np.testing.assert_allclose(found, defined(x, y), rtol=1e-10 if x64 else 2e-5)


@pytest.mark.usefixtures("float64")
def test_exact_values():
    x, y = of_angles([0.8])
    np.testing.assert_allclose(both(x, y), [0.223143551314, 0.205266807798], atol=1e-12)
    # Two spans of 2 and 3 dimensions in 4 share a direction.
    x = np.array([[1, 0], [0, 1], [2, 1], [-1, 1], [0, -2.0]])
    y = np.array([[1, 1, 0], [0, 2, 1], [3, 1, -1], [-1, 0, 2], [0, -1, 1.0]])
    information, transport = both(x, y)
    assert information == np.inf
    # With 1 - 3e-16 for the correlation of 1, as rounding has it, it would be 1.842369156593.
    rho = np.sqrt(149 / 175)
    assert float(transport) == pytest.approx(MOST + 4 - 2 * np.sqrt(1 + rho) - 2 * np.sqrt(1 - rho), abs=1e-12)
    assert float(transport) == pytest.approx(1.842369193094, abs=1e-11)
    assert float(both(x, y[:, :2])[0]) == pytest.approx(2.67123357558, abs=1e-10)


@pytest.mark.parametrize("sine", [1e-1, 1e-2, 1e-3, 3e-4])
def test_small_angles_have_digits_in_float32(sine):
    """By the correlation alone, 1 - 0.5e-8 in float32, both would be those of angle 0."""
    x, y = (v.astype(np.float32) for v in of_angles([sine, 0.5]))
    found = both(x, y)
    rho = np.sqrt(1 - np.square([sine, 0.5]))
    assert float(found[0]) == pytest.approx(-np.log(sine * 0.5), abs=3e-7 / sine + 1e-5)
    assert float(found[1]) == pytest.approx(np.sum(4 - 2 * np.sqrt(1 + rho) - 2 * np.sqrt(1 - rho)), abs=2e-6)


@pytest.mark.parametrize("rho", [1e-1, 1e-3])
def test_small_correlations_have_digits_in_float32(rho):
    x, y = (v.astype(np.float32) for v in of_angles([np.sqrt(1 - rho * rho)]))
    exact = [-0.5 * np.log1p(-rho * rho), 4 - 2 * np.sqrt(1 + rho) - 2 * np.sqrt(1 - rho)]
    np.testing.assert_allclose(both(x, y), exact, rtol=3e-4)


@pytest.mark.slow
def test_shared_directions_and_ranks():
    x, y = X[:, :4].astype(np.float32), Y[:, :4].astype(np.float32)
    mixed = x @ np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    for other in (x, 3 * x + 1, mixed):
        information, transport = both(x, other)
        assert information == np.inf
        assert float(transport) == pytest.approx(4 * MOST, rel=1e-5)
    # Neither a repeated nor a constant feature adds a direction, on either side.
    more = np.concatenate([x, x[:, :1] * 2, np.full((64, 1), 5, np.float32)], axis=1)
    for other in (y, Y[:, :8].astype(np.float32)):  # narrower and wider
        for pair in ((more, other), (other, more)):
            np.testing.assert_allclose(both(*pair), both(x, other), rtol=1e-4)
    few = X[:30, :16].astype(np.float32), Y[:30, :16].astype(np.float32)
    assert both(*few)[0] == np.inf


def test_too_few_examples_are_warned_of():
    with pytest.warns(UninformativeWarning):
        ja.gaussian_mutual_information(X[:9, :10].astype(np.float32), Y[:9, :3].astype(np.float32))


@pytest.mark.slow
def test_masked_rows_do_not_count():
    mask = np.arange(64) % 4 != 1
    x, y = X[:, :6].astype(np.float32), Y[:, :7].astype(np.float32)
    padded = [np.where(mask[:, None], v, np.float32(np.nan)) for v in (x, y)]
    np.testing.assert_allclose(both(*padded, mask), defined(x[mask], y[mask]), rtol=2e-5)
    slope = jax.jit(jax.grad(lambda x: jnp.sum(both(x, padded[1], mask))))(padded[0])
    assert np.all(np.asarray(slope)[~mask] == 0)
    assert np.all(np.isfinite(slope))


def test_undefined_is_nan():
    x, y = X[:, :3].astype(np.float32), Y[:, :3].astype(np.float32)
    bad = x.copy()
    bad[4, 1] = np.nan
    for inputs in ((np.ones_like(x), y), (y, np.ones_like(x)), (bad, y), (y, bad)):
        assert np.all(np.isnan(both(*inputs)))


@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences():
    forward = jax.jit(lambda x, y, dx, dy: jax.jvp(both, (x, y), (dx, dy)))
    equal = of_angles([0.6, 0.6, 0.2])  # equal correlations
    for x, y in ((X[:60, :3], Y[:60, :3]), equal):
        directions = [np.random.default_rng(i).standard_normal((60, 3)) for i in range(2)]
        _, tangents = forward(x, y, *directions)
        step = 1e-6
        ahead, behind = (both(x + h * directions[0], y + h * directions[1]) for h in (step, -step))
        np.testing.assert_allclose(tangents, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_gradients_are_finite_at_the_ends():
    g = np.random.default_rng(0)
    square = np.linalg.qr(oracle.centered(g.standard_normal((20, 4))))[0].astype(np.float32)
    slopes = jax.jit(jax.jacrev(both, argnums=(0, 1)))
    for x, y in (
        (square, square[:, ::-1] + 0),
        (square[:, [0, 0, 1, 1]], square[:, [0, 1, 1, 1]]),
        (square[:, [0, 0, 1, 1]], square[:, [2, 2, 3, 3]]),
        (np.ones((20, 4), np.float32), square),
        (np.zeros((20, 4), np.float32),) * 2,
    ):
        assert all(np.all(np.isfinite(slope)) for slope in slopes(x, y))


@pytest.mark.slow
def test_many_layers_at_once():
    layers = [X[:, :3].astype(np.float32), Y[:, :5].astype(np.float32), X[:, 3:6].astype(np.float32)]
    for place, name in enumerate(("gaussian_mutual_information", "gaussian_wasserstein_dependence")):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            matrix = np.asarray(ja.MEASURES[name].matrix(layers))
        assert matrix[0, 1] == pytest.approx(float(both(*layers[:2])[place]), rel=1e-5)
        assert matrix[1, 2] == pytest.approx(float(both(*layers[1:])[place]), rel=1e-5)
        np.testing.assert_array_equal(matrix, matrix.T)
    order = np.random.default_rng(0).permutation(64)
    signature, score = ja.MEASURES[name].signature, ja.MEASURES[name].score
    moved = score(signature(layers[0]), signature(layers[1]).permute(jnp.asarray(order, "int32")))
    assert float(moved) == pytest.approx(float(both(layers[0], layers[1][order])[1]), rel=1e-5)
