"""What may be passed, and which label or input is to blame when a result is not defined."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxalign._core.checks import as_array, check_integer, check_mask, check_matrix, describe
from jaxalign._core.typing import Array


def check_models(
    function: str, logp: Array, logp2: Array, mask: Array | None = None, *, names: tuple[str, str] = ("logp", "logp2")
) -> None:
    """Raise unless both are `(n, c)`, about the same inputs and labels, with at least two labels."""
    for name, value in zip(names, (logp, logp2), strict=True):
        check_matrix(function, name, value)
    if logp.shape != logp2.shape:
        raise ValueError(
            f"{function}: {names[0]} and {names[1]} must have the same shape (inputs, labels), about the same inputs "
            f"and labels, got {tuple(logp.shape)} and {tuple(logp2.shape)}"
        )
    if logp.shape[1] < 2:
        raise ValueError(f"{function}: {names[0]} must have at least 2 labels, got {describe(logp)}")
    check_mask(function, mask, logp.shape[0])


def check_dimension(function: str, m: Any, inputs: int, labels: int) -> None:
    """Raise unless `m` is an integer, at least 1, and there are `m + 1` inputs and labels."""
    check_integer(function, "m", m, minimum=1)
    for name, count in (("inputs", inputs), ("labels", labels)):
        if count < m + 1:
            raise ValueError(f"{function}: m={m} dimensions need at least m + 1 = {m + 1} {name}, got {count}")


def as_indices(function: str, argument: str, value: Any, limit: int, *, shape: tuple[int, ...] | None = None) -> Array:
    """Indices as int32, checked where they are known.

    Args:
      function: for the message.
      argument: for the message.
      value: one integer or several, an array or a sequence.
      limit: they must be at least 0 and below this.
      shape: that they must have; None for a list of any length from 1 on.
    """
    indices = value if hasattr(value, "dtype") else np.asarray(value)
    indices = as_array(function, argument, indices)
    if shape is None and (indices.ndim != 1 or indices.shape[0] == 0):
        raise ValueError(f"{function}: {argument} must be a list of integers, not empty, got {describe(indices)}")
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise TypeError(f"{function}: {argument} must hold integers, got {describe(value)}")
    if shape is not None and indices.shape != shape:
        raise ValueError(f"{function}: {argument} must have shape {shape}, got {describe(indices)}")
    if not isinstance(indices, Tracer):
        known = np.asarray(indices).reshape(-1)
        wrong = known[(known < 0) | (known >= limit)]
        if wrong.size:
            raise ValueError(f"{function}: {argument} must be in 0..{limit - 1}, got {int(wrong[0])}")
        if np.unique(known).size < known.size:
            raise ValueError(f"{function}: {argument} must be different from one another, got {known.tolist()}")
    return indices.astype(jnp.int32)


def check_apart(function: str, pivot_name: str, pivot: Array, others_name: str, others: Array) -> None:
    """Raise when the pivot is among the others, where both are known."""
    if isinstance(pivot, Tracer) or isinstance(others, Tracer):
        return
    if int(pivot) in np.asarray(others).tolist():
        raise ValueError(f"{function}: {others_name} must not hold {pivot_name} ({int(pivot)})")


def check_rows_count(function: str, argument: str, indices: Array, mask: Array | None) -> None:
    """Raise when one of the inputs is padding, where both are known."""
    if mask is None or isinstance(mask, Tracer) or isinstance(indices, Tracer):
        return
    for index in np.asarray(indices).reshape(-1):
        if not bool(mask[int(index)]):
            raise ValueError(
                f"{function}: {argument} must be inputs that count, got {int(index)}, which mask leaves out"
            )


def known_nan(*values: Any) -> bool:
    """Whether one of the arrays is known, and NaN somewhere."""
    return any(not isinstance(leaf, Tracer) and bool(jnp.any(jnp.isnan(leaf))) for leaf in jax.tree.leaves(values))


def any_traced(*values: Any) -> bool:
    """Whether one of the arrays is not known yet."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))


def raise_for_infinite(function: str, mask: Array | None, **models: Array) -> None:
    """Raise `ValueError` when a known model holds a value that is not finite, naming the first label and input."""
    for name, value in models.items():
        if isinstance(value, Tracer) or isinstance(mask, Tracer):
            continue
        bad = ~jnp.isfinite(value) if mask is None else ~jnp.isfinite(value) & mask[:, None]
        if not bool(jnp.any(bad)):
            continue
        labels = jnp.any(bad, axis=0)
        label = int(jnp.argmax(labels))
        row = int(jnp.argmax(bad[:, label]))
        raise ValueError(
            f"{function}: {name} must be finite, got {float(value[row, label])} for label {label} of input {row} "
            f"({int(jnp.sum(labels, dtype=jnp.int32))} labels in all); "
            "keep the labels that are finite in both models, by finite_labels and take_labels"
        )
