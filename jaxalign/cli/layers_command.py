"""Options and help of `jaxalign layers`."""

from __future__ import annotations

from typing import Annotated

import typer


def layers_command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="MODULE:NAME, a Hugging Face folder, or a feature file.", show_default=False
        ),
    ],
    pattern: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATTERN", help="Only layers of such names, as blocks.*.", show_default=False),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option("--input", metavar="SHAPE", help="Of one batch of float32, as 1,28,28,1.", show_default=False),
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option("--tokens", metavar="SHAPE", help="Of one batch of token numbers, as 1,16.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """The layers of a model: their names, and the shape of what they put out.

    MODULE:NAME is a model, or a function without arguments that makes one, in a Python module
    that can be imported from here: Flax NNX, Linen with its variables as a pair, PyTorch, or
    a function of arrays. A Hugging Face folder holds config.json, and weights if there are
    any: nothing is fetched. Names are what jaxalign.features.capture takes as layers=.

    \b
    Examples:
      jaxalign layers networks:make_cnn --input 1,28,28,1
      jaxalign layers networks:make_lm 'blocks.*' --tokens 1,16
      jaxalign layers ./bert-tiny --tokens 1,16
      jaxalign layers features.safetensors
    """
    from jaxalign.cli.layers import Request, run_layers

    run_layers(Request(model, tuple(pattern or ()), shape, tokens, as_json))
