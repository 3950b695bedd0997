"""The part of the demo in which networks are stitched into one another: the picture, the table, the words."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxalign._core.atomic import atomic_path
from jaxalign.comparison import Comparison
from jaxalign.report.files import write_figure
from jaxalign.report.groups import Group, layer_matrix
from jaxalign.report.stitching_figure import stitching_figure
from jaxalign.studies import ZooModel, ZooStitching


def kinds_of_stitches(stitching: ZooStitching, models: Sequence[ZooModel]) -> np.ndarray:
    """What source and target have in common, `(s, t)`, text."""
    by_name = {model.name: model for model in models}

    def kind(one: str, other: str) -> str:
        if one == other:
            return "into itself"
        if not by_name[one].epochs:
            return "untrained into trained"
        same = by_name[one].architecture == by_name[other].architecture
        return "same architecture" if same else "other architecture"

    return np.array([[kind(one, other) for other in stitching.targets] for one in stitching.sources])


def groups_of_stitches(stitching: ZooStitching, kinds: np.ndarray) -> list[Group]:
    """Errors by kind of pair, and what they are to be compared with."""
    trained = [source in stitching.targets for source in stitching.sources]
    return [
        Group("not stitched", stitching.intact),
        *(Group(name, stitching.errors[kinds == name]) for name in dict.fromkeys(kinds.ravel())),
        Group("map fitted to shuffled images", stitching.shuffled),
        Group("no head: linear probe of a trained network", stitching.probes[np.array(trained)]),
    ]


def write_stitching(
    result: Comparison,
    stitching: ZooStitching,
    kinds: np.ndarray,
    *,
    measure: str,
    layers: Mapping[str, str],
    folder: Path,
) -> None:
    """The picture and the numbers.

    Raises:
      OSError: when a file cannot be written.
    """
    every = layer_matrix(result, measure, layers)
    places = [list(layers).index(name) for name in stitching.targets]
    similarity = np.where(kinds == "into itself", np.nan, every[:, places])
    figure = stitching_figure(
        similarity,
        stitching.errors,
        sources=stitching.sources,
        targets=stitching.targets,
        baselines={"not stitched": stitching.intact, "map fitted to shuffled images": stitching.shuffled},
        kinds=np.where(kinds == "into itself", "", kinds),
        measure=f"{result.definitions[measure]}, higher is more alike",
        title="Can one network go on where another one stopped?",
        note=(
            "A ridge regression takes the last hidden layer of one network (row) to that of another (column), whose "
            f"own head then names the digit: {stitching.images} images that neither networks nor maps were fitted to."
        ),
    )
    write_figure(figure, folder / "stitching.png")
    with atomic_path(folder / "stitching.csv") as path, path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["source", "target", "kind", measure, "error", "error_of_target", "error_of_shuffled_map"])
        for (i, j), error in np.ndenumerate(stitching.errors):
            compared = (stitching.intact[j], stitching.shuffled[j])
            numbers = [f"{value:.4f}" for value in (every[i, places[j]], error, *compared)]
            writer.writerow([stitching.sources[i], stitching.targets[j], kinds[i, j], *numbers])


def stitching_paragraphs(stitching: ZooStitching, groups: Sequence[Group]) -> list[str]:
    """What the page says about it, in Markdown, with the numbers of this run."""
    lines = [
        "## Can one network go on where another one stopped?",
        "",
        "![stitching](stitching.png)",
        "",
        "A measure says how alike two layers are; stitching asks what that is worth. A linear map, fitted without "
        "labels, takes the last hidden layer of one network to that of another, and the other network's own head "
        f"names the digit. Shares of {stitching.images} images that get a wrong name, mean, lowest and highest; maps "
        "were fitted to the other half of the images that no network was trained on:",
        "",
        "| from one network to the head of another | wrong |",
        "|---|---|",
    ]
    for group in groups:
        low, high = (f"{100 * value:.1f}" for value in group.range)
        lines.append(f"| {group.name} | {100 * group.mean:.1f} % ({low} to {high}) |")
    return [
        *lines,
        "",
        '- Compare with the head on its own layer ("not stitched"), and with a map fitted to images in a random order, '
        "which tells the head nothing about an image.",
        "- The last line has no second network in it: a regression from the layer straight to the digits. A map "
        "followed by a linear head is such a probe too, only that it was found without labels. It does well when the "
        "layer holds the digits in a linear way: that says little about how far the two networks compute the same.",
        "- An untrained network gets far, too: its layers still hold what the pixels hold. The right side of the "
        "picture sets similarity beside the cost.",
        "",
    ]
