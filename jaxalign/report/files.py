"""A comparison as a folder of files."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from jaxalign._core.atomic import atomic_files, atomic_path
from jaxalign.comparison import Comparison, load_comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Dots per inch of pictures.
RESOLUTION = 150


def write_comparison(result: Comparison, folder: str | os.PathLike[str]) -> list[Path]:
    """Write a comparison as data, tables and pictures; all of them or none.

    | file | content |
    |---|---|
    | `comparison.npz`, `comparison.json` | everything; `jaxalign.load_comparison` reads both |
    | `scores.csv` | one row for every measure and pair of layers |
    | `best-pairs.csv` | the closest layers of every two models |
    | `MEASURE-layers.png` | every layer against every layer |
    | `MEASURE-models.png` | the closest layers of every two models, unless there is one model only |

    Pictures of measures that an earlier comparison in this folder had, and this one has not, go.

    Args:
      result: the comparison.
      folder: where to write, a folder that exists.

    Returns:
      The files, in the order of the table.

    Raises:
      OSError: when a file cannot be written.
      ImportError: without pandas or matplotlib (extra `report`).
    """
    folder = Path(folder)
    earlier = _pictures_there(folder, folder / "comparison.npz")
    with atomic_files(folder) as staging:
        paths = [folder / path.name for path in _write_all(result, staging)]
    for path in earlier.difference(paths):
        path.unlink(missing_ok=True)
    return paths


def _write_all(result: Comparison, folder: Path) -> list[Path]:
    """Every file of the table above."""
    import pandas as pd

    paths = [folder / "comparison.npz", folder / "comparison.json"]
    for path in paths:
        result.save(path)
    best = [{"measure": key, **pair._asdict()} for key in result.values for pair in result.best(key)]
    for name, frame in (("scores.csv", result.to_dataframe()), ("best-pairs.csv", pd.DataFrame(best))):
        paths.append(folder / name)
        with atomic_path(paths[-1]) as temporary:
            frame.to_csv(temporary, index=False)
    for key in result.values:
        paths.append(folder / f"{file_stem(key)}-layers.png")
        write_figure(result.plot(key), paths[-1])
        if len({*result.models_a, *result.models_b}) > 1:
            paths.append(folder / f"{file_stem(key)}-models.png")
            write_figure(result.plot(key, by="model"), paths[-1])
    return paths


def _pictures_there(folder: Path, comparison: Path) -> set[Path]:
    """The pictures that came with the comparison in a folder, if there is a readable one."""
    try:
        keys = list(load_comparison(comparison).values)
    except (OSError, ValueError):
        return set()
    return {folder / f"{file_stem(key)}-{what}.png" for key in keys for what in ("layers", "models")}


def write_figure(figure: Figure, path: Path) -> None:
    """Write a picture; the file appears when it is complete."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=RESOLUTION, bbox_inches="tight")


def file_stem(key: str) -> str:
    """The key of a measure as part of a file name: `cka[linear,biased]` -> `cka-linear-biased`."""
    return re.sub(r"[^\w.=+-]+", "-", key).strip("-")
