"""The compiled loop: train, and write down what the theory speaks of on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxalign._core.numerics import take_rows, widen
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Int, Scalar
from jaxalign.features.intermediates import Network
from jaxalign.stitching.minibatches import epoch_order


@dataclass(frozen=True)
class Program:
    """What is compiled.

    Attributes:
      network: the structure of the model.
      optimizer: an optax transformation; or, `per_member`, a function from a member to one.
      loss: from outputs and targets to one number, or one for each example.
      layers: names of those that are recorded.
      batch_size: rows of a step; None for all.
      evaluate: record in evaluation mode.
      every_step: all steps are recorded.
      kept: of how many steps activations are kept.
      per_member: see `optimizer`.
      many: weights, members and the key have a leading axis of members.
      together: members take each step at the same time, not one member after the other.
    """

    network: Network
    optimizer: Any
    loss: Callable[[Any, Any], Array]
    layers: tuple[str, ...]
    batch_size: int | None
    evaluate: bool
    every_step: bool
    kept: int
    per_member: bool = False
    many: bool = False
    together: bool = False


@pytree_dataclass
class Data:
    """What is trained on.

    Attributes:
      x: inputs, one row an example.
      y: targets, one row an example.
      pairs: rows i and j of each pair, `(P, 2)`.
      key: of batches and of what a Linen module draws; or None.
    """

    x: Array
    y: Array
    pairs: Int[Array, "p 2"]
    key: Array | None


@pytree_dataclass
class Training:
    """Where training is.

    Attributes:
      params: what is trained.
      rest: what else the model holds.
      optimizer: its state.
      order: of the rows in this epoch; None without batches.
      kept: outputs and activations of the layers, with a leading axis of kept steps, and one entry more for others.
    """

    params: Any
    rest: Any
    optimizer: Any
    order: Int[Array, "n"] | None
    kept: Any


@pytree_dataclass
class Measured:
    """What is written down of one step, or with leading axes of several.

    Attributes:
      h: squared distances of activations, `(L, P)`.
      y: squared distances of outputs, `(P,)`.
      w: `y` less the product of output and target differences, `(P,)`.
      loss: on all rows.
      mean_error: squared distances of mean outputs to mean targets, `(P,)`.
    """

    h: Float[Array, "*t l p"]
    y: Float[Array, "*t p"]
    w: Float[Array, "*t p"]
    loss: Float[Array, "*t"]
    mean_error: Float[Array, "*t p"]


@pytree_dataclass
class Schedule:
    """Recorded steps, at each of which there is one step of training at least.

    Attributes:
      step: which ones, `(R,)`.
      next: the recorded step after each, or the end of training.
      slot: where in `kept` its activations are put; the next one overwrites them if it has the same.
    """

    step: Int[Array, "r"]
    next: Int[Array, "r"]
    slot: Int[Array, "r"]


@partial(jax.jit, static_argnames="program")
def start(program: Program, data: Data, weights: tuple[Any, Any], member: Any) -> Training:
    """Training before its first step.

    Args:
      program: what is compiled.
      data: what is trained on.
      weights: parameters, and what else the model holds.
      member: for optimizers that depend on it.
    """
    return _for_members(program, _start, (0, 0))(data, weights, member)


@partial(jax.jit, static_argnames="program")
def train(
    program: Program, data: Data, training: Training, schedule: Schedule, member: Any
) -> tuple[Training, Measured]:
    """Train through the steps of a schedule, up to the one after the last, and measure before each of them."""
    return _for_members(program, _train, (0, None, 0))(data, training, schedule, member)


@partial(jax.jit, static_argnames="program")
def look(program: Program, data: Data, training: Training, step: Array) -> tuple[Measured, Any]:
    """What is measured of a state without training it, and what is kept of it."""

    def seen(program: Program, data: Data, training: Training) -> tuple[Measured, Any]:
        return _seen(program, data, training.params, training.rest, step)

    return _for_members(program, seen, (0,))(data, training)


def _for_members(program: Program, function: Callable[..., Any], axes: tuple[int | None, ...]) -> Any:
    """A function of data and more, for one model or for many along `axes` of what comes after the data."""
    function = partial(function, program)
    if not program.many:
        return function

    def for_all(data: Data, *rest: Any) -> Any:
        keys = {} if data.key is None else {"key": data.key}

        def for_one(own: tuple[dict[str, Array], list[Any]]) -> Any:
            key, mapped = own[0], iter(own[1])
            return function(
                dataclasses.replace(data, **key),
                *(value if axis is None else next(mapped) for value, axis in zip(rest, axes, strict=True)),
            )

        own = (keys, [value for value, axis in zip(rest, axes, strict=True) if axis is not None])
        return jax.vmap(for_one)(own) if program.together else lax.map(for_one, own)

    return for_all


def _start(program: Program, data: Data, weights: tuple[Any, Any], member: Any) -> Training:
    params, rest = weights
    kept = None
    if program.kept:
        seen = jax.eval_shape(lambda: _seen(program, data, params, rest, jnp.asarray(0))[1])
        kept = jax.tree.map(lambda s: jnp.zeros((program.kept + 1, *s.shape), s.dtype), seen)
    order = None if program.batch_size is None else jnp.arange(data.x.shape[0])
    return Training(params, rest, _optimizer(program, member).init(params), order, kept)


def _train(
    program: Program, data: Data, training: Training, schedule: Schedule, member: Any
) -> tuple[Training, Measured]:
    optimizer = _optimizer(program, member)

    def body(training: Training, now: Schedule) -> tuple[Training, Measured]:
        before = None
        if program.batch_size is not None or program.evaluate:
            before = _seen(program, data, training.params, training.rest, now.step)
        training, value, seen = _step(program, optimizer, data, training, now.step)
        measured, seen = before or (_measured(data, value, *seen), seen)
        if training.kept is not None:
            kept = jax.tree.map(
                lambda a, new: lax.dynamic_update_index_in_dim(a, new, now.slot, 0), training.kept, seen
            )
            training = dataclasses.replace(training, kept=kept)
        if not program.every_step:
            training = lax.fori_loop(
                now.step + 1, now.next, lambda s, t: _step(program, optimizer, data, t, s)[0], training
            )
        return training, measured

    # With two steps in the body of the loop the weights of one are written where those before them were read from for
    # the last time. With one, XLA copies all kernels in every step.
    return lax.scan(body, training, schedule, unroll=2 if program.every_step else 1)


def _optimizer(program: Program, member: Any) -> optax.GradientTransformationExtraArgs:
    return optax.with_extra_args_support(program.optimizer(member) if program.per_member else program.optimizer)


def _draws(data: Data, step: Array) -> Array | None:
    """The key for what a Linen module draws in this step."""
    return None if data.key is None else jax.random.fold_in(jax.random.fold_in(data.key, 1), step)


def _objective(
    program: Program, params: Any, rest: Any, x: Array, y: Array, key: Array | None, *, evaluate: bool = False
) -> tuple[Scalar, tuple[Array, tuple[Array, ...], Any]]:
    """The loss of some rows; their outputs, activations, and what the model holds afterwards."""
    outputs, found, rest = program.network.run(params, rest, x, key=key, evaluate=evaluate)
    value = jnp.mean(widen(program.loss(outputs, y)))
    return value, (outputs, tuple(found[name] for name in program.layers), rest)


def _step(
    program: Program, optimizer: optax.GradientTransformationExtraArgs, data: Data, training: Training, step: Array
) -> tuple[Training, Scalar, tuple[Array, tuple[Array, ...]]]:
    """One step of training; the loss before it, and outputs and activations of the rows it was made of."""
    x, y, order = data.x, data.y, training.order
    if order is not None:
        assert data.key is not None
        assert program.batch_size is not None
        rows, size, shuffle = x.shape[0], program.batch_size, jax.random.fold_in(data.key, 0)
        epoch, batch = jnp.divmod(step, rows // size)
        order = lax.cond(batch == 0, lambda: epoch_order(shuffle, epoch, rows, None), lambda: training.order)
        chosen = lax.dynamic_slice_in_dim(order, batch * size, size)
        x, y = take_rows(x, chosen), take_rows(y, chosen)
    rest, key = training.rest, _draws(data, step)
    objective = partial(_objective, program)
    (value, (outputs, found, new_rest)), gradient = jax.value_and_grad(objective, has_aux=True)(
        training.params, rest, x, y, key
    )
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer step counts
        updates, state = optimizer.update(
            gradient,
            training.optimizer,
            training.params,
            value=value,
            grad=gradient,
            value_fn=lambda p: objective(p, rest, x, y, key)[0],
        )
        params = optax.apply_updates(training.params, updates)
    return Training(params, new_rest, state, order, training.kept), value, (outputs, found)


def _seen(
    program: Program, data: Data, params: Any, rest: Any, step: Array
) -> tuple[Measured, tuple[Array, tuple[Array, ...]]]:
    value, (outputs, found, _) = _objective(
        program, params, rest, data.x, data.y, _draws(data, step), evaluate=program.evaluate
    )
    return _measured(data, value, outputs, found), (outputs, found)


def _measured(data: Data, value: Scalar, outputs: Array, found: tuple[Array, ...]) -> Measured:
    def of_pairs(z: Array) -> tuple[Array, Array]:
        z = widen(z.reshape(z.shape[0], -1))
        return take_rows(z, data.pairs[:, 0]), take_rows(z, data.pairs[:, 1])

    def distances(z: Array) -> Array:
        one, other = of_pairs(z)
        return jnp.sum((other - one) ** 2, 1)

    (out_one, out_other), (y_one, y_other) = of_pairs(outputs), of_pairs(data.y)
    difference = out_other - out_one
    excess = difference - (y_other - y_one).astype(difference.dtype)
    offset = (out_one + out_other) / 2 - ((y_one + y_other) / 2).astype(difference.dtype)
    return Measured(
        h=jnp.stack([distances(z).astype(difference.dtype) for z in found]),
        y=jnp.sum(difference**2, 1),
        w=jnp.sum(difference * excess, 1),
        loss=value,
        mean_error=jnp.sum(offset**2, 1),
    )
