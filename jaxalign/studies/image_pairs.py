"""Are models of images that differ in their initial weights only alike inside? CIFAR-10, or digits without any file.

    python -m jaxalign.studies.image_pairs --out pictures
    python -m jaxalign.studies.image_pairs --cifar10 cifar-10-batches-bin --dimension 2 3 5 --out pictures

trains ten models for each dimension on the same batches, compares every two of them, and writes for each dimension a
file of numbers, one of embeddings, and a picture; and one picture of losses against likeness. The digits take less than
a minute for each dimension; CIFAR-10, with ResNet18 and 20 000 steps, needs an accelerator, and `--one-by-one` where
ten models do not fit into its memory.

For the first two seeds on CIFAR-10 in two dimensions Nielsen et al. (2025, arXiv:2506.03784) have a mean canonical
correlation of embeddings of 0.551, a log-likelihood variance distance of 1.546, a divergence of 1.131 nats, and test
losses of 1.193 and 1.178: nearly equally good, and unlike inside. Their clusters lie around the circle in different
orders. That is what digits show too.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax

from jaxalign._core.atomic import atomic_path
from jaxalign.comparison.render import missing
from jaxalign.studies.cifar10 import load_cifar10
from jaxalign.studies.digits import load_digits
from jaxalign.studies.image_models import BATCH
from jaxalign.studies.image_networks import NETWORKS
from jaxalign.studies.image_pair_figures import embeddings_figure, losses_figure
from jaxalign.studies.image_study import SEEDS, ImageStudy, image_study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def main(arguments: Sequence[str] | None = None) -> None:
    """What `python -m jaxalign.studies.image_pairs` does."""
    parser = argparse.ArgumentParser(
        prog="python -m jaxalign.studies.image_pairs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cifar10", metavar="FOLDER", help="with the files of cifar-10-binary.tar.gz; else digits")
    parser.add_argument("--dimension", type=int, nargs="+", default=[2], help="of embeddings, one or several")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="how many models of each dimension")
    parser.add_argument("--steps", type=int, help="of training; default: 20000, digits 2000")
    parser.add_argument("--network", choices=NETWORKS, help="default: resnet18, digits cnn")
    parser.add_argument("--width", type=int, help="of the network; default: 64 for resnet18, 32 for cnn, 128 for mlp")
    parser.add_argument("--batch", type=int, default=BATCH, help="images of a batch")
    parser.add_argument("--learning-rate", type=float, help="of Adam; default: 0.0001, digits 0.001")
    parser.add_argument("--one-by-one", action="store_true", help="train one model after another, in less memory")
    parser.add_argument("--out", metavar="FOLDER", help="for numbers, embeddings and pictures; is made if need be")
    given = parser.parse_args(arguments)
    with jax.enable_x64(True):
        try:
            _run(given)
        except (ValueError, OSError, ImportError) as error:
            parser.exit(1, f"{error}\n")


def _run(given: argparse.Namespace) -> None:
    folder = None if given.out is None else Path(given.out)
    if folder is not None:
        if importlib.util.find_spec("matplotlib") is None:
            raise missing("matplotlib", "--out")  # before anything is trained
        folder.mkdir(parents=True, exist_ok=True)
    data = load_digits() if given.cifar10 is None else load_cifar10(given.cifar10)
    studies: list[ImageStudy] = []
    for dimension in dict.fromkeys(given.dimension):
        studies.append(
            image_study(
                data,
                dimension=dimension,
                seeds=list(range(given.seeds)),
                network=given.network,
                width=given.width,
                steps=given.steps,
                batch=given.batch,
                learning_rate=given.learning_rate,
                together=not given.one_by_one,
                progress=lambda line: print(line, file=sys.stderr),
            )
        )
        print(studies[-1], end="\n\n")
        if folder is not None:
            paths = studies[-1].save(folder)
            paths.append(folder / f"{paths[0].stem}-embeddings.png")
            _save(embeddings_figure(studies[-1]), paths[-1])
            print(*(f"wrote {path}" for path in paths), sep="\n", file=sys.stderr)
    if folder is not None:
        _save(losses_figure(studies), folder / f"{studies[0].data}-losses.png")


def _save(figure: Figure, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


if __name__ == "__main__":
    main()
