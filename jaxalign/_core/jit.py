"""`jax.jit` that keeps a function's signature and takes any kind of array."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import jax
from jax.core import Tracer

from jaxalign._core.checks import as_array, check_pytree, nearest

P = ParamSpec("P")
R = TypeVar("R")


def jit(*, static: tuple[str, ...] = ()) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile a public function whose positional parameters, and `mask` and `weights`, are arrays.

    Arrays of other libraries (NumPy, torch, anything with `__array__` or DLPack) are
    converted at the door, so that the error for a wrong one names the function and
    the argument. Type checkers see the signature of the function itself.

    Args:
      static: names of keyword arguments that are hashable facts, not arrays.
    """

    def wrap(fn: Callable[P, R]) -> Callable[P, R]:
        name = getattr(fn, "__name__", "function").lstrip("_")  # the compiled part of a function is `_function`
        parameters = inspect.signature(fn).parameters.values()
        annotations = {p.name: p.annotation for p in parameters}
        positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        arrays = {*positional, "mask", "weights"} - set(static)
        optional = {p.name for p in parameters if p.default is None}

        def taken(argument: str, value: Any) -> Any:
            if argument in arrays:
                return value if value is None and argument in optional else as_array(name, argument, value)
            if argument in annotations and argument not in static:
                check_pytree(name, argument, value, annotations[argument])
            if argument in static and isinstance(value, Tracer):
                raise TypeError(
                    f"{name}: {argument} must be known when it is compiled, got a traced value; "
                    f"name it in static_argnames of the jit around"
                )
            return value

        compiled = jax.jit(fn, static_argnames=static)

        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            for argument in kwargs:
                if argument not in annotations:
                    hint = nearest(argument, annotations)
                    raise TypeError(f"{name}: unexpected keyword argument {argument!r}{hint}")
            rest = args[len(positional) :]
            args = tuple(taken(argument, value) for argument, value in zip(positional, args, strict=False))
            return compiled(*args, *rest, **{argument: taken(argument, value) for argument, value in kwargs.items()})

        return cast(Callable[P, R], call)

    return wrap
