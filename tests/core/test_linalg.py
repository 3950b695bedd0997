"""Decompositions against NumPy in float64, and derivatives against finite differences."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign._core import linalg

FUNCTIONS = {  # of any matrix
    "singular values": lambda x: linalg.thin_svd(x)[1],
    "nuclear": linalg.nuclear_norm,
    "polar": linalg.polar_factor,
    "polar, ridge": lambda x: linalg.polar_factor(x, ridge=0.3),
    "root of gram": lambda x: linalg.psd_sqrt(x.T @ x),
    "gradient": jax.grad(linalg.nuclear_norm),
    "gradient of the square": jax.grad(lambda x: linalg.nuclear_norm(x) ** 2),
    "polar gradient": jax.grad(lambda x: jnp.sum(linalg.polar_factor(x, ridge=0.3) ** 3)),
    "root gradient": jax.grad(lambda x: jnp.sum(linalg.psd_inverse_sqrt(x.T @ x, ridge=0.1) ** 3)),
}
ROOTS = {  # of a positive semidefinite one
    "root": linalg.psd_sqrt,
    "inverse": linalg.psd_inverse_sqrt,
    "root, ridge": lambda x: linalg.psd_sqrt(x, ridge=0.2),
    "inverse, ridge": lambda x: linalg.psd_inverse_sqrt(x, ridge=0.2),
}
COMPILED = {name: jax.jit(f) for name, f in (FUNCTIONS | ROOTS).items()}
basis_of = jax.jit(linalg.orthonormal_basis)
TANGENTS = {name: jax.jit(lambda x, v, f=f: jax.jvp(f, (x,), (v,))[1]) for name, f in (FUNCTIONS | ROOTS).items()}


def orthonormal(n, d, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, d)))[0]


def matrices():
    g = np.random.default_rng(0)
    q = orthonormal(6, 4)
    return {
        "tall": g.standard_normal((6, 4)),
        "wide": g.standard_normal((4, 6)),
        "square": g.standard_normal((5, 5)),
        "equal singular values": q,
        "equal, wide": q.T,
        "pairs of singular values": (q * [3.0, 3.0, 1.0, 1.0]) @ orthonormal(4, 4, 1),
    }


def deficient():
    g = np.random.default_rng(1)
    low = g.standard_normal((6, 2)) @ g.standard_normal((2, 4))
    return {
        "low": low,
        "low, wide": low.T,
        "low, square": g.standard_normal((5, 2)) @ g.standard_normal((2, 5)),
        "low, equal": orthonormal(6, 2) @ orthonormal(4, 2, 1).T,
        "zero": np.zeros((6, 4)),
    }


def psd_matrices():
    q = orthonormal(5, 5)
    made = {
        "generic": (q * [5.0, 3.0, 2.0, 1.0, 0.5]) @ q.T,
        "repeated": (q * [3.0, 3.0, 3.0, 1.0, 1.0]) @ q.T,
        "identity": np.eye(5),
        "low": (q * [3.0, 3.0, 1.0, 0.0, 0.0]) @ q.T,
        "zero": np.zeros((5, 5)),
    }
    return {name: (m + m.T) / 2 for name, m in made.items()}


def polar_oracle(x, ridge=0.0):
    """`X (XᵀX + ridge I)^(-1/2)`, with the pseudo-inverse, from an eigendecomposition of `XᵀX`."""
    values, vectors = np.linalg.eigh(x.T @ x)
    values = np.where(values > 1e-10 * max(values.max(), 1e-300), values, 0) + ridge
    inverse = np.where(values > 0, 1 / np.sqrt(np.where(values > 0, values, 1)), 0)
    return x @ (vectors * inverse) @ vectors.T


def same_rank(x):
    """A curve through `x` of matrices with its rank; symmetric positive ones where `x` is."""
    g = np.random.default_rng(3)
    left, right = (g.standard_normal((n, n)) for n in x.shape)
    right = left.T if np.array_equal(x, x.T) else right
    return lambda h: (np.eye(len(left)) + h * left) @ x @ (np.eye(len(right)) + h * right)


def check_slope(name, x, curve=None):
    """The derivative along `curve(h)`, by default a line, against central differences."""
    direction = np.random.default_rng(9).standard_normal(x.shape)
    curve = curve or (lambda h: x + h * direction)
    h = 1e-6
    tangent = TANGENTS[name](x, (curve(1.0) - curve(-1.0)) / 2)
    numeric = (np.asarray(COMPILED[name](curve(h))) - np.asarray(COMPILED[name](curve(-h)))) / (2 * h)
    np.testing.assert_allclose(tangent, numeric, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", [(6, 3), (3, 6), (4, 4)])
def test_thin_svd(x64, shape):
    dtype = np.float64 if x64 else np.float32
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    u, s, vt = (np.asarray(part) for part in jax.jit(linalg.thin_svd)(x))
    tolerance = 50 * np.finfo(dtype).eps
    np.testing.assert_allclose((u * s) @ vt, x, atol=tolerance)
    np.testing.assert_allclose(s, np.linalg.svd(x.astype(np.float64), compute_uv=False), atol=tolerance)
    np.testing.assert_allclose(u.T @ u, np.eye(min(shape)), atol=tolerance)
    np.testing.assert_allclose(vt @ vt.T, np.eye(min(shape)), atol=tolerance)
    assert u.dtype == s.dtype == vt.dtype == dtype


@pytest.mark.parametrize("scale", [2.0**100, 2.0**-100])
def test_scale_changes_nothing_but_the_exponent(scale):
    x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    gram = x.T @ x
    large, root = x * np.float32(scale), np.float32(np.sqrt(scale))
    for plain, other in zip(linalg.thin_svd(x), linalg.thin_svd(large), strict=True):
        np.testing.assert_array_equal(plain * (scale if plain.ndim == 1 else 1), other)
    for name, power in [("nuclear", scale), ("polar", 1), ("gradient", 1)]:
        np.testing.assert_array_equal(COMPILED[name](x) * power, COMPILED[name](large))
    for name, power in [("root", root), ("inverse", 1 / root)]:
        np.testing.assert_array_equal(COMPILED[name](gram) * power, COMPILED[name](gram * np.float32(scale)))
        assert np.isfinite(TANGENTS[name](gram * np.float32(scale), gram * np.float32(scale))).all()


def test_rank_mask():
    eps = float(jnp.finfo(jnp.float32).eps)
    s = jnp.array([2.0, 2.0 * 11 * eps, 2.0 * 9 * eps, 0.0], jnp.float32)
    assert linalg.numerical_rank_mask(s, (10, 4), jnp.float32).tolist() == [True, True, False, False]
    assert linalg.numerical_rank_mask(s, (4, 12), jnp.float32).tolist() == [True, False, False, False]
    assert linalg.numerical_rank_mask(s, (4, 4), jnp.float64).tolist() == [True, True, True, False]
    assert not linalg.numerical_rank_mask(jnp.zeros(3), (3, 3), jnp.float32).any()
    assert linalg.numerical_rank_mask(jnp.full(2, jnp.nan), (3, 3), jnp.float32).all()


@pytest.mark.parametrize("name", [*matrices(), *deficient()])
def test_nuclear_norm_and_polar_factor(x64, name):
    dtype, tolerance = (np.float64, 1e-12) if x64 else (np.float32, 3e-6)
    x = (matrices() | deficient())[name]
    expected = np.linalg.svd(x, compute_uv=False).sum()
    np.testing.assert_allclose(COMPILED["nuclear"](x.astype(dtype)), expected, rtol=tolerance, atol=0)
    np.testing.assert_allclose(COMPILED["polar"](x.astype(dtype)), polar_oracle(x), atol=10 * tolerance)
    np.testing.assert_allclose(COMPILED["polar, ridge"](x.astype(dtype)), polar_oracle(x, 0.3), atol=10 * tolerance)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("function", ["nuclear", "polar", "polar, ridge", "gradient", "gradient of the square"])
@pytest.mark.parametrize("name", matrices())
def test_first_and_second_derivatives(name, function):
    check_slope(function, matrices()[name])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", deficient())
def test_derivatives_at_low_rank(name):
    """Smooth with a ridge; without one, those among matrices of the same rank."""
    x = deficient()[name]
    check_slope("polar, ridge", x)
    for function in ("nuclear", "polar", "gradient", "gradient of the square"):
        check_slope(function, x, same_rank(x))
    np.testing.assert_allclose(COMPILED["gradient"](x), polar_oracle(x), atol=1e-10)
    assert np.isfinite(TANGENTS["gradient"](x, np.ones_like(x))).all()


def test_gradient_at_zero_is_zero(x64):
    zero = jnp.zeros((6, 4))
    np.testing.assert_array_equal(COMPILED["nuclear"](zero), 0)
    np.testing.assert_array_equal(COMPILED["gradient"](zero), zero)
    np.testing.assert_array_equal(TANGENTS["polar"](zero, jnp.ones_like(zero)), zero)
    np.testing.assert_array_equal(TANGENTS["gradient"](zero, jnp.ones_like(zero)), zero)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["tall", "equal, wide", "low"])
def test_derivative_in_the_ridge(name):
    x = (matrices() | deficient())[name]
    weights = np.random.default_rng(4).standard_normal(x.shape)
    gram = x.T @ x
    for function in (
        jax.jit(lambda r: jnp.sum(weights * linalg.polar_factor(x, ridge=r))),
        jax.jit(lambda r: jnp.sum((weights.T @ weights) * linalg.psd_sqrt(gram, ridge=r))),
        jax.jit(lambda r: jnp.sum((weights.T @ weights) * linalg.psd_inverse_sqrt(gram, ridge=r))),
    ):
        numeric = (function(0.3 + 1e-6) - function(0.3 - 1e-6)) / 2e-6
        np.testing.assert_allclose(jax.grad(function)(0.3), numeric, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("ridge", [0.0, 0.2])
@pytest.mark.parametrize("name", psd_matrices())
def test_psd_roots(x64, name, ridge):
    dtype, tolerance = (np.float64, 1e-12) if x64 else (np.float32, 1e-5)
    matrix = psd_matrices()[name]
    shifted = matrix + ridge * np.eye(5)
    suffix = ", ridge" if ridge else ""
    root = np.asarray(COMPILED["root" + suffix](matrix.astype(dtype)), np.float64)
    inverse = np.asarray(COMPILED["inverse" + suffix](matrix.astype(dtype)), np.float64)
    np.testing.assert_allclose(root @ root, shifted, atol=tolerance)
    np.testing.assert_allclose(inverse @ inverse, np.linalg.pinv(shifted, rcond=1e-10, hermitian=True), atol=tolerance)
    for result in (root, inverse):
        np.testing.assert_allclose(result, result.T, atol=tolerance)
        assert np.linalg.eigvalsh(result).min() > -tolerance


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", psd_matrices())
@pytest.mark.parametrize("function", ROOTS)
def test_psd_root_derivatives(function, name):
    matrix = psd_matrices()[name]
    check_slope(function, matrix, same_rank(matrix))
    if name not in ("low", "zero"):
        check_slope(function, matrix)  # along a line that is not symmetric
    assert np.isfinite(TANGENTS[function](matrix, np.ones((5, 5)))).all()


def test_psd_roots_read_the_symmetric_part_and_drop_negative_eigenvalues():
    matrix = np.diag([4.0, 9.0, -1.0]).astype(np.float32)
    skew = np.array([[0, 2, 0], [-2, 0, 1], [0, -1, 0]], np.float32)
    np.testing.assert_allclose(linalg.psd_sqrt(matrix + skew), np.diag([2.0, 3.0, 0.0]), atol=1e-6)
    np.testing.assert_allclose(linalg.psd_inverse_sqrt(matrix + skew), np.diag([1 / 2, 1 / 3, 0.0]), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap_is_a_loop(name):
    batch = jnp.asarray(np.random.default_rng(6).standard_normal((3, 6, 4)), jnp.float32)
    batch = batch.at[1].set(0)
    looped = np.stack([COMPILED[name](x) for x in batch])
    np.testing.assert_allclose(jax.jit(jax.vmap(FUNCTIONS[name]))(batch), looped, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_is_not_swallowed(name):
    assert np.isnan(COMPILED[name](jnp.full((6, 4), jnp.nan, jnp.float32))).all()


@pytest.mark.parametrize("name", ["nuclear_norm", "polar_factor", "psd_sqrt", "psd_inverse_sqrt", "thin_svd"])
def test_half_precision_is_widened(name):
    for dtype in (jnp.bfloat16, jnp.float16):
        for out in jax.tree.leaves(jax.eval_shape(getattr(linalg, name), jax.ShapeDtypeStruct((4, 4), dtype))):
            assert out.dtype == jnp.float32


def test_the_gradient_shares_the_decomposition_of_the_value():
    lowered = jax.jit(jax.value_and_grad(linalg.nuclear_norm)).lower(jnp.zeros((6, 4), jnp.float32)).as_text()
    assert lowered.count("gesdd_ffi") == 1


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lowers_for_accelerators(name):
    exported = jax.export.export(jax.jit(FUNCTIONS[name]), platforms=["cpu", "cuda", "tpu"])(jnp.ones((5, 4)))
    assert exported.platforms == ("cpu", "cuda", "tpu")


def columns(condition, n=40, d=6):
    """Singular values from 1 to 1 / condition."""
    g = np.random.default_rng(0)
    u, v = (np.linalg.qr(g.standard_normal((rows, d)))[0] for rows in (n, d))
    return (u * np.geomspace(1, 1 / condition, d)) @ v.T


@pytest.mark.parametrize("condition", [1, 1e2, 1e3, 1e5])
def test_an_orthonormal_basis_spans_the_columns(x64, condition):
    """By Cholesky factors where they do, decomposed where they do not; units of columns do not matter."""
    x = columns(condition) * np.array([1, 1e-12, 1e9, 1, 3, 1])
    found = np.asarray(basis_of(jnp.asarray(x, float)), np.float64)
    basis = np.linalg.qr(np.asarray(jnp.asarray(x, float), np.float64))[0]
    precision = 2e-15 if x64 else 1e-6
    np.testing.assert_allclose(found.T @ found, np.eye(6), atol=10 * precision)
    np.testing.assert_allclose(found @ found.T, basis @ basis.T, atol=10 * precision * condition)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_an_orthonormal_basis_leaves_out_what_is_no_direction(x64, scale):
    """Zero, equal and dependent columns: the rank is that of the span."""
    x = columns(10)
    x = np.concatenate([x, np.zeros((40, 2)), x[:, :2], x[:, :1] + x[:, 1:2]], axis=1) * scale
    found = np.asarray(basis_of(jnp.asarray(x, float)), np.float64)
    basis = np.linalg.qr(columns(10))[0]
    np.testing.assert_allclose(found @ found.T, basis @ basis.T, atol=1e-13 if x64 else 2e-5)
    padded = np.asarray(basis_of(jnp.asarray(x[:, :8], float)), np.float64)
    np.testing.assert_allclose(padded @ padded.T, basis @ basis.T, atol=1e-13 if x64 else 2e-5)
    assert not np.any(basis_of(jnp.zeros((9, 3))))
    assert np.isnan(basis_of(jnp.asarray(x, float).at[3, 3].set(jnp.nan))).any()


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("condition", "digits"), [(10, 1e-6), (1e8, 1e-3)])
def test_derivatives_of_functions_of_the_span(condition, digits):
    """First and second, where Cholesky factors serve and where they do not, with a column of zeros."""
    x = np.concatenate([columns(condition, 12, 3), np.zeros((12, 1))], axis=1)
    g = np.random.default_rng(1)
    weights = g.standard_normal((12, 12))
    weights = weights @ weights.T
    # Directions of small singular values turn fast: steps are small, and differences have few digits.
    direction, step = g.standard_normal(x.shape) * (np.arange(4) < 3), 1e-4 / condition

    def of_span(x):
        basis = linalg.orthonormal_basis(x)
        return jnp.sum((weights @ basis) * basis) ** 2

    def slope(x):
        return jnp.sum(jax.grad(of_span)(x) * direction)

    compiled = [jax.jit(f) for f in (of_span, slope, lambda x: jnp.sum(jax.grad(slope)(x) * direction))]
    for function, derivative in itertools.pairwise(compiled):
        wanted = (function(x + step * direction) - function(x - step * direction)) / (2 * step)
        assert float(derivative(x)) == pytest.approx(float(wanted), rel=digits)
