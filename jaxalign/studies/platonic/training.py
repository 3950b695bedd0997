"""Many networks of one shape trained in one program, each for as many steps as it is to be."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxalign._core.typing import Array, Int, Scalar


@partial(jax.jit, static_argnames=("graphdef", "loss", "rows", "batch", "peak"))
def train_together(
    graphdef: nnx.GraphDef,
    weights: nnx.State,
    shared: Any,
    own: Any,
    keys: Array,
    steps: Int[Array, "members"],
    *,
    loss: Callable[[Any, Any, Any, Array, Array], Scalar],
    rows: int,
    batch: int,
    peak: float,
) -> nnx.State:
    """Weights of all networks after their own number of steps of Adam: with a learning rate of 0 they stay.

    The learning rate rises to its peak over the first tenth of the steps of a network, and falls to 0 along a cosine.
    Every epoch is a new order of the rows, less those that do not fill a batch.

    Args:
      graphdef: of a network.
      weights: of all networks, with an axis in front.
      shared: what all networks see.
      own: what each sees by itself, with an axis in front.
      keys: one each.
      steps: of each.
      loss: of a network, on what is shared, its own, the row numbers of a batch and a key.
      rows: that there are.
      batch: rows of a batch.
      peak: of the learning rate.
    """
    adam = optax.scale_by_adam()
    per_epoch = rows // batch

    def train_one(weights: nnx.State, own: Any, key: Array, last: Scalar) -> nnx.State:
        def of_batch(weights: nnx.State, chosen: Array, noise: Array) -> Scalar:
            return loss(nnx.merge(graphdef, weights), shared, own, chosen, noise)

        def step(place: Array, carry: tuple[nnx.State, Any]) -> tuple[nnx.State, Any]:
            weights, state = carry
            epoch = jax.random.fold_in(jax.random.fold_in(key, 2), place // per_epoch)
            order = jax.random.permutation(epoch, rows)
            chosen = jax.lax.dynamic_slice(order, (place % per_epoch * batch,), (batch,))
            gradient = jax.grad(of_batch)(weights, chosen, jax.random.fold_in(epoch, place))
            with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer step counts
                updates, state = adam.update(gradient, state, weights)
            rate = peak * learning_rate(place, last)
            return jax.tree.map(lambda w, u: w - rate * u, weights, updates), state

        return jax.lax.fori_loop(0, jnp.max(steps), step, (weights, adam.init(weights)))[0]

    return jax.vmap(train_one)(weights, own, keys, steps)


def learning_rate(place: Int[Array, ""], steps: Int[Array, ""]) -> Scalar:
    """A rise to 1 over a tenth of the steps, a cosine down to 0, and 0."""
    done = place.astype(jnp.float32) / jnp.maximum(steps, 1).astype(jnp.float32)
    falling = (1 + jnp.cos(jnp.pi * jnp.clip((done - 0.1) / 0.9, 0, 1))) / 2
    return jnp.minimum(10 * done, falling)
