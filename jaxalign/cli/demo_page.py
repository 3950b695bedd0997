"""The page that the demo leaves behind: what was done, what came out, how to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxalign._version import __version__
from jaxalign.comparison import Comparison
from jaxalign.comparison.render import describe_scale
from jaxalign.report.groups import Group
from jaxalign.studies.zoo import ZooModel

ARCHITECTURES = {
    "mlp": "perceptrons with four hidden layers",
    "cnn": "convolutional networks with three convolutions and one hidden layer",
    "vit": "vision transformers with two blocks",
}


def demo_page(
    result: Comparison,
    models: Sequence[ZooModel],
    groups: Mapping[str, Sequence[Group]],
    about_stitching: Sequence[str],
    files: Sequence[Path],
) -> str:
    """The text, in Markdown, with the numbers of this run."""
    parts = (
        _what_was_done(result, models),
        _what_came_out(result, groups),
        about_stitching,
        _accuracies(models),
        _files(result, files),
    )
    return "\n".join(line for part in parts for line in part)


def _what_was_done(result: Comparison, models: Sequence[ZooModel]) -> list[str]:
    trained = [model for model in models if model.epochs]
    kinds = [ARCHITECTURES[name] for name in dict.fromkeys(model.architecture for model in trained)]
    lowest, highest = (f"{100 * pick(model.accuracy for model in trained):.1f} %" for pick in (min, max))
    return [
        "# How alike do networks see handwritten digits?",
        "",
        f"{len(trained)} small networks were trained on 1201 images of handwritten digits: {'; '.join(kinds)}. "
        f"They classify between {lowest} and {highest} of {result.info['examples']} other images correctly. "
        f"{len(models) - len(trained)} more were left as they were initialized, for comparison.",
        "",
        "On those other images every layer of every network gives a vector per image. Two layers are alike when they "
        "arrange the images alike: what is close together for one is close together for the other. How much so is "
        f"what a measure says; {len(result.values)} of them were computed for all "
        f"{len(result.layers_a)} x {len(result.layers_a)} pairs of layers.",
        "",
        "A name such as `cnn-w64-s1` is an architecture, a width (number of units) and a seed. Networks with different "
        "seeds began with different random weights and saw the images in different order.",
        "",
    ]


def _what_came_out(result: Comparison, groups: Mapping[str, Sequence[Group]]) -> list[str]:
    names = [group.name for group in next(iter(groups.values()))]
    lines = [
        "## What came out",
        "",
        "![summary](summary.png)",
        "",
        "Mean scores between the last hidden layers of two networks, with the lowest and the highest:",
        "",
        f"| two networks | {' | '.join(f'`{result.definitions[key]}`' for key in groups)} |",
        f"|---|{'---|' * len(groups)}",
    ]
    for row, name in enumerate(names):
        cells = []
        for kinds in groups.values():
            low, high = kinds[row].range
            cells.append(f"{kinds[row].mean:.2f} ({low:.2f} to {high:.2f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        '"Rows shuffled" pairs the images at random, so that it shows what each measure gives when there is nothing '
        "in common; compare every other number with it, not with 0 or 1.",
        "",
        "How to read the numbers:",
        "",
        *(f"- `{result.definitions[key]}`: {describe_scale(result, key)}." for key in result.values),
        "- The tables and pictures of best pairs take the closest of all pairs of layers of two networks. Often "
        "these are first layers, close to the pixels and alike whatever was learned: such a score says little about "
        "training, and untrained networks reach it too.",
        "- These are a few small networks on small images: an example of what the library does, not evidence about "
        "networks in general. How much another seed alone changes is in the ranges of the first line of the table.",
        "",
    ]


def _accuracies(models: Sequence[ZooModel]) -> list[str]:
    lines = ["## The networks", "", "| network | layers | accuracy |", "|---|---|---|"]
    for model in models:
        lines.append(f"| `{model.name}` | {', '.join(model.layers)} | {100 * model.accuracy:.1f} % |")
    return [*lines, ""]


def _files(result: Comparison, files: Sequence[Path]) -> list[str]:
    meaning = {
        "comparison.npz": "all scores; `jaxalign.load_comparison` reads it",
        "comparison.json": "the same as JSON",
        "scores.csv": "all scores, one row for every measure and pair of layers",
        "best-pairs.csv": "the closest layers of every two networks",
    }
    lines = ["## The files", "", "| file | content |", "|---|---|"]
    for path in files:
        default = (
            "every layer against every layer"
            if path.stem.endswith("layers")
            else "the closest layers of every two networks"
        )
        lines.append(f"| [{path.name}]({path.name}) | {meaning.get(path.name, default)} |")
    return [
        *lines,
        "| [summary.png](summary.png) | the picture above |",
        "| [stitching.png](stitching.png) | the picture of stitched networks |",
        "| [stitching.csv](stitching.csv) | its numbers, one row for every source and target |",
        "| [accuracies.csv](accuracies.csv) | the table of networks |",
        "| [activations/](activations) | what was compared: one file a network, one matrix a layer, one row an image |",
        "",
        "To go on with them:",
        "",
        "```bash",
        "jaxalign compare activations/*.npz --measure cka:kernel=rbf,estimator=unbiased --out comparison",
        "```",
        "",
        f"Made by jaxalign {__version__} on {result.info['backend']}, jax {result.info['jax']}.",
        "",
    ]
