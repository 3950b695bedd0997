"""Digits: sums of thousands of blocks, what moments cannot resolve and say so, and the second pass that can."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import streaming as oracle

from jaxalign.streaming import Misalignment, row_blocks, stream

RNG = np.random.default_rng(1)


def layers(n, p, condition, ratio, *, offset=0.0):
    """Two layers of a misalignment of about `ratio` of the variance; every direction of the first matters."""
    base = RNG.standard_normal((n, p))
    left, right = (np.linalg.qr(RNG.standard_normal((p, p)))[0] for _ in range(2))
    x = (base @ left * np.logspace(0, -np.log10(condition), p)) @ right
    y = np.sqrt((1 - ratio) / p) * base @ RNG.standard_normal((p, p)) + np.sqrt(ratio) * RNG.standard_normal((n, p))
    return (x + offset * x.std()).astype(np.float32), (y + offset).astype(np.float32)


def added(x, y, block):
    """The state of all rows, in blocks of one length."""
    accumulator = Misalignment()
    blocks = [jnp.asarray(z).reshape(-1, block, z.shape[1]) for z in (x, y)]

    def add(state, batch):
        return accumulator.update(state, *batch), None

    return jax.jit(lambda blocks: jax.lax.scan(add, accumulator.init(x.shape[1], y.shape[1]), blocks)[0])(blocks)


def test_a_million_rows_are_as_exact_as_a_block():
    """The mean moves by ten standard deviations on the way; float32 alone would add 1000 blocks to 1e-6."""
    n = 10**6
    drift = np.linspace(0, 10, n)[:, None]
    x = (RNG.standard_normal((n, 3)) * [1, 2, 3] + drift).astype(np.float32)
    y = (x[:, :2] + RNG.standard_normal((n, 2)) + 50).astype(np.float32)
    state = added(x, y, 1000)
    z = np.hstack([x, y]).astype(float)
    mean = z.mean(axis=0)
    second = (z - mean).T @ (z - mean)
    sizes = np.sqrt(np.outer(np.diag(second), np.diag(second)))
    high, low = (np.asarray(part, float) for part in (state.second.high, state.second.low))
    assert np.max(np.abs(high + low - second) / sizes) < 2e-8
    mean_error = np.asarray(state.mean.high, float) + np.asarray(state.mean.low, float) - mean
    assert np.max(np.abs(mean_error)) < 1e-6
    assert float(state.count.value) == n


@pytest.mark.slow
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_an_error_of_moments_is_within_its_estimate(offset):
    """In float32, from sources of condition 1 to 10⁴ and misalignments of 1 to 10⁻⁶ of the variance."""
    resolved = 0
    for condition in (1.0, 10.0, 1e2, 1e3, 1e4):
        for ratio in (0.9, 1e-2, 1e-4, 1e-6):
            x, y = layers(3000, 8, condition, ratio, offset=offset)
            found = stream(Misalignment(), row_blocks(x, y, rows=1000)).affine.forward
            true = oracle.residual(x.astype(float), y.astype(float), True)
            error = abs(found.value - true)
            assert error <= found.rounding, (condition, ratio)
            assert found.rounding < 100 * np.finfo(np.float32).eps * condition**2 * found.variance or condition > 1e3
            if found.resolved:
                resolved += 1
                assert error < 0.1 * true
            else:
                assert condition**2 / ratio > 1e4
    assert resolved > 6


@pytest.mark.slow
def test_directions_that_moments_do_not_resolve():
    """Columns that are combinations of others do not count; one that is short and matters is noticed."""
    base = RNG.standard_normal((4000, 4))
    y = (base @ RNG.standard_normal((4, 3)) + 0.1 * RNG.standard_normal((4000, 3))).astype(np.float32)
    combined = np.hstack([base, base @ RNG.standard_normal((4, 4)), np.ones((4000, 1))]).astype(np.float32)
    found = stream(Misalignment(), row_blocks(combined, y, rows=1000)).affine.forward
    assert found.rank == 4
    # They may be short directions as well, of which moments know nothing.
    assert found.dropped
    assert not found.resolved
    np.testing.assert_allclose(found.value, oracle.residual(base, y.astype(float), True), rtol=1e-3)

    hidden = base.copy()
    hidden[:, 3] = base[:, 2] + 2e-4 * base[:, 3]
    found = stream(Misalignment(), row_blocks(hidden.astype(np.float32), y, rows=1000)).affine.forward
    assert found.rank == 3
    assert found.rounding == np.inf
    assert not found.resolved
    with jax.enable_x64(True):
        assert stream(Misalignment(), row_blocks(hidden, y.astype(float), rows=1000)).affine.forward.resolved


@pytest.mark.slow
def test_a_second_pass_has_digits_where_moments_have_none():
    x, y = layers(3000, 6, 10.0, 1e-9, offset=5.0)
    accumulator, batches = Misalignment(), list(row_blocks(x, y, rows=700))
    result = stream(accumulator, batches)
    found = accumulator.residuals(result, batches)
    assert not result.affine.forward.resolved
    assert found.affine_forward.examples == 3000
    true = oracle.residual(x.astype(float), y.astype(float), True)
    np.testing.assert_allclose(found.affine_forward.value, true, rtol=0.05)
    assert found.affine_forward.value > 0.999 * true


@pytest.mark.slow
def test_residuals_and_their_errors(float64):
    x, y = (a.astype(float) for a in layers(90, 4, 3.0, 0.5))
    mask = RNG.uniform(size=90) < 0.7
    accumulator = Misalignment()
    result = stream(accumulator, [(x[:40], y[:40])])
    padded = [np.where(mask[:, None], a, np.nan) for a in (x, y)]
    batches = [{"x": padded[0][r], "y": padded[1][r], "mask": mask[r]} for r in (slice(0, 50), slice(50, 90))]
    found = accumulator.residuals(result, [*batches, {"x": x[:3], "y": y[:3], "mask": np.zeros(3, bool)}])
    for name in ("linear_forward", "linear_backward", "affine_forward", "affine_backward"):
        side, way = name.split("_")
        stitch = getattr(getattr(result, side), way).stitch()
        source, target = (x, y) if way == "forward" else (y, x)
        squares = np.sum((np.asarray(stitch(jnp.asarray(source[mask]))) - target[mask]) ** 2, axis=1)
        got = getattr(found, name)
        expected = squares.mean(), squares.std(ddof=1) / np.sqrt(mask.sum())
        np.testing.assert_allclose([got.value, got.standard_error], expected, rtol=1e-10)
        assert got.examples == mask.sum()
    none = accumulator.residuals(result, []).linear_forward
    assert np.isnan([none.value, none.standard_error]).all()
    with pytest.raises(ValueError, match="residuals: batch 1: x must have 4 columns"):
        accumulator.residuals(result, [(x, y), (x[:, :3], y)])
    with pytest.raises(ValueError, match="residuals: batch 0: must have x and y"):
        accumulator.residuals(result, [(x,)])


def test_means_of_squared_units_far_from_one():
    """Moments of data of size 1e-8 and 1e8 have the same digits."""
    x, y = layers(500, 4, 3.0, 0.3)
    base = stream(Misalignment(), [(x, y)])
    scaled = stream(Misalignment(), [(x * np.float32(2.0**-27), y * np.float32(2.0**27))])
    np.testing.assert_allclose(scaled.cka, base.cka, rtol=1e-6)
    np.testing.assert_allclose(scaled.affine.forward.value / 2.0**54, base.affine.forward.value, rtol=1e-6)
    assert scaled.affine.forward.rank == 4
