"""Rates to begin a fit with, read off a measured pair without an optimizer."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from jaxalign._core.numerics import safe_divide
from jaxalign._core.typing import Array, Float

#: Factors around the regressions that are tried as well, as logarithms: of each rate, and of both together.
_SPREAD = tuple(1.5 * k for k in range(-4, 5))
_SPREAD_TOGETHER = tuple(0.3 * k for k in range(-20, 21))


class Measured(NamedTuple):
    """One pair over time, and what is known of it."""

    h: Float[Array, "t"]
    y: Float[Array, "t"]
    w: Float[Array, "t"]
    dx2: Float[Array, ""]
    dy2: Float[Array, ""]


def endpoint_ratio(measured: Measured) -> Float[Array, ""]:
    r"""$\eta_h / \eta_y$ from the first and the last state, by what is conserved: $\Delta(y / h) / \Delta h$."""
    h, y, _, dx2, _ = measured
    moved = safe_divide(y[-1], h[-1]) - safe_divide(y[0], h[0])
    return (h[-1] - h[0]) / jnp.where(moved == 0, jnp.nan, dx2 * moved)


def starting_rates(t: Float[Array, "t"], measured: Measured) -> Float[Array, "c 2"]:
    r"""Logarithms of both rates: two regressions, factors around them, and rates of the ratio that the end demands.

    $\dot h = -\eta_h \Delta_x^2 w$ is a regression of $h - h_0$ on $\int w$, and $C$ being conserved one of
    $y / h - y_0 / h_0$ on $h - h_0$. Where noise makes them negative, rates with which the pair would separate in the
    time that there is.
    """
    h, y, w, dx2, dy2 = measured
    drift = jnp.concatenate([jnp.zeros_like(t[:1]), jnp.cumsum(jnp.diff(t) * (w[1:] + w[:-1]) / 2)])
    moved, stretched = h - h[0], safe_divide(y, h) - safe_divide(y[0], h[0])
    encoder = safe_divide(-jnp.sum(moved * drift), dx2 * jnp.sum(drift * drift))
    decoder = safe_divide(jnp.sum(moved * stretched), jnp.sum(moved * moved)) * encoder * dx2
    ratio = endpoint_ratio(measured)
    ratio = jnp.where(ratio > 0, ratio, 1)
    size = jnp.sqrt(jnp.maximum(ratio * dx2 * jnp.maximum(dy2, jnp.max(y)), jnp.finfo(t.dtype).tiny))
    decoder = jnp.where((decoder > 0) & (encoder > 0), decoder, 10 / (t[-1] * size))
    encoder = jnp.where(encoder > 0, encoder, ratio * decoder)
    factors = jnp.asarray(_SPREAD, t.dtype)
    around = jnp.stack(jnp.meshgrid(factors, factors, indexing="ij"), axis=-1).reshape(-1, 2)
    together = jnp.tile(jnp.asarray(_SPREAD_TOGETHER, t.dtype)[:, None], (1, 2))
    regressions, ray = jnp.stack([encoder, decoder]), jnp.stack([ratio * decoder, decoder])
    return jnp.concatenate([jnp.log(regressions)[None] + around, jnp.log(ray)[None] + together])
