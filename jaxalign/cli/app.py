"""The commands and their help; the work is in the file of each command.

Those files are imported when their command runs: help and wrong usage do not wait for them.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from jaxalign._version import __version__
from jaxalign.cli.defaults import DEFAULT_MEASURES
from jaxalign.cli.dynamics_command import dynamics_command
from jaxalign.cli.errors import BAD_INPUT, ReportingGroup
from jaxalign.cli.identify_command import identify_command
from jaxalign.cli.layers_command import layers_command
from jaxalign.cli.platonic_command import platonic_command
from jaxalign.cli.sizes import parse_bytes

EXIT_CODES = """\b
Exit status:
  0    done
  1    a bug; please report the traceback
  2    wrong usage, or input that cannot be used
  3    the output cannot be written
  130  interrupted (Ctrl-C)
  141  the reader of the output has left (a closed pipe)"""

app = typer.Typer(
    cls=ReportingGroup,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(show: bool) -> None:
    if show:
        print(f"jaxalign {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Measure how alike the representations of neural networks are.

    \b
    Examples:
      jaxalign demo
      jaxalign compare model-a.npz model-b.safetensors --out comparison
      jaxalign stitch model-a.npz model-b.safetensors
      jaxalign measures

    'jaxalign COMMAND --help' says more about each.
    """
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(BAD_INPUT)


