"""`jaxalign certify`: one page on two layers, and what their alignment guarantees."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxalign._core.atomic import atomic_files
from jaxalign._version import __version__
from jaxalign.cli.errors import Problem, bad_input, bad_output
from jaxalign.cli.models import describe_ids, load_models, usable_rows
from jaxalign.cli.output import OutputFolder, check_output_options
from jaxalign.cli.task_files import chosen_layers, head_for, load_labels
from jaxalign.features import Layers
from jaxalign.report.alignment_report import alignment_report
from jaxalign.stitching import LinearStitch

#: Files that `--out` gets.
FILES = ("alignment.json", "alignment.txt")


@dataclass(frozen=True)
class Request:
    """What `jaxalign certify --help` describes."""

    source: str
    target: str
    source_layer: str | None = None
    target_layer: str | None = None
    head: str | None = None
    labels: str | None = None
    risk: float | None = None
    lipschitz: float | None = None
    loss: str | None = None
    held_out: float = 0.5
    seed: int = 0
    out: str | None = None
    as_json: bool = False
    mask_nonfinite: bool = False
    quiet: bool = False


def run_certify(request: Request) -> None:
    """Check everything, compute, write, print; in this order.

    Raises:
      Problem: with the exit status, for whatever can be said in a sentence.
    """
    check_output_options(request.out, quiet=request.quiet, as_json=request.as_json)
    if not 0 < request.held_out < 1:
        raise Problem(f"--held-out must be a share of the examples, between 0 and 1, got {request.held_out}")
    models = load_models([request.source, request.target])
    (source_name, source), (target_name, target) = models.items()
    source_layer = _layer("--source-layer", request.source_layer, source)
    target_layer = _layer("--target-layer", request.target_layer, target)
    task = _task(request, target, target_layer)
    mask = usable_rows(models, mask_nonfinite=request.mask_nonfinite)
    folder = None if request.out is None else OutputFolder.prepare(request.out)

    title = f"{source_name}, layer {source_layer!r}, into {target_name}, layer {target_layer!r}"
    ids = describe_ids(models)
    title += f"; {ids}" if ids else ""
    if not request.quiet:
        print(title, end="\n\n", file=sys.stderr if request.as_json else sys.stdout)
    with bad_input():
        report = alignment_report(
            jnp.asarray(source[source_layer]),
            jnp.asarray(target[target_layer]),
            **task,
            held_out=request.held_out,
            key=request.seed,
            mask=None if mask is None else jnp.asarray(mask),
        )
    document = {
        "source": {"name": source_name, "path": source.source, "layer": source_layer},
        "target": {"name": target_name, "path": target.source, "layer": target_layer},
        **report.to_dict(),
        "seed": request.seed,
        "jaxalign": __version__,
    }
    page = f"{title}\n\n{report}\n"
    if folder is not None:
        with bad_output(), atomic_files(folder.path) as staging:
            (staging / FILES[0]).write_text(json.dumps(document, indent=1), encoding="utf-8")
            (staging / FILES[1]).write_text(page, encoding="utf-8")
    files = [] if folder is None else [str(folder.path / name) for name in FILES]
    if not request.quiet and not request.as_json:
        print(report)
        if files:
            print(f"\nwritten to {request.out}: {', '.join(FILES)}")
    if request.as_json:
        print(json.dumps({**document, "files": files}))


def _layer(option: str, name: str | None, layers: Layers) -> str:
    """The layer that was named, the last by default."""
    return list(layers)[-1] if name is None else chosen_layers(option, [name], layers)[0]


def _task(request: Request, target: Layers, layer: str) -> dict[str, Any]:
    """What comes after the layer of the target, and what it should give or what it costs."""
    bounded = request.head is not None or request.lipschitz is not None
    if request.head is not None and (request.labels is None) == (request.risk is None):
        given = "neither" if request.risk is None else "both"
        raise Problem(f"--head goes with --labels or --risk, what it should give or what it costs; got {given}")
    if request.head is None and request.lipschitz is not None and request.risk is None:
        raise Problem("--lipschitz without --head goes with --risk, what TARGET costs; got none")
    if request.risk is not None and not bounded:
        raise Problem("--risk needs --head or --lipschitz beside it")
    if request.loss is not None and not bounded:
        raise Problem("--loss needs --head or --lipschitz beside it")
    task: dict[str, Any] = {"risk": request.risk, "lipschitz": request.lipschitz, "loss": request.loss}
    outputs = None
    if request.head is not None:
        head = head_for(request.head, layer, target, option="--target-layer")
        task["head"] = LinearStitch.of(jnp.asarray(head.kernel), jnp.asarray(head.bias))
        outputs = head.kernel.shape[1]
    if request.labels is not None:
        labels = load_labels(request.labels, rows=target.rows, outputs=outputs)
        # Without a head they are names of classes, of any size.
        numbers = labels if outputs is not None else np.unique(labels, return_inverse=True)[1]
        task["y"] = jnp.asarray(numbers.astype(np.int32))
    return task
