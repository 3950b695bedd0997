"""Measures as text: `cka:kernel=rbf,bandwidth=median,estimator=unbiased`.

    NAME[:KEY=VALUE[,KEY=VALUE]...]

The keys are the keywords of the function of that name. `kernel` takes the name of a
kernel, whose own settings are further keys.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from jaxalign import measures
from jaxalign._core.checks import nearest
from jaxalign.cli.errors import Problem, bad_input
from jaxalign.kernels import RBF, Cosine, Distance, Kernel, Laplacian, Linear, Polynomial
from jaxalign.measures import MEASURES, Measure

#: Kernels by the name that `kernel=` takes.
KERNELS: Mapping[str, type[Kernel]] = {
    "linear": Linear,
    "cosine": Cosine,
    "rbf": RBF,
    "laplacian": Laplacian,
    "distance": Distance,
    "polynomial": Polynomial,
}
#: Keywords of functions that text cannot give: another kernel for the other side.
UNSUPPORTED = {"kernel_y"}


def parse_measure(text: str) -> Measure:
    """The measure that a text names.

    Raises:
      Problem: naming what is unknown, the nearest that is known, and all that are.
    """
    name, _, rest = text.partition(":")
    try:
        if name not in MEASURES:
            raise Problem(f"unknown measure {name!r}{nearest(name, MEASURES) or '.'} Known: {', '.join(MEASURES)}")
        given = _split(rest) if rest or text.endswith(":") else {}
        factory = measure_factory(name)
        allowed = measure_keys(name)
        kernel = _kernel_class(given["kernel"]) if "kernel" in given and "kernel" in allowed else default_kernel(name)
        fields = {} if kernel is None else kernel_keys(kernel)
        for key in given:
            if key not in allowed and key not in fields:
                raise Problem(_unknown_key(name, key, [*allowed, *fields]))
        settings = {key: _value(key, given[key], allowed[key]) for key in given if key in allowed and key != "kernel"}
        with bad_input():
            if kernel is not None and ("kernel" in given or any(key in fields for key in given)):
                settings["kernel"] = kernel(
                    **{key: _value(key, given[key], fields[key]) for key in given if key in fields}
                )
            return factory(**settings)
    except Problem as problem:
        shown = "" if name not in MEASURES and not rest else f"--measure {text!r}: "
        raise Problem(f"{shown}{problem}") from problem


def measure_factory(name: str) -> Callable[..., Measure]:
    """The function of `jaxalign.measures` that makes the measure."""
    return getattr(measures, name)


def default_kernel(name: str) -> type[Kernel] | None:
    """The kernel that a measure has when none is named."""
    parameter = inspect.signature(measure_factory(name)).parameters.get("kernel")
    return None if parameter is None else type(parameter.default)


def measure_keys(name: str) -> dict[str, str]:
    """Keywords of a measure, each with its type as written in the source."""
    parameters = inspect.signature(measure_factory(name)).parameters
    return {key: parameter.annotation for key, parameter in parameters.items() if key not in UNSUPPORTED}


def kernel_keys(kernel: type[Kernel]) -> dict[str, str]:
    """Settings of a kernel, each with its type as written in the source."""
    return {field.name: str(field.type) for field in dataclasses.fields(kernel)}  # pyright: ignore[reportArgumentType]


def _split(text: str) -> dict[str, str]:
    """`a=1,b=2` as a dict."""
    given: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            raise Problem(f"settings are written KEY=VALUE,KEY=VALUE, got {part!r}")
        if key in given:
            raise Problem(f"{key} is given twice")
        given[key] = value
    return given


def _kernel_class(name: str) -> type[Kernel]:
    if name not in KERNELS:
        raise Problem(f"unknown kernel {name!r}{nearest(name, KERNELS) or '.'} Known: {', '.join(KERNELS)}")
    return KERNELS[name]


def _unknown_key(measure: str, key: str, allowed: list[str]) -> str:
    owners = [name for name, kernel in KERNELS.items() if key in kernel_keys(kernel)]
    if owners and "kernel" in allowed:
        return f"{key!r} is a setting of the kernel {' or '.join(owners)}: add kernel={owners[0]}"
    return f"{measure} has no setting {key!r}{nearest(key, allowed) or '.'} Settings: {', '.join(allowed)}"


def _value(key: str, text: str, annotation: str) -> Any:
    """The value of a setting in the type that its annotation asks for."""
    kinds = {part.strip() for part in annotation.split("|")}
    if "None" in kinds and text.lower() == "none":
        return None
    if "bool" in kinds:
        if text.lower() not in ("true", "false"):
            raise Problem(f"{key} must be true or false, got {text!r}")
        return text.lower() == "true"
    if "int" in kinds:
        try:
            return int(text)
        except ValueError:
            raise Problem(f"{key} must be an integer, got {text!r}") from None
    if "float" in kinds:
        try:
            number = float(text)
        except ValueError:
            if "str" in kinds:
                return text
            raise Problem(f"{key} must be a number, got {text!r}") from None
        if not math.isfinite(number):
            raise Problem(f"{key} must be finite, got {text!r}")
        return number
    return text