@app.command("compare", short_help="Compare all layers of all models.", epilog=EXIT_CODES)
def compare_command(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILES", help="One file or folder per model, or NAME=PATH.", show_default=False),
    ],
    measure: Annotated[
        list[str] | None,
        typer.Option(
            "--measure",
            "-m",
            metavar="SPEC",
            help=f"NAME[:KEY=VALUE,...]; repeat for several. [default: {' and '.join(DEFAULT_MEASURES)}]",
            show_default=False,
        ),
    ] = None,
    calibrate: Annotated[
        int,
        typer.Option(
            metavar="N", help="Set scores beside those of N random orders of the examples, such as 1000.", min=0
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(metavar="INT", help="What random orders are made from.", min=0)] = 0,
    alpha: Annotated[float, typer.Option(metavar="LEVEL", help="The level of what is more than chance.")] = 0.05,
    out: Annotated[str | None, typer.Option(metavar="DIR", help="Write results to this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    mask_nonfinite: Annotated[
        bool, typer.Option("--mask-nonfinite", help="Leave out examples with NaN or infinity in any layer.")
    ] = False,
    max_memory: Annotated[
        str | None,
        typer.Option(metavar="BYTES", help="Memory for layers at a time, as 500MB or 2GiB. [default: 4GiB]"),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Discard what a killed run left in DIR.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors, and JSON with --json.")] = False,
) -> None:
    """Compare every layer of every model with every other.

    Each file holds the activations of one model on the same examples: a .npz, .safetensors
    or .zarr file with one (examples, features) matrix a layer, a .parquet file with a column
    of lists a layer, a .pt file of platonic-rep, a .npy file with a single layer, or a folder
    of .npy files. With one file its layers are compared with each other.

    \b
    Examples:
      jaxalign compare model-a.npz model-b.safetensors
      jaxalign compare runs/*.npz -m cka -m mutual_knn:k=5,metric=euclidean --out comparison
      jaxalign compare runs/*.npz --calibrate 1000 --out comparison
      jaxalign compare small=a/acts.npz large=b/acts.npz -m cka:kernel=rbf,bandwidth=median
      jaxalign compare model.npz --json | jq .best

    \b
    Files in DIR:
      comparison.npz, comparison.json   everything, for jaxalign.load_comparison
      scores.csv, best-pairs.csv        all scores; the closest layers of every two models
      MEASURE-layers.png                every layer against every layer
      MEASURE-models.png                the closest layers of every two models
    While it runs, DIR/.partial holds finished pieces; after a kill, the same command
    goes on from there.

    'jaxalign measures' lists measures, kernels and their settings.
    """
    from jaxalign.cli.compare import Request, run_compare

    run_compare(
        Request(
            files=tuple(files),
            measures=tuple(measure or ()),
            calibrate=calibrate,
            seed=seed,
            alpha=alpha,
            out=out,
            as_json=as_json,
            mask_nonfinite=mask_nonfinite,
            max_memory=None if max_memory is None else parse_bytes(max_memory),
            fresh=fresh,
            quiet=quiet,
        )
    )


@app.command("stitch", short_help="Map layers of one model into another.", epilog=EXIT_CODES)
def stitch_command(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="File or folder of the model to go on from.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="File or folder of the model to reach.")],
    source_layer: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER", help="A layer of SOURCE; repeat for several. [default: all]", show_default=False),
    ] = None,
    target_layer: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER", help="A layer of TARGET; repeat for several. [default: all]", show_default=False),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="ridge, least_squares, low_rank, orthogonal (a rotation with a common factor), permutation or pls.",
        ),
    ] = "ridge",
    penalty: Annotated[
        float | None,
        typer.Option(metavar="X", help="Added to variances, for ridge and low_rank. [default: chosen for ridge, or 0]"),
    ] = None,
    rank: Annotated[
        int | None, typer.Option(metavar="K", help="Dimensions of low_rank, components of pls.", min=1)
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A .npz with 'kernel' (features, outputs) and 'bias': what TARGET ends in."),
    ] = None,
    head_layer: Annotated[
        str | None, typer.Option(metavar="LAYER", help="The layer of TARGET before the head. [default: the last]")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="FILE", help="A .npy or .npz with the right output of each example.")
    ] = None,
    held_out: Annotated[
        float, typer.Option(metavar="SHARE", help="Examples that nothing is fitted to, to report on.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(metavar="INT", help="What held-out examples are drawn from.", min=0)] = 0,
    out: Annotated[str | None, typer.Option(metavar="DIR", help="Write results to this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    mask_nonfinite: Annotated[
        bool, typer.Option("--mask-nonfinite", help="Leave out examples with NaN or infinity in any layer.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors, and JSON with --json.")] = False,
) -> None:
    """Map every layer of one model to every layer of another, and see what is lost.

    Files are those of 'jaxalign compare'. Maps are fitted on some of the examples, and judged
    on the others: how much of the target layer they explain; with --head and --labels also
    what the target's own head makes of it, beside the intact model, a linear probe of the
    source layer, and maps that know nothing.

    \b
    Examples:
      jaxalign stitch model-a.npz model-b.npz
      jaxalign stitch model-a.npz model-b.npz --method low_rank --rank 8 --out stitching
      jaxalign stitch model-a.npz model-b.npz --head head-b.npz --labels labels.npy
      jaxalign stitch model-a.npz model-b.npz --target-layer block4 --json | jq .pairs

    \b
    Files in DIR:
      stitching.json        everything
      stitching.csv         every layer of SOURCE into every layer of TARGET
      stitched-models.csv   with a head: what it makes of every layer of SOURCE, and controls
    """
    from jaxalign.cli.stitch import Request, run_stitch

    run_stitch(
        Request(
            source=source,
            target=target,
            source_layers=tuple(source_layer or ()),
            target_layers=tuple(target_layer or ()),
            method=method,
            penalty=penalty,
            rank=rank,
            head=head,
            head_layer=head_layer,
            labels=labels,
            held_out=held_out,
            seed=seed,
            out=out,
            as_json=as_json,
            mask_nonfinite=mask_nonfinite,
            quiet=quiet,
        )
    )


@app.command("certify", short_help="What an alignment of two layers guarantees.", epilog=EXIT_CODES)
def certify_command(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="File or folder of the model to go on from.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="File or folder of the model to reach.")],
    source_layer: Annotated[
        str | None, typer.Option(metavar="LAYER", help="The layer of SOURCE. [default: the last]")
    ] = None,
    target_layer: Annotated[
        str | None, typer.Option(metavar="LAYER", help="The layer of TARGET. [default: the last]")
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A .npz with 'kernel' (features, outputs) and 'bias': what TARGET ends in."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="FILE", help="A .npy or .npz with the right output of each example.")
    ] = None,
    risk: Annotated[
        float | None, typer.Option(metavar="X", help="Mean loss of TARGET, in place of labels.", min=0)
    ] = None,
    lipschitz: Annotated[
        float | None,
        typer.Option(metavar="X", help="Lipschitz constant of what TARGET ends in. [default: that of --head]", min=0),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="squared, cross_entropy, ... [default: cross_entropy with labels]"),
    ] = None,
    held_out: Annotated[float, typer.Option(metavar="SHARE", help="Examples that nothing is fitted to.")] = 0.5,
    seed: Annotated[
        int, typer.Option(metavar="INT", help="Seed of the examples held out and of random orders.", min=0)
    ] = 0,
    out: Annotated[str | None, typer.Option(metavar="DIR", help="Write results to this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    mask_nonfinite: Annotated[
        bool, typer.Option("--mask-nonfinite", help="Leave out examples with NaN or infinity in any layer.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors, and JSON with --json.")] = False,
) -> None:
    """One page on two layers: alignment, what it allows, what it guarantees.

    Files are those of 'jaxalign compare'. CKA with its error and chance level; how much
    of each layer a map of the other explains, and what CKA alone allows that to be; with
    --head and --labels (or --risk) what it costs to feed the head of TARGET from SOURCE, and
    bounds on it: certified, plausible or vacuous. --labels alone says how both layers suit
    them. JSON has null for what is not defined.

    \b
    Examples:
      jaxalign certify model-a.npz model-b.npz
      jaxalign certify model-a.npz model-b.npz --head head-b.npz --labels labels.npy
      jaxalign certify model-a.npz model-b.npz --lipschitz 3.5 --risk 0.1 --loss squared
      jaxalign certify model-a.npz model-b.npz --json | jq .cka_adjusted

    \b
    Files in DIR:
      alignment.json        everything
      alignment.txt         the page
    """
    from jaxalign.cli.certify import Request, run_certify

    run_certify(
        Request(
            source=source,
            target=target,
            source_layer=source_layer,
            target_layer=target_layer,
            head=head,
            labels=labels,
            risk=risk,
            lipschitz=lipschitz,
            loss=loss,
            held_out=held_out,
            seed=seed,
            out=out,
            as_json=as_json,
            mask_nonfinite=mask_nonfinite,
            quiet=quiet,
        )
    )


app.command("identify", short_help="What two models' outputs say of them.", epilog=EXIT_CODES)(identify_command)
app.command("dynamics", short_help="How two inputs come apart in networks that learn.", epilog=EXIT_CODES)(
    dynamics_command
)


app.command("layers", short_help="List the layers of a model or a file.", epilog=EXIT_CODES)(layers_command)
app.command("platonic", short_help="Whether better models are more alike.", epilog=EXIT_CODES)(platonic_command)


@app.command("measures", short_help="List measures, kernels, their settings.", epilog=EXIT_CODES)
def measures_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """List the measures: range, what they ignore, what unrelated inputs score, settings, reference.

    \b
    Examples:
      jaxalign measures
      jaxalign measures --json | jq '.measures[].name'
    """
    from jaxalign.cli.measures import run_measures

    run_measures(as_json=as_json)


@app.command("demo", short_help="Train networks, compare them, show it.", epilog=EXIT_CODES)
def demo_command(
    out: Annotated[str, typer.Option(metavar="DIR", help="Write results to this folder.")] = "jaxalign-demo",
) -> None:
    """Train small networks on handwritten digits and compare all their layers (about a minute).

    The digits are those inside scikit-learn: nothing is downloaded. DIR/README.md says what
    was found and what each file is.

    \b
    Examples:
      jaxalign demo
      jaxalign demo --out somewhere-else
    """
    from jaxalign.cli.demo import run_demo

    run_demo(out)
