"""Comparisons as files: JSON text, or matrices and a JSON text in one archive."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxalign._core.atomic import atomic_path
from jaxalign._core.checks import nearest
from jaxalign.comparison.scores import OF_LAYERS, OF_MODELS, Calibrated, Scores

FORMAT = "jaxalign-comparison-1"
SUFFIXES = (".npz", ".json")
#: The matrices of a calibrated measure.
MATRICES = (*OF_LAYERS, *OF_MODELS)
#: Those of them that are shares of random orders.
PVALUES = ("pvalues", "adjusted", "best_pvalues")


def as_dict(result: Scores) -> dict[str, Any]:
    """Everything as numbers, strings, lists and dicts.

    NaN is None, as is an infinite bound; an infinite score is `"inf"` or `"-inf"`.
    """
    return {
        "format": FORMAT,
        **_describe(result),
        "values": {key: _plain(matrix.tolist()) for key, matrix in result.values.items()},
        "calibrations": {
            key: {name: _plain(getattr(chance, name).tolist()) for name in MATRICES}
            for key, chance in result.calibrations.items()
        },
    }


def as_json(result: Scores) -> str:
    """`as_dict` as strict JSON, which has neither NaN nor infinity."""
    return json.dumps(as_dict(result), allow_nan=False, default=dict)


def write(result: Scores, path: str | os.PathLike[str]) -> None:
    """Write to `.npz` or `.json`; the file is there whole or not at all."""
    suffix = _suffix("Comparison.save", path)
    with atomic_path(path) as temporary:
        if suffix == ".json":
            temporary.write_text(as_json(result), encoding="utf-8")
            return
        content = {
            "format": FORMAT,
            **_describe(result),
            "values": list(result.values),
            "calibrations": list(result.calibrations),
        }
        text = json.dumps(content, allow_nan=False, default=dict)
        arrays: dict[str, Any] = {f"values_{i}": matrix for i, matrix in enumerate(result.values.values())}
        for i, chance in enumerate(result.calibrations.values()):
            arrays |= {f"{name}_{i}": getattr(chance, name) for name in MATRICES}
        with temporary.open("wb") as stream:
            np.savez_compressed(stream, comparison=np.asarray(text), **arrays)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The fields of the comparison in a file.

    Raises:
      OSError: when the file cannot be opened.
      ValueError: when it is not a comparison, or damaged, naming the file.
    """
    suffix = _suffix("load_comparison", path)
    with Path(path).open("rb"):
        pass  # what cannot be opened says so itself
    try:
        return _fields(*(_read_json(path) if suffix == ".json" else _read_npz(path)))
    except Exception as error:  # damage shows as errors of many kinds
        reason = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__} {error}"
        raise ValueError(f"load_comparison: {os.fspath(path)} is not a readable comparison: {reason}") from None


def _describe(result: Scores) -> dict[str, Any]:
    """All fields but the scores, and their types."""
    content = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    content["dtypes"] = {key: str(matrix.dtype) for key, matrix in result.values.items()}
    content["bounds"] = {key: [b if math.isfinite(b) else None for b in pair] for key, pair in result.bounds.items()}
    content["names_a"], content["names_b"] = list(result.names_a), list(result.names_b)
    return content


def _plain(value: Any) -> Any:
    """Nested lists of what JSON can hold."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if math.isfinite(value) else None if math.isnan(value) else str(value)


def _read_json(path: str | os.PathLike[str]) -> tuple[Any, Any, Any]:
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    _check_format(content)
    return content, content["values"], content.get("calibrations", {})


def _read_npz(path: str | os.PathLike[str]) -> tuple[Any, Any, Any]:
    with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        if archive.zip.testzip() is not None:
            raise ValueError("its checksums are wrong")
        if "comparison" not in archive.files:
            raise ValueError(f"it holds {', '.join(archive.files) or 'nothing'}")
        content = json.loads(str(archive["comparison"]))
        _check_format(content)
        chances = {
            key: {name: archive[f"{name}_{i}"] for name in MATRICES}
            for i, key in enumerate(content.get("calibrations", ()))
        }
        return content, {key: archive[f"values_{i}"] for i, key in enumerate(content["values"])}, chances


def _check_format(content: Any) -> None:
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise ValueError(f"its format is {found!r}, not {FORMAT!r}")


def _fields(content: dict[str, Any], values: dict[str, Any], chances: dict[str, Any]) -> dict[str, Any]:
    """What `Scores` is made of."""
    result = {
        "values": {key: np.asarray(value, np.dtype(content["dtypes"][key])) for key, value in values.items()},
        "layers_a": tuple((str(model), str(layer)) for model, layer in content["layers_a"]),
        "layers_b": tuple((str(model), str(layer)) for model, layer in content["layers_b"]),
        "widths_a": tuple(content["widths_a"]),
        "widths_b": tuple(content["widths_b"]),
        "definitions": content["definitions"],
        "bounds": {key: _bounds(*pair) for key, pair in content["bounds"].items()},
        "chance": content["chance"],
        "larger_is_closer": content["larger_is_closer"],
        "symmetric": content["symmetric"],
        "same": content["same"],
        "info": content["info"],
    }
    types = {key: matrix.dtype for key, matrix in result["values"].items()}
    result["calibrations"] = {
        key: Calibrated(
            **{name: np.asarray(matrices[name], np.float64 if name in PVALUES else types[key]) for name in MATRICES}
        )
        for key, matrices in chances.items()
    }
    shape = len(result["layers_a"]), len(result["layers_b"])
    matrices = [*result["values"].items()]
    matrices += [(key, getattr(c, name)) for key, c in result["calibrations"].items() for name in OF_LAYERS]
    for key, matrix in matrices:
        if matrix.shape != shape:
            raise ValueError(f"scores of {key} have shape {matrix.shape}, layers make {shape}")
    return result


def _bounds(low: float | None, high: float | None) -> tuple[float, float]:
    return (-math.inf if low is None else low, math.inf if high is None else high)


def _suffix(function: str, path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"{function}: path must end in {' or '.join(SUFFIXES)}, got {os.fspath(path)!r}{nearest(suffix, SUFFIXES)}"
        )
    return suffix
