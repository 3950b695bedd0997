"""Centering, row lengths and whitening against float64 NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.preprocess import center, normalize_rows, whiten


def center_oracle(x):
    return x - x.mean(axis=0)


def normalize_oracle(x):
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length > 0)


def whiten_oracle(x, ridge=0.0):
    """Centered data times the symmetric (pseudo-)inverse square root of the covariance."""
    x = x - x.mean(axis=0)
    values, vectors = np.linalg.eigh(x.T @ x / max(len(x) - 1, 1))
    values = np.where(values > 1e-11 * max(values.max(), 1e-300), values, 0) + ridge
    inverse = np.where(values > 0, 1 / np.sqrt(np.where(values > 0, values, 1)), 0)
    return x @ (vectors * inverse) @ vectors.T


FUNCTIONS = {
    "center": (center, center_oracle),
    "normalize_rows": (normalize_rows, normalize_oracle),
    "whiten": (whiten, whiten_oracle),
    "whiten, ridge": (lambda x, mask=None: whiten(x, ridge=0.5, mask=mask), lambda x: whiten_oracle(x, 0.5)),
}


def inputs():
    g = np.random.default_rng(0)
    generic = g.standard_normal((12, 5)) + 0.25
    constant = generic.copy()
    constant[:, 2] = 1 / 3
    return {
        "generic": generic,
        "few rows": g.standard_normal((4, 7)),
        "constant column": constant,
        "duplicate column": generic[:, [0, 1, 1, 3, 4]],
        "duplicate rows": generic[[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 6]],
        "zero": np.zeros((12, 5)),
        "constant": np.full((12, 5), 1 / 3),
        "one row": generic[:1],
    }


@pytest.mark.parametrize("data", inputs())
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values(x64, name, data):
    dtype, tolerance = (np.float64, 1e-10) if x64 else (np.float32, 2e-5)
    function, oracle = FUNCTIONS[name]
    x = inputs()[data]
    out = function(x.astype(dtype))
    assert out.dtype == dtype
    np.testing.assert_allclose(out, oracle(x), atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_half_precision_is_computed_in_float32(name, dtype):
    function, oracle = FUNCTIONS[name]
    x = jnp.asarray(inputs()["generic"], dtype)
    assert jax.eval_shape(function, x).dtype == jnp.float32
    np.testing.assert_allclose(function(x), oracle(np.asarray(x, np.float64)), atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("padding", [np.nan, np.inf, 7.0])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_masked_is_the_subset_and_padding_gets_no_gradient(name, padding):
    function, _ = FUNCTIONS[name]
    x = inputs()["generic"].astype(np.float32)
    mask = np.arange(12) % 3 > 0
    padded = np.where(mask[:, None], x, padding).astype(np.float32)
    weights = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)

    out = function(padded, mask=mask)
    np.testing.assert_allclose(out[mask], function(x[mask]), atol=1e-5)
    np.testing.assert_array_equal(out[~mask], 0)

    gradient = jax.grad(lambda x: jnp.sum(weights * function(x, mask=mask)))(padded)
    subset = jax.grad(lambda x: jnp.sum(weights[mask] * function(x)))(x[mask])
    np.testing.assert_allclose(gradient[mask], subset, atol=1e-4)
    np.testing.assert_array_equal(gradient[~mask], 0)


@pytest.mark.slow
@pytest.mark.parametrize("data", inputs())
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_are_finite(name, data):
    x = jnp.asarray(inputs()[data], jnp.float32)
    gradient = jax.grad(lambda x: jnp.sum(FUNCTIONS[name][0](x) ** 3))(x)
    assert np.isfinite(gradient).all()
    if data in ("zero", "one row") and name != "normalize_rows":
        np.testing.assert_array_equal(gradient, 0)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("data", ["generic", "few rows", "orthonormal"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_are_slopes(name, data):
    g = np.random.default_rng(2)
    x = inputs().get(data, np.linalg.qr(center_oracle(g.standard_normal((12, 5))))[0])
    direction, weights = g.standard_normal(x.shape), g.standard_normal(x.shape)
    score = jax.jit(lambda x: jnp.sum(weights * FUNCTIONS[name][0](x)))
    numeric = (score(x + 1e-6 * direction) - score(x - 1e-6 * direction)) / 2e-6
    np.testing.assert_allclose(jnp.sum(jax.grad(score)(jnp.asarray(x)) * direction), numeric, rtol=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jit_and_vmap_change_nothing(name):
    function, _ = FUNCTIONS[name]
    batch = jnp.asarray(np.random.default_rng(3).standard_normal((3, 8, 4)), jnp.float32)
    looped = np.stack([function(x) for x in batch])
    np.testing.assert_allclose(jax.jit(jax.vmap(function))(batch), looped, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_row_that_counts_gives_zeros(name):
    x = jnp.full((4, 3), jnp.nan, jnp.float32)
    mask = jnp.zeros(4, bool)
    np.testing.assert_array_equal(FUNCTIONS[name][0](x, mask=mask), 0)
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(FUNCTIONS[name][0](x, mask=mask)))(x), 0)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_that_counts_is_not_hidden(name):
    x = jnp.asarray(inputs()["generic"], jnp.float32).at[3, 1].set(jnp.nan)
    assert np.isnan(FUNCTIONS[name][0](x)[3]).any()


def test_center_keeps_small_variation_on_a_large_offset():
    variation = np.random.default_rng(4).integers(-4, 5, (64, 3)) / 64
    x = (30000 + variation).astype(np.float32)
    np.testing.assert_allclose(center(x), variation - variation.mean(axis=0), atol=1e-7)


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_rows_of_extreme_size_are_normalized(scale):
    x = inputs()["generic"]
    np.testing.assert_allclose(normalize_rows((x * scale).astype(np.float32)), normalize_oracle(x), rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e15])
def test_whitening_in_float32_keeps_ill_conditioned_data(scale):
    """Condition number 1e4, where the covariance in float32 has lost its small eigenvalues."""
    g = np.random.default_rng(5)
    x = center_oracle(g.standard_normal((200, 6)))
    x = np.linalg.qr(x)[0] * np.logspace(0, -4, 6) @ np.linalg.qr(g.standard_normal((6, 6)))[0]
    z = np.asarray(whiten((scale * x).astype(np.float32)), np.float64)
    np.testing.assert_allclose(np.cov(z.T), np.eye(6), atol=1e-3)
    np.testing.assert_allclose(z, whiten_oracle(x), atol=2e-2)


def test_whitening_beyond_the_rank_is_a_projection():
    covariance = np.cov(np.asarray(whiten(inputs()["few rows"].astype(np.float32))).T)
    np.testing.assert_allclose(covariance @ covariance, covariance, atol=1e-5)
    np.testing.assert_allclose(np.trace(covariance), 3, atol=1e-5)


def test_whitening_forgets_scale_but_not_axes():
    x = inputs()["generic"].astype(np.float32)
    np.testing.assert_allclose(whiten(3 * x + 1), whiten(x), atol=1e-5)
    correlation = np.corrcoef(np.asarray(whiten(x)).T, x.T)[:5, 5:]
    assert np.all(np.argmax(correlation, axis=1) == np.arange(5))


def test_ridge_is_differentiable_traced_and_checked():
    x = jnp.asarray(inputs()["generic"])
    with jax.enable_x64(True):
        x = jnp.asarray(inputs()["generic"])
        score = jax.jit(lambda r: jnp.sum(whiten(x, ridge=r)[0]))
        numeric = (score(0.5 + 1e-6) - score(0.5 - 1e-6)) / 2e-6
        np.testing.assert_allclose(jax.grad(score)(0.5), numeric, rtol=1e-7)
    x = x.astype(jnp.float32)
    np.testing.assert_allclose(whiten(x, ridge=1e8) * 1e4, center(x), rtol=1e-5)
    assert np.isnan(whiten(x, ridge=-1.0)).all()


@pytest.mark.parametrize("name", ["center", "normalize_rows", "whiten"])
def test_errors_name_the_function(name):
    function = FUNCTIONS[name][0]
    with pytest.raises(ValueError, match=rf"{name}: x must have shape \(examples, features\), got .* \(2, 3, 4\)"):
        function(jnp.zeros((2, 3, 4)))
    with pytest.raises(TypeError, match=f"{name}: x must be floating point, got .*int32"):
        function(jnp.zeros((2, 3), jnp.int32))
    with pytest.raises(TypeError, match=f"{name}: x must be an array"):
        function([[1.0]])
    with pytest.raises(ValueError, match=rf"{name}: mask must have shape \(2,\)"):
        function(jnp.zeros((2, 3)), mask=jnp.zeros(3, bool))
    with pytest.raises(TypeError, match=f"{name}: mask must be boolean"):
        function(jnp.zeros((2, 3)), mask=jnp.zeros(2, jnp.int32))
