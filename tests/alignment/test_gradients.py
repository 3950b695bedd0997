"""Derivatives: right against finite differences, through blocks as through one, and finite wherever they are taken."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxalign.alignment import cka, hsic, kernel_alignment, mutual_knn
from jaxalign.engines import moments, tiles
from jaxalign.kernels import RBF, Cosine, Distance, Laplacian, Linear, Polynomial
from jaxalign.signatures import GramSignature

SCORES = [
    kernel_alignment,
    cka,
    partial(cka, estimator="unbiased"),
    partial(cka, kernel=Cosine(), estimator="unbiased"),
    partial(cka, kernel=RBF(2.0)),
    partial(cka, kernel=Laplacian(2.0), kernel_y=Distance(), estimator="unbiased"),
    partial(cka, kernel=Distance(1.5)),
    partial(hsic, kernel=Polynomial(2), scaling="nm1"),
    partial(hsic, kernel=Distance(), kernel_y=Linear(), estimator="unbiased"),
]


def rows(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


def total(x, y):
    """Of many scores at once, each with a weight of its own, so that no two errors cancel."""
    return sum((1 + i / 7) * score(x, y) for i, score in enumerate(SCORES))


@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences():
    x, y = rows(8, 3), rows(8, 4, 1)
    compiled = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))
    _, gradients = compiled(x, y)
    g = np.random.default_rng(2)
    for _ in range(3):
        u, v, step = g.standard_normal(x.shape), g.standard_normal(y.shape), 1e-6
        slope = (compiled(x + step * u, y + step * v)[0] - compiled(x - step * u, y - step * v)[0]) / (2 * step)
        np.testing.assert_allclose(np.sum(u * gradients[0]) + np.sum(v * gradients[1]), slope, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kernel", [RBF, pytest.param(Laplacian, marks=pytest.mark.slow)])
def test_gradients_with_respect_to_the_bandwidth(kernel):
    x, y = jnp.asarray(rows(8, 3)), jnp.asarray(rows(8, 4, 1))

    def score(sigma):
        return cka(x, y, kernel=kernel(sigma), estimator="unbiased")

    check_grads(score, (jnp.asarray(1.7),), order=1, modes=["rev"], rtol=1e-5)
    assert abs(float(jax.grad(score)(1.7))) > 1e-3


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("rows_of_tile", [16, pytest.param(32, marks=pytest.mark.slow)])
def test_gradients_through_many_tiles_are_those_through_one(monkeypatch, rows_of_tile):
    """70 rows in 5 blocks of 16 and 3 of 32: the last ones are short, empty or moved up."""
    x, y = jnp.asarray(rows(70, 3)), jnp.asarray(rows(70, 4, 1))

    def score(x, y):
        pair = GramSignature(RBF(2.0))(x), GramSignature(Distance())(y)
        return tiles.tile_products([pair[0]], [pair[1]], centering="unbiased").cosine()[0, 0]

    expected = jax.jit(jax.value_and_grad(score, argnums=(0, 1)))(x, y)
    monkeypatch.setattr(tiles, "TILE_ROWS", rows_of_tile)
    assert tiles.tile_plan(70)[1] > 1
    found = jax.jit(jax.value_and_grad(lambda x, y: score(x, y), argnums=(0, 1)))(x, y)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-14)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("centering", [pytest.param("biased", marks=pytest.mark.slow), "unbiased"])
def test_gradients_through_blocks_of_moments_are_those_of_tiles(monkeypatch, centering):
    x, y = jnp.asarray(rows(70, 3)), jnp.asarray(rows(70, 4, 1))
    x = x.at[3].mul(50)

    def score(engine, x, y):
        signature = GramSignature(Linear())
        return engine([signature(x)], [signature(y)], centering=centering).cosine()[0, 0]

    expected = jax.jit(jax.grad(partial(score, tiles.tile_products), argnums=(0, 1)))(x, y)
    monkeypatch.setattr(moments, "BLOCK_ROWS", 16)
    found = jax.jit(jax.grad(partial(score, moments.moment_products), argnums=(0, 1)))(x, y)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-12)


def awkward():
    """Pairs at which a careless root, quotient or decomposition gives NaN."""
    x, y = rows(12, 4), rows(12, 3, 1)
    duplicates, zeros = x.copy(), x.copy()
    duplicates[3:8] = duplicates[3]
    zeros[2:5] = 0
    return {
        "generic": (x, y),
        "constant": (np.full_like(x, 0.1), y),
        "both zero": (np.zeros_like(x), np.zeros_like(y)),
        "duplicates": (duplicates, duplicates[:, :3]),
        "zero rows": (zeros, y),
        "the same": (x[:, :3], x[:, :3]),
        "more features than rows": (rows(12, 30), rows(12, 20, 1)),
        "one feature": (x[:, :1], y[:, :1]),
    }


@pytest.mark.slow
def test_first_and_second_derivatives_are_finite_everywhere():
    """Also where scores are undefined: NaN, but with derivatives of 0."""

    def total_and_median(x, y):
        return total(x, y) + cka(x, y, kernel=RBF())

    @jax.jit
    def derivatives(x, y, tangent):
        return jax.jvp(jax.grad(total_and_median), (x, y), (tangent, jnp.ones_like(y)))

    for name, (x, y) in awkward().items():
        # One program: features are padded with zeros, which change no score.
        x, y = (jnp.asarray(np.pad(v, ((0, 0), (0, 30 - v.shape[1]))), jnp.float32) for v in (x, y))
        first, second = derivatives(x, y, jnp.asarray(rows(12, 30, 5), jnp.float32))
        assert np.isfinite(first).all(), name
        assert np.isfinite(second).all(), name
    assert np.any(np.asarray(first) != 0)


@pytest.mark.slow
def test_scores_map_like_a_loop():
    x, y = rows(3 * 10, 4).reshape(3, 10, 4).astype(np.float32), rows(3 * 10, 5, 1).reshape(3, 10, 5).astype(np.float32)

    def scores(x, y):
        return jnp.stack([cka(x, y, kernel=RBF(), kernel_y=Linear(), estimator="unbiased"), mutual_knn(x, y, k=3)])

    @jax.jit
    def both(x, y):
        return jax.vmap(scores)(x, y), jax.lax.map(lambda pair: scores(*pair), (x, y))

    np.testing.assert_allclose(*both(x, y), atol=2e-6)


def test_the_gradient_of_neighbors_is_0():
    x, y = jnp.asarray(rows(10, 3), jnp.float32), jnp.asarray(rows(10, 3, 1), jnp.float32)
    gradient = jax.grad(lambda x: mutual_knn(x, y, k=3))(x)
    assert np.all(np.asarray(gradient) == 0)


@pytest.mark.slow
def test_gradients_do_not_keep_the_tiles():
    """Tiles are computed again in the backward pass; kept, they would be the matrices."""
    n = 4096
    x = jax.ShapeDtypeStruct((n, 8), "float32")
    gradient = jax.jit(jax.grad(lambda x, y: cka(x, y, kernel=RBF(2.0))))
    needed = gradient.lower(x, x).compile().memory_analysis().temp_size_in_bytes
    assert needed < 4 * n * n / 2
