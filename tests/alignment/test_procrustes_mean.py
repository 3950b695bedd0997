"""Procrustes mean: copies, two inputs, what is minimized, masks, gradients."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from oracles.shape_family import angular_procrustes, procrustes_distance

from jaxalign.alignment.procrustes_mean import procrustes_mean

X, Y = CASES["A"]
X, Y = X[:30, :4], Y[:30, :5]
Z = CASES["D"][0][:30]


def distances(inputs, mean, scale):
    return [procrustes_distance(np.asarray(x), np.asarray(mean), scale) for x in inputs]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("scale", ["unit", pytest.param("raw", marks=pytest.mark.slow)])
def test_the_sum_of_squared_distances_falls_to_a_minimum(scale):
    inputs, sums = [X, Y, Z], []
    for steps in (1, 2, 20):
        found = procrustes_mean(inputs, scale=scale, steps=steps)
        np.testing.assert_allclose(found.distances, distances(inputs, found.mean, scale), rtol=1e-8)
        sums.append(np.sum(np.asarray(found.distances) ** 2))
    assert sums[0] > sums[1] > sums[2]
    # Rotated inputs are what the distances are of, and small changes of the mean are for the worse.
    for x, aligned in zip(inputs, found.aligned, strict=True):
        assert procrustes_distance(x, np.asarray(aligned), scale) == pytest.approx(0, abs=1e-6)
    for seed in range(3):
        other = np.asarray(found.mean) + 1e-2 * np.random.default_rng(seed).standard_normal((30, 5))
        assert np.sum(np.square(distances(inputs, other, scale))) > sums[2]


@pytest.mark.usefixtures("float64")
def test_the_mean_of_two_lies_halfway():
    raw = procrustes_mean([X, Y], scale="raw")
    np.testing.assert_allclose(raw.distances, procrustes_distance(X, Y, "raw") / 2)
    unit = np.asarray(procrustes_mean([X, Y]).mean)
    assert np.linalg.norm(unit) == pytest.approx(1)
    for x in (X, Y):
        assert angular_procrustes(x, unit) == pytest.approx(angular_procrustes(X, Y) / 2)


def test_copies_are_their_own_mean():
    x = X.astype(np.float32)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0].astype(np.float32)
    found = procrustes_mean([x, 3 * x @ turn - 2, np.pad(x, ((0, 0), (0, 1)))[:, ::-1]])
    assert np.all(np.asarray(found.distances) < 1e-5)
    assert [leaf.shape for leaf in jax.tree.leaves(found)] == [(30, 5)] * 4 + [(3,)]


@pytest.mark.slow
def test_masked_rows_do_not_count():
    mask = np.arange(30) % 4 != 1
    x, y = X.astype(np.float32), Y.astype(np.float32)
    found = procrustes_mean([np.where(mask[:, None], v, np.float32(np.nan)) for v in (x, y)], mask=mask)
    np.testing.assert_allclose(found.distances, distances([x[mask], y[mask]], found.mean[mask], "unit"), rtol=1e-4)
    assert found.distances[0] == pytest.approx(found.distances[1])
    assert not np.any(found.mean[~mask])


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_gradients_are_those_for_the_rotations_found():
    total = jax.jit(lambda x: jnp.sum(procrustes_mean([x, Y, Z], scale="raw", steps=300).distances ** 2))
    direction = np.random.default_rng(0).standard_normal(X.shape)
    step = 1e-5
    slope = (total(X + step * direction) - total(X - step * direction)) / (2 * step)
    assert np.sum(np.asarray(jax.grad(total)(X)) * direction) == pytest.approx(float(slope), rel=1e-5)


def test_a_constant_input_has_no_shape():
    x = X.astype(np.float32)
    found = procrustes_mean([x, np.ones_like(x), np.pad(x, ((0, 0), (0, 1)))])
    assert all(np.all(np.isnan(leaf)) for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (partial(procrustes_mean, []), ValueError, "representations must hold at least one"),
        (partial(procrustes_mean, [X, Y[:9]]), ValueError, r"representations\[1\] must have 30 rows like the first"),
        (partial(procrustes_mean, [X, "y"]), TypeError, r"representations\[1\] must be an array"),
        (partial(procrustes_mean, [X, Y[0]]), ValueError, r"representations\[1\] must have shape"),
        (partial(procrustes_mean, [X], scale="size"), ValueError, "scale must be one of"),
        (partial(procrustes_mean, [X], steps=0), ValueError, "steps must be at least 1"),
        (partial(procrustes_mean, [X], mask=np.ones(9, bool)), ValueError, "mask must have shape"),
    ],
)
def test_mistakes_are_named(call, error, says):
    with pytest.raises(error, match=f"procrustes_mean: {says}"):
        call()
