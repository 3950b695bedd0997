"""What training minimizes: the weighted mean loss of a stitched model, plus a penalty."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax

from jaxalign._core.numerics import safe_divide, take_rows, widen
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Scalar
from jaxalign.stitching.heads import Head
from jaxalign.stitching.losses import Loss


@pytree_dataclass
class Examples:
    """What goes into the stitching module, what should come out of the head, and how much each row counts.

    Attributes:
      x: shape `(n, ...)`; padding holds a row that counts, of which every network and loss can be taken.
      targets: shape `(n, ...)`.
      weights: shape `(n,)`, 0 for padding; None when all rows count the same.
    """

    x: Array
    targets: Array
    weights: Float[Array, "n"] | None

    @property
    def rows(self) -> int:
        """How many rows there are, padding included."""
        return self.x.shape[0]

    def take(self, indices: Array) -> Examples:
        """Rows by index; padding for indices beyond the last row."""
        weights = self.weights
        if weights is None:
            weights = jnp.ones(self.rows, widen(self.x).dtype)
        taken = jnp.where(indices < self.rows, take_rows(weights, indices), 0)
        return Examples(take_rows(self.x, indices), take_rows(self.targets, indices), taken)

    def parts(self, count: int, size: int) -> Examples:
        """The first `count * size` rows as `count` groups, along a leading axis."""
        flat = self.take(jnp.arange(count * size))
        return jax.tree.map(lambda leaf: leaf.reshape(count, size, *leaf.shape[1:]), flat)


@pytree_dataclass
class Problem:
    """A training problem: all that the compiled program needs but the parameters.

    Attributes:
      examples: the training data.
      head: what comes after the module; None for nothing.
      penalty: of the squared entries of the parameters with two or more axes, a scalar; one for each member where many
        modules are trained.
      key: of the order in which examples are drawn, or one for each member; None when all are in every batch.
      batches: in an epoch, int32.
      graphdef: the structure of the module.
      loss: from outputs and targets to one value for each example.
      optimizer: an optax transformation.
      batch_size: rows whose gradient is computed at a time; None for all of them, or an equal share.
      accumulate: how many times as many rows make one step.
    """

    examples: Examples
    head: Head | None
    penalty: Float[Array, "*members"]
    key: Array | None
    batches: Array
    graphdef: nnx.GraphDef = field(metadata={"static": True})
    loss: Loss = field(metadata={"static": True})
    optimizer: optax.GradientTransformation = field(metadata={"static": True})
    batch_size: int | None = field(metadata={"static": True})
    accumulate: int = field(metadata={"static": True})


#: Parameters that are trained, and what else the module holds: statistics, fixed arrays, states of generators.
Weights = tuple[nnx.State, nnx.State]


def loss_sums(
    problem: Problem, params: nnx.State, rest: nnx.State, examples: Examples, *, evaluate: bool = False
) -> tuple[Scalar, tuple[Scalar, nnx.State]]:
    """Sums of weighted losses and of weights, and what the module holds afterwards."""
    module = nnx.merge(problem.graphdef, params, rest, copy=True)
    if evaluate:
        module.eval()
    outputs = module(examples.x)
    if problem.head is not None:
        outputs = problem.head(outputs)
    losses = widen(problem.loss(outputs, examples.targets))
    _, _, rest = nnx.split(module, nnx.Param, ...)
    if examples.weights is None:
        return jnp.sum(losses), (jnp.asarray(examples.rows, losses.dtype), rest)
    weights = examples.weights.astype(losses.dtype)
    return jnp.sum(losses * weights), (jnp.sum(weights), rest)


def penalized(problem: Problem, params: nnx.State) -> Scalar:
    """The penalty times the squared entries of all kernels: parameters with two or more axes."""
    dtype = problem.penalty.dtype
    squares = [jnp.sum(widen(p) * widen(p)).astype(dtype) for p in jax.tree.leaves(params) if p.ndim > 1]
    return problem.penalty * sum(squares, jnp.zeros((), dtype))


def objective(problem: Problem, params: nnx.State, rest: nnx.State, batch: Examples) -> tuple[Scalar, nnx.State]:
    """The mean loss of a batch (or of the parts of one, along a leading axis) plus the penalty."""
    if problem.accumulate == 1:
        value, (total, rest) = loss_sums(problem, params, rest, batch)
    else:

        def add(rest: nnx.State, part: Examples) -> tuple[nnx.State, tuple[Scalar, Scalar]]:
            value, (total, rest) = loss_sums(problem, params, rest, part)
            return rest, (value, total)

        rest, sums = lax.scan(add, rest, batch)
        value, total = (jnp.sum(s) for s in sums)
    return safe_divide(value, total) + penalized(problem, params).astype(value.dtype), rest


def value_and_gradient(
    problem: Problem, params: nnx.State, rest: nnx.State, batch: Examples
) -> tuple[Scalar, nnx.State, nnx.State]:
    """The objective, its gradient and what the module holds afterwards, with one part in memory at a time."""
    if problem.accumulate == 1:
        differentiate = jax.value_and_grad(objective, argnums=1, has_aux=True)
        (value, rest), gradient = differentiate(problem, params, rest, batch)
        return value, gradient, rest

    def add(carry: Any, part: Examples) -> tuple[Any, tuple[Scalar, Scalar]]:
        gradient, rest = carry
        (value, (total, rest)), more = jax.value_and_grad(loss_sums, argnums=1, has_aux=True)(
            problem, params, rest, part
        )
        return (jax.tree.map(jnp.add, gradient, more), rest), (value, total)

    (gradient, rest), sums = lax.scan(add, (jax.tree.map(jnp.zeros_like, params), rest), batch)
    value, total = (jnp.sum(s) for s in sums)
    penalty, of_penalty = jax.value_and_grad(penalized, argnums=1)(problem, params)
    factor = safe_divide(jnp.ones_like(total), total)
    gradient = jax.tree.map(lambda g, p: (g * factor.astype(g.dtype)) + p, gradient, of_penalty)
    return value * factor + penalty.astype(value.dtype), gradient, rest


@jax.jit
def mean_loss(problem: Problem, weights: Weights, examples: Examples) -> Scalar:
    """The weighted mean loss of a module in evaluation mode, without penalty; a batch of rows in memory at a time."""
    size = problem.batch_size
    if size is None or size >= examples.rows:
        value, (total, _) = loss_sums(problem, *weights, examples, evaluate=True)
        return safe_divide(value, total)
    parts = examples.parts(-(-examples.rows // size), size)

    def sums(part: Examples) -> tuple[Scalar, Scalar]:
        value, (total, _) = loss_sums(problem, *weights, part, evaluate=True)
        return value, total

    value, total = (jnp.sum(s) for s in lax.map(sums, parts))
    return safe_divide(value, total)
