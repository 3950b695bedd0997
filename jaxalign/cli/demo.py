"""`jaxalign demo`: networks trained on digits, all their layers compared, stitched, and what came out of it."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from jaxalign import features, measures
from jaxalign._core.atomic import atomic_path
from jaxalign.cli.console import results
from jaxalign.cli.demo_page import demo_page
from jaxalign.cli.demo_stitching import groups_of_stitches, kinds_of_stitches, stitching_paragraphs, write_stitching
from jaxalign.cli.errors import bad_input, bad_output
from jaxalign.cli.output import OutputFolder
from jaxalign.comparison import Comparison, compare
from jaxalign.report.files import write_comparison, write_figure
from jaxalign.report.groups import Group, group_scores
from jaxalign.report.summary import summary_figure
from jaxalign.report.tables import add_row, best_pairs, best_pairs_title, group_table, plain_table
from jaxalign.studies import ZooModel, load_digits, stitch_zoo, train_zoo

#: What everybody reports, the same without its bias, and one that looks at neighbors only.
MEASURES = (measures.cka(estimator="unbiased"), measures.cka(), measures.mutual_knn(k=10))
#: Rows of a printed table of best pairs.
SHOWN_PAIRS = 5


def run_demo(out: str) -> None:
    """Train, compare, stitch, write and tell.

    Raises:
      Problem: when the folder cannot be written or a package is missing.
    """
    folder = OutputFolder.prepare(out)
    console = results()
    with bad_input():  # scikit-learn may be missing
        models = _train()
    print()
    console.print(_accuracy_table(models))
    print("\nComparing every layer of every network with every other ...")
    result = compare({model.name: model.layers for model in models}, measures=MEASURES)
    layers = {model.name: model.last_hidden_layer for model in models}
    groups = kinds_of_pairs(result, models, layers)
    print("Stitching every network into every trained one ...")
    stitching = stitch_zoo(models, key=0)
    kinds = kinds_of_stitches(stitching, models)
    costs = groups_of_stitches(stitching, kinds)
    with bad_output():
        measure = next(iter(result.values))
        write_stitching(result, stitching, kinds, measure=measure, layers=layers, folder=folder.path)
        _write(result, models, layers, groups, stitching_paragraphs(stitching, costs), folder.path)
    print("\nMean score of the last hidden layers of two networks (lowest and highest: README.md)\n")
    console.print(group_table(groups))
    print("\nImages that the head of one network gets wrong after a layer of another\n")
    console.print(_cost_table(costs))
    for key in result.values:
        table, left_out = best_pairs(result, key, limit=SHOWN_PAIRS)
        print(f"\n{best_pairs_title(result, key)}\n")
        console.print(table)
        print(f"and {left_out} more pairs of networks; all in {out}/best-pairs.csv")
    print(
        f"\nStart with {out}/README.md, {out}/summary.png and {out}/stitching.png.\nThen try\n"
        f"  jaxalign compare {out}/activations/*.npz --measure cka:kernel=rbf,estimator=unbiased --out comparison\n"
        "  jaxalign measures"
    )


def _train() -> list[ZooModel]:
    """The zoo, and one network of every architecture that never saw an image."""
    with _progress() as tell:
        trained = train_zoo(progress=tell)
        architectures = list(dict.fromkeys(model.architecture for model in trained))
        # A seed of their own: they are not to be the initial weights of networks that were trained.
        width, seed = max(model.width for model in trained), 1 + max(model.seed for model in trained)
        untrained = train_zoo(architectures=architectures, widths=[width], seeds=[seed], epochs=0, progress=tell)
    return [*trained, *untrained]


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Where training says how far it is: a changing line on a terminal, one line a network elsewhere."""
    console = results()
    begin = "Training small networks on 1201 handwritten digits, to be compared on 596 others"
    print(f"{begin} (about a minute) ...")
    if not console.is_terminal:
        yield print
        return
    done = 0
    with console.status("compiling the first network") as status:

        def tell(line: str) -> None:
            nonlocal done
            done += 1
            status.update(f"{done} done, the last one {line}")

        yield tell


def kinds_of_pairs(result: Comparison, models: Sequence[ZooModel], layers: dict[str, str]) -> dict[str, list[Group]]:
    """Scores of last hidden layers by what two networks have in common, and of rows that do not match at all."""
    by_name = {model.name: model for model in models}

    def kind(one: str, other: str) -> str:
        trained = sum(by_name[name].epochs > 0 for name in (one, other))
        if trained < 2:
            return ("both untrained", "trained and untrained")[trained]
        same = by_name[one].architecture == by_name[other].architecture
        return "trained, same architecture" if same else "trained, other architecture"

    groups = {key: group_scores(result, key, layers, kind) for key in result.values}
    hidden = {model.name: {layers[model.name]: model.layers[layers[model.name]]} for model in models}
    order = np.random.default_rng(0).permutation(result.info["examples"])
    shuffled = {name: {layer: x[order] for layer, x in own.items()} for name, own in hidden.items()}
    unrelated = compare(hidden, shuffled, measures=MEASURES, progress=False)
    for key, kinds in groups.items():
        kinds.append(Group("unrelated (rows shuffled)", unrelated.values[key].ravel()))
    return groups


def _accuracy_table(models: Sequence[ZooModel]):
    table = plain_table("network", "layers", "accuracy")
    for model in models:
        add_row(table, model.name, ", ".join(model.layers), f"{100 * model.accuracy:.1f} %")
    return table


def _cost_table(costs: Sequence[Group]):
    table = plain_table("from network to head", "pairs", "wrong", numbers=["wrong"])
    for group in costs:
        add_row(table, group.name, f"{len(group.scores)}", f"{100 * group.mean:.1f} %")
    return table


def _write(
    result: Comparison,
    models: Sequence[ZooModel],
    layers: dict[str, str],
    groups: dict[str, list[Group]],
    about_stitching: Sequence[str],
    folder: Path,
) -> None:
    """Activations, comparison, accuracies, summary and the page that explains them."""
    ids = load_digits().test_ids
    (folder / "activations").mkdir(exist_ok=True)
    for model in models:
        features.save(folder / "activations" / f"{model.name}.npz", model.layers, ids=ids)
    files = write_comparison(result, folder)
    with atomic_path(folder / "accuracies.csv") as path, path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["model", "architecture", "width", "seed", "epochs", "accuracy"])
        writer.writerows([m.name, m.architecture, m.width, m.seed, m.epochs, f"{m.accuracy:.4f}"] for m in models)
    measure = next(iter(result.values))
    figure = summary_figure(
        result,
        groups,
        measure=measure,
        layers=layers,
        labels={model.name: f"{model.name} ({100 * model.accuracy:.0f} %)" for model in models},
        blocks={model.name: model.architecture if model.epochs else "untrained" for model in models},
        title="Do networks that were trained on the same digits see them alike?",
        note=(
            f"Last hidden layers on {result.info['examples_used']} images that no network was trained on; in brackets "
            "the share of them that it classifies correctly.\n"
            "Right: one dot for every pair of networks, a black bar at the mean of each kind."
        ),
    )
    write_figure(figure, folder / "summary.png")
    with atomic_path(folder / "README.md") as path:
        path.write_text(demo_page(result, models, groups, about_stitching, files), encoding="utf-8")
    shutil.rmtree(folder / ".partial", ignore_errors=True)
