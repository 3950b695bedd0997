"""The labels and inputs that log-odds and log-ratios are taken of, with a pivot for each."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import describe
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Int
from jaxalign.identifiability.arguments import as_indices, check_apart, check_rows_count


@pytree_dataclass
class Sets:
    """Which labels and inputs two models are compared on. Distances are metrics for fixed ones only.

    Attributes:
      label_pivot: $y_0$, what log-odds are against.
      labels: $S_y$, `(s,)`, without the pivot.
      input_pivot: $x_0$, what log-ratios are against.
      inputs: $S_x$, `(m,)`, without the pivot.
      left_out: the label that was left out when they were selected; -1 for none.
    """

    label_pivot: Int[Array, ""]
    labels: Int[Array, "s"]
    input_pivot: Int[Array, ""]
    inputs: Int[Array, "m"]
    left_out: Int[Array, ""]

    def to_dict(self) -> dict[str, Any]:
        """Plain integers and lists."""
        left_out = int(self.left_out)
        return {
            "label_pivot": int(self.label_pivot),
            "labels": [int(label) for label in self.labels],
            "input_pivot": int(self.input_pivot),
            "inputs": [int(index) for index in self.inputs],
            "left_out": None if left_out < 0 else left_out,
        }


def given_sets(
    function: str,
    shape: tuple[int, ...],
    mask: Array | None,
    sets: Any,
    labels: Any,
    label_pivot: Any,
    inputs: Any,
    input_pivot: Any,
) -> Sets | None:
    """The sets that were passed, in one of two ways; None when nothing was.

    Raises:
      ValueError, TypeError: for both, for a part of the four, and for indices that do not exist.
    """
    parts = {"labels": labels, "label_pivot": label_pivot, "inputs": inputs, "input_pivot": input_pivot}
    missing = [name for name, value in parts.items() if value is None]
    if sets is not None:
        if len(missing) < 4:
            raise ValueError(f"{function}: give sets, or labels, label_pivot, inputs and input_pivot; got both")
        if not isinstance(sets, Sets):
            raise TypeError(f"{function}: sets must be what select_sets returns, got {describe(sets)}")
        parts = {name: getattr(sets, name) for name in parts}
    elif len(missing) == 4:
        return None
    elif missing:
        raise ValueError(
            f"{function}: labels, label_pivot, inputs and input_pivot must be given together, "
            f"got none of {', '.join(missing)}"
        )
    n, c = shape
    found = Sets(
        label_pivot=as_indices(function, "label_pivot", parts["label_pivot"], c, shape=()),
        labels=as_indices(function, "labels", parts["labels"], c),
        input_pivot=as_indices(function, "input_pivot", parts["input_pivot"], n, shape=()),
        inputs=as_indices(function, "inputs", parts["inputs"], n),
        left_out=jnp.int32(-1) if sets is None else sets.left_out,
    )
    check_apart(function, "label_pivot", found.label_pivot, "labels", found.labels)
    check_apart(function, "input_pivot", found.input_pivot, "inputs", found.inputs)
    check_rows_count(function, "inputs", found.inputs, mask)
    check_rows_count(function, "input_pivot", found.input_pivot, mask)
    return found


def raise_without_scale(
    function: str, model: str, sets: Sets, labels: Bool[Array, "*n s"], inputs: Bool[Array, "*c m"]
) -> None:
    """Raise `ValueError` for the first label or input that says nothing.

    Args:
      function: for the message.
      model: name of the argument, for the message.
      sets: what was looked at.
      labels: where log-odds have no scale; the last axis is that of the labels of the sets.
      inputs: the same of log-ratios.
    """
    blame = f"{function}: {{}} must tell inputs and labels apart: in {model}, {{}}; leave it out"
    for missing, indices, kind in ((labels, sets.labels, "labels"), (inputs, sets.inputs, "inputs")):
        columns = np.asarray(missing).reshape(-1, indices.shape[0]).any(axis=0)
        if not columns.any():
            continue
        index = int(indices[int(np.argmax(columns))])
        if kind == "labels":
            what = f"the log-odds of label {index} against label {int(sets.label_pivot)} are the same for all inputs "
            raise ValueError(blame.format(kind, what + "(psi = 0)"))
        what = f"inputs {index} and {int(sets.input_pivot)} have the same probabilities (phi = 0)"
        raise ValueError(blame.format(kind, what))
