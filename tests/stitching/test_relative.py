"""Relative representations and inverse relative projection, against their definitions in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.stitching import least_squares, relative, relative_stitch

RNG = np.random.default_rng(0)
N, P, K = 20, 4, 9


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def rotation(p, q):
    """`(p, q)` with orthonormal rows, for `p` at most `q`."""
    return np.linalg.qr(RNG.standard_normal((q, p)))[0].T


@pytest.fixture
def data():
    """Activations and anchors, away from 0."""
    return RNG.standard_normal((N, P)) + 2, RNG.standard_normal((K, P)) + 2


@pytest.mark.parametrize("centered", [False, True])
def test_cosines_to_the_anchors(data, x64, centered):
    x, anchors = data
    mean = anchors.mean(0) if centered else 0
    expected = unit(x - mean) @ unit(anchors - mean).T
    dtype, atol = (jnp.float64, 1e-13) if x64 else (jnp.float32, 1e-5)
    x, anchors = jnp.asarray(x, dtype), jnp.asarray(anchors, dtype)
    result = relative(x, anchors, centered=centered)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected, atol=atol)
    tokens = relative(x.reshape(5, 4, P), anchors, centered=centered)
    np.testing.assert_allclose(tokens, expected.reshape(5, 4, K), atol=atol)


def test_rotations_and_scales_do_not_change_it_and_translations_do_unless_centered(data, float64):
    x, anchors = map(jnp.asarray, data)
    turn = jnp.asarray(rotation(P, P)) * 3
    for centered in (False, True):
        base = relative(x, anchors, centered=centered)
        np.testing.assert_allclose(relative(x @ turn, anchors @ turn, centered=centered), base, atol=1e-12)
        moved = relative(x + 5, anchors + 5, centered=centered)
        assert (np.abs(moved - base).max() < 1e-12) == centered


def test_rows_of_length_zero(x64):
    x = jnp.zeros((2, 3))
    assert not relative(x, jnp.eye(3)).any()
    gradient = jax.grad(lambda x: relative(x, jnp.eye(3)).sum())(x)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("affine", [True, False])
def test_the_definition(float64, affine):
    x, y = RNG.standard_normal((K, P)) + 1, RNG.standard_normal((K, 3)) - 2
    stitch = relative_stitch(jnp.asarray(x), jnp.asarray(y), affine=affine)
    x_mean, y_mean = (x.mean(0), y.mean(0)) if affine else (0, 0)
    scale = np.linalg.norm(y - y_mean) / np.linalg.norm(x - x_mean)
    kernel = scale * unit(x - x_mean).T @ np.linalg.pinv(unit(y - y_mean).T)
    np.testing.assert_allclose(stitch.kernel, kernel, atol=1e-12)
    np.testing.assert_allclose(stitch(jnp.asarray(x)), (x - x_mean) @ kernel + y_mean, atol=1e-12)
    np.testing.assert_allclose(stitch.error, np.mean(np.sum((stitch(jnp.asarray(x)) - y) ** 2, axis=1)), rtol=1e-10)
    np.testing.assert_allclose(stitch.condition, np.linalg.cond(unit(y - y_mean)), rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("width", [P, 7])
def test_rotations_and_scales_are_found_from_anchors_that_span(data, x64, width):
    x, anchors = data
    turn, offset = 5 * rotation(P, width), RNG.standard_normal(width)
    dtype, atol = (jnp.float64, 1e-11) if x64 else (jnp.float32, 1e-4)
    stitch = relative_stitch(jnp.asarray(anchors, dtype), jnp.asarray(anchors @ turn + offset, dtype))
    np.testing.assert_allclose(stitch(jnp.asarray(x, dtype)), x @ turn + offset, atol=atol)
    np.testing.assert_allclose(stitch.kernel, turn, atol=atol)
    assert int(stitch.rank) == P
    # Another invertible map is not found; least squares finds it.
    bent = np.diag([1.0, 2, 3, 4])
    pair = jnp.asarray(anchors, dtype), jnp.asarray(anchors @ bent, dtype)
    assert float(relative_stitch(*pair).error) > 0.1
    assert float(least_squares(*pair).error) < 1e-6


def test_ill_conditioned_anchors_can_be_cut(data, float64):
    """Anchors that nearly lie in a plane: noise explodes in the direction they hardly have, unless that is left out."""
    x, anchors = data
    anchors[:, 3] = anchors[:, 0] + 1e-4 * RNG.standard_normal(K)
    x[:, 3] = x[:, 0]
    turn = rotation(P, P)
    noisy = anchors @ turn + 1e-3 * RNG.standard_normal((K, P))
    pair = jnp.asarray(anchors), jnp.asarray(noisy)
    errors, ranks = [], []
    for limit in (None, 100):
        stitch = relative_stitch(*pair, max_condition=limit)
        errors.append(np.abs(np.asarray(stitch(jnp.asarray(x))) - x @ turn).max())
        ranks.append(int(stitch.rank))
    assert ranks == [4, 3]
    assert errors[1] < 0.05 < errors[0]
    assert float(relative_stitch(*pair, max_condition=100).condition) <= 100
    centered = unit(noisy - noisy.mean(0))
    _, _, vt = np.linalg.svd(centered)
    outside = np.asarray(relative_stitch(*pair, max_condition=100).kernel) @ vt[3]
    np.testing.assert_allclose(outside, 0, atol=1e-12)


@pytest.mark.slow
def test_masks_and_gradients(data, x64):
    x, _ = data
    y = RNG.standard_normal((N, 3))
    mask = RNG.uniform(size=N) < 0.7
    dtype = jnp.float64 if x64 else jnp.float32
    padded = [jnp.asarray(np.where(mask[:, None], a, np.nan), dtype) for a in (x, y)]
    result = relative_stitch(*padded, mask=jnp.asarray(mask))
    expected = relative_stitch(jnp.asarray(x[mask], dtype), jnp.asarray(y[mask], dtype))
    np.testing.assert_allclose(result.kernel, expected.kernel, rtol=1e-4, atol=1e-5)
    for limit in (None, 3.0):
        grads = jax.grad(
            lambda x, y, c=limit: relative_stitch(x, y, mask=jnp.asarray(mask), max_condition=c).kernel.sum(), (0, 1)
        )(*padded)
        for gradient in map(np.asarray, grads):
            assert np.isfinite(gradient).all()
            assert not gradient[~mask].any()


def test_mistakes_are_named():
    x, anchors = jnp.ones((5, 3)), jnp.ones((4, 2))
    with pytest.raises(ValueError, match="relative: x must have 2 features"):
        relative(x, anchors)
    with pytest.raises(ValueError, match="relative: anchors must have shape"):
        relative(x, jnp.ones(3))
    with pytest.raises(ValueError, match=r"relative_stitch: .*same examples"):
        relative_stitch(x, anchors)
    with pytest.raises(ValueError, match="relative_stitch: anchors_y must have shape"):
        relative_stitch(x, jnp.ones((5, 2, 2)))
    with pytest.raises(ValueError, match="max_condition must be at least 1"):
        relative_stitch(x, x, max_condition=0.5)
