"""Worlds of events that follow one another, and what two kinds of observation say of them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxalign._core.checks import check_integer, check_positive
from jaxalign._core.keys import as_key
from jaxalign._core.numerics import matmul
from jaxalign._core.typing import Array, Float, Int

_AXES = 2


class EventWorld(NamedTuple):
    """A reversible Markov chain of events that lie in a plane.

    Attributes:
      places: of events, `(m, 2)`.
      marginal: how often each event is, `(m,)`.
      chain: row `a` says what follows event `a`, `(m, m)`.
      joint: of two events within the window, `(m, m)`, symmetric.
    """

    places: Float[Array, "m 2"]
    marginal: Float[Array, "m"]
    chain: Float[Array, "m m"]
    joint: Float[Array, "m m"]


def event_world(key: Array | int, *, events: int = 24, window: int = 2, spread: float = 1.0) -> EventWorld:
    r"""Events at random places, some more frequent; what is near follows more often.

    $$P(z_t = a, z_{t+1} = b) \propto w_a w_b\, e^{-|x_a - x_b|^2 / (2 \sigma^2)},\quad
    P_\mathrm{co}(a, b) = \frac{1}{2 T + 1} \sum_{|l| \le T} P(z_t = a, z_{t+l} = b)$$

    with places $x$ from a normal distribution and the logarithms of the weights $w$ from one of half its width. The
    window holds the event itself, $l = 0$, as the paper's does.

    Args:
      key: for places and weights.
      events: m, at least 2.
      window: T, to either side.
      spread: $\sigma$, how far off what follows may be.

    Returns:
      The world, of the default floating type. Goes through `vmap` over keys.

    Raises:
      ValueError, TypeError: for settings out of range.

    Example:
      >>> float(event_world(0).joint.sum().round(4))
      1.0

    Reference:
      Events, windows and observations as in Huh et al. (2024), arXiv:2405.07987, section 4.1; the chain is ours.
    """
    check_integer("event_world", "events", events, minimum=2)
    check_integer("event_world", "window", window, minimum=1)
    check_positive("event_world", "spread", spread)
    of_places, of_weights = jax.random.split(as_key("event_world", key))
    places = jax.random.normal(of_places, (events, _AXES))
    weights = jnp.exp(jax.random.normal(of_weights, (events,)) / 2)
    squared = jnp.sum((places[:, None, :] - places[None, :, :]) ** 2, axis=2)
    next_to = weights[:, None] * weights[None, :] * jnp.exp(-squared / (2 * spread**2))
    next_to = next_to / jnp.sum(next_to)
    marginal = jnp.sum(next_to, axis=1)
    chain = next_to / marginal[:, None]
    joint, ahead = jnp.diag(marginal), jnp.diag(marginal)
    for _ in range(window):
        ahead = matmul(ahead, chain)
        joint = joint + ahead + ahead.T
    return EventWorld(places, marginal, chain, joint / (2 * window + 1))


def sample_events(world: EventWorld, length: int, *, key: Array | int) -> Int[Array, "n"]:
    """A sequence of events of the world, begun where events are as frequent as they always are.

    Args:
      world: of `event_world`.
      length: n.
      key: for the sequence.

    Raises:
      ValueError, TypeError: for a length below 1.

    Example:
      >>> sample_events(event_world(0), 5, key=0).shape
      (5,)
    """
    check_integer("sample_events", "length", length, minimum=1)
    draws = jax.random.uniform(as_key("sample_events", key), (length,), world.chain.dtype)
    last = world.chain.shape[0] - 1
    rows = jnp.cumsum(world.chain, axis=1)

    def place(up_to: Float[Array, "m"], draw: Array) -> Array:
        return jnp.minimum(jnp.sum((up_to <= draw).astype(jnp.int32)), last)  # sums may end below 1 by rounding

    def follow(event: Array, draw: Array) -> tuple[Array, Array]:
        event = place(rows[event], draw)
        return event, event

    first = place(jnp.cumsum(world.marginal), draws[0])
    return jnp.concatenate([first[None], jax.lax.scan(follow, first, draws[1:])[1]])
