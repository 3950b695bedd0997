"""The files on the command line, read as models: names, layers, and which rows can be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from jaxalign import features
from jaxalign.cli.errors import Problem, bad_input
from jaxalign.comparison.ids import check_same_ids
from jaxalign.features import Layers
from jaxalign.features.files import SUFFIXES

#: Files whose problems one message lists.
SHOWN_FILES = 3
#: Models of a printed list.
SHOWN_MODELS = 20


def load_models(arguments: Sequence[str]) -> dict[str, Layers]:
    """Model name -> layers, memory-mapped, all of the same examples.

    Args:
      arguments: paths, or `NAME=PATH`. Without a name a model is called after its file.

    Raises:
      Problem: for a file that cannot be read, names that repeat, different numbers of rows,
        ids that disagree.
    """
    models = {}
    for name, path in name_models(arguments).items():
        with bad_input():
            models[name] = features.load(path)
    _check_rows(models)
    _check_ids(models)
    return models


def name_models(arguments: Sequence[str]) -> dict[str, Path]:
    """A name for every path: the one given, else the file's, with folders before it where files share one.

    Raises:
      Problem: when a name, or a path without a name, is given twice.
    """
    given: list[tuple[str | None, Path]] = [_split(argument) for argument in arguments]
    unnamed = [path for name, path in given if name is None]
    automatic = iter(_automatic_names(unnamed))
    names = [next(automatic) if name is None else name for name, _ in given]
    for name, (_, path) in zip(names, given, strict=True):
        if names.count(name) > 1:
            raise Problem(f"two models are called {name!r}, one of them {path}: give another name as NAME={path}")
    return dict(zip(names, (path for _, path in given), strict=True))


def usable_rows(models: Mapping[str, Layers], *, mask_nonfinite: bool) -> np.ndarray | None:
    """A mask without the rows that hold NaN or infinity in any layer; None when all rows can be used.

    Raises:
      Problem: when there are such rows and they are not to be masked, naming file, layer and
        row; or when no row is left.
    """
    if mask_nonfinite:
        mask = features.finite_mask(*models.values())
        if not mask.any():
            raise Problem("--mask-nonfinite leaves no row: every example is NaN or infinite in some layer")
        return None if mask.all() else mask
    found = []
    for layers in models.values():
        try:
            features.check_finite(layers)
        except ValueError as error:
            found.append(str(error).partition(". Correct the data")[0])
    if found:
        more = [f"and in {len(found) - SHOWN_FILES} more files"] if len(found) > SHOWN_FILES else []
        lines = "\n".join([*found[:SHOWN_FILES], *more])
        raise Problem(f"{lines}\nCorrect the data, or leave such rows out of all layers with --mask-nonfinite.")
    return None


def describe_ids(models: Mapping[str, Layers]) -> str:
    """Whether the files say that their rows are the same examples; nothing to say about one file."""
    without = [name for name, layers in models.items() if layers.ids is None]
    if len(models) == 1:
        return ""
    if not without:
        return "example ids agree"
    if len(without) == len(models):
        return "no example ids in the files: row i is taken to be the same example in all"
    shown = ", ".join(without[:SHOWN_FILES]) + (", ..." if len(without) > SHOWN_FILES else "")
    return f"no example ids in {shown}: row i is taken to be the same example as in the others"


def describe_models(models: Mapping[str, Layers], mask: np.ndarray | None) -> list[str]:
    """What is compared, in a few lines."""
    rows = next(iter(models.values())).rows
    layers = sum(map(len, models.values()))
    counts = f"{_count(len(models), 'model')}, {_count(layers, 'layer')}, {_count(rows, 'example')}"
    lines = ["; ".join(filter(None, (counts, describe_ids(models))))]
    if mask is not None:
        dropped = int(np.sum(~mask))
        lines.append(f"{_count(dropped, 'example')} with NaN or infinity left out, {rows - dropped} used")
    doubles = any(array.dtype == np.float64 for model in models.values() for array in model.values())
    if doubles and not jax.config.read("jax_enable_x64"):
        lines.append("float64 is computed in float32; with JAX_ENABLE_X64=1 in the environment it stays float64")
    width = max(len(name) for name in models)
    for name, model in list(models.items())[:SHOWN_MODELS]:
        widths = sorted({array.shape[1] for array in model.values()})
        features = f"{widths[0]}" if len(widths) == 1 else f"{widths[0]} to {widths[-1]}"
        dtypes = ", ".join(sorted({str(array.dtype) for array in model.values()}))
        lines.append(f"  {name:<{width}}  {_count(len(model), 'layer')}, {features} features, {dtypes}  {model.source}")
    if len(models) > SHOWN_MODELS:
        lines.append(f"  and {len(models) - SHOWN_MODELS} more")
    return lines


def _split(argument: str) -> tuple[str | None, Path]:
    """`NAME=PATH`, unless there is a file of that name or the part before `=` is a path itself."""
    name, equals, path = argument.partition("=")
    if not equals or "/" in name or Path(argument).exists():
        return None, Path(argument)
    if not name or not path:
        raise Problem(f"a model is given as PATH or NAME=PATH, got {argument!r}")
    return name, Path(path)


def _automatic_names(paths: Sequence[Path]) -> list[str]:
    """File names without suffix; with as many folders, then the suffix, as it takes to tell them apart."""
    resolved = [path.resolve() for path in paths]
    stems = [path.stem if path.suffix.lower() in SUFFIXES or not path.is_dir() else path.name for path in resolved]
    names = list(stems)
    for depth in range(1, max((len(path.parts) for path in resolved), default=1)):
        repeated = {name for name in names if names.count(name) > 1}
        for i, name in enumerate(names):
            if name in repeated:
                names[i] = "/".join((*resolved[i].parent.parts[1:][-depth:], stems[i]))
    repeated = {name for name in names if names.count(name) > 1}
    return [path.name if name in repeated else name for name, path in zip(names, resolved, strict=True)]


def _check_rows(models: Mapping[str, Layers]) -> None:
    rows = {layers.source: layers.rows for layers in models.values()}
    if len(set(rows.values())) > 1:
        parts = [f"{source} has {count}" for source, count in rows.items()]
        if len(parts) > SHOWN_FILES:
            first = next(iter(rows.values()))
            parts = [parts[0], next(part for part, count in zip(parts, rows.values(), strict=True) if count != first)]
        raise Problem(f"all files must have the same number of rows, one per example: {', '.join(parts)}")


def _check_ids(models: Mapping[str, Layers]) -> None:
    """Compare the ids of all files that have some, before anything is computed and by file name."""
    first: Layers | None = None
    for layers in models.values():
        if layers.ids is None:
            continue
        if first is None:
            first = layers
        with bad_input():
            check_same_ids(str(first.source), first.ids, str(layers.source), layers.ids)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
