"""Tails of Pearson's type III against quadrature and SciPy, over both signs of skewness and through 0."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxalign.inference.pearson import SMALL_SKEWNESS, pearson_tail

TAIL = jax.jit(pearson_tail)
Z = np.linspace(-4, 10, 29)
SKEWNESS = [-1, -0.6, -0.31, -0.29, -0.1, -1e-3, -1e-6, 0, 1e-6, 1e-3, 0.1, 0.29, 0.31, 0.6, 1, 2]


def exact(z, skewness):
    """By the incomplete gamma function, and by quadrature where SciPy's lower one has no digits in its tail."""
    if skewness == 0:
        return special.ndtr(-z)
    shape = 4 / skewness**2
    level = np.maximum(shape + 2 * z / skewness, 0)
    if skewness > 0:
        return special.gammaincc(shape, level)
    if shape < 100:
        return special.gammainc(shape, level)
    return np.array([by_quadrature(v, skewness, shape) for v in z])


def by_quadrature(z, skewness, shape):
    """The density at `z` is that of the normal distribution times the exponential of a remainder."""

    def density(v):
        u = v * skewness / 2
        # (shape - 1) log(1 + u) - shape u, with the logarithm of Stirling's remainder.
        inside = np.where(u > -1, u, 0)
        log = np.where(u > -1, -shape * (inside - np.log1p(inside)) - np.log1p(inside), -np.inf)
        return np.exp(log - 1 / (12 * shape) + 1 / (360 * shape**3)) / np.sqrt(2 * np.pi)

    width = 12 - min(z, 0)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    return width / 2 * np.sum(weights * density(z + width / 2 * (nodes + 1)))


def test_tails(x64):
    """Down to 1e-20: relative errors, far out as well as near."""
    for skewness in SKEWNESS:
        z = jnp.asarray(Z, float)
        rounded = np.asarray(z, np.float64), float(jnp.asarray(skewness, float))
        expected = exact(*rounded)
        values = np.asarray(TAIL(z, jnp.full(z.shape, skewness, float)))
        assert values.dtype == (np.float64 if x64 else np.float32)
        kept = expected > 1e-20
        assert kept.sum() > 8
        np.testing.assert_allclose(values[kept], expected[kept], rtol=1e-8 if x64 else 5e-5, err_msg=str(skewness))
        assert np.all(values[~kept] < 1e-19)


def test_the_quadrature_is_that_of_scipy():
    np.testing.assert_allclose(
        [by_quadrature(v, 0.1, 400.0) for v in Z], special.gammaincc(400, 400 + 20 * Z), rtol=1e-8
    )
    np.testing.assert_allclose(exact(Z, 0.6), stats.pearson3.sf(Z, 0.6), rtol=1e-8)


def test_ends_of_the_distribution():
    """A skewness of 1 begins at -2; one of -0.2, by the expansion, ends at 10."""
    found = TAIL(jnp.asarray([-2.0, -3.0, 10.0, 11.0]), jnp.asarray([1.0, 1.0, -0.2, -0.2]))
    np.testing.assert_array_equal(found, [1, 1, 0, 0])


@pytest.mark.usefixtures("float64")
def test_both_formulas_meet():
    for skewness in (SMALL_SKEWNESS, -SMALL_SKEWNESS):
        z = jnp.linspace(-3, 4, 8)
        inside, outside = (TAIL(z, jnp.full(8, skewness * factor)) for factor in (1 - 1e-9, 1 + 1e-9))
        np.testing.assert_allclose(inside, outside, rtol=1e-7)


def test_not_a_number_stays_so():
    assert np.all(np.isnan(TAIL(jnp.asarray([np.nan, 1.0, np.nan]), jnp.asarray([0.1, np.nan, 1.0]))))
