"""Tails of the Pearson type III distribution: a gamma distribution moved and scaled, of either sign of skewness."""

from __future__ import annotations

import functools
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfc, gammainc, gammaincc

from jaxalign._core.typing import Array

#: Up to this magnitude of the skewness tails come from an expansion around the normal distribution.
SMALL_SKEWNESS = 0.3
#: Functions of that expansion, and terms of the power series of each.
FUNCTIONS, TERMS = 5, 20
#: Where the power series end to be good; nothing can be told from 0 or 1 beyond.
LARGEST = 1.8


def pearson_tail(z: Array, skewness: Array) -> Array:
    """`P(Z >= z)` for `Z` of mean 0, variance 1 and this skewness, of Pearson type III.

    With `a = 4 / skewness²`, `Z` is `(G - a) / √a` for a gamma variable `G` of shape `a`, or its negative: for
    skewness 0 the normal distribution. Relative error in float32 about 1e-5, also where it is 1e-10.

    Args:
      z: any shape.
      skewness: any shape that goes with it.
    """
    z, skewness = jnp.broadcast_arrays(z, skewness)
    small = jnp.abs(skewness) <= SMALL_SKEWNESS
    near = _expanded(z, jnp.where(small, skewness, 0))
    far = _incomplete_gamma(z, jnp.where(small, 1, skewness))
    undefined = jnp.isnan(z) | jnp.isnan(skewness)
    return jnp.where(undefined, jnp.nan, jnp.where(small, near, far))


def _incomplete_gamma(z: Array, skewness: Array) -> Array:
    shape = 4 / (skewness * skewness)
    level = jnp.maximum(shape + 2 * z / skewness, 0)
    # The one of the two that is not asked for is given a value at once.
    upper = gammaincc(shape, jnp.where(skewness > 0, level, 0))
    lower = gammainc(shape, jnp.where(skewness > 0, 0, level))
    return jnp.where(skewness > 0, upper, lower)


def _expanded(z: Array, skewness: Array) -> Array:
    """Temme's uniform expansion, in which both signs of the skewness are one formula and 0 is nothing special.

    `1/2 erfc(y / √2) + exp(-y² / 2) / √(2π) · h Σ_k C_k(η) h^(2k)` with `h = skewness / 2 = ± a^(-1/2)`,
    `μ = h z`, `η² / 2 = μ - log(1 + μ)` and `y = η / h`.
    """
    half = skewness / 2
    mu = half * z
    inside = mu > -1
    ratio = jnp.sqrt(_curvature(jnp.where(inside, mu, 0)))
    y, eta = z * ratio, jnp.clip(mu * ratio, min=-LARGEST, max=LARGEST)
    total = jnp.zeros_like(eta)
    for coefficients in reversed(_temme()):
        value = jnp.zeros_like(eta)
        for coefficient in reversed(coefficients):
            value = value * eta + coefficient
        total = total * half * half + value
    density = jnp.exp(-y * y / 2) / np.sqrt(2 * np.pi).item()
    tail = erfc(y / np.sqrt(2).item()) / 2 + density * half * total
    # Beyond the end of the distribution, which for a negative skewness lies on the right.
    return jnp.where(inside, jnp.clip(tail, min=0, max=1), jnp.where(half > 0, 1, 0).astype(tail.dtype))


def _curvature(mu: Array) -> Array:
    """`2 (μ - log(1 + μ)) / μ²`, 1 at 0."""
    small = jnp.abs(mu) < 0.25
    near = jnp.where(small, mu, 0)
    # With s = μ / (2 + μ), log(1 + μ) = 2 (s + s³/3 + s⁵/5 + ...), and μ - 2 s = μ s.
    s = near / (2 + near)
    square = s * s
    series = jnp.zeros_like(s)
    for power in (19, 17, 15, 13, 11, 9, 7, 5, 3):
        series = series * square + 1 / power
    # 2 (μ s - 2 s³ series) / μ² = (2 - 4 s series / (2 + μ)) / (2 + μ)
    close = (2 - 4 * s * series / (2 + near)) / (2 + near)
    far = jnp.where(small, 1, mu)
    return jnp.where(small, close, 2 * (far - jnp.log1p(far)) / (far * far))


@functools.cache
def _temme() -> tuple[tuple[float, ...], ...]:
    """Power series in `η` of the functions `C_k`, from their recursion.

    `C_0 = 1/μ - 1/η`, and `C_k = (C_{k-1}' - C_{k-1}'(0) η/μ) / η`, where `μ = η + η²/3 + ...` solves
    `μ μ' = η (1 + μ)`.
    """
    size = TERMS + 2 * FUNCTIONS + 2
    mu = [Fraction(0), Fraction(1)]
    for k in range(2, size + 2):
        mu.append((mu[k - 1] - sum(j * mu[j] * mu[k - j + 1] for j in range(2, k))) / (k + 1))
    inverse = [Fraction(1)]  # η / μ
    for k in range(1, size):
        inverse.append(-sum((mu[j + 1] * inverse[k - j] for j in range(1, k + 1)), Fraction(0)))
    functions, current = [], inverse[1:]
    for _ in range(FUNCTIONS):
        functions.append(tuple(float(c) for c in current[:TERMS]))
        slope = [j * c for j, c in enumerate(current)][1:]
        current = [slope[j] - slope[0] * inverse[j] for j in range(1, len(slope))]
    return tuple(functions)
