"""`jaxalign compare`: files in, scores out, in the terminal, as JSON and in a folder."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxalign._core.strict_json import without_nan
from jaxalign.cli.console import results
from jaxalign.cli.defaults import DEFAULT_MEASURES, DEFAULT_NEIGHBORS
from jaxalign.cli.errors import Problem, bad_input, bad_output
from jaxalign.cli.measure_spec import parse_measure
from jaxalign.cli.models import describe_models, load_models, usable_rows
from jaxalign.cli.output import OutputFolder, check_fresh, check_output_options, keeping_partial
from jaxalign.comparison import Comparison, compare
from jaxalign.features import Layers
from jaxalign.report.files import write_comparison
from jaxalign.report.tables import best_pairs, best_pairs_title

#: Rows of a printed table.
SHOWN_ROWS = 20


@dataclass(frozen=True)
class Request:
    """What `jaxalign compare --help` describes."""

    files: tuple[str, ...]
    #: Empty for `DEFAULT_MEASURES`.
    measures: tuple[str, ...] = ()
    calibrate: int = 0
    seed: int = 0
    alpha: float = 0.05
    out: str | None = None
    as_json: bool = False
    mask_nonfinite: bool = False
    max_memory: int | None = None
    fresh: bool = False
    quiet: bool = False


def run_compare(request: Request) -> None:
    """Check everything, compute, write, print; in this order, so that nothing long fails late.

    Raises:
      Problem: with the exit status, for whatever can be said in a sentence.
    """
    check_output_options(request.out, quiet=request.quiet, as_json=request.as_json)
    check_fresh(request.out, fresh=request.fresh)
    measures = [parse_measure(text) for text in request.measures or DEFAULT_MEASURES]
    models = load_models(request.files)
    if not request.measures:
        _check_enough_for_defaults(next(iter(models.values())).rows)
    mask = usable_rows(models, mask_nonfinite=request.mask_nonfinite)
    folder = None if request.out is None else OutputFolder.prepare(request.out)
    if folder is not None and request.fresh:
        folder.discard_partial()
    if not request.quiet:
        print(*describe_models(models, mask), sep="\n", file=sys.stderr if request.as_json else sys.stdout)
    with keeping_partial(folder), bad_input():
        result = compare(
            models,
            measures=measures,
            calibrate=request.calibrate,
            key=request.seed,
            alpha=request.alpha,
            mask=mask,
            max_memory=request.max_memory,
            resume=None if folder is None else folder.partial,
            progress=False if request.quiet else None,
        )
    files = [] if folder is None else _write(result, folder)
    if not request.quiet and not request.as_json:
        for key in result.values:
            _print_best(result, key, complete="best-pairs.csv" if files else None)
        if files:
            print(f"\nwritten to {request.out}: {', '.join(path.name for path in files)}")
    if request.as_json:
        print(json.dumps(_document(result, models, mask, files)))


def _check_enough_for_defaults(examples: int) -> None:
    """Raise where a measure that nobody asked for cannot be computed."""
    needed = DEFAULT_NEIGHBORS + 1
    if examples < needed:
        raise Problem(
            f"the default measures ({', '.join(DEFAULT_MEASURES)}) need at least {needed} examples, got {examples}: "
            "choose with --measure, for example --measure cka --measure mutual_knn:k=3"
        )


def _write(result: Comparison, folder: OutputFolder) -> list[Path]:
    with bad_output():
        files = write_comparison(result, folder.path)
    shutil.rmtree(folder.partial, ignore_errors=True)
    return files


def _print_best(result: Comparison, key: str, *, complete: str | None) -> None:
    """The table of best pairs of one measure."""
    table, left_out = best_pairs(result, key, limit=SHOWN_ROWS)
    print(f"\n{best_pairs_title(result, key)}\n")
    results().print(table)
    if left_out:
        where = f"all in {complete}" if complete else "--out or --json gives all"
        print(f"and {left_out} more pairs of models; {where}")


def _document(
    result: Comparison, models: Mapping[str, Layers], mask: np.ndarray | None, files: list[Path]
) -> dict[str, Any]:
    """What `--json` prints."""
    best = {key: [without_nan(pair._asdict()) for pair in result.best(key)] for key in result.values}
    return {
        "models": {name: layers.source for name, layers in models.items()},
        "masked_rows": [] if mask is None else np.flatnonzero(~mask).tolist(),
        "best": best,
        "comparison": json.loads(result.to_json()),
        "files": [str(path) for path in files],
    }
