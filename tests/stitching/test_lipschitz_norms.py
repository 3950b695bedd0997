"""Certified spectral norms: never below the norm, near it, whatever the estimate says."""

from __future__ import annotations

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.stitching.lipschitz import matrix_norm_bound
from jaxalign.stitching.lipschitz import norms as module
from jaxalign.stitching.lipschitz.norms import norm_of, product_up, root_up, round_up, sum_up

RNG = np.random.default_rng(0)


def with_singular_values(p, q, values):
    u = np.linalg.qr(RNG.standard_normal((p, p)))[0][:, : len(values)]
    v = np.linalg.qr(RNG.standard_normal((q, q)))[0][:, : len(values)]
    return (u * np.asarray(values)) @ v.T


CASES = {
    "tall": RNG.standard_normal((60, 9)),
    "wide": RNG.standard_normal((9, 60)) + 3,
    "one entry": np.array([[-3.0]]),
    "a row": RNG.standard_normal((1, 40)),
    "equal leading values": with_singular_values(30, 20, [2.0] * 10 + [1.0] * 5),
    "nearly equal leading values": with_singular_values(30, 20, [1 + 1e-9 * i for i in range(20)]),
    "one dominates": with_singular_values(30, 20, [1.0] + [1e-9] * 10),
    "rank one": np.outer(RNG.standard_normal(20), RNG.standard_normal(30)),
    "orthogonal": np.linalg.qr(RNG.standard_normal((25, 25)))[0],
    "graded": np.diag(10.0 ** -np.arange(20.0)),
    "constant": np.ones((17, 23)),
}


@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e20])
@pytest.mark.parametrize("name", CASES)
def test_never_below_and_near(x64, name, scale):
    dtype = np.float64 if x64 else np.float32
    matrix = (CASES[name] * scale).astype(dtype)
    bound, norm = float(matrix_norm_bound(matrix)), np.linalg.norm(matrix.astype(np.float64), 2)
    assert norm <= bound <= norm * (1 + (1e-11 if x64 else 2e-7))


def test_never_below_norms_that_are_known(x64):
    hadamard = np.array([[1.0]])
    for _ in range(6):
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    for matrix, square in ((hadamard, 64), (np.ones((7, 5)), 35), (np.eye(9) * 3, 9), (np.full((3, 11), 0.5), 8.25)):
        bound = float(matrix_norm_bound(matrix))
        assert Fraction(bound) ** 2 >= Fraction(square)
        np.testing.assert_allclose(bound, math.sqrt(square), rtol=1e-11 if x64 else 2e-7)


def test_thousands_of_small_matrices(float64):
    stack = RNG.standard_normal((3000, 4, 3)) * 10.0 ** RNG.uniform(-30, 30, (3000, 1, 1))
    norms = np.linalg.norm(stack, 2, axis=(1, 2))
    bounds = np.array([norm_of(matrix) for matrix in stack])
    assert np.all(bounds >= norms)
    np.testing.assert_allclose(bounds, norms, rtol=1e-12)
    np.testing.assert_allclose(norm_of(stack), norms.max(), rtol=1e-12)


def test_extreme_scales(float64):
    for scale in (1e-300, 5e-324, 1e300):
        assert 3 * scale <= norm_of(np.full((3, 3), scale)) <= 3.001 * scale + 1e-323
    assert norm_of(np.full((3, 3), 1.7e308)) == math.inf
    assert norm_of(np.diag([1.0, 1e-200])) >= 1


def test_degenerate():
    assert float(matrix_norm_bound(np.zeros((3, 2)))) == 0
    assert np.isnan(float(matrix_norm_bound(np.array([[1.0, np.nan]]))))
    assert np.isnan(float(matrix_norm_bound(np.array([[1.0, -np.inf]]))))
    assert norm_of(np.zeros((3, 0))) == 0


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9999999, 1.0, 1.5])
def test_a_wrong_estimate_is_noticed(monkeypatch, share):
    """As of an iteration whose start is orthogonal to the leading vector: the certificate does not depend on it."""
    monkeypatch.setattr(module, "_estimate", lambda gram: share * np.linalg.eigvalsh(gram).max() + 1e-12)
    for name in ("tall", "equal leading values", "one dominates"):
        norm = np.linalg.norm(CASES[name], 2)
        assert norm <= norm_of(CASES[name]) <= 8 * norm


def test_without_the_certificate_it_would_be_below(monkeypatch):
    monkeypatch.setattr(module, "_estimate", lambda gram: 0.5 * np.linalg.eigvalsh(gram).max())
    monkeypatch.setattr(module, "_below", lambda gram, level: True)
    assert norm_of(CASES["tall"]) < np.linalg.norm(CASES["tall"], 2)


def test_krylov_estimates_are_near(monkeypatch):
    monkeypatch.setattr(module, "EIGENVALUE_SIZE", 2)
    for name in CASES:
        norm = np.linalg.norm(CASES[name], 2)
        assert norm <= norm_of(CASES[name]) <= norm * (1 + 1e-6)


@pytest.mark.slow
def test_large_matrices():
    for matrix in (RNG.standard_normal((1100, 1500)), with_singular_values(1100, 1100, [1.0] * 500)):
        norm = np.linalg.norm(matrix, 2)
        assert norm <= norm_of(matrix) <= norm * (1 + 1e-6)


def test_types(x64):
    matrix = jnp.array([[1.0, 2.0], [3.0, 4.0]], jnp.bfloat16)
    bound = matrix_norm_bound(matrix)
    assert bound.dtype == (jnp.float64 if x64 else jnp.float32)
    assert bound.shape == ()
    assert np.linalg.norm([[1.0, 2.0], [3.0, 4.0]], 2) <= float(bound) <= 5.465 * (1 + 1e-4)


@pytest.mark.parametrize(
    ("value", "error", "match"),
    [
        (np.ones(3), ValueError, "must have shape"),
        (np.ones((2, 2), int), TypeError, "floating"),
        ([[1.0]], TypeError, "floating array, got list"),
    ],
)
def test_mistakes(value, error, match):
    with pytest.raises(error, match=match):
        matrix_norm_bound(value)


def test_traced_weights_are_refused():
    with pytest.raises(TypeError, match="outside of jit"):
        jax.jit(matrix_norm_bound)(jnp.eye(2))


def test_sums_and_products_are_not_below_the_exact_ones():
    for _ in range(2000):
        a, b, c = (float(v) for v in 10.0 ** RNG.uniform(-5, 5, 3))
        assert Fraction(product_up(a, b, c)) >= Fraction(a) * Fraction(b) * Fraction(c)
        assert Fraction(sum_up(a, b, c)) >= Fraction(a) + Fraction(b) + Fraction(c)
        assert Fraction(root_up(a)) ** 2 >= Fraction(a)
        assert float(round_up(a)) >= a
    assert product_up(1.0, 0.25, 3.0) == 0.75
    assert sum_up(1.0, 2.0) == 3.0
    assert root_up(9.0) == 3.0
    assert product_up(0.0, math.inf) == 0
    assert math.isnan(product_up(0.0, math.nan))
    assert product_up(2.0, math.inf) == math.inf == sum_up(1.0, math.inf)
    assert float(round_up(1e-60)) > 0
    assert float(round_up(1e60)) >= 1e60
    assert math.isnan(float(round_up(math.nan)))
