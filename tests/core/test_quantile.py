"""Order statistics and quantiles against sorting in NumPy."""

from __future__ import annotations

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign._core.quantile import _product, from_bits, magnitude_bits, order_statistics, quantile, search


def cases(dtype):
    g = np.random.default_rng(0)
    tiny = np.finfo(dtype).smallest_subnormal
    return {
        "normal": g.standard_normal(301),
        "matrix": g.standard_normal((17, 5)),
        "ties": g.integers(-3, 3, 200).astype(float),
        "constant": np.full(7, -2.5),
        "zeros": np.array([0.0, -0.0, 0.0]),
        "single": np.array([-3.0]),
        "pair": np.array([2.0, -1.0]),
        "wide range": g.standard_normal(100) * 10.0 ** g.integers(-30, 30, 100),
        "subnormal": tiny * np.arange(9, dtype=dtype),
        "infinite": np.array([1.0, np.inf, -np.inf, 0.5]),
        "largest": np.array([np.finfo(dtype).max, -np.finfo(dtype).max, 1.0]),
    }


every_rank = jax.jit(lambda values: jax.vmap(lambda k: order_statistics(values, (k,))[0])(jnp.arange(values.size)))
counted = jax.jit(quantile, static_argnames=("q", "interpolate"))


def padded(values, size=301):
    return np.concatenate([values.ravel(), np.full(size - values.size, np.inf, values.dtype)])


@pytest.mark.parametrize("case", cases(np.float32))
def test_every_rank_is_the_sorted_entry(x64, case):
    dtype = np.float64 if x64 else np.float32
    values = padded(cases(dtype)[case].astype(dtype))
    np.testing.assert_array_equal(every_rank(values), np.sort(np.abs(values)))


def test_python_ranks_several_at_once_and_nan_last():
    values = jnp.array([3.0, jnp.nan, -1.0, jnp.inf], jnp.float32)
    found = order_statistics(values, (0, 3, 1, 2))
    assert found.shape == (4,)
    np.testing.assert_array_equal(found, [1.0, np.nan, 3.0, np.inf])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_widened(dtype):
    values = jnp.asarray(np.random.default_rng(0).standard_normal(50), dtype)
    for function in (lambda v: order_statistics(v, (7,))[0], lambda v: quantile(v, 7 / 49)):
        assert jax.eval_shape(function, values).dtype == jnp.float32
        assert function(values) == np.sort(np.abs(np.asarray(values, np.float32)))[7]


def test_bits_go_there_and_back(x64):
    values = np.array([0.0, 1e-45, 1.5, np.inf], np.float64 if x64 else np.float32)
    bits = magnitude_bits(-values)
    assert bits.dtype == (jnp.int64 if x64 else jnp.int32)
    assert np.all(np.diff(np.asarray(bits)) > 0)
    np.testing.assert_array_equal(from_bits(bits), values)


@pytest.mark.slow
@pytest.mark.parametrize("q", [0.0, 0.05, 1 / 3, 0.5, 0.95, 1.0])
def test_quantile_is_numpy_s(x64, q):
    """All entries, or as many as `count` says."""
    dtype = np.float64 if x64 else np.float32
    for case, values in cases(dtype).items():
        if case in ("infinite", "subnormal"):  # tested elsewhere; XLA flushes the latter to 0 in arithmetic
            continue
        values = values.astype(dtype)
        expected = np.quantile(np.abs(values).astype(np.float64), q)
        found = counted(padded(values), q, count=values.size)
        # without 64 bits, the position is good to 2**-16 of the gap between two entries
        np.testing.assert_allclose(found, expected, rtol=1e-15 if x64 else 5e-5, err_msg=case)
        if case in ("normal", "ties", "single", "pair"):
            np.testing.assert_allclose(counted(values, q), expected, rtol=2 * np.finfo(dtype).eps, err_msg=case)


@pytest.mark.parametrize("q", [0.0, 0.05, 0.5, 0.77, 0.95, 1.0])
def test_without_interpolation_it_is_the_entry_at_floor_qn(x64, q):
    dtype = np.float64 if x64 else np.float32
    for n in (1, 2, 39, 100, 38400):
        values = np.random.default_rng(n).standard_normal(n).astype(dtype)
        expected = np.sort(np.abs(values))[min(int(q * n), n - 1)]
        assert counted(padded(values, 38403), q, count=n, interpolate=False) == expected
    assert counted(values, q, interpolate=False) == expected


def test_float32_q_does_not_round_positions():
    position = float(np.float32(0.95)) * (2**20 - 1)
    values = np.maximum(np.arange(2**20) - math.floor(position), 0).astype(np.float32)  # ... 0, 0, 1, 2 ...
    np.testing.assert_allclose(quantile(values, np.float32(0.95)), position - math.floor(position), rtol=1e-6)


