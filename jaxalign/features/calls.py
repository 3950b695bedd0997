"""How a model is called with one batch, and how what it put out is named."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxalign._core.checks import as_array
from jaxalign._core.typing import Array


def as_input(function: str, x: Any) -> Any:
    """Arrays of an input: one, a tuple of those that a model takes in order, or a mapping by name.

    Raises:
      TypeError: for anything that is no array, and names that are no strings.
    """
    if isinstance(x, Mapping):
        for name in x:
            if not isinstance(name, str):
                raise TypeError(f"{function}: names of inputs must be strings, got {name!r}")
        return {name: as_input(function, value) for name, value in x.items()}
    if isinstance(x, tuple):
        return tuple(as_input(function, value) for value in x)
    return x if isinstance(x, jax.ShapeDtypeStruct) else as_array(function, "x", x)


def as_arguments(x: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional arguments and keywords."""
    if isinstance(x, Mapping):
        return (), dict(x)
    return (x if isinstance(x, tuple) else (x,)), {}


def apply_to(function: Callable[..., Any], x: Any) -> Any:
    """What a model or a function makes of an input."""
    arguments, keywords = as_arguments(x)
    return function(*arguments, **keywords)


def add_named(found: OrderedDict[str, Array], name: str, output: Any) -> None:
    """Add an output under its name, or the next number of it, if it is one array."""
    if not isinstance(output, jax.Array):
        return
    number, key = 1, name
    while key in found:
        number += 1
        key = f"{name}#{number}"
    found[key] = output
