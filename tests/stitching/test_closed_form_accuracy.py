"""float32 beside float64, and derivatives of closed forms beside differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign._core.least_squares import decompose, ridge_coefficients, ridge_leverages
from jaxalign.stitching import least_squares, low_rank, orthogonal, partial_least_squares, ridge, ridge_path

RNG = np.random.default_rng(2)


def conditioned(n, d, condition, seed=0):
    """A float32 matrix with singular values from 1 down to 1 / condition."""
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.normal(size=shape))[0] for shape in ((n, d), (d, d)))
    return ((u * np.logspace(0, -np.log10(condition), d)) @ v.T * np.sqrt(n)).astype(np.float32)


def both_widths(form, x, y):
    """A map fitted in float32 and in float64, and what they map the inputs to."""
    with jax.enable_x64(False):
        small = form(x, y)
        mapped = np.asarray(small(x))
    with jax.enable_x64(True):
        exact = form(x.astype(float), y.astype(float))
        expected = np.asarray(exact(x.astype(float)))
    assert small.error.dtype == mapped.dtype == jnp.float32
    assert expected.dtype == np.float64
    return jax.tree.map(np.asarray, (small, exact)), mapped, expected


@pytest.mark.parametrize("condition", [1e1, 1e2, 1e3, 1e4, 1e5, 1e6])
@pytest.mark.parametrize("noise", [pytest.param(1e-1, marks=pytest.mark.slow), 1e-3])
def test_float32_errors_are_those_of_float64(condition, noise):
    rng = np.random.default_rng(3)
    x = conditioned(400, 20, condition)
    y = (x @ rng.normal(size=(20, 8)) + noise * rng.normal(size=(400, 8))).astype(np.float32)
    (small, exact), mapped, expected = both_widths(lambda x, y: ridge(x, y, penalty=1e-6), x, y)
    np.testing.assert_allclose([small.error, small.loo_error], [exact.error, exact.loo_error], rtol=1e-4)
    np.testing.assert_allclose(mapped, expected, atol=1e-5 * abs(expected).max())
    (small, exact), mapped, expected = both_widths(least_squares, x, y)
    if condition < 1e5:
        assert int(small.rank) == int(exact.rank) == 20
        np.testing.assert_allclose([small.error, small.loo_error], [exact.error, exact.loo_error], rtol=1e-4)
        np.testing.assert_allclose(mapped, expected, atol=1e-5 * abs(expected).max())
    else:  # directions that float32 does not resolve are left out, and with each its part of the noise
        assert int(small.rank) < int(exact.rank) == 20
        assert 1 - 1e-4 < small.error / exact.error < 1.02


def test_float32_cross_validation_with_more_features_than_rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 100)).astype(np.float32)
    y = (x @ rng.normal(size=(100, 3)) / 10).astype(np.float32)
    penalties = (1e-6, 1e-4, 1e-2, 1.0)
    for select in ("gcv", "loo"):
        small = ridge_path(x, y, penalties=penalties, select=select)
        with jax.enable_x64(True):
            exact = ridge_path(x.astype(float), y.astype(float), penalties=penalties, select=select)
        np.testing.assert_allclose(small.gcv_errors, exact.gcv_errors, rtol=1e-3)
        if select == "loo":  # below, residuals have no digits left
            np.testing.assert_allclose(small.loo_errors[1:], exact.loo_errors[1:], rtol=1e-3)


def test_float32_weights_of_ill_conditioned_inputs():
    x = conditioned(1000, 64, 4e3)
    y = (x @ RNG.normal(size=(64, 16)) + 0.01 * RNG.normal(size=(1000, 16))).astype(np.float32)
    penalty = 1e-6 * np.linalg.norm(x, 2) ** 2 / 1000
    (small, exact), _, _ = both_widths(lambda x, y: ridge(x, y, penalty=penalty), x, y)
    assert np.linalg.norm(small.kernel - exact.kernel) < 5e-5 * np.linalg.norm(exact.kernel)
    np.testing.assert_allclose(small.r_squared, exact.r_squared, atol=1e-7)


@pytest.mark.slow
def test_features_of_very_different_size_all_count():
    x = RNG.normal(size=(300, 6)) * np.array([1e4, 1e2, 1, 1e-2, 1e-4, 1e-5])
    y = (x / x.std(axis=0)) @ RNG.normal(size=(6, 3))
    stitch = least_squares(x.astype(np.float32), y.astype(np.float32))
    assert int(stitch.rank) == 6
    assert float(stitch.error / stitch.variance) < 1e-10


X, TARGET = RNG.normal(size=(20, 4)), RNG.normal(size=(20, 3))
W = RNG.normal(size=(4, 3))
FORMS = {
    "least_squares": least_squares,
    "linear": lambda x, y: least_squares(x, y, affine=False),
    "ridge": lambda x, y: ridge(x, y, penalty=0.2),
    "ridge_path": lambda x, y: ridge_path(x, y, penalties=(0.1, 0.5)).stitch,
    "low_rank": lambda x, y: low_rank(x, y, rank=2),
    "low_rank_ridge": lambda x, y: low_rank(x, y, rank=1, penalty=0.3),
    "orthogonal": orthogonal,
    "scaled_orthogonal": lambda x, y: orthogonal(x, y, scale=True),
    "partial_least_squares": lambda x, y: partial_least_squares(x, y, components=2),
}

#: By default those of which others are made; all of them among the slow tests, as each compiles anew.
PLAIN = ("ridge", "low_rank", "orthogonal")
every_form = pytest.mark.parametrize(
    "form",
    [pytest.param(form, id=name, marks=[] if name in PLAIN else [pytest.mark.slow]) for name, form in FORMS.items()],
)


def assert_derivative(f, *points, step=1e-6, rtol=1e-6):
    """Derivatives along a random direction, forward and reverse, beside a central difference."""
    rng = np.random.default_rng(0)
    points = [jnp.asarray(p) for p in points]
    directions = [jnp.asarray(rng.normal(size=p.shape)) for p in points]

    @jax.jit
    def both(*points):
        value, forward = jax.jvp(f, points, tuple(directions))
        gradients = jax.grad(f, tuple(range(len(points))))(*points)
        return value, forward, sum(jnp.sum(g * d) for g, d in zip(gradients, directions, strict=True))

    ahead, behind = (
        both(*(p + sign * step * d for p, d in zip(points, directions, strict=True)))[0] for sign in (1, -1)
    )
    expected = (ahead - behind) / (2 * step)
    _, forward, reverse = both(*points)
    scale = max(abs(float(expected)), 1e-3)
    np.testing.assert_allclose([forward, reverse], [expected, expected], atol=rtol * scale)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@every_form
def test_derivatives(form):
    def value(x, y):
        stitch = form(x, y)
        return jnp.sum(jnp.sin(stitch.kernel) * W) + jnp.sum(stitch.bias**2) + 3 * stitch.error

    assert_derivative(value, X, TARGET)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_derivatives_of_diagnostics():
    def value(x, y, penalty):
        stitch = ridge(x, y, penalty=penalty)
        return stitch.loo_error + stitch.degrees_of_freedom + stitch.r_squared

    assert_derivative(value, X, TARGET, np.array(0.3))
    paths = {
        select: lambda x, y, select=select: ridge_path(x, y, penalties=(0.1, 1.0), select=select)
        for select in ("gcv", "loo")
    }
    assert_derivative(lambda x, y: jnp.sum(paths["gcv"](x, y).gcv_errors), X, TARGET)
    assert_derivative(lambda x, y: jnp.sum(paths["loo"](x, y).loo_errors), X, TARGET)


#: Rows, features, penalty; the slow ones are between others.
SHAPES = [
    (12, 4, 0.3),
    (4, 12, 0.0),
    *(pytest.param(*s, marks=pytest.mark.slow) for s in [(12, 4, 0.0), (4, 12, 0.3), (5, 5, 0.0)]),
]


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("n", "d", "penalty"), SHAPES)
def test_second_derivatives_of_least_squares(n, d, penalty):
    rng = np.random.default_rng(n)
    x, y, w, direction = (jnp.asarray(rng.normal(size=s)) for s in ((n, d), (n, 3), (d, 3), (n, d)))
    ridge_ = jnp.asarray(penalty)

    def ours(x):
        return jnp.sum(jnp.sin(ridge_coefficients(x, y, ridge_, decompose(x))) * w)

    def plain(x):
        if n < d and penalty == 0:
            return jnp.sum(jnp.sin(x.T @ jnp.linalg.solve(x @ x.T, y)) * w)
        return jnp.sum(jnp.sin(jnp.linalg.solve(x.T @ x + penalty * jnp.eye(d), x.T @ y)) * w)

    curvature = jax.jit(lambda x: [jax.jvp(jax.grad(f), (x,), (direction,))[1] for f in (ours, plain)])(x)
    np.testing.assert_allclose(*curvature, rtol=1e-7, atol=1e-9 * abs(curvature[1]).max())

    def leverages(x):
        return jnp.sum(ridge_leverages(x, ridge_, decompose(x)) * jnp.arange(float(n)))

    if n > d or penalty > 0:
        assert_derivative(leverages, x)


@pytest.mark.usefixtures("float64")
def test_derivatives_where_the_rank_is_lower():
    rng = np.random.default_rng(0)
    a, b, w = rng.normal(size=(12, 3)), rng.normal(size=(3, 5)), rng.normal(size=(5, 3))
    y = jnp.asarray(rng.normal(size=(12, 3)))
    assert_derivative(lambda a, b: jnp.sum(least_squares(a @ b, y, affine=False).kernel * w), a, b)


@pytest.mark.slow
@every_form
def test_derivatives_are_finite_where_singular_values_coincide(form):
    x = jnp.asarray(np.vstack([np.eye(4), -np.eye(4), np.zeros((12, 4))]).astype(np.float32))
    y = x[:, :3]

    @jax.jit
    @jax.grad
    def slope(x):
        stitch = form(x, y)
        return stitch.error + jnp.sum(stitch.kernel**2)

    gradient = slope(x)
    finite = bool(jnp.all(jnp.isfinite(gradient)))
    assert finite
