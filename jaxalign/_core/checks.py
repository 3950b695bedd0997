"""What a user may pass, and the error text when it is something else.

Every message names the function, the argument, what it must be and what came.
Shapes and dtypes are static under `jit`, so these checks run once, at trace time.
"""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxalign._core.typing import Array


def describe(value: Any) -> str:
    """Type, and shape and dtype where there are any: `ndarray float32 (3, 4)`."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        kind = "array" if isinstance(value, jax.Array) else name
        return f"{kind} {value.dtype} {tuple(value.shape)}"
    return f"{name} {value!r}" if isinstance(value, (str, int, float, bool)) else name


def as_array(function: str, argument: str, value: Any) -> Array:
    """`value` as a JAX array; whatever has `__array__` or DLPack is taken.

    Raises:
      TypeError: for anything else, and for arrays of Python objects.
    """
    if isinstance(value, jax.Array):
        return value
    if hasattr(value, "__array__") or isinstance(value, np.generic):
        try:
            host = np.asarray(value)
        except (TypeError, RuntimeError):
            if not hasattr(value, "__dlpack__"):
                raise
            return jnp.from_dlpack(value)  # torch.bfloat16 and device tensors have no NumPy form
        if host.dtype.kind in "OSUMm":
            kind = "Python objects" if host.dtype == object else f"dtype {host.dtype}"
            raise TypeError(f"{function}: {argument} must hold numbers, got an array of {kind}, shape {host.shape}")
        return jnp.asarray(host)
    if hasattr(value, "__dlpack__"):
        return jnp.from_dlpack(value)
    raise TypeError(
        f"{function}: {argument} must be an array (anything with __array__ or DLPack), got {describe(value)}"
    )


def check_pytree(function: str, argument: str, value: Any, expected: str) -> None:
    """Raise `TypeError` unless `value` is a pytree of arrays and numbers, which `jit` can take.

    Args:
      function: for the message.
      argument: for the message.
      value: what came.
      expected: what it should have been, in words.
    """
    for leaf in jax.tree.leaves(value):
        if isinstance(leaf, numbers.Number) or hasattr(leaf, "shape"):
            continue
        if leaf is not value:
            raise TypeError(f"{function}: {argument} must hold numbers and arrays, got {describe(leaf)} in it")
        hint = "" if isinstance(leaf, (str, type)) else "; make its class a jaxalign.pytree_dataclass"
        raise TypeError(f"{function}: {argument} must be a {expected}, got {describe(value)}{hint}")


def check_floating(function: str, argument: str, value: Array) -> None:
    """Raise `TypeError` unless `value` is a real floating-point array."""
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(
            f"{function}: {argument} must be floating point, got {describe(value)}; convert it with .astype(float)"
        )


def check_matrix(function: str, argument: str, value: Array) -> None:
    """Raise unless `value` is a floating `(n, d)` array with at least one row and one column."""
    check_floating(function, argument, value)
    if value.ndim != 2:
        raise ValueError(
            f"{function}: {argument} must have shape (examples, features), got {describe(value)}; "
            "flatten or pool the other axes first (jaxalign.preprocess)"
        )
    if 0 in value.shape:
        raise ValueError(f"{function}: {argument} must not be empty, got {describe(value)}")


def check_mask(function: str, mask: Array | np.ndarray | None, rows: int) -> None:
    """Raise unless `mask` is None or a boolean array of length `rows`."""
    if mask is None:
        return
    if mask.dtype != jnp.bool_:
        raise TypeError(f"{function}: mask must be boolean, got {describe(mask)}")
    if mask.shape != (rows,):
        raise ValueError(f"{function}: mask must have shape ({rows},), one entry a row, got {tuple(mask.shape)}")


def check_rows(function: str, x: Array, mask: Array | None = None, *, argument: str = "x") -> None:
    """Check one representation and its mask."""
    check_matrix(function, argument, x)
    check_mask(function, mask, x.shape[0])


def check_pair(function: str, x: Array, y: Array, mask: Array | None = None, *, other: str = "y") -> None:
    """Check two representations of the same examples, `x` and the `other`, and their common mask."""
    check_matrix(function, "x", x)
    check_matrix(function, other, y)
    if x.shape[0] != y.shape[0]:
        raise ValueError(
            f"{function}: x and {other} must have the same number of rows, one per example, "
            f"got {x.shape[0]} and {y.shape[0]}"
        )
    check_mask(function, mask, x.shape[0])


def nearest(name: str, options: Iterable[str]) -> str:
    """`"; did you mean 'cka'?"` when one of the options is close, else an empty string."""
    close = difflib.get_close_matches(name, list(options), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def check_choice(function: str, argument: str, value: Any, options: Iterable[str]) -> None:
    """Raise `ValueError` unless `value` is one of `options`."""
    options = tuple(options)
    if value not in options:
        hint = nearest(value, options) if isinstance(value, str) else ""
        raise ValueError(f"{function}: {argument} must be one of {', '.join(map(repr, options))}, got {value!r}{hint}")


def check_integer(function: str, argument: str, value: Any, *, minimum: int) -> None:
    """Raise unless `value` is a Python or NumPy integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{function}: {argument} must be an integer, got {describe(value)}")
    if value < minimum:
        raise ValueError(f"{function}: {argument} must be at least {minimum}, got {value}")


