"""Options and help of `jaxalign identify`."""

from __future__ import annotations

from typing import Annotated

import typer


def identify_command(
    first: Annotated[str, typer.Argument(metavar="A", help="File or folder of a model.")],
    second: Annotated[str, typer.Argument(metavar="B", help="File or folder of the other, on the same examples.")],
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER",
            help="The layer of A: logits or log-probabilities; with --head embeddings. "
            "[default: 'logits', 'log_probs' or the only one; with --head the last]",
            show_default=False,
        ),
    ] = None,
    layer2: Annotated[
        str | None,
        typer.Option("--layer2", metavar="LAYER", help="The layer of B. [default: as that of A]", show_default=False),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A .npz with 'kernel' (features, labels) and 'bias': what A ends in."),
    ] = None,
    head2: Annotated[str | None, typer.Option("--head2", metavar="FILE", help="The same of B.")] = None,
    dimension: Annotated[
        int | None,
        typer.Option(
            metavar="M", help="Dimension of the models. [default: rank of the logits of each; width of --head]", min=1
        ),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="FILE", help="A .npy or .npz with numbers of labels to choose sets from.")
    ] = None,
    anchors: Annotated[
        int | None, typer.Option(metavar="K", help="Choose sets from the K most variable labels.", min=2)
    ] = None,
    tuples: Annotated[
        int | None, typer.Option(metavar="N", help="Sets of inputs to try. [default: 200]", min=1, show_default=False)
    ] = None,
    weight: Annotated[float, typer.Option(metavar="X", help="Weight of differences of scale (lambda).")] = 1e-5,
    drop_infinite: Annotated[
        bool, typer.Option("--drop-infinite", help="Leave out labels of minus infinity in either model.")
    ] = False,
    subsets: Annotated[
        int | None,
        typer.Option(metavar="N", help="Sets of labels to draw for d_f. [default: all, or 1000 of many]", min=1),
    ] = None,
    sets: Annotated[
        str | None, typer.Option(metavar="FILE", help="JSON of an earlier run: compare on the same labels and inputs.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="INT", help="What sets are drawn from.", min=0)] = 0,
    out: Annotated[str | None, typer.Option(metavar="DIR", help="Write results to this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    mask_nonfinite: Annotated[
        bool, typer.Option("--mask-nonfinite", help="Leave out examples with NaN or infinity in a chosen layer.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors, and JSON with --json.")] = False,
) -> None:
    """How alike two models are, by all that their outputs determine.

    Files are those of 'jaxalign compare'; a layer of each holds logits or log-probabilities,
    or embeddings, with --head and --head2. Log-likelihood variance distance, dissimilarity
    d_{f,g} with its bounds, canonical correlations, logit distance, divergence; with heads
    also the distance of embeddings, and s_min. Notes say what misleads. JSON has null for
    what is not defined.

    Labels and inputs are selected for each pair, which makes no metric: to compare many
    models keep those of one run, with --sets. Of many labels give --anchors and --dimension.

    \b
    Examples:
      jaxalign identify model-a.npz model-b.npz
      jaxalign identify model-a.npz model-b.npz --layer block4 --head head-a.npz --head2 head-b.npz
      jaxalign identify lm-a.npz lm-b.npz --anchors 200 --dimension 10 --out identification
      jaxalign identify lm-a.npz lm-c.npz --sets identification/identification.json
      jaxalign identify model-a.npz model-b.npz --json | jq .d_fg

    \b
    Files in DIR:
      identification.json   everything
      identification.txt    the page
    """
    from jaxalign.cli.identify import Request, run_identify

    run_identify(
        Request(
            first=first,
            second=second,
            layer=layer,
            layer2=layer2,
            head=head,
            head2=head2,
            dimension=dimension,
            labels=labels,
            anchors=anchors,
            tuples=tuples,
            weight=weight,
            drop_infinite=drop_infinite,
            subsets=subsets,
            sets=sets,
            seed=seed,
            out=out,
            as_json=as_json,
            mask_nonfinite=mask_nonfinite,
            quiet=quiet,
        )
    )