def test_padding_is_as_if_absent(x64):
    dtype = np.float64 if x64 else np.float32
    values = np.random.default_rng(1).standard_normal((6, 40)).astype(dtype)
    counts = np.array([1, 2, 3, 17, 39, 40], np.int32)
    filled = np.where(np.arange(40)[None, :] < counts[:, None], values, np.inf)
    found = jax.jit(jax.vmap(lambda v, n: quantile(v, 0.5, count=n)))(filled, counts)
    expected = [np.median(np.abs(v[:n])) for v, n in zip(values, counts, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=2 * np.finfo(dtype).eps)


def test_undefined_quantiles_are_nan():
    assert np.isnan(quantile(jnp.array([1.0, jnp.nan, 2.0]), 0.0))
    assert np.isnan(quantile(jnp.array([1.0, -jnp.nan, 2.0]), 0.0))
    assert np.isnan(quantile(jnp.array([jnp.inf, jnp.inf]), 0.5, count=jnp.array(0)))


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([1.0, np.inf], 0.0, 1.0),
        ([1.0, np.inf], 0.25, np.inf),
        ([1.0, np.inf], 0.75, np.inf),
        ([1.0, np.inf, np.inf], 0.75, np.inf),
        ([3.0e38, -3.2e38], 0.5, 3.1e38),
    ],
)
def test_infinite_and_huge_entries(values, q, expected):
    np.testing.assert_allclose(quantile(jnp.asarray(values, jnp.float32), q), expected, rtol=1e-6)


def test_gradient_is_zero():
    values = jnp.array([1.0, -2.0, 3.0, 4.0])
    gradient = jax.grad(lambda v: quantile(v, 0.4) + jnp.sum(order_statistics(v, (0, 2))))(values)
    np.testing.assert_array_equal(gradient, np.zeros(4))


@pytest.mark.parametrize("q", [0.0, 0.05, 0.5, 0.95, 0.9999, 1.0])
def test_positions_are_right_beyond_the_precision_of_float32(q):
    n = np.array([0, 1, 63, 38400, 2**24 + 1, 2**31 - 1], np.int32)
    wholes, rests = jax.jit(lambda n: _product(q, n, jnp.dtype(jnp.float32), 0.0))(n)
    floors, _ = jax.jit(lambda n: _product(q, n, jnp.dtype(jnp.float32), 2**-14))(n)
    for k, whole, rest, floor in zip(n.tolist(), wholes, rests, floors, strict=True):
        assert abs(int(whole) + Fraction(float(rest)) - Fraction(q) * k) < Fraction(1, 2**14)
        assert 0 <= rest < 1
        assert int(floor) == math.floor(q * k)


def test_large_input_is_exact():
    values = np.random.default_rng(2).standard_normal(2_000_003).astype(np.float32)
    rank = math.floor(0.95 * (values.size - 1))
    assert order_statistics(values, (rank,))[0] == np.partition(np.abs(values), rank)[rank]


def test_search_needs_only_counts():
    tiles = jnp.asarray(np.random.default_rng(3).standard_normal((8, 125)), jnp.float32)

    def count(thresholds):
        def tile(total, values):
            return total + jnp.sum(
                magnitude_bits(values)[None, :] <= thresholds[:, None], axis=1, dtype=jnp.int32
            ), None

        return jax.lax.scan(tile, jnp.zeros(thresholds.shape, jnp.int32), tiles)[0]

    found = from_bits(search(count, jnp.int32(499), jnp.float32))
    assert found == np.sort(np.abs(np.asarray(tiles)).ravel())[499]


def test_nothing_is_sorted_and_memory_is_one_copy():
    values = jax.ShapeDtypeStruct((1000, 1000), jnp.float32)
    compiled = jax.jit(lambda v: quantile(v, 0.95)).lower(values).compile()
    assert " sort(" not in compiled.as_text()
    assert compiled.memory_analysis().temp_size_in_bytes < 1.1 * 4e6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: order_statistics(jnp.zeros(3), (3,)), r"order_statistics: ranks must lie between 0 and 2, got 3"),
        (lambda: order_statistics(jnp.zeros(3), (-1,)), r"order_statistics: ranks must lie .* got -1"),
        (lambda: order_statistics(jnp.zeros((0, 2)), (0,)), r"order_statistics: values must have .* got 0"),
        (lambda: quantile(jnp.zeros(3), 1.5), r"quantile: q must lie between 0 and 1, got 1.5"),
        (lambda: quantile(jnp.zeros(0), 0.5), r"quantile: values must have .* got 0"),
        (
            lambda: jax.eval_shape(lambda v: quantile(v, 0.5), jax.ShapeDtypeStruct((2**16, 2**15), jnp.float32)),
            r"quantile: values must have .* got 2147483648",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
