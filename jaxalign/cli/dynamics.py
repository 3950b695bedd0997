"""`jaxalign dynamics`: networks that learn two inputs, the theory fitted to them, and figures."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import sys
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxalign._core.atomic import atomic_files, atomic_path
from jaxalign._version import __version__
from jaxalign.cli.console import results
from jaxalign.cli.errors import Problem, bad_input, bad_output
from jaxalign.cli.output import OutputFolder, check_output_options
from jaxalign.dynamics import SETTINGS
from jaxalign.report.files import write_figure
from jaxalign.report.tables import add_row, plain_table
from jaxalign.studies.dynamics_figures import OF_ONE_RUN, OF_OTHERS, OF_RUNS
from jaxalign.studies.panels import Drawn
from jaxalign.studies.two_point_runs import COMPARED, FittedRun, compared_runs, depth_profile

#: All figures, those of the compared networks first.
FIGURES = (*OF_RUNS, *OF_ONE_RUN, *OF_OTHERS)
FILES = ("dynamics.json", "layers.csv")


@dataclass(frozen=True)
class Request:
    """What `jaxalign dynamics --help` describes."""

    settings: tuple[str, ...] = ()
    show_list: bool = False
    figures: tuple[str, ...] = ()
    width: int = 200
    steps: int | None = None
    dx2: float = 1.0
    dy2: float = 0.5
    centered: bool = False
    seed: int = 0
    out: str | None = None
    as_json: bool = False
    quiet: bool = False


def run_dynamics(request: Request) -> None:
    """Check everything, train, print, draw and write one figure after the other.

    Raises:
      Problem: with the exit status, for whatever can be said in a sentence.
    """
    if request.show_list:
        _print_list(as_json=request.as_json)
        return
    check_output_options(request.out, quiet=request.quiet, as_json=request.as_json)
    figures = _chosen_figures(request)
    if not (math.isfinite(request.dx2) and request.dx2 > 0 and math.isfinite(request.dy2) and request.dy2 >= 0):
        raise Problem(f"--dx2 must be positive and --dy2 at least 0, got {request.dx2:g} and {request.dy2:g}")
    folder = None if request.out is None else OutputFolder.prepare(request.out)
    runs = _train(request) if set(figures) - set(OF_OTHERS) or not request.figures else {}
    document = {
        "runs": {name: _defined(run.row) for name, run in runs.items()},
        "settings": {field: getattr(request, field) for field in ("width", "steps", "dx2", "dy2", "centered")},
        "seed": request.seed,
        "jaxalign": __version__,
        "jax": jax.__version__,
    }
    if runs and not (request.quiet or request.as_json):
        results().print(_table(runs))
    written = []
    if folder is not None:
        if runs:
            with bad_output(), atomic_files(folder.path) as staging:
                (staging / FILES[0]).write_text(json.dumps(document, indent=1), encoding="utf-8")
                _write_layers(staging / FILES[1], runs)
            written += FILES
        for name in figures:
            _tell(request, f"drawing {name} ...")
            with bad_input():
                drawn = _drawn(name, runs, request.seed)
            written += _write_drawn(folder, name, drawn)
        _tell(request, f"written to {request.out}: {', '.join(written)}")
    if request.as_json:
        print(json.dumps({**document, "files": [f"{request.out}/{name}" for name in written]}))


def _chosen_figures(request: Request) -> list[str]:
    if request.figures and request.out is None:
        raise Problem("--figure needs --out, the folder that figures are written to")
    known = (*FIGURES, "all")
    unknown = [name for name in request.figures if name not in known]
    if unknown:
        raise Problem(f"--figure must be one of {', '.join(known)}, got {unknown[0]!r}")
    if request.out is None:
        return []
    if "all" in request.figures:
        return list(FIGURES)
    chosen = list(dict.fromkeys(request.figures)) or [*OF_RUNS, *OF_ONE_RUN]
    if request.settings and not set(chosen) - set(OF_OTHERS):
        raise Problem(f"{', '.join(chosen)} train networks of their own: name no settings, or a figure of these")
    return chosen


def _train(request: Request) -> dict[str, FittedRun]:
    names = request.settings or COMPARED
    with bad_input():
        return compared_runs(
            names,
            key=request.seed,
            width=request.width,
            epochs=request.steps,
            dx2=request.dx2,
            dy2=request.dy2,
            centered=request.centered,
            each=lambda name: _tell(request, f"training {name} ({1 + names.index(name)} of {len(names)}) ..."),
        )


def _drawn(name: str, runs: dict[str, FittedRun], seed: int) -> Drawn:
    if name in OF_RUNS:
        return OF_RUNS[name](runs)
    if name in OF_ONE_RUN:
        return OF_ONE_RUN[name](max(runs.values(), key=lambda run: len(run.h_inf)))  # the deepest, the first of these
    return OF_OTHERS[name](key=seed)


def _write_drawn(folder: OutputFolder, name: str, drawn: Drawn) -> list[str]:
    with bad_output():
        write_figure(drawn.figure, folder.path / f"{name}.png")
        with atomic_path(folder.path / f"{name}.npz") as path, path.open("wb") as stream:
            np.savez_compressed(stream, **drawn.arrays)  # type: ignore[arg-type]
    return [f"{name}.png", f"{name}.npz"]


def _write_layers(path: Any, runs: dict[str, FittedRun]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        for place, (name, run) in enumerate(runs.items()):
            columns = {**depth_profile(run), **{f"r2_{v}": np.asarray(run.fit.r2[:, i]) for i, v in enumerate("hyw")}}
            if not place:
                writer.writerow(["setting", *columns])
            writer.writerows([name, *(f"{value:.6g}" for value in row)] for row in zip(*columns.values(), strict=True))


def _table(runs: dict[str, FittedRun]):
    heads = ("R² h", "R² y", "R² w", "SSE", "eta_h", "eta_y", "h in the end", "of the theory", "R² loss")
    fields = ("r2_h", "r2_y", "r2_w", "sse", "eta_h", "eta_y", "h_network", "h_theory", "loss_r2")
    table = plain_table("setting", "layer", *heads, numbers=("layer", *heads))
    for name, run in runs.items():
        # A rate that the run does not tell has a question mark.
        doubt = ("" if run.row.get(f"{field}_identifiable", True) else "?" for field in fields)
        values = (f"{run.row[field]:.3g}{mark}" for field, mark in zip(fields, doubt, strict=True))
        add_row(table, name, f"{run.layer + 1} of {len(run.h_inf)}", *values)
    return table


def _print_list(*, as_json: bool) -> None:
    settings = {
        name: {**dataclasses.asdict(setting), "layer": setting.layer_index} for name, setting in SETTINGS.items()
    }
    if as_json:
        print(json.dumps({"settings": settings, "figures": list(FIGURES)}))
        return
    fields = ("architecture", "activation", "gain", "lr", "width", "hidden", "epochs", "layer", "optimizer")
    table = plain_table("setting", *fields, numbers=fields[2:-1])
    for name, setting in settings.items():
        add_row(table, name, *(str(setting[field]) for field in fields))
    results().print(table)
    print("\nFigures of the networks that are compared: " + ", ".join([*OF_RUNS, *OF_ONE_RUN]))
    print("Figures of networks of their own: " + ", ".join(OF_OTHERS))


def _defined(row: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in row.items()}


def _tell(request: Request, line: str) -> None:
    if not request.quiet:
        print(line, file=sys.stderr if request.as_json else sys.stdout, flush=True)
