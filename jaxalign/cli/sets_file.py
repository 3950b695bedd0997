"""The labels and inputs of an earlier run of `jaxalign identify`, read from its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from jaxalign.cli.errors import Problem, bad_input
from jaxalign.identifiability import Sets


def load_sets(path: str, *, rows: int, labels: int) -> tuple[Sets, int | None]:
    """The sets in what `--json` printed or `--out` wrote, and the dimension they were selected for.

    Args:
      path: the file, an object with `sets`, or that object itself.
      rows: how many inputs there are.
      labels: how many labels there are.

    Returns:
      The sets, and the dimension; None when the file does not say.

    Raises:
      Problem: when there is no such file, something else in it, or it is about other inputs or labels.
    """
    document = _document(path)
    for name, counted, what in (("rows", rows, "inputs"), ("all_labels", labels, "labels")):
        known = document.get(name)
        if known is not None and known != counted:
            raise Problem(f"--sets {path}: it is of {known} {what}, the models have {counted}; sets do not fit others")
    sets = document.get("sets", document)
    names = ("label_pivot", "labels", "input_pivot", "inputs")
    missing = [name for name in names if not isinstance(sets, Mapping) or name not in sets]
    if missing:
        raise Problem(
            f"--sets {path}: must be the JSON of an earlier run of 'jaxalign identify', with 'sets'; "
            f"it has no {', '.join(map(repr, missing))}"
        )
    for pivot, others, limit in (("label_pivot", "labels", labels), ("input_pivot", "inputs", rows)):
        _check(path, pivot, others, sets, limit)
    left_out = sets.get("left_out")
    if left_out is None:
        left_out = -1
    elif not (_is_integer(left_out) and 0 <= left_out < labels):
        raise Problem(f"--sets {path}: 'left_out' must be a label in 0..{labels - 1} or null, got {left_out!r}")
    dimension = document.get("dimension")
    if dimension is not None and not (_is_integer(dimension) and dimension > 0):
        raise Problem(f"--sets {path}: 'dimension' must be a positive integer, got {dimension!r}")
    chosen = Sets(
        label_pivot=jnp.int32(sets["label_pivot"]),
        labels=jnp.asarray(sets["labels"], jnp.int32),
        input_pivot=jnp.int32(sets["input_pivot"]),
        inputs=jnp.asarray(sets["inputs"], jnp.int32),
        left_out=jnp.int32(left_out),
    )
    return chosen, dimension


def _document(path: str) -> Mapping[str, Any]:
    try:
        with bad_input(), open(path, encoding="utf-8") as stream:
            text = stream.read()
    except UnicodeDecodeError:
        raise Problem(f"--sets {path}: is no text") from None
    try:
        document = json.loads(text)
    except ValueError:
        raise Problem(f"--sets {path}: is no JSON, or it is damaged") from None
    if not isinstance(document, dict):
        raise Problem(f"--sets {path}: must hold a JSON object, got {type(document).__name__}")
    return document


def _check(path: str, pivot: str, others: str, sets: Mapping[str, Any], limit: int) -> None:
    """Raise unless both are numbers of things that exist, each once."""
    values = sets[others]
    if not isinstance(values, list) or not values or not all(map(_is_integer, [*values, sets[pivot]])):
        raise Problem(f"--sets {path}: {pivot!r} must be an integer and {others!r} a list of them, not empty")
    members = [sets[pivot], *values]
    wrong = [value for value in members if not 0 <= value < limit]
    if wrong:
        raise Problem(f"--sets {path}: {others} must be in 0..{limit - 1}, got {wrong[0]}")
    if len(set(members)) < len(members):
        raise Problem(f"--sets {path}: {pivot!r} and {others!r} must all be different, got {members}")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
