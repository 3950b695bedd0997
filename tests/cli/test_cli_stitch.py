"""`jaxalign stitch`, in this process."""

from __future__ import annotations

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import features
from jaxalign.cli.errors import Problem
from jaxalign.cli.stitch_pairs import METHODS, stitcher_of
from jaxalign.stitching import evaluate_stitch, ridge
from jaxalign.stitching.row_split import two_sides
from tests.cli.conftest import ROWS

OPTIONS = ("--penalty", "0.1")


def test_pairs_are_what_ridge_gives_on_held_out_rows(cli, files, layers, tmp_path):
    out = tmp_path / "deep" / "out"
    run = cli("stitch", *files, *OPTIONS, "--held-out", "0.25", "--seed", "3", "--out", out)
    assert run.code == 0, run.err
    fit, test = two_sides("test", ROWS, 0.25, None, jax.random.key(3))
    assert len(test) == ROWS // 4
    with (out / "stitching.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["source_layer"], row["target_layer"]) for row in rows] == [
        (one, other) for one in ("first", "second") for other in ("first", "second")
    ]
    for row in rows:
        x, y = layers["one"][row["source_layer"]], layers["two"][row["target_layer"]]
        centered_x, centered_y = x[fit] - x[fit].mean(axis=0), y[fit] - y[fit].mean(axis=0)
        moments = centered_x.T @ centered_x / len(fit) + 0.1 * np.eye(x.shape[1])
        kernel = np.linalg.solve(moments, centered_x.T @ centered_y / len(fit))
        mapped = (x[test] - x[fit].mean(axis=0)) @ kernel + y[fit].mean(axis=0)
        misalignment = np.mean(np.sum((mapped - y[test]) ** 2, axis=1))
        spread = np.mean(np.sum((y[fit].mean(axis=0) - y[test]) ** 2, axis=1))
        np.testing.assert_allclose(float(row["misalignment"]), misalignment, rtol=1e-5)
        np.testing.assert_allclose(float(row["r_squared"]), 1 - misalignment / spread, rtol=1e-4)
    assert {path.name for path in out.iterdir()} == {"stitching.json", "stitching.csv"}
    assert json.loads((out / "stitching.json").read_text())["examples_held_out"] == ROWS // 4
    for text in ("one into two: ridge, 30 examples to fit on, 10 held out; example ids agree", f"written to {out}"):
        assert text in run.out
    table = [line.split()[:2] for line in run.out.splitlines() if line.startswith(("first ", "second "))]
    assert sorted(table[:2]) == [["first", "first"], ["second", "second"]]
    assert run.err == ""


@pytest.mark.parametrize("options", [("least_squares",), ("low_rank", "--rank", "12")])
def test_other_methods_without_a_penalty_agree_with_ridge_without_one(cli, files, options):
    files = *files, "--source-layer", "first"
    expected = cli("stitch", *files, "--penalty", "0", "--json").document["pairs"]
    pairs = cli("stitch", *files, "--method", *options, "--json").document["pairs"]
    assert len(pairs) == 2
    for one, other in zip(pairs, expected, strict=True):
        assert one == other | {name: pytest.approx(other[name], rel=1e-3) for name in ("r_squared", "misalignment")}


@pytest.mark.slow
def test_a_head_is_judged_beside_the_intact_model_and_controls(cli, files, layers, task, tmp_path):
    kernel, bias, labels = task
    given = ("--head", tmp_path / "head.npz", "--labels", tmp_path / "labels.npy")
    run = cli("stitch", *files, *OPTIONS, *given, "--source-layer", "second", "--out", tmp_path / "out", "--json")
    assert run.code == 0, run.err
    (entry,) = run.document["heads"]
    fit, test = two_sides("test", ROWS, 0.5, None, jax.random.key(0))
    expected = evaluate_stitch(
        jnp.asarray(layers["one"]["second"]),
        jnp.asarray(layers["two"]["second"]),
        lambda z: z @ kernel + bias[None, :],
        labels,
        key=0,
        held_out=test,
        stitcher=lambda x, y: ridge(x, y, penalty=0.1),
    )
    assert (entry["source_layer"], entry["target_layer"]) == ("second", "second")
    assert entry["examples_fitted"] == len(fit)
    for name, numbers in expected.to_dict()["models"].items():
        for key, value in numbers.items():
            got = entry["models"][name][key]
            np.testing.assert_allclose(np.nan if got is None else got, value, rtol=1e-5, err_msg=f"{name} {key}")
    with (tmp_path / "out" / "stitched-models.csv").open() as stream:
        assert [row["model"] for row in csv.DictReader(stream)] == list(entry["models"])
    assert len(run.document["files"]) == 3
    printed = cli("stitch", *files, *OPTIONS, *given, "--source-layer", "second").out
    assert "Accuracy of the head after layer 'second'" in printed
    assert f"{100 * expected.intact.accuracy:.1f} %" in printed


