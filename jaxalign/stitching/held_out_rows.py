"""Rows that training does not see, and when it looks at them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import as_array, check_integer, describe
from jaxalign._core.typing import Array
from jaxalign.stitching.fit_arguments import Task
from jaxalign.stitching.objective import Examples
from jaxalign.stitching.row_split import two_sides


def look_steps(steps: int, held_out: Any, evaluate_every: Any, patience: Any) -> np.ndarray:
    """After how many steps the held-out rows are looked at: first after none, last after all.

    Raises:
      ValueError, TypeError: when settings are out of range, or there is nothing to look at.
    """
    for argument, value in (("evaluate_every", evaluate_every), ("patience", patience)):
        if value is not None:
            check_integer("fit", argument, value, minimum=1)
            if held_out is None:
                raise ValueError(f"fit: {argument} needs held_out, the rows to look at")
    if held_out is None:
        return np.zeros(0, int)
    every = -(-steps // 20) if evaluate_every is None else evaluate_every
    return np.unique([*range(0, steps, every), steps])


def held_out_share(held_out: Any) -> float | None:
    """The share of all rows that is held out; None when `held_out` is None or a pair of arrays.

    Raises:
      ValueError, TypeError: when it is none of these.
    """
    if held_out is None or (isinstance(held_out, tuple) and len(held_out) == 2):
        return None
    if not isinstance(held_out, (float, np.floating)):
        raise TypeError(f"fit: held_out must be a share of rows or a pair (x, y), got {describe(held_out)}")
    if not 0 < held_out < 1:
        raise ValueError(f"fit: held_out must lie between 0 and 1, got {held_out}")
    return float(held_out)


def held_out_examples(task: Task, x: Any, y: Any, *, like: Examples) -> Examples:
    """Checked data of their own, whose labels are of the kind of those that are trained on.

    Raises:
      ValueError, TypeError: for data that do not fit the task, or labels of another type or shape.
    """
    if task.labeled:
        y = as_array(task.function, "held-out labels", y)
        row = like.targets.shape[1:]
        if _kind(y) != _kind(like.targets) or y.shape[1:] != row:
            raise ValueError(
                f"{task.function}: held_out must be a pair (x, labels), labels of {_kind(like.targets)} of shape "
                f"(rows{''.join(f', {size}' for size in row)}) like those that are trained on, got {describe(y)}"
            )
    return task.examples(x, y, None, None, of="held-out ")[0]


def _kind(a: Array) -> str:
    if a.dtype == jnp.bool_:
        return "booleans"
    return "integers" if jnp.issubdtype(a.dtype, jnp.integer) else "numbers"


def split_rows(examples: Examples, share: float, key: Array) -> tuple[Examples, Examples]:
    """Training rows and held-out ones, drawn from those that count, in their order.

    Raises:
      ValueError: when either would have fewer than two rows.
    """
    counted = None if examples.weights is None else np.asarray(examples.weights) > 0
    train, looked_at = (
        jax.tree.map(lambda leaf, rows=rows: jnp.take(leaf, rows, axis=0), examples)
        for rows in two_sides("fit", examples.rows, share, counted, key)
    )
    return train, looked_at
