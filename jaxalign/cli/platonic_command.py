"""Options and help of `jaxalign platonic`."""

from __future__ import annotations

from typing import Annotated

import typer

from jaxalign.cli.sizes import parse_bytes


def platonic_command(
    folder: Annotated[str, typer.Argument(metavar="FEATURES_DIR", help="The folder with one file per model.")],
    x: Annotated[str, typer.Option("--x", metavar="PATTERN", help="Models of one modality, as language/*.")] = "*",
    y: Annotated[
        str | None,
        typer.Option("--y", metavar="PATTERN", help="Models of the other. [default: those of --x]", show_default=False),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            "--measure",
            "-m",
            metavar="SPEC",
            help="NAME[:KEY=VALUE,...]; repeat for several. [default: mutual_knn:k=10]",
            show_default=False,
        ),
    ] = None,
    quantile: Annotated[
        float, typer.Option(metavar="Q", help="Limit entries to this quantile of magnitudes; 1 limits nothing.")
    ] = 0.95,
    exact: Annotated[
        bool, typer.Option("--exact", help="The quantile of all entries, not the mean of that of each example.")
    ] = False,
    per_layer: Annotated[
        bool, typer.Option("--per-layer", help="A limit for each layer, not one for each model.")
    ] = False,
    calibrate: Annotated[
        int,
        typer.Option(
            metavar="N", help="Set the closest layers beside those of N random orders of the examples.", min=0
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(metavar="INT", help="What random orders and samples are made from.", min=0)] = 0,
    alpha: Annotated[float, typer.Option(metavar="LEVEL", help="The level of what is more than chance.")] = 0.05,
    fact: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="What models are good by, as accuracy or -loss (less is better); repeat for several. "
            "[default: every number that all models have]",
            show_default=False,
        ),
    ] = None,
    facts: Annotated[
        str | None, typer.Option(metavar="FILE", help="A JSON file with facts of models: {MODEL: {NAME: NUMBER}}.")
    ] = None,
    within: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Trends among models that agree on this fact, as family or width."),
    ] = None,
    scale: Annotated[
        bool, typer.Option("--scale", help="Also how the score of the closest models falls with more examples.")
    ] = False,
    out: Annotated[str | None, typer.Option(metavar="DIR", help="Write results to this folder.")] = None,
    picture: Annotated[str, typer.Option("--format", metavar="KIND", help="Of pictures: png, svg or pdf.")] = "png",
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
    """Are better models more alike? All layers of all models, the closest ones, and chance.

    As in the Platonic Representation Hypothesis: outliers are limited, rows are divided by
    their length, and every two models score what their closest layers do, by mutual nearest
    neighbors unless said. With --calibrate, chance is allowed the same choice of layers.
    Files are those of 'jaxalign compare', facts of models among them; captured features have
    them (jaxalign.features.capture).

    \b
    Examples:
      jaxalign platonic features --x 'language/*' --y 'vision/*' --calibrate 1000
      jaxalign platonic features --fact accuracy --out study --format svg
      jaxalign platonic features --x 'llm/*' --y 'vit/*' --fact=-bits_per_byte --json

    \b
    Files in DIR:
      platonic.json        scores, chance, facts, trends, and what was done
      comparison.npz       all layers, for jaxalign.load_comparison
      models.*             the closest layers of every two models
      trend-FACT.*         alignment beside each fact
      map.*                models of one modality on a plane
      agreement.*          of several measures: which agree
      scale.*              with --scale
    Beside each picture but the first, an .npz with all numbers in it.
    """
    from jaxalign.cli.platonic import Request, run_platonic

    run_platonic(
        Request(
            folder=folder,
            x=x,
            y=y,
            measures=tuple(measure or ()),
            quantile=quantile,
            exact=exact,
            per_layer=per_layer,
            calibrate=calibrate,
            seed=seed,
            alpha=alpha,
            fact=tuple(fact or ()),
            facts=facts,
            within=within,
            scale=scale,
            out=out,
            picture=picture,
            as_json=as_json,
            mask_nonfinite=mask_nonfinite,
            max_memory=None if max_memory is None else parse_bytes(max_memory),
            fresh=fresh,
            quiet=quiet,
        )
    )
