"""The compiled loop: draw a batch, differentiate, let the optimizer step, until the host wants to look."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.stitching.minibatches import epoch_order
from jaxalign.stitching.objective import Examples, Problem, Weights, objective, value_and_gradient


@pytree_dataclass
class Training:
    """Where training is.

    Attributes:
      weights: parameters and what else the module holds.
      previous: the same one step earlier, whose loss was finite; the same as `weights` once training diverged.
      optimizer: the state of the optimizer.
      alive: no loss and no parameter was NaN or infinite so far.
    """

    weights: Weights
    previous: Weights
    optimizer: Any
    alive: Bool[Array, ""]


def start(problem: Problem, weights: Weights) -> Training:
    """Training before its first step."""
    return Training(weights, weights, problem.optimizer.init(weights[0]), jnp.asarray(True))


@partial(jax.jit, static_argnames="many")
def train(
    problem: Problem,
    training: Training,
    losses: Float[Array, "*members steps"],
    step: Int[Array, ""],
    stop: Int[Array, ""],
    *,
    many: bool = False,
) -> tuple[Int[Array, ""], Training, Float[Array, "*members steps"]]:
    """Train from one step to another, or to the first loss, or the first new parameters, that are not finite.

    A loop of unknown length: one program serves whatever the number of steps between two looks of the host is, so that
    numbers do not depend on where a run was cut.

    Args:
      problem: what to minimize.
      training: where to go on.
      losses: one for each step that was taken, and room for those to come.
      step: how many steps were taken.
      stop: how many shall have been.
      many: `training`, `losses`, and `key` and `penalty` of the problem have a leading axis of members.

    Returns:
      The new `step`, `training` and `losses`. After a step that diverged, whose loss is recorded whatever it is, the
      weights are the last ones whose loss was finite.
    """
    draw, step_once = row_order, advance
    if many:
        draw = jax.vmap(row_order, in_axes=(_member_axes(problem), None))
        step_once = jax.vmap(advance, in_axes=(_member_axes(problem), 0, 0 if _draws(problem) else None, None))

    def more(carry: tuple[Any, ...]) -> Array:
        step, training, _, _ = carry
        return (step < stop) & jnp.any(training.alive)

    def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        step, training, losses, order = carry
        epoch, batch = jnp.divmod(step, problem.batches)
        if order is not None:
            order = jax.lax.cond(batch == 0, lambda: draw(problem, epoch), lambda: order)
        training, value = step_once(problem, training, order, batch)
        return step + 1, training, losses.at[..., step].set(value), order

    order = draw(problem, step // problem.batches) if _draws(problem) else None
    step, training, losses, _ = jax.lax.while_loop(more, body, (step, training, losses, order))
    return step, training, losses


def _draws(problem: Problem) -> bool:
    return problem.key is not None


def _member_axes(problem: Problem) -> Any:
    """For `vmap`: only the key and the penalty differ between members."""
    shared = jax.tree.map(lambda _: None, problem)
    return dataclasses.replace(shared, key=0 if _draws(problem) else None, penalty=0)


def row_order(problem: Problem, epoch: Int[Array, ""]) -> Int[Array, "n"]:
    """The rows in the random order of an epoch, padding at the end."""
    weights = problem.examples.weights
    assert problem.key is not None
    return epoch_order(problem.key, epoch, problem.examples.rows, None if weights is None else weights > 0)


def _batch(problem: Problem, order: Int[Array, "n"] | None, number: Int[Array, ""]) -> Examples:
    """The rows of one step: as they are, or in parts along a leading axis when gradients are accumulated."""
    examples, parts = problem.examples, problem.accumulate
    if order is None:
        return examples if parts == 1 else examples.parts(parts, -(-examples.rows // parts))
    assert problem.batch_size is not None
    size = problem.batch_size * parts
    batch = examples.take(jax.lax.dynamic_slice_in_dim(order, number * size, size))
    return batch if parts == 1 else batch.parts(parts, problem.batch_size)


def advance(
    problem: Problem, training: Training, order: Int[Array, "n"] | None, number: Int[Array, ""]
) -> tuple[Training, Scalar]:
    """One step, and the objective before it; none where that, or a new parameter, is not finite."""
    params, rest = training.weights
    batch = _batch(problem, order, number)
    value, gradient, new_rest = value_and_gradient(problem, params, rest, batch)
    optimizer = optax.with_extra_args_support(problem.optimizer)
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer step counts
        updates, state = optimizer.update(
            gradient,
            training.optimizer,
            params,
            value=value,
            grad=gradient,
            value_fn=lambda p: objective(problem, p, rest, batch)[0],
        )
        new_params = optax.apply_updates(params, updates)
    measured = training.alive & jnp.isfinite(value)
    alive = measured & all_finite(new_params)
    good = _chosen(measured, training.weights, training.previous)
    return Training(
        weights=_chosen(alive, (new_params, new_rest), good),
        previous=good,
        optimizer=_chosen(alive, state, training.optimizer),
        alive=alive,
    ), jnp.where(training.alive, value, jnp.nan)


def _chosen(condition: Bool[Array, ""], new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether no entry of any array is NaN or infinite."""
    found = jnp.asarray(True)
    for leaf in jax.tree.leaves(tree):
        found &= jnp.all(jnp.isfinite(leaf))
    return found


def divergence_hint(problem: Problem, loss: Any, *, first: bool) -> str:
    """What may help after training diverged: a sentence for a warning.

    Args:
      problem: what was to be minimized.
      loss: that of the step at which training stopped.
      first: it was the first step, before which nothing was trained.
    """
    examples = problem.examples
    for name, data in (("x", examples.x), ("what should come out, y or labels,", examples.targets)):
        if not bool(all_finite(data)):
            return f"{name} holds NaN or infinite values"
    if first and not bool(jnp.isfinite(loss)):
        return "Nothing was trained yet, and the data are finite: look at the head, the loss and the given module"
    return "A smaller learning rate may help, or optax.clip_by_global_norm"
