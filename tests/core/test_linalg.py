"""Decompositions against NumPy in float64, and derivatives against finite differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxalign._core import linalg


def orthonormal(n, d, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, d)))[0]


def matrices():
    g = np.random.default_rng(0)
    q = orthonormal(7, 4)
    return {
        "tall": g.standard_normal((7, 4)),
        "wide": g.standard_normal((4, 7)),
        "square": g.standard_normal((5, 5)),
        "equal singular values": q,
        "pairs of singular values": (q * [3.0, 3.0, 1.0, 1.0]) @ orthonormal(4, 4, 1),
        "row": g.standard_normal((1, 4)),
        "column": g.standard_normal((4, 1)),
    }


def deficient():
    g = np.random.default_rng(1)
    low = g.standard_normal((7, 2)) @ g.standard_normal((2, 4))
    return {
        "tall": low,
        "wide": low.T,
        "square": g.standard_normal((5, 2)) @ g.standard_normal((2, 5)),
        "equal": orthonormal(6, 2) @ orthonormal(4, 2, 1).T,
        "zero": np.zeros((3, 2)),
    }


def polar_oracle(x, ridge=0.0):
    """`X (XᵀX + ridge I)^(-1/2)` from its definition, through an eigendecomposition."""
    values, vectors = np.linalg.eigh(x.T @ x)
    keep = values > 1e-10 * max(values.max(), 1e-300)
    inverse = np.where(keep | (ridge > 0), 1 / np.sqrt(np.where(keep, values, 0) + ridge + (ridge == 0) * ~keep), 0)
    return x @ (vectors * inverse) @ vectors.T


def check_slope(f, x, curve=None):
    """The derivative of `f` along `curve(h)`, by default a line, against central differences."""
    direction = np.random.default_rng(9).standard_normal(x.shape)
    curve = curve or (lambda h: x + h * direction)
    h = 1e-6
    _, tangent = jax.jvp(jax.jit(f), (jnp.asarray(x),), (jnp.asarray((curve(1.0) - curve(-1.0)) / 2),))
    numeric = (np.asarray(f(jnp.asarray(curve(h)))) - np.asarray(f(jnp.asarray(curve(-h))))) / (2 * h)
    np.testing.assert_allclose(tangent, numeric, rtol=1e-6, atol=1e-7)


def same_rank(x, seed=3):
    """A curve through `x` of matrices with its rank; symmetric positive ones where `x` is."""
    g = np.random.default_rng(seed)
    left, right = (g.standard_normal((n, n)) for n in x.shape)
    right = left.T if np.array_equal(x, x.T) else right
    return lambda h: (np.eye(len(left)) + h * left) @ x @ (np.eye(len(right)) + h * right)


@pytest.mark.parametrize("shape", [(6, 3), (3, 6), (4, 4)])
def test_thin_svd(x64, shape):
    dtype = np.float64 if x64 else np.float32
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    u, s, vt = jax.jit(linalg.thin_svd)(x)
    tolerance = 50 * np.finfo(dtype).eps
    np.testing.assert_allclose((u * s[None, :]) @ vt, x, atol=tolerance)
    np.testing.assert_allclose(s, np.linalg.svd(x.astype(np.float64), compute_uv=False), atol=tolerance)
    np.testing.assert_allclose(u.T @ u, np.eye(3 if 3 in shape else 4), atol=tolerance)
    assert u.dtype == s.dtype == vt.dtype == dtype


@pytest.mark.parametrize("scale", [2.0**100, 2.0**-100])
def test_scale_changes_nothing_but_the_exponent(scale):
    x = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    scaled = x * np.float32(scale)
    for plain, other in zip(linalg.thin_svd(x), linalg.thin_svd(scaled), strict=True):
        np.testing.assert_array_equal(plain * (scale if plain.ndim == 1 else 1), other)
    np.testing.assert_array_equal(linalg.nuclear_norm(x) * scale, linalg.nuclear_norm(scaled))
    np.testing.assert_array_equal(linalg.polar_factor(x), linalg.polar_factor(scaled))
    np.testing.assert_array_equal(jax.grad(linalg.nuclear_norm)(x), jax.grad(linalg.nuclear_norm)(scaled))
    gram = x.T @ x
    np.testing.assert_array_equal(
        linalg.psd_sqrt(gram) * np.float32(np.sqrt(scale)), linalg.psd_sqrt(gram * np.float32(scale))
    )
    np.testing.assert_array_equal(
        linalg.psd_inverse_sqrt(gram) / np.float32(np.sqrt(scale)), linalg.psd_inverse_sqrt(gram * np.float32(scale))
    )


def test_rank_mask():
    eps = float(jnp.finfo(jnp.float32).eps)
    s = jnp.array([2.0, 2.0 * 11 * eps, 2.0 * 9 * eps, 0.0], jnp.float32)
    assert linalg.numerical_rank_mask(s, (10, 4), jnp.float32).tolist() == [True, True, False, False]
    assert linalg.numerical_rank_mask(s, (4, 12), jnp.float32).tolist() == [True, False, False, False]
    assert linalg.numerical_rank_mask(s, (4, 4), jnp.float64).tolist() == [True, True, True, False]
    assert not linalg.numerical_rank_mask(jnp.zeros(3), (3, 3), jnp.float32).any()
    assert linalg.numerical_rank_mask(jnp.full(2, jnp.nan), (3, 3), jnp.float32).all()


@pytest.mark.parametrize("name", [*matrices(), *(f"deficient {n}" for n in deficient())])
def test_values(x64, name):
    dtype, tolerance = (np.float64, 1e-12) if x64 else (np.float32, 3e-6)
    x = (deficient()[name[10:]] if name.startswith("deficient") else matrices()[name]).astype(dtype)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(
        jax.jit(linalg.nuclear_norm)(x), np.linalg.svd(exact, compute_uv=False).sum(), rtol=tolerance
    )
    if not (name.startswith("deficient") and not x64):  # rounding to float32 restores full rank of the oracle's input
        np.testing.assert_allclose(jax.jit(linalg.polar_factor)(x), polar_oracle(exact), atol=100 * tolerance)
    np.testing.assert_allclose(
        jax.jit(linalg.polar_factor)(x, ridge=0.3), polar_oracle(exact, 0.3), atol=10 * tolerance
    )


@pytest.mark.parametrize("name", deficient())
def test_polar_factor_of_low_rank_in_float32(name):
    x = deficient()[name]
    np.testing.assert_allclose(linalg.polar_factor(x.astype(np.float32)), polar_oracle(x), atol=1e-5)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", matrices())
def test_first_and_second_derivatives(name):
    x = matrices()[name]
    check_slope(linalg.nuclear_norm, x)
    check_slope(linalg.polar_factor, x)
    check_slope(lambda x: linalg.polar_factor(x, ridge=0.3), x)
    check_slope(jax.grad(linalg.nuclear_norm), x)
    check_slope(jax.grad(lambda x: linalg.nuclear_norm(x) ** 2), x)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", deficient())
def test_derivatives_at_low_rank(name):
    """Smooth with a ridge; without one, those along matrices of the same rank."""
    x = deficient()[name]
    check_slope(lambda x: linalg.polar_factor(x, ridge=0.3), x)
    check_slope(linalg.nuclear_norm, x, same_rank(x))
    check_slope(linalg.polar_factor, x, same_rank(x))
    gradient = jax.grad(linalg.nuclear_norm)(jnp.asarray(x))
    np.testing.assert_allclose(gradient, polar_oracle(x), atol=1e-10)
    assert np.isfinite(jax.hessian(linalg.nuclear_norm)(jnp.asarray(x))).all()


def test_gradient_at_zero_is_zero(x64):
    zero = jnp.zeros((4, 3))
    for function in (linalg.nuclear_norm, lambda x: jnp.sum(linalg.polar_factor(x))):
        np.testing.assert_array_equal(function(zero), 0)
        np.testing.assert_array_equal(jax.grad(function)(zero), zero)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", [*matrices(), "low"])
def test_derivative_in_the_ridge(name):
    x = deficient()["tall"] if name == "low" else matrices()[name]
    weights = np.random.default_rng(4).standard_normal(x.shape)
    gram = x.T @ x
    for function in (
        lambda r: jnp.sum(weights * linalg.polar_factor(x, ridge=r)),
        lambda r: jnp.sum(weights.T @ weights * linalg.psd_sqrt(gram, ridge=r)),
        lambda r: jnp.sum(weights.T @ weights * linalg.psd_inverse_sqrt(gram, ridge=r)),
    ):
        numeric = (function(0.3 + 1e-6) - function(0.3 - 1e-6)) / 2e-6
        np.testing.assert_allclose(jax.grad(function)(0.3), numeric, rtol=1e-7, atol=1e-8)


def psd_matrices():
    q = orthonormal(5, 5)
    return {
        "generic": (q * [5.0, 3.0, 2.0, 1.0, 0.5]) @ q.T,
        "repeated": (q * [3.0, 3.0, 3.0, 1.0, 1.0]) @ q.T,
        "identity": np.eye(5),
        "low rank": (q * [3.0, 3.0, 1.0, 0.0, 0.0]) @ q.T,
        "zero": np.zeros((5, 5)),
    }


@pytest.mark.parametrize("ridge", [0.0, 0.2])
@pytest.mark.parametrize("name", psd_matrices())
def test_psd_roots(x64, name, ridge):
    dtype, tolerance = (np.float64, 1e-7) if x64 else (np.float32, 1e-5)
    matrix = psd_matrices()[name]
    shifted = matrix + ridge * np.eye(5)
    root = jax.jit(linalg.psd_sqrt)(matrix.astype(dtype), ridge=ridge)
    inverse = jax.jit(linalg.psd_inverse_sqrt)(matrix.astype(dtype), ridge=ridge)
    np.testing.assert_allclose(root, scipy.linalg.sqrtm(shifted).real, atol=tolerance)
    np.testing.assert_allclose(inverse @ inverse, np.linalg.pinv(shifted, rcond=1e-10, hermitian=True), atol=tolerance)
    np.testing.assert_allclose(inverse, inverse.T, atol=1e-6)
    assert np.linalg.eigvalsh(np.asarray(inverse)).min() > -1e-6


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("function", [linalg.psd_sqrt, linalg.psd_inverse_sqrt])
@pytest.mark.parametrize("name", psd_matrices())
def test_psd_root_derivatives(function, name):
    matrix = psd_matrices()[name]
    matrix = (matrix + matrix.T) / 2
    check_slope(function, matrix, same_rank(matrix))
    check_slope(lambda m: function(m, ridge=0.2), matrix, same_rank(matrix))
    if name not in ("low rank", "zero"):
        check_slope(function, matrix)  # along a line that is not symmetric
    assert np.isfinite(jax.grad(lambda m: jnp.sum(function(m)))(jnp.asarray(matrix))).all()


def test_psd_roots_read_the_symmetric_part_and_drop_negative_eigenvalues():
    matrix = np.diag([4.0, 9.0, -1.0]).astype(np.float32)
    skew = np.array([[0, 2, 0], [-2, 0, 1], [0, -1, 0]], np.float32)
    np.testing.assert_allclose(linalg.psd_sqrt(matrix + skew), np.diag([2.0, 3.0, 0.0]), atol=1e-6)
    np.testing.assert_allclose(linalg.psd_inverse_sqrt(matrix + skew), np.diag([1 / 2, 1 / 3, 0.0]), atol=1e-6)


FUNCTIONS = {
    "thin_svd": lambda x: linalg.thin_svd(x)[1],
    "nuclear_norm": linalg.nuclear_norm,
    "polar_factor": linalg.polar_factor,
    "psd_sqrt": lambda x: linalg.psd_sqrt(x.T @ x),
    "psd_inverse_sqrt": lambda x: linalg.psd_inverse_sqrt(x.T @ x, ridge=0.1),
    "gradient": jax.grad(linalg.nuclear_norm),
    "polar gradient": jax.grad(lambda x: jnp.sum(linalg.polar_factor(x, ridge=0.1) ** 3)),
    "root gradient": jax.grad(lambda x: jnp.sum(linalg.psd_inverse_sqrt(x.T @ x) ** 3)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap_is_a_loop(name):
    batch = jnp.asarray(np.random.default_rng(6).standard_normal((3, 5, 4)), jnp.float32)
    batch = batch.at[1].set(0)
    np.testing.assert_allclose(
        jax.vmap(FUNCTIONS[name])(batch), jnp.stack([FUNCTIONS[name](x) for x in batch]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_is_not_swallowed(name):
    assert np.isnan(FUNCTIONS[name](jnp.full((5, 4), jnp.nan))).all()


@pytest.mark.parametrize("name", ["nuclear_norm", "polar_factor", "psd_sqrt", "psd_inverse_sqrt", "thin_svd"])
def test_half_precision_is_widened(name):
    for dtype in (jnp.bfloat16, jnp.float16):
        for out in jax.tree.leaves(jax.eval_shape(getattr(linalg, name), jax.ShapeDtypeStruct((4, 4), dtype))):
            assert out.dtype == jnp.float32


def test_value_and_gradient_take_one_decomposition_each_direction():
    """The gradient needs no decomposition besides the one that gives the value."""
    lowered = jax.jit(jax.value_and_grad(linalg.nuclear_norm)).lower(jnp.zeros((6, 4))).as_text()
    assert lowered.count("gesdd_ffi") == 1


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lowers_for_accelerators(name):
    exported = jax.export.export(jax.jit(FUNCTIONS[name]), platforms=["cpu", "cuda", "tpu"])(jnp.ones((5, 4)))
    assert exported.platforms == ("cpu", "cuda", "tpu")
