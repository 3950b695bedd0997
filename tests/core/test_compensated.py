"""Sums of two floats against exact sums of fractions."""

from __future__ import annotations

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.compensated import Compensated


def exact(number):
    return Fraction(float(number.high)) + Fraction(float(number.low))


def test_sums_keep_twice_the_digits(x64):
    dtype = np.float64 if x64 else np.float32
    g = np.random.default_rng(0)
    terms = (g.standard_normal(2000) * 10.0 ** g.uniform(-6, 6, 2000)).astype(dtype)

    @jax.jit
    def total(terms):
        def add(sums, term):
            kept, plain = sums
            return (kept + Compensated.of(term), plain + term), None

        zero = jnp.zeros((), terms.dtype)
        return jax.lax.scan(add, (Compensated.of(zero), zero), terms)[0]

    kept, plain = total(jnp.asarray(terms))
    true, size = sum(Fraction(float(t)) for t in terms), sum(abs(Fraction(float(t))) for t in terms)
    eps = Fraction(float(np.finfo(dtype).eps))
    assert abs(exact(kept) - true) < 2000 * eps**2 * size
    assert abs(Fraction(float(plain)) - true) > 10 * abs(exact(kept) - true)
    assert float(kept.value) == float(kept.high)


def test_differences_of_what_is_nearly_equal():
    one = Compensated(jnp.float32(1), jnp.float32(1e-9))
    other = Compensated(jnp.float32(1), jnp.float32(-2e-9))
    np.testing.assert_allclose((one - other).value, 3e-9, rtol=1e-6)
    np.testing.assert_allclose((-one + one).value, 0)
