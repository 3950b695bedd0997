"""What the layers of a model put out, as a pure function of the model and its input."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import jax
from flax import linen, nnx
from jax.extend.core import get_opaque_trace_state

from jaxalign._core.checks import describe, nearest
from jaxalign._core.typing import Array
from jaxalign.features.calls import add_named, apply_to, as_arguments, as_input
from jaxalign.features.named import NamedFunction

#: Parameters, and what else a model holds: statistics, states of generators, fixed arrays.
Weights = tuple[Any, Any]


def intermediates(model: Any, x: Any, *, layers: str | Sequence[str] = "*") -> tuple[Any, OrderedDict[str, Array]]:
    """Outputs of a model, and of those of its submodules whose names match.

    A submodule is named by its path, with dots (`"layers.3"`, `"encoder.block.0.mlp"`). One that is called more than
    once has its name, `name#2`, `name#3` and so on. Only calls of the module itself (`__call__`) that return one array
    count. The model is run as it is (in training or evaluation mode), and what this changes in it, such as statistics
    of batches, is dropped: the model stays as it was. Nothing has to be sown for it.

    Args:
      model: an NNX module; a pair of a Linen module and its variables; or a function, whose layers are the values that
        it names with `jax.ad_checkpoint.checkpoint_name` (not within loops and branches) and, if it returns a mapping,
        the entries of that.
      x: the input, one row an example: an array, a tuple of what the model takes in order, or a mapping by name.
      layers: a pattern of names as for file names (`*`, `?` and `[...]`; `*` also takes dots in), or a list of them.

    Returns:
      The outputs, and a dictionary from name to array in the order in which the submodules finished: a block comes
      after what is in it. It keeps its order through `jit`, `grad`, `vmap` and `scan`. Of an NNX model, submodules
      that run inside a transformation of JAX or NNX (`scan`, `remat`, `jit` within the model) have no value outside it
      and are left out; of a Linen model, those in lifted transformations are seen if these carry `intermediates`.

    Raises:
      ValueError: for a pattern that matches no submodule; it lists what there is.
      TypeError: for a model or layers that are none.

    Example:
      >>> import jax.numpy as jnp
      >>> model = nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.relu, nnx.Linear(3, 1, rngs=nnx.Rngs(1)))
      >>> outputs, hidden = intermediates(model, jnp.ones((4, 2)))
      >>> {name: h.shape for name, h in hidden.items()}
      {'layers.0': (4, 3), 'layers.2': (4, 1)}
      >>> list(intermediates(model, jnp.ones((4, 2)), layers="*.0")[1])
      ['layers.0']
    """
    x = as_input("intermediates", x)
    network, params, rest = as_capturable("intermediates", model)
    outputs, found, _ = network.run(params, rest, x)
    names = matching("intermediates", found, layers)
    return outputs, OrderedDict((name, found[name]) for name in names)


def layer_names(model: Any, x: Any, *, layers: str | Sequence[str] = "*") -> list[str]:
    """Names of the submodules of a model that match, in the order in which they finish; nothing is computed.

    Args:
      model: a module or a function, as in `intermediates`.
      x: its input, or `jax.ShapeDtypeStruct` in place of arrays.
      layers: a pattern of names, or a list of them, as in `intermediates`.

    Returns:
      Names as `intermediates` gives them.

    Raises:
      ValueError: for a pattern that matches no submodule; it lists what there is.
      TypeError: for a model or layers that are none.

    Example:
      >>> model = linen.Sequential([linen.Dense(3), linen.relu, linen.Dense(1)])
      >>> x = jax.numpy.ones((4, 2))
      >>> layer_names((model, model.init(jax.random.key(0), x)), x)
      ['layers_0', 'layers_2']
    """
    network, params, rest = as_capturable("layer_names", model)
    x = as_input("layer_names", x)
    _, found, _ = jax.eval_shape(network.run, params, rest, x)
    return matching("layer_names", found, layers)


def matching(function: str, names: Iterable[str], layers: str | Sequence[str]) -> list[str]:
    """Those of the names that match one of the patterns, in the order of names.

    Args:
      function: for the message.
      names: of submodules.
      layers: a pattern, or a list of them.

    Raises:
      ValueError: for a pattern that matches nothing.
      TypeError: for anything but strings.
    """
    names = list(names)
    patterns = [layers] if isinstance(layers, str) else layers
    if not isinstance(patterns, Sequence) or not all(isinstance(p, str) for p in patterns) or not patterns:
        raise TypeError(f"{function}: layers must be a pattern of names or a list of them, got {describe(layers)}")
    if not names:
        raise ValueError(f"{function}: the model has no layers: no submodule returns one array, a row for each example")
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            listed = ", ".join(map(repr, names[:8])) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
            raise ValueError(
                f"{function}: layers must match submodules that return one array; {pattern!r} matches none of "
                f"{listed}{nearest(pattern, names)}"
            )
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


@dataclass(frozen=True)
class NnxNetwork:
    """An NNX module without its weights."""

    graphdef: nnx.GraphDef

    def run(
        self, params: Any, rest: Any, x: Any, *, key: Array | None = None, evaluate: bool = False
    ) -> tuple[Any, OrderedDict[str, Array], Any]:
        """Outputs, those of all submodules, and what the module holds afterwards besides parameters.

        Args:
          params: its parameters.
          rest: what else it holds.
          x: the input.
          key: not used: a module has generators of its own.
          evaluate: run it in evaluation mode; `rest` then stays as it is.
        """
        module = nnx.merge(self.graphdef, params, rest, copy=True)
        if evaluate:
            module.eval()
        outputs, found = _call_nnx(module, x)
        return outputs, found, rest if evaluate else nnx.split(module, nnx.Param, ...)[2]

    def model(self, params: Any, rest: Any) -> Any:
        """The module with these weights."""
        return nnx.merge(self.graphdef, params, rest, copy=True)


@dataclass(frozen=True)
class LinenNetwork:
    """A Linen module without its variables."""

    module: linen.Module

    def run(
        self, params: Any, rest: Any, x: Any, *, key: Array | None = None, evaluate: bool = False
    ) -> tuple[Any, OrderedDict[str, Array], Any]:
        """Outputs, those of all submodules, and the other variables afterwards.

        Args:
          params: the collection `params`.
          rest: the other collections.
          x: the input.
          key: from which streams of random numbers are made, `dropout` among them; None for none.
          evaluate: keep the other variables as they are. How a module is evaluated, it says itself.
        """
        calls: list[str] = []

        def noted(module: linen.Module, method: str) -> bool:
            if method != "__call__" or not module.path:
                return False
            calls.append(".".join(module.path))
            return True

        arguments, keywords = as_arguments(x)
        outputs, changed = self.module.apply(
            {"params": params, **rest},
            *arguments,
            rngs=None if key is None else {"dropout": key, "default": jax.random.fold_in(key, 1)},
            mutable=[*rest, "intermediates"],
            capture_intermediates=noted,
            **keywords,
        )
        sown = dict(changed)
        tree = sown.pop("intermediates", {})
        found: OrderedDict[str, Array] = OrderedDict()
        seen: dict[str, int] = {}
        for name in calls:
            values = functools.reduce(lambda t, part: t.get(part, {}), name.split("."), tree).get("__call__", ())
            number = seen[name] = seen.get(name, 0) + 1
            if number <= len(values):
                add_named(found, name, values[number - 1])
        return outputs, found, rest if evaluate else {**rest, **sown}

    def model(self, params: Any, rest: Any) -> Any:
        """The pair of module and variables."""
        return self.module, {"params": params, **rest}


Network = NnxNetwork | LinenNetwork


def as_capturable(function: str, model: Any) -> tuple[Network | NamedFunction, Any, Any]:
    """As `as_network`, and functions, which have no parameters."""
    if callable(model) and not isinstance(model, (nnx.Module, linen.Module, type)):
        return NamedFunction(model), {}, {}
    return as_network(function, model)


def as_network(function: str, model: Any) -> tuple[Network, Any, Any]:
    """The structure of a model, which is hashable, its parameters, and what else it holds.

    Args:
      function: for the message.
      model: an NNX module, or a pair of a Linen module and its variables.

    Raises:
      TypeError: for anything else.
    """
    if isinstance(model, nnx.Module):
        graphdef, params, rest = nnx.split(model, nnx.Param, ...)
        return NnxNetwork(graphdef), params, rest
    if isinstance(model, tuple) and len(model) == 2 and isinstance(model[0], linen.Module):
        variables = {name: v for name, v in dict(model[1]).items() if name != "intermediates"}
        return LinenNetwork(model[0]), variables.pop("params", {}), variables
    if isinstance(model, linen.Module):
        raise TypeError(f"{function}: model is a Linen module without variables; pass (module, variables)")
    raise TypeError(
        f"{function}: model must be an NNX module or a pair (Linen module, variables), got {describe(model)}"
    )


# `nnx.capture` gives the outputs of each module, but not the order of modules. Here the modules of a copy become
# instances of a class that differs in `__call__` only; those of the user, and their classes, stay as they are.

_note: ContextVar[Callable[[Any, Any], None] | None] = ContextVar("note", default=None)


def _call_nnx(module: nnx.Module, x: Any) -> tuple[Any, OrderedDict[str, Array]]:
    """Outputs of a module, which is changed by it and must be a copy, and of its submodules."""
    found: OrderedDict[str, Array] = OrderedDict()
    submodules = [(path, m) for path, m in nnx.iter_modules(module) if path]
    names = {id(m): ".".join(map(str, path)) for path, m in submodules}
    outside = get_opaque_trace_state()

    def note(submodule: Any, output: Any) -> None:
        # What is made inside a transformation within the model is no value outside of it.
        if id(submodule) in names and get_opaque_trace_state() == outside:
            add_named(found, names[id(submodule)], output)

    for _, m in submodules:
        if callable(m):
            object.__setattr__(m, "__class__", _noting(type(m)))
    token = _note.set(note)
    try:
        return apply_to(module, x), found
    finally:
        _note.reset(token)


@functools.lru_cache(maxsize=512)
def _noting(cls: type) -> type:
    """A subclass whose calls are noted."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = cls.__call__(self, *args, **kwargs)
        note = _note.get()
        if note is not None:
            note(self, output)
        return output

    body = {"__call__": functools.wraps(cls.__call__)(call), "__module__": cls.__module__, "__doc__": cls.__doc__}
    return type(cls)(cls.__name__, (cls,), body)
