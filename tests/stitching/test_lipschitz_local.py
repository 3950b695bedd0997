"""The constant of a sample, against its definition."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jaxalign.stitching.lipschitz import lipschitz_bound, local_lipschitz

RNG = np.random.default_rng(0)


def oracle(head, a, b):
    n = len(a)
    before = np.linalg.norm((a - b).reshape(n, -1), axis=1)
    after = np.linalg.norm(np.asarray(head(a) - head(b)).reshape(n, -1), axis=1)
    return np.max(after / before)


def compiled(head, a, b, mask=None):
    return float(jax.jit(lambda u, v, m: local_lipschitz(head, u, v, mask=m))(a, b, mask))


@pytest.mark.parametrize("shape", [(6, 5, 4), pytest.param((30, 4), marks=pytest.mark.slow)])
def test_the_definition(float64, shape):
    a, b = RNG.standard_normal((2, *shape))
    w = RNG.standard_normal((4, 3))

    def head(z):
        return jnp.tanh(jnp.asarray(z) @ w)

    np.testing.assert_allclose(compiled(head, a, b), oracle(head, a, b), rtol=1e-9)
    keep = np.arange(shape[0]) % 2 == 0
    masked = np.where(keep.reshape(-1, *(1,) * (len(shape) - 1)), a, np.nan)
    np.testing.assert_allclose(compiled(head, masked, b, mask=keep), oracle(head, a[keep], b[keep]), rtol=1e-9)


def test_not_above_the_bound_and_at_it_along_the_leading_direction():
    w = jnp.asarray(RNG.standard_normal((5, 4)), jnp.float32)
    bound = float(lipschitz_bound([w, "relu"]))
    a, b = jnp.asarray(RNG.standard_normal((2, 5000, 5)), jnp.float32)
    assert compiled(lambda z: jax.nn.relu(z @ w), a, b) <= bound * (1 + 1e-6)
    leading = np.linalg.svd(np.asarray(w, np.float64))[0][:, :1].T.astype(np.float32)
    along = compiled(lambda z: z @ w, jnp.asarray(leading), jnp.zeros((1, 5)))
    np.testing.assert_allclose(along, bound, rtol=1e-6)


def test_pairs_that_are_equal():
    run = jax.jit(lambda u, v, m: local_lipschitz(lambda z: 2 * z, u, v, mask=m))
    a = np.array([[1.0, 2], [3, 4], [5, 6]], np.float32)
    b = a + np.array([[1.0], [0], [0]], np.float32)
    all_rows = np.ones(3, bool)
    broken = a * np.array([[1.0], [np.nan], [1]], np.float32)
    assert float(run(a, b, all_rows)) == 2
    assert np.isnan(float(run(a, a, all_rows)))
    assert np.isnan(float(run(a, b, np.array([False, True, True]))))
    assert np.isnan(float(run(a, b, np.zeros(3, bool))))
    assert compiled(lambda z: 0 * z, a, b) == 0
    assert np.isnan(float(run(broken, b, all_rows)))
    # Not a function of the example alone: equal ones differ.
    assert compiled(lambda z: z - z.mean(), a, b) == np.inf


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scales(scale):
    a, b = jnp.asarray(RNG.standard_normal((2, 4, 3)), jnp.float32)
    expected = compiled(jnp.sort, a, b)
    np.testing.assert_allclose(compiled(jnp.sort, a * scale, b * scale), expected, rtol=1e-5)


def test_heads_of_every_kind():
    a, b = jnp.asarray(RNG.standard_normal((2, 6, 3)), jnp.float32)
    linear = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    dense = linen.Dense(2)
    variables = {"params": {"kernel": linear.kernel[...], "bias": linear.bias[...]}}
    expected = oracle(lambda z: z @ linear.kernel[...], a, b)
    for head in (
        linear,
        nnx.Sequential(linear, nnx.Dropout(0.9, rngs=nnx.Rngs(0))),
        (dense, variables),
        lambda z: linear(z),
    ):
        np.testing.assert_allclose(compiled(head, a, b), expected, rtol=1e-5)


def test_jit_vmap_grad_and_types():
    a, b = jnp.asarray(RNG.standard_normal((2, 4, 5, 3)), jnp.float32)
    values = jax.jit(jax.vmap(lambda u, v: local_lipschitz(jnp.tanh, u, v)))(a, b)
    np.testing.assert_allclose(
        values, [oracle(np.tanh, u, v) for u, v in zip(np.asarray(a), np.asarray(b), strict=True)], rtol=1e-5
    )
    same = a.at[:, 1].set(b[:, 1])  # one pair that is left out
    for x in (same, b):
        gradient = jax.grad(lambda u: jnp.nansum(jax.vmap(lambda p, q: local_lipschitz(jnp.tanh, p, q))(u, b)))(x)
        assert np.all(np.isfinite(gradient))
    half = a.astype(jnp.bfloat16)
    assert jax.eval_shape(lambda u, v: local_lipschitz(jnp.tanh, u, v), half[0], half[1]).dtype == jnp.float32
    np.testing.assert_allclose(float(local_lipschitz(lambda z: 2 * z, half[0], half[1])), 2, rtol=1e-6)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_export(platform):
    shape = jax.ShapeDtypeStruct((4, 3), jnp.float32)
    mask = jax.ShapeDtypeStruct((4,), jnp.bool_)
    fn = jax.jit(lambda a, b, m: local_lipschitz(jnp.tanh, a, b, mask=m))
    assert jax.export.export(fn, platforms=[platform])(shape, shape, mask).out_avals[0].shape == ()


@pytest.mark.parametrize(
    ("a", "b", "settings", "error", "match"),
    [
        (np.ones((2, 3)), np.ones((3, 3)), {}, ValueError, "same shape"),
        (np.ones(3), np.ones(3), {}, ValueError, "examples"),
        (np.ones((2, 3), int), np.ones((2, 3)), {}, TypeError, "floating"),
        (np.ones((2, 3)), np.ones((2, 3)), {"mask": np.ones(2)}, TypeError, "mask must be boolean"),
        (np.ones((2, 3)), np.ones((2, 3)), {"mask": np.ones(3, bool)}, ValueError, "mask must have shape"),
    ],
)
def test_mistakes(a, b, settings, error, match):
    with pytest.raises(error, match=match):
        local_lipschitz(jnp.tanh, a, b, **settings)
    with pytest.raises(TypeError, match="head must be"):
        local_lipschitz(3, np.ones((2, 3)), np.ones((2, 3)))
