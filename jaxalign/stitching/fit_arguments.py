"""What training is asked to do, checked before anything is compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxalign._core.checks import as_array, check_floating, check_integer, check_mask, describe
from jaxalign._core.keys import as_key
from jaxalign._core.numerics import accum_dtype, fill_rows, take_rows
from jaxalign._core.typing import Array
from jaxalign.stitching.heads import Head, as_head, output_shape
from jaxalign.stitching.losses import Loss, cross_entropy, squared, zero_one
from jaxalign.stitching.objective import Examples, Problem


@dataclass(frozen=True)
class Task:
    """How targets come about and what is compared with them; data of the same kind can be asked for again.

    Attributes:
      function: the name of the user's function, for messages.
      module: what is trained.
      head: what comes after it, or None.
      labeled: targets are labels, not what the head makes of `y`, nor `y`.
      loss: from outputs and targets to one value for each example; None for the usual one.
      block: rows that the head takes at a time to make targets; None for all.
    """

    function: str
    module: nnx.Module
    head: Head | None
    labeled: bool
    loss: Loss | None
    block: int | None

    def examples(self, x: Any, y: Any, mask: Any, weights: Any, *, of: str = "") -> tuple[Examples, Loss]:
        """Checked data with targets, padding filled, and the loss that fits them.

        Args:
          x: activations that come in.
          y: labels where the task is labeled, else activations of the other side.
          mask: which rows count, or None.
          weights: how much they count, or None.
          of: for messages, which data it is.
        """
        x_name, y_name = f"{of}x", f"{of}{'labels' if self.labeled else 'y'}"
        x, y = as_array(self.function, x_name, x), as_array(self.function, y_name, y)
        _check_activations(self.function, x_name, x)
        if not self.labeled:
            _check_activations(self.function, y_name, y)
        rows = x.shape[0]
        if y.ndim == 0 or y.shape[0] != rows:
            raise ValueError(
                f"{self.function}: {y_name} must have one row for each of the {rows} of {x_name}, got {describe(y)}"
            )
        weights = _row_weights(self.function, mask, weights, rows, accum_dtype(x))
        if weights is not None:  # of zeros some heads and losses are NaN, which no weight keeps from the gradient
            x, y = (fill_rows(a, weights > 0) for a in (x, y))
        outputs = output_shape(self.function, "module", _copied(self.module), x, x_name)
        targets = y
        if self.head is not None:
            outputs = output_shape(self.function, "head", self.head, outputs, "what the module gives")
            if not self.labeled:
                output_shape(self.function, "head", self.head, y, y_name)
                targets = _apply(self.head, y, self.block)
        elif not self.labeled and outputs.shape != y.shape:
            raise ValueError(
                f"{self.function}: module must give what {y_name} has, shape {y.shape}, got {outputs.shape}; "
                "a head can stand between them"
            )
        loss = self.loss or (cross_entropy if jnp.issubdtype(targets.dtype, jnp.integer) else squared)
        _check_loss(self.function, loss, outputs, targets)
        if loss is cross_entropy and jnp.issubdtype(targets.dtype, jnp.integer):
            _check_classes(self.function, y_name, targets, outputs.shape[-1])
        return Examples(x, targets, weights), loss


def _copied(module: nnx.Module) -> Callable[[Array], Any]:
    """Calls copies of a module, whose statistics and counters are those of the trace that calls."""
    graphdef, state = nnx.split(module)
    return lambda z: nnx.merge(graphdef, state, copy=True)(z)


def checked_task(
    function: str, module: Any, y: Any, *, head: Any, labels: Any, loss: Loss | None, batch_size: int | None
) -> tuple[Task, Any]:
    """The task, and what its targets are made from: labels where there are some, else `y`."""
    if not isinstance(module, nnx.Module):
        raise TypeError(f"{function}: module must be an nnx.Module, got {describe(module)}")
    if not jax.tree.leaves(nnx.state(module, nnx.Param)):
        raise ValueError(f"{function}: module must have parameters (nnx.Param), got {type(module).__name__} with none")
    if y is None and labels is None:
        raise ValueError(f"{function}: y or labels must be given, got neither")
    if not (loss is None or callable(loss)):
        raise TypeError(f"{function}: loss must be a function of outputs and targets, got {describe(loss)}")
    if loss is zero_one:
        raise ValueError(f"{function}: loss must have a gradient, that of zero_one is 0; train with cross_entropy")
    if y is not None and labels is not None:
        y, labels = as_array(function, "y", y), as_array(function, "labels", labels)
        if y.shape[:1] != labels.shape[:1]:
            raise ValueError(
                f"{function}: y and labels must have one row for each of x, got {describe(y)} and {describe(labels)}"
            )
    head = None if head is None else as_head(function, head)
    task = Task(function, module, head, labels is not None, loss, batch_size)
    return task, y if labels is None else labels


def checked_problem(
    function: str,
    examples: Examples,
    head: Head | None,
    graphdef: nnx.GraphDef,
    *,
    loss: Loss,
    optimizer: Any,
    penalty: Any,
    key: Any,
    batch_size: int | None,
    accumulate: int,
) -> Problem:
    """The problem that the compiled program solves; `key` may be an array of keys, `penalty` one of penalties."""
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(f"{function}: optimizer must be an optax transformation, got {describe(optimizer)}")
    check_integer(function, "accumulate", accumulate, minimum=1)
    batches = 1
    if batch_size is not None:
        counted = examples.rows if examples.weights is None else int(jnp.sum(examples.weights > 0))
        if batch_size * accumulate > counted:
            raise ValueError(
                f"{function}: batch_size times accumulate must be at most the number of rows that count, {counted}, "
                f"got {batch_size * accumulate}"
            )
        batches = counted // (batch_size * accumulate)
    return Problem(
        examples,
        head,
        jnp.asarray(penalty, accum_dtype(examples.x)),
        key if batch_size is not None else None,
        jnp.asarray(batches, jnp.int32),
        graphdef,
        loss,
        optimizer,
        batch_size,
        accumulate,
    )


def checked_key(function: str, key: Any, *, batch_size: int | None, split: bool = False) -> Array | None:
    """The key, which must be given where something is drawn."""
    if batch_size is not None:
        check_integer(function, "batch_size", batch_size, minimum=1)
    if key is None and (batch_size is not None or split):
        what = "batch_size" if batch_size is not None else "a fraction that is held out"
        raise ValueError(f"{function}: key must be given with {what}, such as jax.random.key(0)")
    return None if key is None else as_key(function, key)


def checked_keys(function: str, keys: Any) -> list[Array]:
    """Keys from a list or an array of them, or of integers."""
    array = keys if isinstance(keys, (jax.Array, np.ndarray)) else None
    if isinstance(keys, str) or not (isinstance(keys, Sequence) if array is None else array.ndim):
        raise TypeError(f"{function}: keys must be a list or an array of keys or integers, got {describe(keys)}")
    if array is not None and array.shape == (2,) and array.dtype == jnp.uint32:
        raise TypeError(
            f"{function}: keys must be a list or an array of keys or integers, got {describe(keys)}, which is one key; "
            "put it in a list"
        )
    return [as_key(function, key) for key in keys]


def checked_penalties(function: str, penalties: Any) -> list[Any]:
    """Penalties from a list or an array of numbers of at least 0."""
    if isinstance(penalties, (jax.Array, np.ndarray)) and penalties.ndim == 1:
        penalties = np.asarray(penalties).tolist()
    elif not isinstance(penalties, Sequence) or isinstance(penalties, str):
        raise TypeError(f"{function}: penalties must be a list or an array of numbers, got {describe(penalties)}")
    for i, penalty in enumerate(penalties):
        check_penalty(function, f"penalties[{i}]", penalty)
    return list(penalties)


def check_penalty(function: str, argument: str, penalty: Any) -> None:
    """Raise unless `penalty` is one number of at least 0."""
    if isinstance(penalty, bool) or not isinstance(penalty, (int, float, np.number, np.ndarray, jax.Array)):
        raise TypeError(f"{function}: {argument} must be a number, got {describe(penalty)}")
    if np.ndim(penalty):
        raise ValueError(f"{function}: {argument} must be one number, got {describe(penalty)}")
    if not float(penalty) >= 0:
        raise ValueError(f"{function}: {argument} must be at least 0, got {float(penalty)}")


def _check_activations(function: str, argument: str, value: Array) -> None:
    check_floating(function, argument, value)
    if value.ndim < 2 or 0 in value.shape:
        raise ValueError(
            f"{function}: {argument} must have shape (examples, ..., features), none of them 0, got {describe(value)}"
        )


def _row_weights(function: str, mask: Any, weights: Any, rows: int, dtype: jnp.dtype) -> Array | None:
    """How much each row counts; None when all count the same."""
    mask = None if mask is None else as_array(function, "mask", mask)
    check_mask(function, mask, rows)
    if weights is not None:
        weights = as_array(function, "weights", weights)
        if weights.shape != (rows,):
            raise ValueError(f"{function}: weights must have shape ({rows},), one a row, got {tuple(weights.shape)}")
        weights = weights.astype(dtype)
    elif mask is None:
        return None
    else:
        weights = jnp.ones(rows, dtype)
    weights = weights if mask is None else jnp.where(mask, weights, 0)
    if not bool(jnp.all((weights >= 0) & jnp.isfinite(weights))):
        raise ValueError(f"{function}: weights must be finite and at least 0")
    if not bool(jnp.any(weights > 0)):
        raise ValueError(f"{function}: no row counts: mask or weights are 0 everywhere")
    return weights


def _check_loss(function: str, loss: Callable[..., Any], outputs: jax.ShapeDtypeStruct, targets: Array) -> None:
    values = jax.eval_shape(loss, outputs, targets)
    if not isinstance(values, jax.ShapeDtypeStruct) or values.shape != (targets.shape[0],):
        raise ValueError(
            f"{function}: loss must return one value for each example, shape ({targets.shape[0]},), "
            f"got {getattr(values, 'shape', type(values).__name__)}"
        )


def _check_classes(function: str, argument: str, labels: Array, classes: int) -> None:
    low, high = int(jnp.min(labels)), int(jnp.max(labels))
    if low < 0 or high >= classes:
        raise ValueError(
            f"{function}: {argument} must lie between 0 and {classes - 1}, one for each output of the head, "
            f"got values from {low} to {high}"
        )


@partial(jax.jit, static_argnames="block")
def _apply(head: Head, y: Array, block: int | None) -> Array:
    """What the head makes of `y`, so many rows at a time."""
    rows = y.shape[0]
    if block is None or block >= rows:
        return head(y)
    count = -(-rows // block)
    parts = take_rows(y, jnp.arange(count * block)).reshape(count, block, *y.shape[1:])
    outputs = jax.lax.map(head, parts)
    return outputs.reshape(count * block, *outputs.shape[2:])[:rows]
