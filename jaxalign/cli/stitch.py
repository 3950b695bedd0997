"""`jaxalign stitch`: maps from the layers of one model to those of another, and what they cost its head."""

from __future__ import annotations

import csv
import functools
import json
import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.atomic import atomic_files
from jaxalign._core.strict_json import without_nan
from jaxalign._version import __version__
from jaxalign.cli.console import results
from jaxalign.cli.errors import Problem, bad_input, bad_output
from jaxalign.cli.models import describe_ids, load_models, usable_rows
from jaxalign.cli.output import OutputFolder, check_output_options
from jaxalign.cli.stitch_pairs import Stitcher, closed_form_pairs, list_pairs, ridge_pairs, stitcher_of
from jaxalign.cli.task_files import HeadFile, chosen_layers, head_for, load_labels
from jaxalign.features import Layers
from jaxalign.report.tables import add_row, number, plain_table
from jaxalign.signatures.whitened import UninformativeWarning
from jaxalign.stitching import LinearStitch, evaluate_stitch
from jaxalign.stitching.row_split import two_sides

#: Rows of a printed table.
SHOWN_ROWS = 20


@dataclass(frozen=True)
class Request:
    """What `jaxalign stitch --help` describes."""

    source: str
    target: str
    source_layers: tuple[str, ...] = ()
    target_layers: tuple[str, ...] = ()
    method: str = "ridge"
    penalty: float | None = None
    rank: int | None = None
    head: str | None = None
    head_layer: str | None = None
    labels: str | None = None
    held_out: float = 0.5
    seed: int = 0
    out: str | None = None
    as_json: bool = False
    mask_nonfinite: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Task:
    """What comes after a layer of the target."""

    layer: str
    head: HeadFile
    labels: np.ndarray


def run_stitch(request: Request) -> None:
    """Check everything, compute, write, print; in this order, so that nothing long fails late.

    Raises:
      Problem: with the exit status, for whatever can be said in a sentence.
    """
    check_output_options(request.out, quiet=request.quiet, as_json=request.as_json)
    if not 0 < request.held_out < 1:
        raise Problem(f"--held-out must be a share of the examples, between 0 and 1, got {request.held_out}")
    stitcher = stitcher_of(request.method, penalty=request.penalty, rank=request.rank)
    models = load_models([request.source, request.target])
    (source_name, source), (target_name, target) = models.items()
    source_layers = chosen_layers("--source-layer", request.source_layers, source)
    target_layers = chosen_layers("--target-layer", request.target_layers, target)
    task = _task(request, target)
    mask = usable_rows(models, mask_nonfinite=request.mask_nonfinite)
    with bad_input():
        sides = two_sides("--held-out", source.rows, request.held_out, mask, jax.random.key(request.seed))
    folder = None if request.out is None else OutputFolder.prepare(request.out)

    how = f"{request.method}, {len(sides[0])} examples to fit on, {len(sides[1])} held out"
    if not request.quiet:
        ids = describe_ids(models)
        title = f"{source_name} into {target_name}: {how}" + (f"; {ids}" if ids else "")
        print(title, file=sys.stderr if request.as_json else sys.stdout)
    with warnings.catch_warnings(), bad_input():
        # Of few rows: what is reported is of others.
        warnings.simplefilter("ignore", UninformativeWarning)
        layers = [source[name] for name in source_layers], [target[name] for name in target_layers]
        if request.method == "ridge":
            misalignment, variance = ridge_pairs(*layers, sides, penalty=request.penalty)
        else:
            misalignment, variance = closed_form_pairs(*layers, sides, stitcher)
        heads = []
        if task is not None:
            judged = functools.partial(stitch_head, source, target, test=sides[1], mask=mask, seed=request.seed)
            heads = [judged(layer, task, stitcher) for layer in source_layers]
    document = {
        "source": {"name": source_name, "path": source.source},
        "target": {"name": target_name, "path": target.source},
        "method": request.method,
        "penalty": request.penalty,
        "rank": request.rank,
        "seed": request.seed,
        "examples_fitted": len(sides[0]),
        "examples_held_out": len(sides[1]),
        "pairs": list_pairs(misalignment, variance, source_layers, target_layers),
        "heads": heads,
        "jaxalign": __version__,
    }
    files = [] if folder is None else write_stitching(document, folder.path)
    if not request.quiet and not request.as_json:
        _print_pairs(document["pairs"])
        if task is not None:
            _print_heads(heads, task)
        if files:
            print(f"\nwritten to {request.out}: {', '.join(path.name for path in files)}")
    if request.as_json:
        print(json.dumps(without_nan({**document, "files": [str(path) for path in files]})))


