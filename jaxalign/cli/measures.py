"""`jaxalign measures`: the catalogue, from the measures themselves."""

from __future__ import annotations

import inspect
import json
import math
import textwrap
from collections.abc import Sequence
from typing import Any

from jaxalign import alignment
from jaxalign.alignment.cca import REDUCTIONS
from jaxalign.alignment.cka import ESTIMATORS as CKA_ESTIMATORS
from jaxalign.alignment.distance_matrices import METRICS as RDM_METRICS
from jaxalign.alignment.distance_matrices import NORMS, ROWS
from jaxalign.alignment.feature_matching import KINDS
from jaxalign.alignment.intrinsic import METHODS
from jaxalign.alignment.kernel import CENTERING_OF, ESTIMATORS, SCALINGS
from jaxalign.alignment.rdm_comparisons import COMPARISONS
from jaxalign.alignment.second_order import ENTRIES
from jaxalign.alignment.shape import ALIGNMENTS
from jaxalign.cli.measure_spec import KERNELS, kernel_keys, measure_factory, measure_keys, parse_measure
from jaxalign.engines.neighbors import METRICS
from jaxalign.kernels import Kernel
from jaxalign.kernels.bandwidth import NAMED_RULES
from jaxalign.measures import INVARIANCES, MEASURES
from jaxalign.signatures.shaped import SCALES as SHAPE_SCALES
from jaxalign.signatures.tuning import SCALES as TUNING_SCALES

#: Settings that take one of a few words; those of one measure alone under its name.
CHOICES: dict[str | tuple[str, str], Sequence[str]] = {
    "kernel": tuple(KERNELS),
    "estimator": ESTIMATORS,
    ("cka", "estimator"): CKA_ESTIMATORS,
    ("hsic", "estimator"): tuple(CENTERING_OF),
    "scaling": SCALINGS,
    "metric": METRICS,
    ("rsa", "metric"): RDM_METRICS,
    ("rsm_distance", "metric"): RDM_METRICS,
    "norm": tuple(NORMS),
    "rows": ROWS,
    "comparison": tuple(COMPARISONS),
    "entries": ENTRIES,
    "reduce": tuple(REDUCTIONS),
    "scale": SHAPE_SCALES,
    ("soft_matching_distance", "scale"): TUNING_SCALES,
    "alignment": tuple(ALIGNMENTS),
    "method": METHODS,
    "kind": KINDS,
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
            ("also", _facts(measure)),
            ("unrelated", measure["unrelated"]),
            ("settings", _settings(measure["settings"])),
            ("reference", measure["reference"]),
        ):
            if text:
                print(textwrap.fill(text, 150, initial_indent=f"  {head:<13} ", subsequent_indent=" " * 16))
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


def _facts(measure: dict[str, Any]) -> str:
    """What else there is to know, in words; nothing for most measures."""
    return "; ".join(
        words
        for words, holds in (
            ("a metric", measure["metric"]),
            ("the first model and the second play different parts", not measure["symmetric"]),
            ("needs more examples than features", measure["needs_more_examples_than_features"]),
            ("both models must have the same features, the classes", measure["same_features"]),
        )
        if holds
    )


def variants(name: str) -> list[str]:
    """The measure with its defaults, and with the other estimator where it has one: the ranges differ."""
    parameter = inspect.signature(measure_factory(name)).parameters.get("estimator")
    return [name] if parameter is None or parameter.default == "unbiased" else [name, name + UNBIASED]


def describe_measure(text: str) -> dict[str, Any]:
    """What is known about a measure, with infinite bounds as None."""
    measure = parse_measure(text)
    parameters = inspect.signature(measure_factory(measure.name)).parameters
    given = {"estimator": "unbiased"} if text.endswith(UNBIASED) else {}
    documented = getattr(alignment, measure.name, None) or measure_factory(measure.name)
    return {
        "name": text,
        "summary": _summary(documented),
        "definition": measure.definition,
        "range": [bound if math.isfinite(bound) else None for bound in measure.bounds],
        "larger_is_closer": measure.larger_is_closer,
        "symmetric": measure.symmetric,
        "metric": measure.metric,
        "needs_more_examples_than_features": measure.needs_more_examples,
        "same_features": measure.same_features,
        "unchanged_by": [name for name in INVARIANCES if name in measure.invariances],
        "unrelated": measure.chance,
        "settings": [
            _setting(measure.name, key, given.get(key, parameters[key].default)) for key in measure_keys(measure.name)
        ],
        "reference": measure.reference,
    }


def describe_kernel(name: str, kernel: type[Kernel]) -> dict[str, Any]:
    """A kernel's formula and settings."""
    defaults = inspect.signature(kernel).parameters
    settings = [_setting(name, key, defaults[key].default) for key in kernel_keys(kernel)]
    return {"name": name, "formula": _summary(kernel), "settings": settings}


def _setting(owner: str, key: str, default: Any) -> dict[str, Any]:
    """A keyword, its default and the words it takes."""
    if isinstance(default, Kernel):
        default = next(name for name, kernel in KERNELS.items() if type(default) is kernel)
    # Of a kernel, `scale` is a number.
    words = () if owner in KERNELS and key == "scale" else CHOICES.get((owner, key), CHOICES.get(key, ()))
    return {"key": key, "default": default, "choices": list(words)}


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
