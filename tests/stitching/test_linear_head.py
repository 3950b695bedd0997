"""The least risk under a linear head, against its definition in float64 and golden values."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.signatures.whitened import UninformativeWarning
from jaxalign.stitching import linear_stitching_risk

# Oracles O1 and O4 of the specification (docs/numerics.md); kernels are the transposes of its matrices.
Z1 = np.array([[1.0, 0], [0, 1], [2, 1], [-1, 1], [0, -2]])
Y = np.array([[1.0], [0], [2], [-1], [1]])
W2 = np.array([[1.0], [-1], [0.5]])
O4_X = np.array([[1.0, 0], [0, 1], [1, 1], [1, -1]])
O4_Y = np.array([[1.0, 0], [0, 1], [2, 1], [0, -1]])

RNG = np.random.default_rng(0)
N, P, Q, T = 30, 5, 4, 3
pytestmark = pytest.mark.filterwarnings("ignore::jaxalign.signatures.whitened.UninformativeWarning")


def oracle(x, head, y, *, bias=0.0, ridge=0.0, affine=True, weights=None):
    """Risk, objective and probe risk by least squares over every entry of the map, as one long vector.

    The features of the long problem are those of `vec(B)` and `c`: the Kronecker product of rows and the head.
    """
    weights = np.full(len(x), 1 / len(x)) if weights is None else weights / weights.sum()
    roots = np.sqrt(weights)[:, None]
    y = y - bias
    rows = np.hstack([x, np.ones((len(x), 1))]) if affine else x
    design = np.kron(rows * roots, head.T)  # (n t, (p + 1) q)
    shrink = np.repeat(np.r_[np.ones(x.shape[1]), np.zeros(rows.shape[1] - x.shape[1])], head.shape[0])
    full = np.vstack([design, np.sqrt(ridge) * np.diag(shrink)])
    target = np.r_[(roots * y).ravel(), np.zeros(len(shrink))]
    found = np.linalg.lstsq(full, target, rcond=1e-12)[0]
    risk = np.sum((design @ found - (roots * y).ravel()) ** 2)
    probe = np.linalg.lstsq(rows * roots, roots * y, rcond=1e-12)[0]
    probe_risk = np.sum((roots * (rows @ probe - y)) ** 2)
    return risk, risk + ridge * np.sum(shrink * found**2), probe_risk


def draw(rank=None, width=Q):
    x, y = RNG.standard_normal((N, P)) + 3, RNG.standard_normal((N, T)) + 1
    head = RNG.standard_normal((width, T))
    if rank is not None:
        head = RNG.standard_normal((width, rank)) @ RNG.standard_normal((rank, T))
    return x, head, y


def cast(*arrays, dtype=jnp.float64):
    return [jnp.asarray(array, dtype) for array in arrays]


def test_golden_values(float64):
    linear = linear_stitching_risk(*cast(Z1, W2, Y), affine=False)
    np.testing.assert_allclose(linear.risk, 0.082926829268, atol=1e-12)
    np.testing.assert_allclose(linear.probe_risk, 0.082926829268, atol=1e-12)
    assert float(linear.excess) == 0.0
    shrunk = linear_stitching_risk(*cast(Z1, W2, Y), ridge=0.1, affine=False)
    np.testing.assert_allclose(shrunk.risk, 0.084890586423, atol=1e-12)
    np.testing.assert_allclose(shrunk.objective, 0.133576847409, atol=1e-12)
    twice = linear_stitching_risk(*cast(O4_X, [[1, 1], [0, 0]], O4_Y), affine=False)
    np.testing.assert_allclose([twice.risk, twice.probe_risk], [7 / 12, 1 / 6], atol=1e-12)
    assert not twice.is_linear_probe
    both = linear_stitching_risk(*cast(O4_X, np.eye(2), O4_Y), affine=False)
    np.testing.assert_allclose([both.risk, both.probe_risk], [1 / 6, 1 / 6], atol=1e-12)
    assert both.is_linear_probe


@pytest.mark.parametrize("affine", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize(
    ("rank", "width"), [(None, 4), (1, 4), *(pytest.param(*s, marks=pytest.mark.slow) for s in ((2, 4), (None, 2)))]
)
def test_the_definition(float64, affine, ridge, rank, width):
    x, head, y = draw(rank, width)
    bias, weights = RNG.standard_normal(T), RNG.uniform(0.1, 1, N)
    args = cast(x, head, y, bias, weights)
    result = linear_stitching_risk(*args[:3], b2=args[3], ridge=ridge, affine=affine, weights=args[4])
    risk, objective, probe = oracle(x, head, y, bias=bias, ridge=ridge, affine=affine, weights=weights)
    np.testing.assert_allclose([result.risk, result.objective, result.probe_risk], [risk, objective, probe], rtol=1e-10)
    np.testing.assert_allclose(result.excess, risk - probe, atol=1e-11)
    assert int(result.head_rank) == (rank or min(width, T))
    # The map it returns has that risk.
    outputs = result.stitch(args[0]) @ args[1] + args[3][None, :]
    squares = np.sum((np.asarray(outputs) - y) ** 2, axis=1)
    np.testing.assert_allclose(np.average(squares, weights=weights), risk, rtol=1e-10)
    np.testing.assert_allclose(ridge * np.sum(np.asarray(result.stitch.kernel) ** 2), objective - risk, atol=1e-10)


def test_rank_deficient_and_wide_sources(float64):
    x, head, y = draw(2)
    for source in (np.hstack([x, x[:, :2]]), np.hstack([x, RNG.standard_normal((N, 40))])):
        result = linear_stitching_risk(*cast(source, head, y))
        risk, _, probe = oracle(source, head, y)
        np.testing.assert_allclose([result.risk, result.probe_risk], [risk, probe], atol=1e-10)


def test_float32_keeps_digits_of_a_small_risk_far_from_zero():
    x, _, _ = draw()
    head = np.array([[1.0, 2, 3], [0, 1, 1], [1, 3, 4], [2, 1, 3]])  # of rank 2, in float32 as well
    y = x @ RNG.standard_normal((P, Q)) @ head + 1e-4 * RNG.standard_normal((N, T)) + 50 * head[0]
    y[:, 0] += 4e-4 * x[:, 0]  # which the head cannot say
    x, y = (np.asarray(a, np.float32).astype(float) for a in (x + 300, y))
    result = linear_stitching_risk(*cast(x, head, y, dtype=jnp.float32))
    risk, _, probe = oracle(x - 300, head, y)
    assert risk > 1.1 * probe
    # Residuals of 1e-4 beside targets of 100, which are rounded at 6e-6; the difference of traces would be 0 or less.
    np.testing.assert_allclose([result.probe_risk, result.risk], [probe, risk], rtol=5e-2)


def test_units_do_not_matter(x64):
    x, head, y = draw(2)
    dtype = jnp.float64 if x64 else jnp.float32
    base = linear_stitching_risk(*cast(x, head, y, dtype=dtype), ridge=0.1)
    scaled = linear_stitching_risk(*cast(x * 1e8, head * 1e-9, y * 1e7, dtype=dtype), ridge=0.1 * 1e-2)
    np.testing.assert_allclose(scaled.risk / 1e14, base.risk, rtol=1e-4)
    assert base.risk.dtype == dtype


def test_half_precision_is_computed_in_float32():
    x, head, y = draw(2)
    narrow = [jnp.asarray(a, jnp.bfloat16) for a in (x, head, y, np.ones(T))]
    result = linear_stitching_risk(*narrow[:3], b2=narrow[3])
    wide = [a.astype(jnp.float32) for a in narrow]
    assert result.risk.dtype == jnp.float32
    np.testing.assert_allclose(result.risk, linear_stitching_risk(*wide[:3], b2=wide[3]).risk, rtol=1e-5)


@pytest.mark.slow
def test_a_mask_is_a_subset(x64):
    x, head, y = draw(2)
    dtype = jnp.float64 if x64 else jnp.float32
    mask = RNG.uniform(size=N) < 0.6
    padded_x, padded_y = (np.where(mask[:, None], a, np.nan) for a in (x, y))
    result = linear_stitching_risk(*cast(padded_x, head, padded_y, dtype=dtype), mask=jnp.asarray(mask))
    expected = linear_stitching_risk(*cast(x[mask], head, y[mask], dtype=dtype))
    np.testing.assert_allclose(result.risk, expected.risk, rtol=1e-4)

    def masked(x, y):
        return linear_stitching_risk(x, jnp.asarray(head, dtype), y, mask=jnp.asarray(mask)).risk

    for gradient in jax.jit(jax.grad(masked, (0, 1)))(*cast(padded_x, padded_y, dtype=dtype)):
        assert np.isfinite(gradient).all()
        assert not np.asarray(gradient)[~mask].any()


@pytest.mark.slow
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_derivatives_are_those_of_the_definition(float64, ridge):
    x, head, y = draw(None, 2)
    steps = [RNG.standard_normal(a.shape) for a in (x, head, y)]

    def along(step):
        moved = (jnp.asarray(a) + step * jnp.asarray(d) for a, d in zip((x, head, y), steps, strict=True))
        result = linear_stitching_risk(*moved, ridge=ridge)
        return jnp.stack([result.risk, result.objective, result.probe_risk, result.excess])

    def expected(step):
        risk, objective, probe = oracle(*(a + step * d for a, d in zip((x, head, y), steps, strict=True)), ridge=ridge)
        return np.array([risk, objective, probe, risk - probe])

    small = 1e-5
    first = jax.jit(jax.jacrev(along))
    numeric = (expected(small) - expected(-small)) / (2 * small)
    np.testing.assert_allclose(first(0.0), numeric, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        jax.jacfwd(first)(0.0), (first(small) - first(-small)) / (2 * small), rtol=1e-4, atol=1e-6
    )


@pytest.mark.slow
def test_derivatives_are_finite_where_singular_values_coincide(x64):
    x = jnp.concatenate([jnp.eye(3), -jnp.eye(3)])
    y = jnp.concatenate([jnp.eye(3)[:, :2], jnp.zeros((3, 2))])
    for ridge in (0.0, 0.5):
        gradient = jax.jit(jax.grad(lambda x, h, y, r=ridge: linear_stitching_risk(x, h, y, ridge=r).risk, (0, 1, 2)))
        for head in (jnp.eye(2), jnp.ones((2, 2)), jnp.zeros((2, 2))):
            assert all(np.isfinite(g).all() for g in gradient(x, head, y))


@pytest.mark.slow
def test_it_warns_when_the_head_makes_it_a_probe():
    x, head, y = cast(*draw(), dtype=jnp.float32)
    with pytest.warns(UninformativeWarning, match="reaches all of its 3 outputs"):
        linear_stitching_risk(x, head, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linear_stitching_risk(x, head, y, ridge=0.1)
        linear_stitching_risk(x, head[:2], y)
        result = jax.jit(linear_stitching_risk)(x, head, y)
    assert bool(result.is_linear_probe)


def test_mistakes_are_named():
    x, head, y = cast(*draw(), dtype=jnp.float32)
    with pytest.raises(ValueError, match=r"w2 must have shape \(features, 3\).*got .*\(3, 4\); pass its transpose"):
        linear_stitching_risk(x, head.T, y)
    with pytest.raises(ValueError, match=r"b2 must have shape \(3,\)"):
        linear_stitching_risk(x, head, y, b2=jnp.zeros(4))
    with pytest.raises(ValueError, match="same examples"):
        linear_stitching_risk(x, head, y[:-1])
    for labels in (jnp.zeros((N, T), jnp.int32), np.zeros(N, int)):
        with pytest.raises(TypeError, match=r"y must be floating point, numbers .* int.*; labels .* jax.nn.one_hot"):
            linear_stitching_risk(x, head, labels)
    with pytest.raises(ValueError, match="ridge must be at least 0"):
        linear_stitching_risk(x, head, y, ridge=-1.0)
