"""The study of widths: one file for each task and width, so that it goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from jaxalign._core.atomic import atomic_path
from jaxalign._core.checks import check_distinct, check_integer
from jaxalign.studies.model_pairs import ModelPairs
from jaxalign.studies.wedge_models import EPOCHS
from jaxalign.studies.width_setting import SEEDS, WidthSetting, width_setting

CLASSES, WIDTHS = (4, 6, 10, 18), (16, 32, 64, 128, 256)
_DIGITS = 5  # significant ones in files
_FORMAT = 1


def width_study(
    folder: str | Path,
    *,
    classes: Sequence[int] = CLASSES,
    widths: Sequence[int] = WIDTHS,
    seeds: Sequence[int] = SEEDS,
    epochs: int = EPOCHS,
    progress: Callable[[str], None] | None = None,
) -> list[WidthSetting]:
    """Every width on every task, one file each in `folder`; files that are there already are read instead.

    Args:
      folder: is made if it is not there.
      classes: numbers of labels.
      widths: of hidden layers.
      seeds: of models.
      epochs: passes over the points.
      progress: called with a line of text after each pass and each file.

    Returns:
      The settings, by classes, then width. On one core the default takes about two hours, nearly all of it for the
      width of 256.

    Raises:
      ValueError: as `width_setting`, and when a file is damaged or is of other seeds or passes.
      OSError: when a file cannot be read or written.

    Reference:
      Nielsen et al. (2025), arXiv:2506.03784, figures 3, 17 and 18.
    """
    for argument, values, minimum in (("classes", classes, 4), ("widths", widths, 1), ("seeds", seeds, 0)):
        check_distinct("width_study", argument, values, partial(check_integer, minimum=minimum))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings = []
    for c, width in product(classes, widths):
        path = folder / f"c{c:02d}-w{width:03d}.json"
        if path.exists():
            setting = _read(path)
            if setting.seeds.tolist() != list(seeds) or setting.epochs != epochs:
                raise ValueError(
                    f"width_study: {path} is of {len(setting.seeds)} seeds and {setting.epochs} passes, asked for are "
                    f"{len(seeds)} and {epochs}; give another folder"
                )
        else:
            setting = width_setting(c, width, seeds=seeds, epochs=epochs, progress=progress)
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps({"format": _FORMAT, **_as_json(setting)}) + "\n", encoding="utf-8")
        settings.append(setting)
        if progress is not None:
            progress(f"{path}: {int(setting.kept.sum())} of {len(setting.seeds)} models kept")
    return settings


def read_width_study(folder: str | Path) -> list[WidthSetting]:
    """The settings in a folder that `width_study` wrote, by classes, then width.

    Raises:
      ValueError: for a damaged file, which it names.
      FileNotFoundError: when there is none.
    """
    paths = sorted(Path(folder).glob("c*-w*.json"))
    if not paths:
        raise FileNotFoundError(f"read_width_study: no files c*-w*.json in {folder}")
    return sorted((_read(path) for path in paths), key=lambda setting: (setting.classes, setting.width))


def _read(path: Path) -> WidthSetting:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != _FORMAT:
            raise ValueError("another format")
        read = content.pop("pairs").items()
        columns: dict[str, Any] = {name: None if v is None else np.asarray(v) for name, v in read}
        content |= {name: np.asarray(content[name]) for name in ("seeds", "accuracy", "nll", "orders")}
        return WidthSetting(**content, pairs=ModelPairs(**columns))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a file of width_study: {error}") from error


def _as_json(setting: WidthSetting) -> dict[str, Any]:
    return _rounded({**vars(setting), "pairs": setting.pairs.to_dict()})


def _rounded(value: Any) -> Any:
    """Plain numbers of a few digits, which is more than another machine would reproduce."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, (list, np.ndarray)):
        return [_rounded(item) for item in value]
    if isinstance(value, (np.floating, float)):
        return float(f"{value:.{_DIGITS}g}")
    return value.item() if isinstance(value, np.generic) else value


def summary_table(settings: Iterable[WidthSetting]) -> str:
    """The study as text: kept models, natural orders, medians and means of the distances."""
    head = ("classes", "width", "kept", "natural", "d_LLV", "d_fg", "m_CCA", "KL")
    lines: list[tuple[str, ...]] = [head]
    for setting in settings:
        row = setting.summary()
        cells = [f"{_shown(row[f'{k}_median'])} ({_shown(row[k])})" for k in ("llv", "d_fg", "cca_f", "kl")]
        lines.append(
            (str(row["classes"]), str(row["width"]), f"{row['kept']}/{row['models']}", str(row["natural"]), *cells)
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join(["medians (means) over pairs of models kept", *text])


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
