"""Lanczos quadrature against dense products, and where the vectors it reaches run out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign._core.lanczos import lanczos_quadrature

G = np.random.default_rng(0)
MATRIX = G.standard_normal((30, 30))
MATRIX = (MATRIX + MATRIX.T) / np.linalg.norm(MATRIX + MATRIX.T, 2)
START = G.standard_normal(30)


def quadrature(matrix, start, steps):
    matrix, start = jnp.asarray(matrix, float), jnp.asarray(start, float)
    nodes, weights = jax.jit(lambda v: lanczos_quadrature(lambda u: matrix @ u, v, steps=steps))(start)
    return np.asarray(nodes, np.float64), np.asarray(weights, np.float64) * float(start @ start)


def test_low_polynomials_and_smooth_functions_are_exact(x64):
    nodes, weights = quadrature(MATRIX, START, 8)
    tolerance = 1e-12 if x64 else 2e-5
    for power in range(16):
        exact = START @ np.linalg.matrix_power(MATRIX, power) @ START
        assert weights @ nodes**power == pytest.approx(exact, rel=tolerance, abs=tolerance), power
    values, vectors = np.linalg.eigh(MATRIX)
    exact = (vectors.T @ START) ** 2 @ np.exp(3 * values)
    assert weights @ np.exp(3 * nodes) == pytest.approx(exact, rel=1e-9 if x64 else 1e-5)
    # Of the next power it is not.
    exact = START @ np.linalg.matrix_power(MATRIX, 16) @ START
    assert weights @ nodes**16 != pytest.approx(exact, rel=1e-6)


def test_as_many_steps_as_dimensions_find_the_eigenvalues(x64):
    """And more than that find nothing else: vectors have to be kept orthogonal to all others."""
    values = np.linalg.eigvalsh(MATRIX)
    for steps in (30, 60):
        nodes, weights = quadrature(MATRIX, START, steps)
        assert np.max(np.abs(nodes)) < 1 + 1e-5
        distance = np.abs(nodes[:, None] - values[None, :])
        found = weights > (1e-9 if x64 else 1e-3)
        assert np.max(np.min(distance[found], axis=1)) < (1e-11 if x64 else 1e-4)
        assert np.max(np.min(distance, axis=0)) < (1e-11 if x64 else 1e-4)


@pytest.mark.parametrize("directions", [1, 3])
def test_steps_beyond_what_products_reach_have_no_weight(x64, directions):
    """Of three different eigenvalues, and of a vector that is in the span of so many eigenvectors."""
    vectors = np.linalg.qr(G.standard_normal((30, 30)))[0]
    values = np.repeat([-0.7, 0.1, 1.0], 10)
    start = vectors[:, [0, 15, 29]][:, :directions].sum(axis=1)
    nodes, weights = quadrature((vectors * values) @ vectors.T, start, 12)
    assert np.max(np.abs(nodes)) < 1 + 1e-5
    tolerance = 1e-12 if x64 else 1e-5
    for value in values[[0, 15, 29]][:directions]:
        near = np.abs(nodes - value) < 1e-4
        assert weights[near].sum() == pytest.approx(1, abs=10 * tolerance)
    assert weights.sum() == pytest.approx(directions, abs=10 * tolerance)


def test_graphs_that_few_steps_exhaust(x64):
    """Cliques, and parts of a complete graph, the other entries being 0; what rounding leaves must not grow."""
    g = np.random.default_rng(0)
    matrices, starts = np.zeros((90, 40, 40)), np.zeros((90, 40))
    for i in range(90):
        size = (2, 3, 6, 15, 40)[i % 5]
        group = g.integers(0, 1 + i % 3, size)
        graph = (group[:, None] == group[None, :]) - np.eye(size)
        matrices[i, :size, :size] = graph / np.linalg.norm(graph, 2).clip(min=1)
        starts[i, :size] = g.choice([-1, 1], size)
    values, vectors = np.linalg.eigh(matrices)
    exact = np.sum(np.einsum("inj,in->ij", vectors, starts) ** 2 * np.exp(10 * values), axis=1)
    nodes, weights = jax.jit(jax.vmap(lambda a, v: lanczos_quadrature(lambda u: a @ u, v, steps=16)))(
        jnp.asarray(matrices, float), jnp.asarray(starts, float)
    )
    found = np.sum(np.asarray(weights, np.float64) * np.exp(10 * np.asarray(nodes, np.float64)), axis=1)
    np.testing.assert_allclose(found * np.sum(starts**2, axis=1), exact, rtol=1e-9 if x64 else 1e-4)
