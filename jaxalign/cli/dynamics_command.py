"""Options and help of `jaxalign dynamics`."""

from __future__ import annotations

from typing import Annotated

import typer


def dynamics_command(
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SETTING",
            help="Networks of the authors, see --list. [default: default relu tanh skip narrow shallow two_layer]",
            show_default=False,
        ),
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="Print settings and figures, and train nothing.")] = False,
    figures: Annotated[
        list[str] | None,
        typer.Option(
            "--figure",
            metavar="NAME",
            help="A figure to draw; repeat for several. 'all' takes minutes more. "
            "[default: those of the networks that are compared]",
            show_default=False,
        ),
    ] = None,
    width: Annotated[
        int, typer.Option(metavar="N", help="Most units of a hidden layer; the authors' is 500.", min=1)
    ] = 200,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Steps of training. [default: of the setting, most 6000]", min=2, show_default=False
        ),
    ] = None,
    dx2: Annotated[float, typer.Option("--dx2", metavar="X", help="Squared distance of the two inputs.")] = 1.0,
    dy2: Annotated[float, typer.Option("--dy2", metavar="X", help="Squared distance of their targets.")] = 0.5,
    centered: Annotated[bool, typer.Option("--centered", help="Inputs and targets around 0.")] = False,
    seed: Annotated[int, typer.Option(metavar="INT", help="Seed of initial weights.", min=0)] = 0,
    out: Annotated[str | None, typer.Option(metavar="DIR", help="Write results to this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors, and JSON with --json.")] = False,
) -> None:
    """Two inputs in networks that learn, beside the theory of how they come apart.

    Trains networks of several architectures on two inputs, as the authors of the two-point
    theory did, fits its two effective rates to a middle layer of each, and says how much of
    the squared distances of representations (h), of outputs (y) and of w they explain, and
    where the pair ends. A rate with a question mark is not told by the run, in which too little
    moved. Seven networks of 200 units take about a minute. JSON has null for what is not
    defined.

    \b
    Examples:
      jaxalign dynamics
      jaxalign dynamics default tanh --width 500 --out dynamics
      jaxalign dynamics two_layer --centered --json | jq .runs.two_layer.r2_h
      jaxalign dynamics --figure xor --figure contexts --out dynamics

    \b
    Files in DIR:
      dynamics.json    everything in the table, and settings
      layers.csv       every hidden layer of every network
      FIGURE.png       each figure
      FIGURE.npz       all numbers in it
    """
    from jaxalign.cli.dynamics import Request, run_dynamics

    run_dynamics(
        Request(
            settings=tuple(settings or ()),
            show_list=show_list,
            figures=tuple(figures or ()),
            width=width,
            steps=steps,
            dx2=dx2,
            dy2=dy2,
            centered=centered,
            seed=seed,
            out=out,
            as_json=as_json,
            quiet=quiet,
        )
    )
