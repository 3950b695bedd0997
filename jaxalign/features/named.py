"""Values that a JAX function names, with `jax.ad_checkpoint.checkpoint_name` or as entries of a mapping."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
from jax.extend import core

from jaxalign._core.typing import Array
from jaxalign.features.calls import add_named, apply_to

#: Calls within a function whose values are values of the function; those of loops and branches are not.
_CALLS = {
    "pjit": "jaxpr",
    "jit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}


@dataclass(frozen=True, eq=False)
class NamedFunction:
    """A function as a network without weights.

    No two are equal: what a function reads besides its input, such as the weights of a model that is trained further,
    may be another when it is captured again.
    """

    function: Callable[..., Any]

    def run(
        self, params: Any, rest: Any, x: Any, *, key: Array | None = None, evaluate: bool = False
    ) -> tuple[Any, OrderedDict[str, Array], Any]:
        """Outputs, values named on the way, and entries of the outputs if these are a mapping.

        Args:
          params: not used, a function has no weights of its own.
          rest: not used.
          x: the input.
          key: not used.
          evaluate: not used.
        """
        closed, shapes = jax.make_jaxpr(lambda x: apply_to(self.function, x), return_shape=True)(x)
        found: OrderedDict[str, Array] = OrderedDict()
        values = _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(x), found)
        outputs = jax.tree.unflatten(jax.tree.structure(shapes), values)
        if isinstance(outputs, Mapping):
            for name, value in outputs.items():
                add_named(found, str(name), value)
        return outputs, found, rest


def _evaluate(jaxpr: Any, consts: Any, arguments: Any, found: OrderedDict[str, Array]) -> list[Any]:
    """Values of a traced function; those that it names are added to what was found."""
    values: dict[Any, Any] = {}

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, core.Literal) else values[variable]

    values.update(zip(jaxpr.constvars, consts, strict=True))
    values.update(zip(jaxpr.invars, arguments, strict=True))
    for equation in jaxpr.eqns:
        inputs = [read(variable) for variable in equation.invars]
        inner = equation.params.get(_CALLS.get(equation.primitive.name, ""))
        if inner is not None:
            closed = inner if hasattr(inner, "consts") else core.ClosedJaxpr(inner, ())
            outputs = _evaluate(closed.jaxpr, closed.consts, inputs, found)
        else:
            outputs = _evaluate_one(jaxpr, equation, values)
        if equation.primitive.name == "name":
            add_named(found, equation.params["name"], outputs[0])
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _evaluate_one(jaxpr: Any, equation: Any, values: dict[Any, Any]) -> list[Any]:
    """One equation of a program, as a program of its own: how equations are called differs among versions of JAX."""
    read = list(dict.fromkeys(v for v in equation.invars if not isinstance(v, core.Literal)))
    names = jaxpr.debug_info.with_unknown_names()
    program = core.Jaxpr((), read, equation.outvars, [equation], equation.effects, names)
    return core.jaxpr_as_fun(core.ClosedJaxpr(program, ()))(*(values[variable] for variable in read))
