"""Twenty ways in which two numbers can depend on one another, on which tests of independence are compared.

The settings are those of Vogelstein et al. (2019), Discovering and deciphering relationships across disparate data
modalities, eLife 8:e41690, appendix, for one dimension and with noise; `hyppo.tools` has the same. Written from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Draws(NamedTuple):
    """What one data set is made of: independent numbers for each example.

    Attributes:
      x: uniform on (-1, 1), `(n,)`.
      u: the same.
      noise: normal.
      other: normal.
      coin: 0 or 1.
      toss: 0 or 1.
    """

    x: Array
    u: Array
    noise: Array
    other: Array
    coin: Array
    toss: Array


Pair = tuple[Array, Array]


def _exponential(d: Draws) -> Pair:
    x = 1.5 * (d.x + 1)
    return x, jnp.exp(x) + 10 * d.noise


def _cubic(d: Draws) -> Pair:
    t = d.x - 1 / 3
    return d.x, 128 * t**3 + 48 * t**2 - 12 * t + 80 * d.noise


def _joint_normal(d: Draws) -> Pair:
    """Variances 1 and 1.5, covariance 0.5."""
    return d.other, 0.5 * d.other + jnp.sqrt(1.25) * d.noise


def _w_shape(d: Draws) -> Pair:
    return d.x, 4 * ((d.x**2 - 0.5) ** 2 + d.u / 500) + 0.5 * d.noise


def _spiral(d: Draws) -> Pair:
    u = 2.5 * (d.u + 1)
    return u * jnp.cos(jnp.pi * u), u * jnp.sin(jnp.pi * u) + 0.4 * d.noise


def _bernoulli(d: Draws) -> Pair:
    x = d.coin + 0.5 * d.other
    return x, (2 * d.toss - 1) * x + 0.5 * d.noise


def _sine(periods: float, noise: float) -> Callable[[Draws], Pair]:
    def pair(d: Draws) -> Pair:
        x = d.u + 0.02 * d.other
        return x, jnp.sin(periods * jnp.pi * x) + noise * d.noise

    return pair


def _turned_square(angle: float) -> Callable[[Draws], Pair]:
    def pair(d: Draws) -> Pair:
        cosine, sine = jnp.cos(angle), jnp.sin(angle)
        return d.u * cosine + d.x * sine + 0.05 * d.noise, -d.u * sine + d.x * cosine

    return pair


def _two_parabolas(d: Draws) -> Pair:
    return d.x, (d.x**2 + (d.u + 1)) * (d.coin - 0.5)


def _ellipse(radius: float) -> Callable[[Draws], Pair]:
    def pair(d: Draws) -> Pair:
        return radius * (jnp.cos(jnp.pi * d.u) + 0.4 * d.noise), jnp.sin(jnp.pi * d.u)

    return pair


#: From draws to two arrays `(n,)`, by name.
SIMULATIONS: Mapping[str, Callable[[Draws], Pair]] = MappingProxyType(
    {
        "linear": lambda d: (d.x, d.x + d.noise),
        "exponential": _exponential,
        "cubic": _cubic,
        "joint normal": _joint_normal,
        "step": lambda d: (d.x, jnp.where(d.x > 0, 1, 0) + d.noise),
        "quadratic": lambda d: (d.x, d.x**2 + 0.5 * d.noise),
        "w shape": _w_shape,
        "spiral": _spiral,
        "uncorrelated bernoulli": _bernoulli,
        "logarithmic": lambda d: (d.other, 2 * jnp.log2(jnp.abs(d.other)) + 3 * d.noise),
        "fourth root": lambda d: (d.x, jnp.abs(d.x) ** 0.25 + 0.25 * d.noise),
        "sine 4 pi": _sine(4, 1.0),
        "sine 16 pi": _sine(16, 0.5),
        "square": _turned_square(-jnp.pi / 8),
        "two parabolas": _two_parabolas,
        "circle": _ellipse(1.0),
        "ellipse": _ellipse(5.0),
        "diamond": _turned_square(-jnp.pi / 4),
        "multiplicative noise": lambda d: (d.other, d.other * d.noise),
        "independence": lambda d: (d.noise / 3 + 2 * d.coin - 1, d.other / 3 + 2 * d.toss - 1),
    }
)


def simulate(name: str, key: Array, n: int) -> Pair:
    """One data set of `n` examples, two arrays `(n, 1)`.

    Args:
      name: one of `SIMULATIONS`.
      key: of the random numbers.
      n: number of examples.
    """
    keys = jax.random.split(key, 6)
    draws = Draws(
        x=jax.random.uniform(keys[0], (n,), minval=-1, maxval=1),
        u=jax.random.uniform(keys[1], (n,), minval=-1, maxval=1),
        noise=jax.random.normal(keys[2], (n,)),
        other=jax.random.normal(keys[3], (n,)),
        coin=jax.random.bernoulli(keys[4], 0.5, (n,)).astype(jnp.float32),
        toss=jax.random.bernoulli(keys[5], 0.5, (n,)).astype(jnp.float32),
    )
    x, y = SIMULATIONS[name](draws)
    return x[:, None], y[:, None]
