"""The range of a misalignment that spectra and an alignment allow: golden values, no violation, attained."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import kernel_alignment
from jaxalign.stitching import layer_spectrum, misalignment, misalignment_interval, required_alignment, stitching_path
from tests.oracles import certificates as oracle

pytestmark = pytest.mark.filterwarnings("ignore::jaxalign.signatures.whitened.UninformativeWarning")


def interval(eig1, eig2, budget):
    """By the budget `‖Σ₁₂‖²` instead of the alignment."""
    alignment = np.asarray(budget) / np.linalg.norm(eig1) / np.linalg.norm(eig2)
    return misalignment_interval(jnp.asarray(eig1, float), jnp.asarray(eig2, float), jnp.asarray(alignment))


def test_golden_values(float64):
    low, high = interval([4, 1], [3, 2], [5.0, 11, 13, 14])
    np.testing.assert_allclose(low, [1.5, 0, 0, 0], atol=1e-9)
    np.testing.assert_allclose(high, [3.75, 2.25, 1, 0], atol=1e-9)
    # In any order, and with directions of size 0.
    low, high = interval([0, 1, 4], [2, 0, 3], [5.0])
    np.testing.assert_allclose((low[0], high[0]), (1.5, 3.75), atol=1e-9)
    np.testing.assert_allclose(interval([3], [2, 1, 0.5], 3.0), (2.5, 2.5), atol=1e-9)
    np.testing.assert_allclose(interval([2, 1, 0.5], [3], 3.0), (0, 1.5), atol=1e-9)
    eig1, eig2, alignment = oracle.spectra_and_alignment(oracle.Z1, oracle.Z2)
    np.testing.assert_allclose(alignment, 0.729187362302, rtol=1e-9)
    found = misalignment_interval(jnp.asarray(eig1), jnp.asarray(eig2), alignment)
    np.testing.assert_allclose(found, (0.979944116195, 1.902087856939), rtol=1e-9)


def test_layers_that_differ_by_a_rotation_and_a_scale(float64):
    x = jax.random.normal(jax.random.key(0), (30, 4))
    rotated = 2**0.5 * x @ jnp.linalg.qr(jax.random.normal(jax.random.key(1), (4, 4)))[0]
    found = misalignment_interval(layer_spectrum(x), layer_spectrum(rotated), kernel_alignment(x, rotated))
    np.testing.assert_allclose(found, (0, 0), atol=1e-9)


def test_where_kernel_alignment_misleads(float64):
    """O7: nearly 1 although the direction that matters is lost; a third although nothing is."""
    b1, b2, b3 = (jnp.asarray(c, float) for c in np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, 8))
    z1, z2 = jnp.stack([10 * b1, b2], axis=1), jnp.stack([10 * b1, b3], axis=1)
    alignment = kernel_alignment(z1, z2)
    np.testing.assert_allclose(alignment, 1e4 / (1e4 + 1), rtol=1e-12)
    _, high = misalignment_interval(layer_spectrum(z1), layer_spectrum(z2), alignment)
    np.testing.assert_allclose((misalignment(z1, z2).value, high), (1, 1), rtol=1e-9)
    np.testing.assert_allclose(misalignment(z1, b3[:, None]).value, 1, rtol=1e-9)  # the task of z2's second feature
    flat, tall = np.ones(10), np.r_[100.0, np.ones(9)]
    low, high = misalignment_interval(jnp.asarray(flat), jnp.asarray(tall), 0.344533)
    np.testing.assert_allclose(109 / np.sqrt(10 * 10009), 0.344533, rtol=1e-5)
    np.testing.assert_allclose((low, high), (0, 0), atol=2e-4)


def random_spectra(rng, trials, sizes):
    """Descending spectra, from flat to spread over twelve orders."""
    spread = rng.uniform(0, 6, (trials, 1)) * rng.integers(0, 2, (trials, 1))
    return [-np.sort(-np.exp(spread * rng.standard_normal((trials, size)))) for size in sizes]


def test_the_fill_is_that_of_the_loop(float64):
    rng = np.random.default_rng(0)
    for sizes in ((4, 3), (3, 5), (1, 4), (4, 1)):
        eig1, eig2 = random_spectra(rng, 1000, sizes)
        size = min(sizes)
        largest = np.sum(eig1[:, :size] * eig2[:, :size], axis=1)
        norms = np.linalg.norm(eig1, axis=1) * np.linalg.norm(eig2, axis=1)
        alignment = largest / norms * rng.choice([0, 0.01, 0.5, 0.9, 1.0], 1000)
        found = jax.vmap(misalignment_interval)(*map(jnp.asarray, (eig1, eig2, alignment)))
        expected = np.transpose([oracle.interval(*row) for row in zip(eig1, eig2, alignment, strict=True)])
        # Outward, and by no more than rounding does to a direction of small size.
        totals = eig2.sum(axis=1)
        slack = 1e-12 * totals * (1 + eig1[:, 0] / eig1[:, -1])
        assert (np.asarray(found[0]) <= expected[0] + 1e-13 * totals).all()
        assert (np.asarray(found[1]) >= expected[1] - 1e-13 * totals).all()
        assert (np.abs(np.asarray(found) - expected) <= slack[None]).all()


def pairs(key, trials, n, p, q):
    """Layers that share some directions, ill-conditioned ones among them."""

    def one(key):
        keys = jax.random.split(key, 6)
        scale = jnp.exp(3 * jax.random.normal(keys[0], (p,)) * jax.random.bernoulli(keys[1]).astype(float))
        x = jax.random.normal(keys[2], (n, p)) * scale[None]
        share = jax.random.uniform(keys[3])
        mix = jax.random.normal(keys[4], (p, q)) / scale[:, None]
        return x, share * x @ mix + (1 - share) * jax.random.normal(keys[5], (n, q))

    return jax.vmap(one)(jax.random.split(key, trials))


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize(("n", "p", "q"), [(12, 3, 4), (6, 4, 3)])
def test_no_misalignment_is_outside(float64, center, n, p, q):
    trials = 5000
    x, y = pairs(jax.random.key(n), trials, n, p, q)

    @jax.jit
    @jax.vmap
    def numbers(x, y):
        one, other = layer_spectrum(x, center=center), layer_spectrum(y, center=center)
        alignment = stitching_path(x, y, center=center, penalties=(1.0,)).kernel_alignment
        value = misalignment(x, y, center=center)
        return value.value, value.variance, *misalignment_interval(one, other, alignment)

    value, variance, low, high = map(np.asarray, numbers(x, y))
    assert not np.isnan(value).any()
    assert not np.isnan(high).any()
    # What is left may be rounding of the misalignment itself, which is computed apart.
    assert ((low - value) / variance).max() < 1e-11
    assert ((value - high) / variance).max() < 1e-11
    assert (high <= variance * (1 + 1e-12)).all()
    assert (low >= 0).all()
    assert (high - low > 1e-3 * variance).mean() > 0.5


@pytest.mark.slow
def test_both_ends_are_attained(float64):
    """Layers whose directions share what the fill says: a share of one direction is an angle between two."""
    rng = np.random.default_rng(1)
    for r1, r2 in [(2, 3), (3, 2), (3, 3)] * 5:
        eig1, eig2 = (np.sort(rng.uniform(0.1, 3, r))[::-1] for r in (r1, r2))
        size, n = min(r1, r2), r1 + r2 + 2
        budget = rng.uniform(0.05, 0.95) * np.sum(eig1[:size] * eig2[:size])
        alignment = budget / np.linalg.norm(eig1) / np.linalg.norm(eig2)
        low, high = misalignment_interval(*map(jnp.asarray, (eig1, eig2)), alignment)
        basis = np.linalg.qr(rng.standard_normal((n, n)))[0]
        for directions, expected in ((eig1, high), (eig1[::-1], low)):
            left, shares = budget, np.zeros(size)
            for i in range(size):
                room = directions[i] * eig2[i]
                shares[i] = min(max(left, 0) / room, 1.0)
                left -= shares[i] * room
            if left > 1e-12:
                continue  # the small directions cannot hold the alignment: this end is not of one-to-one layers
            u1, u2 = basis[:, :r1], basis[:, r1 : r1 + r2].copy()
            u2[:, :size] = u1[:, :size] * np.sqrt(shares) + u2[:, :size] * np.sqrt(1 - shares)
            x, y = np.sqrt(n) * u1 * np.sqrt(directions), np.sqrt(n) * u2 * np.sqrt(eig2)
            np.testing.assert_allclose(kernel_alignment(jnp.asarray(x), jnp.asarray(y)), alignment, rtol=1e-10)
            np.testing.assert_allclose(misalignment(jnp.asarray(x), jnp.asarray(y)).value, expected, rtol=1e-9)


def test_the_upper_end_is_not_above_weaker_bounds(float64):
    eig1, eig2 = random_spectra(np.random.default_rng(2), 2000, (4, 4))
    norms = np.linalg.norm(eig1, axis=1) * np.linalg.norm(eig2, axis=1)
    largest = np.sum(eig1 * eig2, axis=1) / norms
    alignment = largest * np.random.default_rng(3).uniform(0, 1, 2000)
    _, high = jax.vmap(misalignment_interval)(*map(jnp.asarray, (eig1, eig2, alignment)))
    totals = eig2.sum(axis=1)
    assert (np.asarray(high) <= (totals - alignment * norms / eig1[:, 0]) + 1e-11 * totals).all()
    second = np.linalg.norm(eig2, axis=1) * np.sqrt(4 * (1 - alignment**2))
    assert (np.asarray(high) <= second + 1e-11 * totals).all()


@pytest.mark.slow
def test_the_required_alignment_is_the_inverse(float64):
    eig1, eig2 = jnp.array([4.0, 1.0]), jnp.array([3.0, 2.0])
    budgets = required_alignment(eig1, eig2, jnp.array([3.75, 2.25, 1.0, 0.0])) * 221**0.5
    np.testing.assert_allclose(budgets, [5, 11, 13, 14], rtol=1e-9)
    assert float(required_alignment(eig1, eig2, 5.0)) == 0
    # More directions than layer 1 has: what is beyond cannot be guaranteed.
    assert np.isinf(required_alignment(eig1[:1], eig2, 1.9))
    assert np.isfinite(required_alignment(eig1[:1], eig2, 2.1))
    assert np.isinf(required_alignment(jnp.array([4.0, 0.0]), eig2, 1.9))
    rng = np.random.default_rng(4)
    one, other = random_spectra(rng, 1000, (4, 4))
    epsilon = jnp.asarray(other.sum(axis=1) * rng.uniform(0, 1, 1000))
    needed = jax.vmap(required_alignment)(*map(jnp.asarray, (one, other)), epsilon)
    largest = jnp.asarray(np.sum(one * other, axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1))
    interval_of = jax.vmap(misalignment_interval)
    arrays = [jnp.asarray(one), jnp.asarray(other)]
    _, high = interval_of(*arrays, jnp.minimum(needed, largest))
    total = other.sum(axis=1)
    assert (np.asarray(high) <= np.asarray(epsilon) + 1e-10 * total).all()
    _, less = interval_of(*arrays, 0.99 * needed)
    assert (np.asarray(less) > np.asarray(epsilon)).all()


@pytest.mark.slow
def test_float32_and_what_cannot_be():
    eig1, eig2 = jnp.array([4.0, 1.0]), jnp.array([3.0, 2.0])
    low, high = misalignment_interval(eig1, eig2, 11 / 221**0.5)
    assert low.dtype == high.dtype == jnp.float32
    np.testing.assert_allclose((low, high), (0, 2.25), atol=1e-3)
    assert float(high) >= 2.25
    huge = misalignment_interval(eig1 * 1e30, eig2 * 1e30, 11 / 221**0.5)
    np.testing.assert_allclose(huge[1], high * 1e30, rtol=1e-5)
    tiny = misalignment_interval(eig1 * 1e-30, eig2 * 1e-30, 11 / 221**0.5)
    np.testing.assert_allclose(tiny[1], high * 1e-30, rtol=1e-5)
    with pytest.raises(ValueError, match=r"misalignment_interval: alignment must be from 0 to 0\.94"):
        misalignment_interval(eig1, eig2, 0.99)
    with pytest.raises(ValueError, match="misalignment_interval: alignment"):
        misalignment_interval(eig1, eig2, -0.1)
    assert np.isnan(jax.jit(misalignment_interval)(eig1, eig2, 0.99)[1])
    with pytest.raises(ValueError, match="eig2 must hold eigenvalues of at least 0"):
        misalignment_interval(eig1, -eig2, 0.5)
    with pytest.raises(ValueError, match="eig1 must be a vector"):
        required_alignment(jnp.eye(2), eig2, 0.5)
    with pytest.raises(ValueError, match="epsilon must be at least 0"):
        required_alignment(eig1, eig2, -0.5)
    for platform in ("cuda", "tpu"):
        jax.export.export(jax.jit(misalignment_interval), platforms=[platform])(eig1, eig2, jnp.float32(0.5))


@pytest.mark.slow
def test_the_path_runs_from_r_squared_to_alignment(float64):
    x, y = pairs(jax.random.key(1), 1, 30, 4, 3)
    for center in (False, True):
        path = stitching_path(x[0], y[0], penalties=(1e-12, 1.0, 1e20), center=center)
        linear = misalignment(x[0], y[0], center=center)
        eig1, eig2, alignment = oracle.spectra_and_alignment(np.asarray(x[0]), np.asarray(y[0]), center=center)
        np.testing.assert_allclose(path.kernel_alignment, alignment, rtol=1e-9)
        np.testing.assert_allclose(path.alignment[-1], alignment, rtol=1e-9)
        np.testing.assert_allclose(path.r_squared[0], 1 - linear.normalized, rtol=1e-9)
        np.testing.assert_allclose(path.variance, linear.variance, rtol=1e-9)
        ridge = misalignment(x[0], y[0], stitcher="ridge", ridge=1.0, center=center)
        np.testing.assert_allclose(path.misalignment[1], ridge.value, rtol=1e-9)
        np.testing.assert_allclose(path.gcv[1], ridge.gcv, rtol=1e-9)
        middle = (linear.variance - ridge.value) / (2 * np.linalg.norm(eig1) * np.linalg.norm(eig2))
        np.testing.assert_allclose(path.alignment[1], middle, rtol=1e-9)
    slope = jax.grad(lambda x: stitching_path(x, y[0], penalties=(1e20,)).alignment[0])(x[0])
    np.testing.assert_allclose(slope, jax.grad(lambda x: kernel_alignment(x, y[0]))(x[0]), atol=1e-9)


@pytest.mark.slow
def test_the_path_keeps_its_digits_in_float32():
    x, y = (jnp.asarray(z[0], jnp.float32) for z in pairs(jax.random.key(2), 1, 30, 4, 3))
    path = stitching_path(x, y, penalties=(1e6, 1e12, 1e20))
    np.testing.assert_allclose(path.alignment, path.kernel_alignment * jnp.ones(3), rtol=1e-3)
    np.testing.assert_allclose(path.alignment[1:], path.kernel_alignment * jnp.ones(2), rtol=2e-5)