def check_distinct(function: str, argument: str, values: Any, check: Callable[[str, str, Any], None]) -> None:
    """Raise unless `values` is a list or tuple, not empty, of distinct values that pass `check`."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(f"{function}: {argument} must be a list or a tuple, got {describe(values)}")
    if not values:
        raise ValueError(f"{function}: {argument} must name at least one, got {values!r}")
    for value in values:
        check(function, argument, value)
    if len(set(values)) < len(values):
        raise ValueError(f"{function}: {argument} must not repeat, got {values!r}")


def check_neighbors(function: str, k: Any, rows: int) -> None:
    """Raise unless `1 <= k < rows`: a row is never its own neighbor."""
    check_integer(function, "k", k, minimum=1)
    if k >= rows:
        raise ValueError(f"{function}: k must be smaller than the number of rows ({rows}), self excluded, got {k}")


def check_ridge(function: str, value: Any, *, argument: str = "ridge") -> None:
    """Raise unless `value` is a number that may be added to variances: real, one only, not negative."""
    if isinstance(value, bool) or not (isinstance(value, (int, float)) or hasattr(value, "shape")):
        raise TypeError(f"{function}: {argument} must be a number, got {describe(value)}")
    if getattr(value, "shape", ()) != ():
        raise ValueError(f"{function}: {argument} must be one number, got {describe(value)}")
    if not isinstance(value, Tracer) and not value >= 0:
        raise ValueError(f"{function}: {argument} must be at least 0, got {value}")


def check_positive(function: str, argument: str, value: Any) -> None:
    """Raise unless `value` is a positive number; arrays and tracers pass unread."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        if hasattr(value, "shape"):
            return
        raise TypeError(f"{function}: {argument} must be a number, got {describe(value)}")
    if not float(value) > 0:
        raise ValueError(f"{function}: {argument} must be positive, got {value}")


def as_layers(
    function: str, a: Sequence[Any], b: Sequence[Any] | None, mask: Any
) -> tuple[list[Array], list[Array] | None, Array | None]:
    """Two lists of representations of the same examples, and the mask, as arrays.

    Raises:
      ValueError, TypeError: for an empty list, or one that does not hold matrices with the same number of rows.
    """
    one = [as_array(function, f"a[{i}]", x) for i, x in enumerate(a)]
    rows = one[0].shape[0] if one and one[0].ndim else 0
    other = None if b is None else [as_array(function, f"b[{i}]", x) for i, x in enumerate(b)]
    mask = None if mask is None else as_array(function, "mask", mask)
    for side, layers in (("a", one), ("b", other)):
        if layers is not None and not layers:
            raise ValueError(f"{function}: {side} must hold at least one representation, got an empty list")
        for i, x in enumerate(layers or ()):
            check_matrix(function, f"{side}[{i}]", x)
            if x.shape[0] != rows:
                raise ValueError(f"{function}: {side}[{i}] must have {rows} rows like a[0], got {x.shape[0]}")
    check_mask(function, mask, rows)
    return one, other, mask
