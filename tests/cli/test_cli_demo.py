"""`jaxalign demo` with a small zoo; the whole one runs from the commands in the README."""

from __future__ import annotations

import contextlib
import csv
import functools
import io

import pytest

import jaxalign.cli.demo as demo
from jaxalign import features
from jaxalign.comparison import load_comparison
from jaxalign.studies import load_digits, train_zoo

NAMES = ("mlp-w8-s0", "mlp-w8-s1", "cnn-w8-s0", "mlp-w8-s2-untrained", "cnn-w8-s2-untrained")


@pytest.fixture(scope="module")
def zoo():
    """Two perceptrons and a convolutional network after one pass over the data."""
    perceptrons = train_zoo(architectures=["mlp"], widths=[8], seeds=[0, 1], epochs=1)
    return [*perceptrons, *train_zoo(architectures=["cnn"], widths=[8], seeds=[0], epochs=1)]


@pytest.fixture(scope="module")
def left(zoo, tmp_path_factory):
    """The folder that the demo left behind with that zoo, and what it printed."""

    def train(*, progress, epochs=None, **chosen):
        members = zoo if epochs is None else train_zoo(epochs=epochs, **chosen)
        for member in members:
            progress(f"{member.name}: held-out accuracy {member.accuracy:.3f}")
        return members

    out, printed = tmp_path_factory.mktemp("demo") / "out", io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(demo, "train_zoo", train)
        demo.run_demo(str(out))
    return out, printed.getvalue()


@pytest.mark.slow
def test_it_leaves_everything_behind(left, zoo):
    out, printed = left
    assert all(name in printed for name in NAMES)
    expected = {"README.md", "summary.png", "accuracies.csv", "activations", "comparison.npz", "comparison.json"}
    expected |= {"stitching.png", "stitching.csv"}
    assert expected <= {path.name for path in out.iterdir()}
    assert all(path.stat().st_size > 0 for path in out.iterdir())
    result = load_comparison(out / "comparison.npz")
    assert result.models_a == NAMES
    assert set(result.values) == {"cka[linear,biased]", "cka[linear,unbiased]", "mutual_knn"}
    with (out / "accuracies.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(row["model"] for row in rows) == NAMES
    assert float(rows[0]["accuracy"]) == pytest.approx(zoo[0].accuracy, abs=1e-4)
    layers = features.load(out / "activations" / "mlp-w8-s0.npz")
    assert layers.ids is not None
    assert layers.ids.tolist() == load_digits().test_ids.tolist()


@pytest.mark.slow
def test_the_page_has_the_numbers_of_the_run_and_links_that_lead_somewhere(left):
    out, _ = left
    page = (out / "README.md").read_text()
    assert page.startswith("# ")
    assert "3 small networks were trained" in page
    assert "2 more were left as they were initialized" in page
    links = [part.partition(")")[0] for part in page.split("](")[1:]]
    assert all((out / link).exists() for link in links)
    assert {path.name for path in out.iterdir()} == {*links, "README.md"}
    groups = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith(("| trained", "| unrel"))]
    assert groups == [
        "trained, same architecture",
        "trained, other architecture",
        "trained and untrained",
        "unrelated (rows shuffled)",
    ]


@pytest.mark.slow
def test_stitched_networks_have_their_table_on_the_page_and_in_a_file(left):
    out, printed = left
    page = (out / "README.md").read_text()
    with (out / "stitching.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["source"], row["target"]) for row in rows] == [(s, t) for s in NAMES for t in NAMES[:3]]
    assert {row["kind"] for row in rows} == {
        "into itself", "same architecture", "other architecture", "untrained into trained"
    }  # fmt: skip
    errors = [float(row["error"]) for row in rows if row["kind"] == "same architecture"]
    mean = f"{100 * sum(errors) / len(errors):.1f} %"
    assert f"| same architecture | {mean} (" in page
    assert any(line.split()[:2] == ["same", "architecture"] and mean in line for line in printed.splitlines())


@pytest.mark.slow
def test_its_activations_go_into_compare(cli, left):
    run = cli("compare", *sorted((left[0] / "activations").iterdir()), "-m", "mutual_knn", "--json")
    assert run.code == 0
    assert sorted(run.document["models"]) == sorted(NAMES)


def test_a_folder_that_cannot_be_written_is_noticed_before_training(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "train_zoo", functools.partial(pytest.fail, "training was begun"))
    (tmp_path / "file").write_text("mine")
    run = cli("demo", "--out", tmp_path / "file")
    assert run.code == 3
    assert "is a file, not a folder" in run.err


def test_without_scikit_learn_it_says_how_to_get_it(cli, tmp_path, monkeypatch):
    def missing(**options):
        raise ImportError('load_digits needs scikit-learn; install it with: pip install "jaxalign[demo]"')

    monkeypatch.setattr(demo, "train_zoo", missing)
    run = cli("demo", "--out", tmp_path / "out")
    assert run.code == 2
    assert 'pip install "jaxalign[demo]"' in run.err
