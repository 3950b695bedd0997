"""`jaxalign identify`: one page on two models, by what their outputs determine."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass

import jax
import numpy as np

from jaxalign._core.atomic import atomic_files
from jaxalign._version import __version__
from jaxalign.cli.errors import Problem, bad_input, bad_output
from jaxalign.cli.identify_models import Model, choose_models, rows_that_count
from jaxalign.cli.identify_outputs import Choices, identification, outputs_of
from jaxalign.cli.models import describe_ids, load_models
from jaxalign.cli.output import OutputFolder, check_output_options
from jaxalign.cli.sets_file import load_sets
from jaxalign.cli.task_files import load_label_numbers
from jaxalign.identifiability.identification import MOST_LABELS

#: Files that `--out` gets.
FILES = ("identification.json", "identification.txt")
#: Sets of inputs that are tried.
TUPLES = 200


@dataclass(frozen=True)
class Request:
    """What `jaxalign identify --help` describes."""

    first: str
    second: str
    layer: str | None = None
    layer2: str | None = None
    head: str | None = None
    head2: str | None = None
    dimension: int | None = None
    labels: str | None = None
    anchors: int | None = None
    tuples: int | None = None
    weight: float = 1e-5
    drop_infinite: bool = False
    subsets: int | None = None
    sets: str | None = None
    seed: int = 0
    out: str | None = None
    as_json: bool = False
    mask_nonfinite: bool = False
    quiet: bool = False


def run_identify(request: Request) -> None:
    """Check everything, compute, write, print; in this order.

    Raises:
      Problem: with the exit status, for whatever can be said in a sentence.
    """
    check_output_options(request.out, quiet=request.quiet, as_json=request.as_json)
    _check_options(request)
    models = load_models([request.first, request.second])
    first, second = choose_models(models, layers=(request.layer, request.layer2), heads=(request.head, request.head2))
    rows = len(first.array)
    sets, known = (None, None) if request.sets is None else load_sets(request.sets, rows=rows, labels=first.labels)
    numbers = None if request.labels is None else load_label_numbers(request.labels, labels=first.labels)
    dimension = known if request.dimension is None else request.dimension
    _check_size(request, first.labels, dimension)
    mask = rows_that_count(first, second, mask_nonfinite=request.mask_nonfinite, drop_infinite=request.drop_infinite)
    folder = None if request.out is None else OutputFolder.prepare(request.out)

    title = f"{first.title}, and {second.title}"
    ids = describe_ids(models)
    lines = [title + (f"; {ids}" if ids else ""), *_remarks(request, first, second, mask, numbers)]
    if not request.quiet:
        print("\n".join(lines), end="\n\n", file=sys.stderr if request.as_json else sys.stdout)
    with bad_input():
        choices = Choices(
            dimension=dimension,
            numbers=numbers,
            anchors=request.anchors,
            sets=sets,
            drop_infinite=request.drop_infinite,
            subsets=request.subsets,
            tuples=request.tuples or TUPLES,
            weight=request.weight,
            seed=request.seed,
        )
        outputs = outputs_of(first, second, mask, only_logp=request.dimension is not None)
        result, subsets = identification(outputs, choices)
    document = {
        "first": first.to_dict(),
        "second": second.to_dict(),
        "rows": rows,
        "all_labels": first.labels,
        **result.to_dict(),
        "settings": {
            "dimension": request.dimension,
            "labels": request.labels,
            "anchors": request.anchors,
            "tuples": None if sets is not None else request.tuples or TUPLES,
            "subsets": subsets,
            "sets": request.sets,
            "drop_infinite": request.drop_infinite,
            "mask_nonfinite": request.mask_nonfinite,
            "float64": bool(jax.config.read("jax_enable_x64")),
        },
        "seed": request.seed,
        "jaxalign": __version__,
        "jax": jax.__version__,
    }
    if folder is not None:
        page = "\n".join([*lines, "", str(result), ""])
        with bad_output(), atomic_files(folder.path) as staging:
            (staging / FILES[0]).write_text(json.dumps(document, indent=1), encoding="utf-8")
            (staging / FILES[1]).write_text(page, encoding="utf-8")
    files = [] if folder is None else [str(folder.path / name) for name in FILES]
    if not request.quiet and not request.as_json:
        print(result)
        if files:
            print(f"\nwritten to {request.out}: {', '.join(FILES)}")
    if request.as_json:
        print(json.dumps({**document, "files": files}))


def _check_options(request: Request) -> None:
    """Raise for options that say two things about one."""
    chosen = [f"--{name}" for name in ("labels", "anchors") if getattr(request, name) is not None]
    if len(chosen) == 2:
        raise Problem("--labels and --anchors both choose labels; give one")
    if request.sets is not None:
        if request.tuples is not None:
            chosen.append("--tuples")
        if chosen:
            raise Problem(f"--sets fixes labels and inputs, it cannot go with {' and '.join(chosen)}")
    if not (math.isfinite(request.weight) and request.weight >= 0):
        raise Problem(f"--weight must be a number from 0 on, got {request.weight}")
    if not request.drop_infinite:
        return
    if request.sets is not None:
        raise Problem("--drop-infinite leaves out other labels for every two models, it cannot go with --sets")
    if request.mask_nonfinite:
        raise Problem("--drop-infinite leaves out labels, --mask-nonfinite examples; give one")
    if request.head is not None or request.head2 is not None:
        raise Problem("--drop-infinite is for outputs: what a head makes of embeddings is finite")


def _check_size(request: Request, labels: int, dimension: int | None) -> None:
    """Raise where the default would be a matter of hours, or of all memory."""
    if request.anchors is not None and request.anchors > labels:
        raise Problem(f"--anchors: the models have {labels} labels, got {request.anchors}")
    if labels <= MOST_LABELS:
        return
    if request.labels is None and request.anchors is None and request.sets is None:
        raise Problem(
            f"the models have {labels} labels, too many to go through all pairs: give --anchors, such as 200, "
            "or --labels, the numbers of some"
        )
    if dimension is None:
        raise Problem(
            f"with {labels} labels give --dimension: how many inputs, and labels at a time, are compared, such as 10"
        )


def _remarks(
    request: Request, first: Model, second: Model, mask: np.ndarray | None, numbers: np.ndarray | None
) -> list[str]:
    """What of the files is compared, in a few lines."""
    lines = []
    if mask is not None:
        dropped = int(np.sum(~mask))
        lines.append(f"{dropped} examples with NaN or infinity left out, {len(mask) - dropped} used")
    if request.anchors is not None:
        lines.append(f"sets from the {request.anchors} most variable of {first.labels} labels")
    if numbers is not None:
        lines.append(f"sets from {len(numbers)} of {first.labels} labels, those in {request.labels}")
    if request.sets is not None:
        lines.append(f"sets of {request.sets}")
    doubles = any(model.array.dtype == np.float64 for model in (first, second))
    if doubles and not jax.config.read("jax_enable_x64"):
        lines.append("float64 is computed in float32; with JAX_ENABLE_X64=1 in the environment it stays float64")
    return lines
