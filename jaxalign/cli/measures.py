"""`jaxalign measures`: the catalogue, from the measures themselves."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Sequence
from typing import Any

from jaxalign import alignment
from jaxalign.alignment.kernel import ESTIMATORS, SCALINGS
from jaxalign.cli.measure_spec import KERNELS, kernel_keys, measure_factory, measure_keys, parse_measure
from jaxalign.engines.neighbors import METRICS
from jaxalign.kernels import Kernel
from jaxalign.kernels.bandwidth import NAMED_RULES
from jaxalign.measures import INVARIANCES, MEASURES

#: Settings that take one of a few words.
CHOICES: dict[str, Sequence[str]] = {
    "kernel": tuple(KERNELS),
    "estimator": ESTIMATORS,
    "scaling": SCALINGS,
    "metric": METRICS,
    "bandwidth": (*NAMED_RULES, "NUMBER"),
}

UNBIASED = ":estimator=unbiased"


def run_measures(*, as_json: bool) -> None:
    """Print the catalogue."""
    measures = [describe_measure(text) for name in MEASURES for text in variants(name)]
    kernels = [describe_kernel(name, kernel) for name, kernel in KERNELS.items()]
    if as_json:
        print(json.dumps({"measures": measures, "kernels": kernels, "invariances": dict(INVARIANCES)}))
        return
    print("Measures, as --measure takes them; with their settings\n")
    for measure in measures:
        low, high = _bound(measure["range"][0], "-infinity"), _bound(measure["range"][1], "infinity")
        direction = "higher" if measure["larger_is_closer"] else "lower"
        print(f"{measure['name']}  -  {measure['summary']}")
        for head, text in (
            ("range", f"{low} to {high}; {direction} is more alike"),
            ("unchanged by", ", ".join(measure["unchanged_by"])),
            ("unrelated", measure["unrelated"]),
            ("settings", _settings(measure["settings"])),
            ("reference", measure["reference"]),
        ):
            print(f"  {head:<13} {text}")
        print()
    print("Kernels, as kernel= takes them; their settings are further keys\n")
    for kernel in kernels:
        print(f"{kernel['name']:<11} {kernel['formula']}")
        if kernel["settings"]:
            print(f"  {'settings':<13} {_settings(kernel['settings'])}")
    print("\nUnchanged by, done to one of the two inputs alone:")
    for name, meaning in INVARIANCES.items():
        if any(name in measure["unchanged_by"] for measure in measures):
            print(f"  {name:<13} {meaning}")
    print(
        "\nWhat leaves a score unchanged is stated for the settings shown; another kernel changes it."
        "\nExample: --measure cka:kernel=rbf,bandwidth=0.5"
    )


def variants(name: str) -> list[str]:
    """The measure with its defaults, and with the other estimator where it has one: the ranges differ."""
    return [name, name + UNBIASED] if "estimator" in measure_keys(name) else [name]


def describe_measure(text: str) -> dict[str, Any]:
    """What is known about a measure, with infinite bounds as None."""
    measure = parse_measure(text)
    parameters = inspect.signature(measure_factory(measure.name)).parameters
    given = {"estimator": "unbiased"} if text.endswith(UNBIASED) else {}
    return {
        "name": text,
        "summary": _summary(getattr(alignment, measure.name)),
        "definition": measure.definition,
        "range": [bound if math.isfinite(bound) else None for bound in measure.bounds],
        "larger_is_closer": measure.larger_is_closer,
        "symmetric": measure.symmetric,
        "unchanged_by": [name for name in INVARIANCES if name in measure.invariances],
        "unrelated": measure.chance,
        "settings": [_setting(key, given.get(key, parameters[key].default)) for key in measure_keys(measure.name)],
        "reference": measure.reference,
    }


def describe_kernel(name: str, kernel: type[Kernel]) -> dict[str, Any]:
    """A kernel's formula and settings."""
    defaults = inspect.signature(kernel).parameters
    settings = [_setting(key, defaults[key].default) for key in kernel_keys(kernel)]
    return {"name": name, "formula": _summary(kernel), "settings": settings}


def _setting(key: str, default: Any) -> dict[str, Any]:
    """A keyword, its default and the words it takes."""
    if isinstance(default, Kernel):
        default = default.definition
    return {"key": key, "default": default, "choices": list(CHOICES.get(key, ()))}


def _settings(settings: list[dict[str, Any]]) -> str:
    """`k=10, metric=cosine (or euclidean)`."""
    parts = []
    for setting in settings:
        others = [choice for choice in setting["choices"] if choice != setting["default"]]
        parts.append(f"{setting['key']}={setting['default']}" + (f" (or {', '.join(others)})" if others else ""))
    return "; ".join(parts)


def _summary(documented: Any) -> str:
    """The first line of the documentation."""
    return (inspect.getdoc(documented) or "").splitlines()[0].strip("`").replace("`", "").rstrip(".")


def _bound(bound: float | None, absent: str) -> str:
    return absent if bound is None else f"{bound:g}"
