"""What is asked to be recorded, checked before anything is compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxalign._core.checks import as_array, check_floating, check_integer, describe
from jaxalign._core.keys import as_key
from jaxalign._core.typing import Array
from jaxalign.dynamics.recorded_steps import Data, Program, Schedule
from jaxalign.features.intermediates import LinenNetwork, Network, matching

MOST_PAIRS = 1000
MOST_WRITTEN = 10_000_000


@dataclass(frozen=True, eq=False)
class Plan:
    """When what happens.

    Attributes:
      steps: how many there are.
      at: what is recorded, increasing, from 0 to `steps`.
      kept: of which activations are kept, increasing, from 0 to `steps`.
      points: where the compiled loop stops to look: 0, and all of these but the end.
    """

    steps: int
    at: np.ndarray
    kept: np.ndarray
    points: np.ndarray

    def schedule(self, first: int, last: int) -> Schedule:
        """That of some of the points."""
        following = np.append(self.points[1:], self.steps)
        slots = np.searchsorted(self.kept, self.points)
        part = slice(first, last)
        return Schedule(*(jnp.asarray(a[part], jnp.int32) for a in (self.points, following, slots)))

    def rows(self) -> np.ndarray:
        """Places of the recorded steps among points and the end."""
        return np.searchsorted(np.append(self.points, self.steps), self.at)


def checked_recording(
    function: str,
    model: tuple[Network, Any, Any],
    x: Any,
    y: Any,
    *,
    steps: Any,
    layers: Any,
    pairs: Any,
    at: Any,
    kept: Any,
    key: Any,
    optimizer: Any,
    loss: Callable[[Any, Any], Array],
    batch_size: Any,
    evaluate: bool,
    members: int | None = None,
    together: bool | None = None,
) -> tuple[Program, Data, Plan]:
    """The program, what it is trained on, and when it records.

    Args:
      function: the name of the user's function, for messages.
      model: the structure of a model, its parameters, and what else it holds.
      x: inputs.
      y: targets.
      steps: of training.
      layers: patterns of names.
      pairs: of rows, or None for all.
      at: which steps are recorded, or None for all.
      kept: steps of which activations are kept.
      key: for batches and Linen modules.
      optimizer: an optax transformation; with `members` also a function from a member to one.
      loss: of outputs and targets.
      batch_size: rows of a step, or None for all.
      evaluate: record in evaluation mode.
      members: how many models are trained; None for one.
      together: they take each step at the same time; None to choose.

    Raises:
      ValueError: for rows, shapes, steps or pairs that do not fit, or settings out of range.
      TypeError: for what is of another kind.
    """
    network, params, rest = model
    per_member = not isinstance(optimizer, optax.GradientTransformation)
    if per_member and (members is None or not callable(optimizer) or isinstance(optimizer, type)):
        what = "an optax transformation" + ("" if members is None else " or a function that makes one")
        raise TypeError(f"{function}: optimizer must be {what}, got {describe(optimizer)}")
    if not jax.tree.leaves(params):
        raise ValueError(f"{function}: model must have parameters")
    if evaluate and isinstance(network, LinenNetwork):
        raise ValueError(f"{function}: evaluate is for NNX modules; a Linen module says itself how it is evaluated")
    check_integer(function, "steps", steps, minimum=1)
    x, y = as_array(function, "x", x), as_array(function, "y", y)
    check_floating(function, "y", y)
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise ValueError(f"{function}: y must have one row for each of x, got {describe(y)} for {describe(x)}")
    if batch_size is not None:
        check_integer(function, "batch_size", batch_size, minimum=1)
        if batch_size > len(x):
            raise ValueError(f"{function}: batch_size must be at most the number of rows, {len(x)}, got {batch_size}")
        if key is None:
            raise ValueError(f"{function}: key must be given with batch_size, such as jax.random.key(0)")
    key = None if key is None else as_key(function, key)
    pairs = _checked_pairs(function, pairs, len(x))
    at = np.arange(steps + 1) if at is None else _checked_steps(function, "at", at, steps)
    if not len(at):
        raise ValueError(f"{function}: at must hold at least one step")
    kept = _checked_steps(function, "kept", kept, steps)
    outputs, found, _ = jax.eval_shape(lambda p, r, x, key: network.run(p, r, x, key=key), params, rest, x, key)
    names = tuple(matching(function, found, layers))
    for name in names:
        if found[name].ndim == 0 or found[name].shape[0] != len(x):
            raise ValueError(
                f"{function}: layers must have one row for each of the {len(x)} of x, "
                f"{name!r} gives shape {found[name].shape}"
            )
    if not isinstance(outputs, jax.ShapeDtypeStruct) or outputs.shape != y.shape:
        got = outputs.shape if isinstance(outputs, jax.ShapeDtypeStruct) else f"a {type(outputs).__name__}"
        raise ValueError(f"{function}: model must give what y has, shape {y.shape}, got {got}")
    value = jax.eval_shape(loss, outputs, y)
    if not isinstance(value, jax.ShapeDtypeStruct) or value.shape not in {(), (len(x),)}:
        got = value.shape if isinstance(value, jax.ShapeDtypeStruct) else f"a {type(value).__name__}"
        raise ValueError(f"{function}: loss must give one number or one for each example, shape ({len(x)},), got {got}")
    points = np.union1d(np.append(at, 0), kept)
    # Where training computes activations anyway, and pairs are few, every step is written down and some are taken: a
    # loop of single steps would copy all kernels in each of them.
    written = steps * len(names) * len(pairs) * (members or 1)
    if batch_size is None and not evaluate and len(pairs) <= 2 * len(x) and written <= MOST_WRITTEN:
        points = np.arange(steps)
    plan = Plan(steps, at, kept, points[points < steps])
    keys = key
    if members is not None and key is not None:
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(members))
    program = Program(
        network=network,
        optimizer=optimizer,
        loss=loss,
        layers=names,
        batch_size=batch_size,
        evaluate=evaluate,
        every_step=len(plan.points) == steps,
        kept=len(kept),
        per_member=per_member,
        many=members is not None,
        together=_quicker_together(params) if together is None else together,
    )
    return program, Data(x, y, jnp.asarray(pairs, jnp.int32), keys), plan


def _quicker_together(params: Any) -> bool:
    """Whether members train faster side by side.

    On the CPU stacks of products have no library behind them: measured on one core, 16 networks of width 50 took half
    the time together that they took one after the other, and 8 of width 200 or 500 twice the time.
    """
    return jax.default_backend() != "cpu" or max(leaf.size for leaf in jax.tree.leaves(params)) <= 10_000


def _checked_pairs(function: str, pairs: Any, rows: int) -> np.ndarray:
    if pairs is None:
        count = rows * (rows - 1) // 2
        if not 1 <= count <= MOST_PAIRS:
            raise ValueError(
                f"{function}: pairs must be given for {rows} rows, which have {count} pairs; "
                f"without it there may be 1 to {MOST_PAIRS}"
            )
        return np.stack(np.triu_indices(rows, 1), 1)
    array = np.asarray(pairs)
    if array.ndim != 2 or array.shape[1] != 2 or not len(array) or array.dtype.kind not in "iu":
        raise ValueError(f"{function}: pairs must be integers of shape (pairs, 2), got {describe(array)}")
    if array.min() < 0 or array.max() >= rows:
        raise ValueError(
            f"{function}: pairs must be rows of x, from 0 to {rows - 1}, got {array.min()} to {array.max()}"
        )
    return array


def _checked_steps(function: str, argument: str, chosen: Any, steps: int) -> np.ndarray:
    array = np.asarray(chosen)
    array = array.astype(int) if array.size == 0 else array
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(f"{function}: {argument} must be a list of integers, got {describe(array)}")
    if array.size and (array.min() < 0 or array.max() > steps or np.any(np.diff(array.astype(int)) <= 0)):
        raise ValueError(
            f"{function}: {argument} must increase, from 0 to at most {steps}, the end, got {array.tolist()[:8]}"
        )
    return array.astype(int)
