"""`jaxalign dynamics`, in this process."""

import csv
import json

import numpy as np
import pytest

from jaxalign.cli import dynamics as command
from jaxalign.studies import compared_runs

SMALL = ("two_layer", "orthogonal_low", "--width", 12, "--steps", 60)


@pytest.fixture(scope="module")
def runs():
    return compared_runs(["two_layer", "orthogonal_low"], width=12, epochs=60)


def test_numbers_figures_and_files_are_those_of_the_studies(cli, runs, tmp_path):
    out = tmp_path / "out"
    run = cli("dynamics", *SMALL, "--out", out)
    assert run.code == 0, run.err
    lines = run.out.splitlines()
    assert lines[:2] == ["training two_layer (1 of 2) ...", "training orthogonal_low (2 of 2) ..."]
    row = next(line for line in lines if line.startswith("orthogonal_low"))
    expected = runs["orthogonal_low"].row
    assert row.split()[1:6] == ["3", "of", "4", f"{expected['r2_h']:.3g}", f"{expected['r2_y']:.3g}"]
    document = json.loads((out / "dynamics.json").read_text())
    assert {name: values["sse"] for name, values in document["runs"].items()} == pytest.approx(
        {name: run.row["sse"] for name, run in runs.items()}
    )
    assert document["settings"] == {"width": 12, "steps": 60, "dx2": 1.0, "dy2": 0.5, "centered": False}
    with (out / "layers.csv").open(newline="") as stream:
        layers = list(csv.DictReader(stream))
    assert [row["setting"] for row in layers] == ["two_layer", *["orthogonal_low"] * 4]
    assert float(layers[2]["eta_y"]) == pytest.approx(float(runs["orthogonal_low"].fit.params.eta_y[1]), rel=1e-4)
    figures = [*command.OF_RUNS, *command.OF_ONE_RUN]
    assert {path.name for path in out.iterdir()} == {
        *command.FILES,
        *(f"{name}.{kind}" for name in figures for kind in ("png", "npz")),
    }
    with np.load(out / "trajectories.npz") as arrays:
        np.testing.assert_allclose(arrays["two_layer/y"], runs["two_layer"].recording.y[:, 0])
    with np.load(out / "depth.npz") as arrays:
        assert len(arrays["layer"]) == 4  # of the deepest
    assert lines[-1].startswith(f"written to {out}: dynamics.json, layers.csv, trajectories.png")


def test_rates_that_a_run_does_not_tell_have_a_question_mark(cli):
    run = cli("dynamics", "gain_1.6", "--width", 12, "--steps", 50)
    assert run.code == 0, run.err
    row = next(line for line in run.out.splitlines() if line.startswith("gain_1.6"))
    assert "?" in row
    values = cli("dynamics", "gain_1.6", "--width", 12, "--steps", 50, "--json").document["runs"]["gain_1.6"]
    assert False in (values["eta_h_identifiable"], values["eta_y_identifiable"])


def test_a_width_that_does_not_do_is_told_before_anything_is_trained(cli):
    run = cli("dynamics", "two_layer", "cnn", "--width", 24, "--steps", 60)
    assert run.code == 2
    assert "CNN: width must be at least 101" in run.err
    assert "training" not in run.out + run.err


def test_one_document_and_nothing_else(cli, runs):
    run = cli("dynamics", *SMALL, "--json")
    assert run.code == 0, run.err
    assert run.document["files"] == []
    assert run.document["runs"]["two_layer"] == pytest.approx(runs["two_layer"].row)
    assert run.err.startswith("training two_layer")
    other = cli("dynamics", *SMALL, "--json", "--quiet", "--centered", "--dy2", 0.25, "--seed", 3)
    assert other.err == ""
    expected = compared_runs(["two_layer"], key=3, width=12, epochs=60, dy2=0.25, centered=True)["two_layer"]
    assert other.document["runs"]["two_layer"]["h_network"] == pytest.approx(expected.row["h_network"])
    assert other.document["settings"]["dy2"] == 0.25


def test_a_figure_of_networks_of_its_own_trains_no_others(cli, monkeypatch, tmp_path):
    monkeypatch.setattr(command, "OF_OTHERS", {"xor": lambda key: command.OF_RUNS["losses"](runs_of(key))})
    run = cli("dynamics", "--figure", "xor", "--out", tmp_path, "--seed", 2)
    assert run.code == 0, run.err
    assert {path.name for path in tmp_path.iterdir()} == {"xor.png", "xor.npz"}
    assert "training" not in run.out
    with np.load(tmp_path / "xor.npz") as arrays:
        np.testing.assert_array_equal(arrays["a/loss"], runs_of(2)["a"].curves["loss"])


def runs_of(key):
    return {"a": compared_runs(["two_layer"], key=key, width=5, epochs=20)["two_layer"]}


def test_settings_and_figures_are_listed(cli):
    run = cli("dynamics", "--list")
    assert run.code == 0
    assert "xor_rich" in run.out
    assert "digit-structure" in run.out
    listed = cli("dynamics", "--list", "--json").document
    assert listed["settings"]["two_layer"]["activation"] == "linear"
    assert listed["figures"] == list(command.FIGURES)


@pytest.mark.filterwarnings("ignore:record")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["defualt"], "did you mean 'default'"),
        (["two_layer", "two_layer"], "must not repeat"),
        (["--figure", "xor"], "--figure needs --out"),
        (["--figure", "xro", "--out", "OUT"], "--figure must be one of trajectories,"),
        (["two_layer", "--figure", "xor", "--out", "OUT"], "train networks of their own"),
        (["--dx2", "0"], "--dx2 must be positive"),
        (["--dy2", "nan"], "--dy2 at least 0"),
        (["--quiet"], "would leave nothing"),
        (["two_layer", "--dx2", "1e6", "--steps", "300", "--width", "4"], "diverged"),
    ],
)
def test_mistakes_are_one_line(cli, options, says, tmp_path):
    run = cli("dynamics", *[str(tmp_path) if option == "OUT" else option for option in options])
    assert run.code == 2
    assert says in run.err
    assert "Traceback" not in run.err