def stitch_head(
    source: Layers,
    target: Layers,
    layer: str,
    task: Task,
    stitcher: Stitcher,
    *,
    test: np.ndarray,
    mask: np.ndarray | None,
    seed: int,
) -> dict[str, Any]:
    """The stitched model beside the intact one, a probe and controls, for one layer of the source."""
    evaluation = evaluate_stitch(
        jnp.asarray(source[layer]),
        jnp.asarray(target[task.layer]),
        LinearStitch.of(jnp.asarray(task.head.kernel), jnp.asarray(task.head.bias)),
        jnp.asarray(task.labels),
        key=seed,
        stitcher=stitcher,
        held_out=jnp.asarray(test),
        mask=None if mask is None else jnp.asarray(mask),
    )
    return {"source_layer": layer, "target_layer": task.layer, **evaluation.to_dict()}


def write_stitching(document: dict[str, Any], folder: Path) -> list[Path]:
    """Everything as JSON, and tables as CSV; all of them or none.

    Returns:
      The files.

    Raises:
      Problem: when they cannot be written.
    """
    tables = {"stitching.csv": document["pairs"]}
    if document["heads"]:
        tables["stitched-models.csv"] = [
            {"source_layer": entry["source_layer"], "target_layer": entry["target_layer"], "model": name, **numbers}
            for entry in document["heads"]
            for name, numbers in entry["models"].items()
        ]
    with bad_output(), atomic_files(folder) as staging:
        (staging / "stitching.json").write_text(json.dumps(without_nan(document), indent=1), encoding="utf-8")
        for name, rows in tables.items():
            with (staging / name).open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, list(rows[0]))
                writer.writeheader()
                writer.writerows(without_nan(rows))
    return [folder / name for name in ("stitching.json", *tables)]


def _task(request: Request, target: Layers) -> Task | None:
    """The head and the labels, if they were given, found to fit."""
    if request.head is None or request.labels is None:
        for option, value in (("--head", request.head), ("--labels", request.labels)):
            if value is not None:
                raise Problem(f"{option} needs {'--labels' if option == '--head' else '--head'} beside it")
        if request.head_layer is not None:
            raise Problem("--head-layer goes with --head")
        return None
    layer = list(target)[-1] if request.head_layer is None else request.head_layer
    chosen_layers("--head-layer", [layer], target)
    head = head_for(request.head, layer, target, option="--head-layer")
    return Task(layer, head, load_labels(request.labels, rows=target.rows, outputs=head.kernel.shape[1]))


def _print_pairs(pairs: Sequence[Mapping[str, Any]]) -> None:
    """The layers that are stitched best, best first."""
    ordered = sorted(pairs, key=lambda pair: (math.isnan(pair["r_squared"]), -pair["r_squared"]))
    columns = ("R²", "misalignment")
    table = plain_table("source layer", "target layer", *columns, numbers=columns)
    for pair in ordered[:SHOWN_ROWS]:
        cells = number(pair["r_squared"]), f"{pair['misalignment']:.4g}"
        add_row(table, pair["source_layer"], pair["target_layer"], *cells)
    print("\nHow much of a target layer a map of a source layer explains, on held-out examples\n")
    results().print(table)
    if len(ordered) > SHOWN_ROWS:
        print(f"and {len(ordered) - SHOWN_ROWS} more pairs; --out or --json gives all")


def _print_heads(heads: Sequence[Mapping[str, Any]], task: Task) -> None:
    """Accuracies of stitched models, with those of what they are to be compared with."""
    columns = list(dict.fromkeys(name for entry in heads for name in entry["models"]))
    table = plain_table("source layer", *columns, numbers=columns)
    for entry in heads:
        models = entry["models"]
        cells = [f"{100 * models[name]['accuracy']:.1f} %" if name in models else "" for name in columns]
        add_row(table, entry["source_layer"], *cells)
    print(f"\nAccuracy of the head after layer {task.layer!r} on held-out examples, by what it is given\n")
    results().print(table)
    print("The probe goes from the source layer straight to the labels; what comes after it knows nothing.")
