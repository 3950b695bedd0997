"""Stochastic shape distance: definition, its ends, monotone steps, masks, gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import stochastic_shape as oracle

from jaxalign.alignment.shape import procrustes_distance
from jaxalign.alignment.stochastic_shape import stochastic_shape_distance
from jaxalign.measures.shape import stochastic_shape_distance as measure

#: Six examples, measured four times each, seen by two noisy populations.
REPEATS, EXAMPLES = 4, 6
ALPHAS = (0.0, 1.0, 2.0)
G = np.random.default_rng(1)
LATENT = np.tile(G.standard_normal((EXAMPLES, 2)), (REPEATS, 1))
X = 2 * LATENT @ G.standard_normal((2, 3)) + G.standard_normal((24, 3)) @ G.standard_normal((3, 3)) + 5
Y = 2 * LATENT @ G.standard_normal((2, 4)) + 0.5 * G.standard_normal((24, 4))
MASK = np.tile([True, True, False, True, True, True], REPEATS)
MASK[4] = False  # the first measurement of the fifth example


@jax.jit
def everything(x, y, mask=None):
    return {a: stochastic_shape_distance(x, y, repeats=REPEATS, alpha=a, steps=200, mask=mask) for a in ALPHAS}


def test_values_equal_the_definition(x64):
    """In float64 of masked inputs: an example counts if all its rows do."""
    if not x64:
        found, x, y = everything(X.astype(np.float32), Y.astype(np.float32)), X, Y
    else:
        found = everything(*(np.where(MASK[:, None], v, np.nan) for v in (X, Y)), MASK)
        whole = np.tile([True, True, False, True, False, True], REPEATS)
        x, y = X[whole], Y[whole]
    for alpha in ALPHAS[1:]:
        expected = oracle.stochastic_shape_distance(x, y, REPEATS, alpha)
        assert float(found[alpha]) == pytest.approx(expected, rel=1e-6 if x64 else 1e-5), alpha
    # Without means the start says nothing, and either may end in another minimum.
    least = oracle.stochastic_shape_distance(x, y, REPEATS, 0.0, starts=8)
    assert least * (1 - 1e-5) < float(found[0.0]) < 1.3 * least


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_no_start_finds_less_where_noise_is_small():
    """With more of it the minimum is a local one, here within 1 percent of the least that is known."""

    def with_noise(x, share):
        blocks = x.reshape(REPEATS, EXAMPLES, -1)
        mean = blocks.mean(axis=0)
        return (mean + share * (blocks - mean)).reshape(x.shape)

    for share, excess in ((0.3, 1e-6), (1.0, 1e-2)):
        x, y = with_noise(X, share), with_noise(Y, share)
        for alpha in (0.5, 1.0):
            found = float(stochastic_shape_distance(x, y, repeats=REPEATS, alpha=alpha, steps=200))
            best = oracle.stochastic_shape_distance(x, y, REPEATS, alpha, starts=20)
            assert best * (1 - 1e-6) <= found <= best * (1 + excess), alpha


@pytest.mark.usefixtures("float64")
def test_means_alone_are_a_procrustes_problem():
    means = [v.reshape(REPEATS, EXAMPLES, -1).mean(axis=0) for v in (X, Y)]
    expected = float(procrustes_distance(*means, scale="raw")) * np.sqrt(2 / EXAMPLES)
    assert float(everything(X, Y)[2.0]) == pytest.approx(expected)


def test_rotations_shifts_and_the_order_of_measurements_do_not_matter():
    x = X.astype(np.float32)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0].astype(np.float32)
    shuffled = x.reshape(REPEATS, EXAMPLES, 3)[::-1].reshape(24, 3) @ turn - 3
    wider = np.pad(shuffled, ((0, 0), (0, 1)))
    for alpha, value in everything(x, wider).items():
        if alpha > 0:  # without means the start says nothing, and the end may be another minimum
            assert float(value) < 1e-4, alpha
    # What is not alike is seen by the part that counts it.
    noisier = wider.reshape(REPEATS, EXAMPLES, 4)
    noisier = (2 * noisier - noisier.mean(axis=0)).reshape(24, 4)
    found = everything(x, noisier)
    assert float(found[2.0]) < 1e-4 < 0.1 < float(found[1.0]) < float(found[0.0])


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_steps_never_make_it_worse_and_sides_may_be_swapped():
    def distance(x, y, steps):
        return stochastic_shape_distance(x, y, repeats=REPEATS, alpha=0.5, steps=steps)

    values = np.asarray(jax.jit(lambda x, y: jnp.stack([distance(x, y, s) for s in (0, 1, 2, 8)]))(X, Y))
    assert np.all(np.diff(values) < 0)
    assert float(distance(Y, X, 8)) == pytest.approx(values[-1])


@pytest.mark.usefixtures("float64")
def test_gradients_are_those_for_the_rotation_found():
    def total(x, y):
        return jnp.stack(list(everything(x, y).values()))

    directions = [np.random.default_rng(i).standard_normal(v.shape) for i, v in enumerate((X, Y))]
    _, tangents = jax.jit(lambda x, y: jax.jvp(total, (x, y), tuple(directions)))(X, Y)
    step = 1e-5
    ahead, behind = (total(X + h * directions[0], Y + h * directions[1]) for h in (step, -step))
    np.testing.assert_allclose(tangents, (ahead - behind) / (2 * step), rtol=1e-5)


def test_degenerate_inputs():
    x, y = X.astype(np.float32), Y.astype(np.float32)
    still = np.tile(x[:EXAMPLES], (REPEATS, 1))  # no noise
    found = everything(x, np.pad(still, ((0, 0), (0, 1))))
    assert np.isnan(found[0.0])
    assert all(np.isfinite(found[alpha]) for alpha in ALPHAS[1:])
    bad = y.copy()
    bad[4, 1] = np.nan
    for other in (np.ones_like(y), bad):
        assert all(np.isnan(value) for value in everything(x, other).values())
    gradient = jax.jit(jax.grad(lambda x: stochastic_shape_distance(x, x[:, ::-1], repeats=REPEATS)))(still)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"repeats": 1}, ValueError, "repeats must be at least 2, got 1"),
        ({"repeats": 2.0}, TypeError, "repeats must be an integer"),
        ({"repeats": 5}, ValueError, r"repeats must divide the number of rows \(24\), got 5"),
        ({"repeats": 4, "alpha": 2.5}, ValueError, r"alpha must be in \[0, 2\], got 2.5"),
        ({"repeats": 4, "alpha": "means"}, TypeError, "alpha must be a number"),
        ({"repeats": 4, "steps": -1}, ValueError, "steps must be at least 0"),
    ],
)
def test_mistakes_are_named(options, error, says):
    with pytest.raises(error, match=f"stochastic_shape_distance: {says}"):
        stochastic_shape_distance(X, Y, **options)


def test_what_is_said_of_the_measure():
    assert measure(repeats=3, alpha=0.5).definition == "stochastic_shape_distance[repeats=3,alpha=0.5,steps=30]"
