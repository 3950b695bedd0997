"""The shared arithmetic against float64 NumPy: dtypes, centering, safe roots, scales."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign._core import numerics

HALVES = [jnp.bfloat16, jnp.float16]


def draw(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def struct(shape, dtype):
    return jax.ShapeDtypeStruct(shape, dtype)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        ((jnp.bfloat16,), jnp.float32),
        ((jnp.float16, jnp.bfloat16), jnp.float32),
        ((jnp.float32, jnp.float16), jnp.float32),
        ((jnp.bfloat16, jnp.float64), jnp.float64),
        ((jnp.float64,), jnp.float64),
    ],
)
def test_accumulation_is_float32_or_wider(dtypes, expected):
    assert numerics.accum_dtype(*(jnp.zeros(1, d) for d in dtypes)) == expected
    assert numerics.widen(jnp.zeros(1, dtypes[0])).dtype in (expected, jnp.float32)


PRODUCTS = {
    "matmul": (numerics.matmul, (4, 3), (3, 5), lambda a, b: a @ b),
    "gram_matmul": (numerics.gram_matmul, (4, 3), (5, 3), lambda a, b: a @ b.T),
    "cross_matmul": (numerics.cross_matmul, (3, 4), (3, 5), lambda a, b: a.T @ b),
    "contract": (lambda a, b: numerics.contract(a, b, (0, 1)), (3, 4), (5, 3), lambda a, b: a.T @ b.T),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(x64, name):
    function, shape_a, shape_b, oracle = PRODUCTS[name]
    dtype, tolerance = (np.float64, 1e-14) if x64 else (np.float32, 1e-6)
    a, b = draw(*shape_a, dtype=dtype), draw(*shape_b, seed=1, dtype=dtype)
    np.testing.assert_allclose(function(a, b), oracle(a.astype(np.float64), b.astype(np.float64)), atol=tolerance)
    assert function(a, b).dtype == dtype


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("half", HALVES)
def test_products_of_half_precision_are_float32(name, half):
    """The stored product keeps 24 bits: `preferred_element_type` is set, and precision is highest."""
    function, shape_a, shape_b, _ = PRODUCTS[name]
    for other, expected in [(half, jnp.float32), (jnp.float32, jnp.float32), (jnp.float64, jnp.float64)]:
        out = jax.eval_shape(function, struct(shape_a, half), struct(shape_b, other))
        assert out.dtype == expected
    text = jax.jit(function).lower(struct(shape_a, half), struct(shape_b, half)).as_text()
    assert "precision = [HIGHEST, HIGHEST]" in text
    assert f"-> tensor<{out.shape[0]}x{out.shape[1]}xf32>" in text


@pytest.mark.parametrize("half", HALVES)
def test_long_half_precision_sums_do_not_saturate(half):
    ones = jnp.ones((1, 4096), half)
    assert numerics.gram_matmul(ones, ones)[0, 0] == 4096
    assert numerics.matmul(ones, ones.T)[0, 0] == 4096


def test_safe_sqrt():
    v = jnp.array([4.0, 0.0, -1e-9, jnp.nan, jnp.inf], jnp.float32)
    np.testing.assert_array_equal(numerics.safe_sqrt(v), [2, 0, 0, np.nan, np.inf])
    np.testing.assert_array_equal(jax.vmap(jax.grad(numerics.safe_sqrt))(v[:3]), [0.25, 0, 0])
    np.testing.assert_array_equal(jax.vmap(jax.grad(jax.grad(numerics.safe_sqrt)))(v[:3]), [-1 / 32, 0, 0])


def test_safe_divide():
    a = jnp.array([6.0, 6.0, 0.0, 6.0, jnp.nan, 6.0], jnp.float32)
    b = jnp.array([3.0, 0.0, 0.0, -1.0, 2.0, jnp.nan], jnp.float32)
    np.testing.assert_array_equal(numerics.safe_divide(a, b), [2, 0, 0, 0, np.nan, np.nan])
    np.testing.assert_array_equal(numerics.safe_divide(a[:3], b[:3], otherwise=jnp.nan), [2, np.nan, np.nan])
    for options in ({}, {"otherwise": jnp.nan}):
        slopes = jax.vmap(jax.grad(partial(numerics.safe_divide, **options), (0, 1)))(a[:3], b[:3])
        np.testing.assert_allclose(slopes, [[1 / 3, 0, 0], [-6 / 9, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize("padding", [np.nan, np.inf])
def test_mask_rows_removes_what_multiplication_would_not(padding):
    x = draw(4, 2)
    x[1] = padding
    mask = np.array([True, False, True, True])
    out = numerics.mask_rows(jnp.asarray(x), jnp.asarray(mask))
    np.testing.assert_array_equal(out, np.where(mask[:, None], x, 0))
    gradient = jax.grad(lambda x: jnp.sum(numerics.mask_rows(x, mask) ** 2))(jnp.asarray(x))
    np.testing.assert_array_equal(gradient, 2 * np.where(mask[:, None], x, 0))
    assert numerics.mask_rows(x, None) is x


def test_row_count_is_floating(x64):
    x = jnp.zeros((5, 2))
    assert numerics.row_count(x, None) == 5
    assert numerics.row_count(x, jnp.array([True, False, True, False, False])) == 2
    for mask in (None, jnp.ones(5, bool)):
        assert numerics.row_count(x, mask).dtype == (jnp.float64 if x64 else jnp.float32)
        assert numerics.row_count(x.astype(jnp.bfloat16), mask).dtype == jnp.float32
    n = jax.eval_shape(lambda x: numerics.row_count(x, None) ** 2, struct((100_000, 1), jnp.float32))
    assert n.dtype == jnp.float32  # an integer square would overflow


@pytest.mark.parametrize("rows", [slice(None), slice(0, 1)])
def test_column_mean_and_centering(x64, rows):
    dtype, tolerance = (np.float64, 1e-15) if x64 else (np.float32, 3e-7)
    x = draw(20, 3, dtype=dtype)[rows] + dtype(0.5)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(numerics.column_mean(x), exact.mean(axis=0), atol=tolerance)
    np.testing.assert_allclose(numerics.center_columns(x), exact - exact.mean(axis=0), atol=tolerance)
    for function in (numerics.column_mean, numerics.center_columns):
        assert jax.eval_shape(function, x).dtype == dtype
        assert jax.eval_shape(function, struct(x.shape, jnp.bfloat16)).dtype == jnp.float32


def test_masked_centering_is_that_of_the_subset():
    x, mask = draw(9, 3), np.arange(9) % 3 > 0
    padded = np.where(mask[:, None], x, np.nan).astype(np.float32)
    out = numerics.center_columns(padded, mask)
    np.testing.assert_allclose(out[mask], numerics.center_columns(x[mask]), atol=1e-6)
    np.testing.assert_array_equal(out[~mask], 0)
    np.testing.assert_allclose(numerics.column_mean(padded, mask), x[mask].mean(axis=0), atol=1e-6)
    weights = draw(9, 3, seed=1)
    gradient = jax.grad(lambda x: jnp.sum(weights * numerics.center_columns(x, mask)))(jnp.asarray(padded))
    subset = weights[mask] - weights[mask].mean(axis=0)
    np.testing.assert_allclose(gradient[mask], subset, atol=1e-6)
    np.testing.assert_array_equal(gradient[~mask], 0)


def test_no_row_that_counts_centers_to_zero():
    x, mask = jnp.full((3, 2), jnp.nan, jnp.float32), jnp.zeros(3, bool)
    np.testing.assert_array_equal(numerics.center_columns(x, mask), 0)
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(numerics.center_columns(x, mask)))(x), 0)


@pytest.mark.parametrize("value", [1 / 3, 1e30, -1e-30, 16777217.0])
@pytest.mark.parametrize("rows", [3, 7, 1000])
def test_constant_columns_center_to_exactly_zero(value, rows):
    x = np.full((rows, 2), value, np.float32)
    np.testing.assert_array_equal(numerics.column_mean(x), x[0])
    np.testing.assert_array_equal(numerics.center_columns(x), 0)
    mask = np.arange(rows) > 0
    np.testing.assert_array_equal(numerics.center_columns(np.where(mask[:, None], x, 7), mask), 0)


def test_centering_keeps_small_variation_on_a_large_offset():
    variation = np.random.default_rng(4).integers(-4, 5, (64, 3)) / 64
    x = (30000 + variation).astype(np.float32)  # exact
    np.testing.assert_allclose(numerics.center_columns(x), variation - variation.mean(axis=0), atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 1e30, 1e-30])
def test_normalize_rows(scale):
    x = (draw(6, 4, dtype=np.float64) * scale).astype(np.float32)
    x[2] = 0
    exact = x.astype(np.float64)
    length = np.linalg.norm(exact, axis=1, keepdims=True)
    expected = np.divide(exact, length, out=np.zeros_like(exact), where=length > 0)
    np.testing.assert_allclose(numerics.normalize_rows(x), expected, rtol=1e-6)

    weights = draw(6, 4, seed=1)
    gradient = np.asarray(jax.grad(lambda x: jnp.sum(weights * numerics.normalize_rows(x)))(jnp.asarray(x)), np.float64)
    tangential = weights - expected * np.sum(weights * expected, axis=1, keepdims=True)
    tangential = np.divide(tangential, length, out=np.zeros_like(exact), where=length > 0)
    np.testing.assert_allclose(gradient * scale, tangential * scale, atol=1e-5)
    np.testing.assert_array_equal(gradient[2], 0)


def test_normalize_rows_hides_no_nan():
    x = draw(3, 4)
    x[1, 2] = np.nan
    out = np.asarray(numerics.normalize_rows(x))
    assert np.isnan(out[1]).all()
    assert np.isfinite(out[[0, 2]]).all()


@pytest.mark.parametrize("largest", [1.0, 1.5, 3.0, 1e-37, 1e37, 3.4e38])
def test_binary_scale_is_a_power_of_two_that_rounds_nothing(largest):
    x = jnp.array([[largest, -largest / 3], [0.0, largest / 7]], jnp.float32)
    scale = numerics.binary_scale(x)
    assert scale.shape == ()
    assert np.frexp(np.asarray(scale))[0] == 0.5
    assert 0.5 <= jnp.max(jnp.abs(x * scale)) <= 4
    np.testing.assert_array_equal(np.asarray(x * scale, np.float64) / np.asarray(scale, np.float64), x)


def test_binary_scale_by_axis_and_of_what_has_no_size():
    x = jnp.array([[8.0, 1.0], [0.0, 0.0], [jnp.nan, 1.0], [jnp.inf, 1.0], [0.0, 0.25]], jnp.float32)
    scale = np.asarray(numerics.binary_scale(x, axis=1))
    assert scale.shape == (5, 1)
    assert np.all(np.frexp(scale)[0] == 0.5)
    assert np.all((scale[1:4] >= 0.5) & (scale[1:4] <= 1))
    np.testing.assert_array_equal(scale[0] * 32, scale[4])


def test_binary_scale_is_a_constant_to_gradients():
    x = jnp.array([3.0, 5.0], jnp.float32)
    gradient = jax.grad(lambda x: jnp.sum(x * numerics.binary_scale(x)))(x)
    np.testing.assert_array_equal(gradient, np.full(2, numerics.binary_scale(x)))


def test_binary_scale_reaches_the_range_of_float64(float64):
    for largest in (1e300, 1e-300):
        x = jnp.array([largest, largest / 3])
        assert 0.5 <= jnp.max(x * numerics.binary_scale(x)) <= 4


def test_take_rows():
    x = jnp.asarray(draw(5, 2))
    np.testing.assert_array_equal(numerics.take_rows(x, jnp.array([4, 0, 0])), x[np.array([4, 0, 0])])
    counts = jax.grad(lambda x: jnp.sum(numerics.take_rows(x, jnp.array([4, 0, 0]))))(x)
    np.testing.assert_array_equal(counts[:, 0], [2, 0, 0, 0, 1])


EXPORTS = {
    "center_columns": lambda x: numerics.center_columns(x, jnp.arange(6) > 1),
    "normalize_rows": numerics.normalize_rows,
    "gram_matmul": lambda x: numerics.gram_matmul(x, x),
    "binary_scale": numerics.binary_scale,
}


@pytest.mark.parametrize("name", EXPORTS)
def test_lowers_for_accelerators_and_maps(name):
    function = EXPORTS[name]
    exported = jax.export.export(jax.jit(function), platforms=["cpu", "cuda", "tpu"])(struct((6, 3), jnp.float32))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    batch = jnp.asarray(draw(2, 6, 3))
    looped = np.stack([function(x) for x in batch])
    np.testing.assert_allclose(jax.jit(jax.vmap(function))(batch), looped, rtol=1e-6, atol=1e-6)