@pytest.mark.slow
def test_rows_with_nan_are_refused_or_left_out(cli, files, layers):
    layers["two"]["first"][7, 2] = np.nan
    features.save(files[1], layers["two"])
    refused = cli("stitch", *files, "--json")
    assert refused.code == 2
    assert "layer 'first', 1 row: 7 (NaN)" in refused.document["error"]
    run = cli("stitch", *files, *OPTIONS, "--mask-nonfinite", "--target-layer", "first", "--json")
    assert run.document["examples_fitted"] + run.document["examples_held_out"] == ROWS - 1
    assert all(pair["r_squared"] is not None for pair in run.document["pairs"])


def test_a_constant_layer_has_no_r_squared(cli, tmp_path):
    rng = np.random.default_rng(0)
    features.save(tmp_path / "a.npz", {"x": rng.normal(size=(20, 2)).astype(np.float32)})
    features.save(tmp_path / "b.npz", {"flat": np.ones((20, 3), np.float32)})
    run = cli("stitch", tmp_path / "a.npz", tmp_path / "b.npz", *OPTIONS, "--json")
    assert run.document["pairs"][0]["r_squared"] is None
    assert "undefined" in cli("stitch", tmp_path / "a.npz", tmp_path / "b.npz", *OPTIONS).out


@pytest.mark.slow
def test_every_method_makes_a_map():
    x, y = (jnp.asarray(np.random.default_rng(seed).normal(size=(ROWS // 2, 9)), jnp.float32) for seed in (0, 1))
    for method, options in METHODS.items():
        stitch = stitcher_of(method, penalty=None, rank=2 if "rank" in options else None)(x, y)
        assert stitch(x).shape == y.shape
    shrunk = stitcher_of("low_rank", penalty=1e6, rank=2)(x, y)
    assert np.abs(shrunk.kernel).max() < 1e-3


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("rigde", {}, "--method must be one of .*did you mean 'ridge'"),
        ("pls", {}, "--method pls needs --rank"),
        ("ridge", {"rank": 3}, "--rank goes with the methods low_rank and pls, not with ridge"),
        ("permutation", {"penalty": 1.0}, "--penalty goes with the methods ridge and low_rank"),
        ("ridge", {"penalty": -1.0}, "--penalty must be a number of at least 0"),
        ("ridge", {"penalty": float("nan")}, "--penalty must be a number of at least 0"),
    ],
)
def test_methods_and_options_that_do_not_go_together(method, options, message):
    with pytest.raises(Problem, match=message):
        stitcher_of(method, **({"penalty": None, "rank": None} | options))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", ""], "--out must name a folder"),
        (["--quiet"], "would leave nothing"),
        (["--held-out", "0"], "--held-out must be a share of the examples, between 0 and 1, got 0.0"),
        (["--held-out", "0.01"], "must leave at least 2 examples on both sides"),
        (["--source-layer", "frist"], "has no layer 'frist'; did you mean 'first'?; it has first, second"),
        (["--head", "HEAD"], "--head needs --labels beside it"),
        (["--labels", "LABELS"], "--labels needs --head beside it"),
        (["--head-layer", "first"], "--head-layer goes with --head"),
        (["--head", "HEAD", "--labels", "LABELS", "--head-layer", "first"], "--head-layer may be second"),
        (["--head", "LABELS", "--labels", "LABELS"], "a head is a .npz file with 'kernel' and 'bias', got 'labels'"),
        (["--head", "HEAD", "--labels", "HEAD"], "labels are the array 'labels' of a .npz file, or the only one"),
        (["--head", "nowhere.npz", "--labels", "LABELS"], "nowhere.npz: No such file"),
        (["--head", "TEXT", "--labels", "LABELS"], "is no .npy or .npz file of numbers, or it is damaged"),
        (["--head", "HEAD", "--labels", "FEW"], "has 39 labels, the activations have 40 examples"),
        (["--head", "HEAD", "--labels", "HIGH"], "labels must be from 0 to 2, the outputs of the head, got 3"),
        (["--head", "HEAD", "--labels", "FLOAT"], "labels must be integers of shape (40,), got float64 (40,)"),
    ],
)
def test_mistakes_end_in_a_sentence(cli, files, task, tmp_path, arguments, message):
    labels = task[2]
    named = {"HEAD": "head.npz", "LABELS": "labels.npy"}
    for name, array in {"FEW": labels[:-1], "HIGH": labels + 1, "FLOAT": labels.astype(float)}.items():
        named[name] = f"{name}.npy"
        np.save(tmp_path / named[name], array)
    named["TEXT"] = "text.npz"
    (tmp_path / "text.npz").write_text("kernel")
    run = cli("stitch", *files, *(tmp_path / named[a] if a in named else a for a in arguments))
    assert run.code == 2, run.out
    assert message in run.err
    assert run.out == ""


def test_the_help_says_that_a_rotation_has_a_factor(cli):
    shown = " ".join(cli("stitch", "--help").out.replace("│", " ").split())
    assert "orthogonal (a rotation with a common factor)" in shown


def test_files_of_other_examples_are_refused(cli, files, layers):
    features.save(files[1], {name: array[:-1] for name, array in layers["two"].items()})
    run = cli("stitch", *files)
    assert run.code == 2
    assert "same number of rows" in run.err
