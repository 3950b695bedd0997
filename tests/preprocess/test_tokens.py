"""Pooling and flattening against loops in NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.preprocess import flatten_spatial, pool_tokens

HOWS = ["mean", "max", "first", "last", "cls"]
#: Padding on the right, on the left, on both sides, in between, nowhere, and one row of nothing else.
MASK = np.array(
    [[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [0, 1, 1, 0, 0], [1, 0, 0, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], bool
)


def tokens(dtype=np.float32):
    return np.random.default_rng(0).standard_normal((6, 5, 3)).astype(dtype)


def pool_oracle(x, mask, how):
    rows = []
    for row, real in zip(x.astype(np.float64), mask, strict=True):
        if how == "cls":
            rows.append(row[0])
        elif not real.any():
            rows.append(np.full(row.shape[1], np.nan))
        else:
            row = row[real]
            rows.append({"mean": row.mean(axis=0), "max": row.max(axis=0), "first": row[0], "last": row[-1]}[how])
    return np.array(rows)


@pytest.mark.parametrize("how", HOWS)
def test_values(x64, how):
    x = tokens(np.float64 if x64 else np.float32)
    tolerance = 1e-14 if x64 else 1e-6
    for mask in (MASK, np.ones_like(MASK)):
        np.testing.assert_allclose(pool_tokens(x, mask, how=how), pool_oracle(x, mask, how), atol=tolerance)
    np.testing.assert_allclose(pool_tokens(x, how=how), pool_oracle(x, np.ones_like(MASK), how), atol=tolerance)
    assert pool_tokens(x, MASK, how=how).dtype == x.dtype


def test_the_mean_is_the_default():
    np.testing.assert_array_equal(pool_tokens(tokens(), MASK), pool_tokens(tokens(), mask=MASK, how="mean"))


@pytest.mark.slow
@pytest.mark.parametrize("padding", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("how", ["mean", "max", "first", "last"])
def test_padding_is_harmless_in_value_and_gradient(how, padding):
    x = tokens()
    padded = np.where(MASK[:, :, None], x, padding).astype(np.float32)
    np.testing.assert_array_equal(pool_tokens(padded, MASK, how=how), pool_tokens(x, MASK, how=how))
    weights = np.random.default_rng(1).standard_normal((6, 3)).astype(np.float32)

    def score(x):
        return jnp.sum(jnp.nan_to_num(weights * pool_tokens(x, MASK, how=how)))

    gradient = jax.grad(score)(padded)
    np.testing.assert_array_equal(gradient, jax.grad(score)(x))
    np.testing.assert_array_equal(gradient[~MASK], 0)
    assert np.all(np.abs(gradient[:5]).sum(axis=1) > 0)  # each row with a token has one, for each feature
    unguarded = jax.grad(lambda x: jnp.sum(weights * pool_tokens(x, MASK, how=how)))(padded)
    np.testing.assert_array_equal(unguarded, gradient)


def test_cls_reads_position_0_whatever_the_mask_says():
    x = tokens()
    np.testing.assert_array_equal(pool_tokens(x, MASK, how="cls"), x[:, 0])
    gradient = jax.grad(lambda x: jnp.sum(pool_tokens(x, MASK, how="cls")))(x)
    np.testing.assert_array_equal(gradient, np.broadcast_to(np.arange(5)[None, :, None] == 0, x.shape))


@pytest.mark.parametrize("how", HOWS)
def test_nan_in_a_real_token_is_not_hidden(how):
    x = tokens()
    x[4] = np.nan
    assert np.isnan(pool_tokens(x, MASK, how=how)[4]).all()


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_widened_before_the_sum(how, dtype):
    x = jnp.asarray(tokens(), dtype)
    assert jax.eval_shape(lambda x: pool_tokens(x, how=how), x).dtype == jnp.float32
    np.testing.assert_allclose(
        pool_tokens(x, MASK, how=how), pool_oracle(np.asarray(x, np.float32), MASK, how), rtol=1e-5, atol=1e-6
    )


def test_a_long_mean_in_float16_does_not_overflow():
    np.testing.assert_allclose(pool_tokens(jnp.full((1, 4000, 1), 100, jnp.float16)), [[100.0]], rtol=1e-6)


@pytest.mark.parametrize("how", HOWS)
def test_jit_and_vmap_change_nothing(how):
    x = np.stack([tokens(), 2 * tokens()])
    mask = np.stack([MASK, ~MASK])
    looped = np.stack([pool_tokens(x[i], mask[i], how=how) for i in range(2)])
    mapped = jax.jit(jax.vmap(lambda x, m: pool_tokens(x, m, how=how)))(x, mask)
    np.testing.assert_allclose(mapped, looped, rtol=1e-6)


def test_pool_errors():
    x = jnp.zeros((2, 3, 4))
    with pytest.raises(ValueError, match=r"pool_tokens: how must be one of .*, got 'men'; did you mean 'mean'\?"):
        pool_tokens(x, how="men")
    with pytest.raises(ValueError, match=r"pool_tokens: x must have shape \(examples, tokens, features\)"):
        pool_tokens(x[0])
    with pytest.raises(ValueError, match=r"pool_tokens: x must have shape .* none 0"):
        pool_tokens(x[:, :0])
    with pytest.raises(TypeError, match="pool_tokens: x must be floating point"):
        pool_tokens(x.astype(jnp.int32))
    with pytest.raises(ValueError, match=r"pool_tokens: mask must have shape \(2, 3\), one entry a token, got \(2,\)"):
        pool_tokens(x, jnp.ones(2, bool))
    with pytest.raises(TypeError, match=r"pool_tokens: mask must be boolean, got .*int32.*astype\(bool\)"):
        pool_tokens(x, jnp.ones((2, 3), jnp.int32))


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 5), (2, 3, 4, 2, 5)])
def test_flatten_puts_pixels_in_order(shape):
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    rows = flatten_spatial(x)
    np.testing.assert_array_equal(rows, np.stack([x[index] for index in np.ndindex(shape[:-1])]))


def test_flatten_with_a_mask():
    x, mask = tokens(), MASK
    rows, kept = flatten_spatial(x, mask)
    assert kept.shape == (30,)
    np.testing.assert_array_equal(rows[kept], np.concatenate([r[m] for r, m in zip(x, mask, strict=True)]))
    rows, kept = flatten_spatial(x, mask=mask)
    assert kept.sum() == mask.sum()


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_flatten_keeps_the_dtype(dtype):
    assert jax.eval_shape(flatten_spatial, jax.ShapeDtypeStruct((2, 3, 4, 5), dtype)).dtype == dtype


def test_flatten_under_vmap_and_grad():
    x = jnp.asarray(np.random.default_rng(3).standard_normal((3, 2, 4, 5)), jnp.float32)
    np.testing.assert_array_equal(jax.jit(jax.vmap(flatten_spatial))(x), x.reshape(3, 8, 5))
    np.testing.assert_allclose(jax.grad(lambda x: jnp.sum(flatten_spatial(x) ** 2))(x), 2 * x)


def test_flatten_errors():
    with pytest.raises(ValueError, match=r"flatten_spatial: x must have shape \(batch, height, width, channels\)"):
        flatten_spatial(jnp.zeros((4, 3)))
    with pytest.raises(TypeError, match="flatten_spatial: x must be floating point"):
        flatten_spatial(jnp.zeros((4, 3, 2), jnp.int32))
    with pytest.raises(ValueError, match=r"flatten_spatial: mask must have shape \(4, 3\)"):
        flatten_spatial(jnp.zeros((4, 3, 2)), jnp.ones((4, 3, 2), bool))
