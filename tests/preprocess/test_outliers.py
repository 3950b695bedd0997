"""The clamp and its threshold against `numpy.quantile` and the platonic-rep code."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.preprocess import clamp, clamp_outliers, outlier_threshold


def heavy(shape, dtype=np.float64):
    return np.random.default_rng(0).standard_t(3, shape).astype(dtype)


def platonic_threshold(feats, q, exact):
    """`remove_outliers` of platonic-rep (commit dcd76ba), with NumPy in place of torch."""
    if exact:
        return np.sort(np.abs(feats).ravel())[int(q * feats.size)]
    return np.quantile(np.abs(feats).reshape(len(feats), -1), q, axis=1).mean()


@pytest.mark.usefixtures("float64")
def test_golden_values_of_platonic_rep():
    """Thresholds printed by platonic-rep itself on this input: one model of six layers."""
    layers = heavy((200, 6, 32))
    assert float(outlier_threshold(layers, interpolate=False)) == 3.193599042394536
    np.testing.assert_allclose(outlier_threshold(layers, exact=False), 3.159074278695124, rtol=1e-14)
    each = [float(outlier_threshold(layers[:, i], interpolate=False)) for i in range(6)]
    np.testing.assert_array_equal(np.round(each, 4), [3.2222, 3.2402, 3.0736, 3.1845, 3.3783, 3.1389])


QUANTILES = (0.05, 0.5, 0.9, 0.95, 1.0)


@jax.jit
def thresholds(x):
    """By every quantile: with the mean of two entries, that of rows, and one entry."""
    return [
        (
            outlier_threshold(x, quantile=q),
            outlier_threshold(x, quantile=q, exact=False),
            outlier_threshold(x, quantile=q, interpolate=False),
        )
        for q in QUANTILES
    ]


@pytest.mark.parametrize("shape", [(30, 11), (10, 3, 7), (25,)])
def test_threshold(x64, shape):
    dtype, tolerance = (np.float64, 1e-14) if x64 else (np.float32, 1e-6)
    x = heavy(shape, dtype)
    exact = x.astype(np.float64)
    for q, (whole, mean, order) in zip(QUANTILES, thresholds(x), strict=True):
        np.testing.assert_allclose(whole, np.quantile(np.abs(exact), q), rtol=tolerance)
        np.testing.assert_allclose(mean, platonic_threshold(exact, q, exact=False), rtol=tolerance)
        if q < 1:  # where the original indexes past the end
            np.testing.assert_allclose(order, platonic_threshold(exact, q, exact=True), rtol=1e-7)
        assert mean.dtype == dtype
        assert mean.shape == ()


@pytest.mark.slow
@pytest.mark.parametrize("exact", [True, False])
def test_clamp_outliers_is_the_clip_at_the_threshold(x64, exact):
    x = heavy((20, 3, 5), np.float64 if x64 else np.float32)
    limit = float(outlier_threshold(x, exact=exact))
    out = clamp_outliers(x, exact=exact)
    np.testing.assert_array_equal(out, np.clip(x, -limit, limit).astype(x.dtype))
    np.testing.assert_array_equal(out, clamp(x, threshold=limit))
    assert 0 < np.sum(np.abs(np.asarray(out)) == np.asarray(limit, x.dtype)) <= 0.1 * x.size


@pytest.mark.slow
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("padding", [np.nan, np.inf, 1e6])
def test_masked_is_the_subset_and_padding_gets_no_gradient(exact, padding):
    x = heavy((12, 4, 5), np.float32)
    mask = np.arange(12) % 3 > 0
    padded = np.where(mask[:, None, None], x, padding).astype(np.float32)
    for interpolate in (False, True):
        limit = outlier_threshold(padded, exact=exact, interpolate=interpolate, mask=mask)
        subset = outlier_threshold(x[mask], exact=exact, interpolate=interpolate)
        np.testing.assert_allclose(limit, subset, rtol=1e-5)
    out = clamp_outliers(padded, exact=exact, mask=mask)
    np.testing.assert_allclose(out[mask], clamp_outliers(x[mask], exact=exact), rtol=1e-5)
    np.testing.assert_array_equal(out[~mask], 0)
    gradient = jax.grad(lambda x: jnp.sum(clamp_outliers(x, exact=exact, mask=mask)))(padded)
    np.testing.assert_array_equal(gradient[~mask], 0)
    np.testing.assert_array_equal(gradient[mask], np.abs(x[mask]) <= np.asarray(limit))


@pytest.mark.slow
@pytest.mark.parametrize("exact", [True, False])
def test_gradient_is_one_inside_and_zero_outside(exact):
    x = jnp.asarray(heavy((20, 6), np.float32))
    inside = np.abs(x) <= np.asarray(outlier_threshold(x, exact=exact))
    gradient = jax.grad(lambda x: jnp.sum(2 * clamp_outliers(x, exact=exact)))(x)
    np.testing.assert_array_equal(gradient, 2 * inside)
    assert 0 < inside.mean() < 1
    np.testing.assert_array_equal(jax.grad(lambda x: outlier_threshold(x, exact=exact))(x), 0)


def test_gradient_at_the_limit_is_whole():
    """An entry equal to the limit is not one beyond it."""
    np.testing.assert_array_equal(
        jax.grad(lambda x: jnp.sum(clamp(x, threshold=2.0)))(jnp.array([2.0, -2.0, 2.5, -2.5])), [1, 1, 0, 0]
    )


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("exact", [True, False])
def test_half_precision_is_widened(dtype, exact):
    x = jnp.asarray(heavy((20, 6)), dtype)
    for function in (clamp_outliers, outlier_threshold):
        assert jax.eval_shape(lambda x, f=function: f(x, exact=exact), x).dtype == jnp.float32
    assert jax.eval_shape(lambda x: clamp(x, threshold=1.0), x).dtype == jnp.float32
    wide = np.asarray(x, np.float64)
    expected = np.quantile(np.abs(wide), 0.95) if exact else platonic_threshold(wide, 0.95, exact=False)
    np.testing.assert_allclose(outlier_threshold(x, exact=exact), expected, rtol=1e-6)
    np.testing.assert_allclose(clamp_outliers(x, exact=exact), np.clip(wide, -expected, expected), rtol=1e-6)


@pytest.mark.parametrize("exact", [True, False])
def test_jit_and_vmap_change_nothing(exact):
    batch = jnp.asarray(heavy((3, 9, 4), np.float32))
    mask = jnp.asarray(np.random.default_rng(1).random((3, 9)) < 0.7)

    def function(x, mask):
        return clamp_outliers(x, exact=exact, mask=mask)

    looped = np.stack([function(x, m) for x, m in zip(batch, mask, strict=True)])
    np.testing.assert_allclose(jax.jit(jax.vmap(function))(batch, mask), looped, rtol=1e-6)


def test_a_shared_limit_for_layers_of_different_widths():
    layers = [heavy((50, 4), np.float32), 10 * heavy((50, 9), np.float32)]
    limit = outlier_threshold(jnp.concatenate(layers, axis=1))
    expected = np.quantile(np.abs(np.concatenate([layer.ravel() for layer in layers])), 0.95)
    np.testing.assert_allclose(limit, expected, rtol=1e-6)
    assert not np.allclose(limit, outlier_threshold(layers[0]), rtol=0.1)
    np.testing.assert_array_equal(clamp(layers[0], threshold=limit), np.clip(layers[0], -limit, limit))


def test_degenerate_inputs():
    np.testing.assert_array_equal(clamp_outliers(jnp.zeros((3, 2))), 0)
    np.testing.assert_array_equal(clamp_outliers(jnp.full((3, 2), -2.5)), -2.5)
    np.testing.assert_array_equal(clamp_outliers(jnp.array([[-7.0]])), -7)
    x = jnp.asarray(heavy((5, 5), np.float32))
    np.testing.assert_array_equal(clamp_outliers(x, quantile=1), x)
    np.testing.assert_array_equal(np.unique(np.abs(clamp_outliers(x, quantile=0))), np.abs(x).min())


@pytest.mark.parametrize("exact", [True, False])
def test_undefined_is_nan(exact):
    x = jnp.asarray(heavy((5, 3), np.float32))
    assert np.isnan(clamp_outliers(x.at[2, 1].set(jnp.nan), exact=exact)).all()
    assert np.isnan(outlier_threshold(x, exact=exact, mask=jnp.zeros(5, bool)))


def test_infinite_entries_are_limited():
    x = jnp.asarray(heavy((30, 4), np.float32)).at[2, 1].set(-jnp.inf).at[3, 1].set(jnp.inf)
    out = clamp_outliers(x, quantile=0.9)
    assert np.isfinite(out).all()
    assert out[3, 1] == -out[2, 1] == outlier_threshold(x, quantile=0.9)


def test_nothing_is_sorted():
    x = jax.ShapeDtypeStruct((64, 3, 128), jnp.float32)
    for exact in (True, False):
        text = jax.jit(lambda x, exact=exact: clamp_outliers(x, exact=exact)).lower(x).compile().as_text()
        assert " sort(" not in text


@pytest.mark.parametrize("function", [clamp_outliers, outlier_threshold])
def test_errors(function):
    name = function.__name__
    with pytest.raises(ValueError, match=f"{name}: quantile must lie between 0 and 1, got 95"):
        function(jnp.ones((2, 3)), quantile=95)
    with pytest.raises(TypeError, match=f"{name}: quantile must be a number, got str '0.9'"):
        function(jnp.ones((2, 3)), quantile="0.9")
    with pytest.raises(TypeError, match=f"{name}: x must be floating point, got .* int32"):
        function(jnp.ones((2, 3), jnp.int32))
    with pytest.raises(TypeError, match=f"{name}: x must be an array"):
        function([jnp.ones((2, 3))])
    for shape in [(), (0, 3)]:
        with pytest.raises(ValueError, match=f"{name}: x must have an axis and between 1 and"):
            function(jnp.ones(shape))
    with pytest.raises(ValueError, match=rf"{name}: mask must have shape \(2,\)"):
        function(jnp.ones((2, 3)), mask=jnp.ones(3, bool))


def test_clamp_errors():
    with pytest.raises(ValueError, match=r"clamp: threshold must be a scalar, got .* \(2,\)"):
        clamp(jnp.ones((2, 3)), threshold=jnp.ones(2))
    with pytest.raises(TypeError, match="clamp: x must be floating point"):
        clamp(jnp.ones((2, 3), jnp.int32), threshold=1.0)
