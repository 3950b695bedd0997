"""`jaxalign certify`, in this process."""

from __future__ import annotations

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import alignment_report, features
from jaxalign.stitching import LinearStitch


def test_numbers_and_files_are_those_of_the_report(cli, files, layers, task, tmp_path):
    kernel, bias, labels = task
    out = tmp_path / "out"
    options = ("--head", tmp_path / "head.npz", "--labels", tmp_path / "labels.npy", "--out", out)
    run = cli("certify", *files, *options)
    assert run.code == 0, run.err
    expected = alignment_report(
        *(jnp.asarray(layers[name]["second"]) for name in ("one", "two")),
        y=jnp.asarray(labels, jnp.int32),
        head=LinearStitch.of(jnp.asarray(kernel), jnp.asarray(bias)),
        key=0,
    )
    assert str(expected) in run.out
    assert run.out.startswith("one, layer 'second', into two, layer 'second'; example ids agree")
    assert run.err == ""
    assert {path.name for path in out.iterdir()} == {"alignment.json", "alignment.txt"}
    document = json.loads((out / "alignment.json").read_text())
    assert document["held_out"]["t3"] == expected.held_out.t3
    assert document["source"]["layer"] == "second"
    assert str(expected) in (out / "alignment.txt").read_text()
    again = cli("certify", *files, *options[:-2], "--json")
    assert again.document["verdict"] == expected.verdict
    assert again.document["files"] == []


def test_without_a_head_and_with_a_constant(cli, layers, tmp_path):
    files = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for path in files:  # the last layer is not the one to take
        features.save(path, dict(reversed(layers[path.stem].items())))
    layer = ("--source-layer", "second", "--target-layer", "second")
    plain = cli("certify", *files, *layer, "--json")
    assert plain.code == 0, plain.err
    assert plain.document["held_out"] is None
    assert plain.document["forward"]["rank"] == 9
    bound = cli("certify", *files, *layer, "--lipschitz", "2", "--risk", "0.25", "--json").document["held_out"]
    np.testing.assert_allclose(bound["t3"], (0.5 + 2 * bound["residual"] ** 0.5) ** 2, rtol=1e-6)
    assert bound["t1"] is None
    assert bound["held_out"]
    assert plain.document["seed"] == 0


def test_rows_are_those_that_stitch_holds_out_with_the_seed(cli, files, layers):
    layer = ("--source-layer", "second", "--target-layer", "second")
    run = cli("certify", *files, *layer, "--seed", "3", "--json")
    stitched = cli("stitch", *files, *layer, "--seed", "3", "--json")
    assert run.document["held_out_examples"] == 20
    np.testing.assert_allclose(
        run.document["forward"]["held_out_r_squared"], stitched.document["pairs"][0]["r_squared"], rtol=1e-4
    )


def test_labels_alone_are_for_the_targets(cli, files, task, tmp_path):
    np.save(tmp_path / "names.npy", task[2].astype(np.int64) * 10**12 + 7)
    runs = [cli("certify", *files, "--labels", tmp_path / name, "--json") for name in ("labels.npy", "names.npy")]
    assert runs[0].code == 0, runs[0].err
    assert runs[0].document["in_sample"] is None
    assert len(runs[0].document["task"]) == 2
    assert runs[0].document["task"] == runs[1].document["task"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--source-layer", "secnd"), "has no layer 'secnd'; did you mean 'second'?"),
        (("--head", "HEAD"), "--head goes with --labels or --risk, what it should give or what it costs; got neither"),
        (("--head", "HEAD", "--labels", "LABELS", "--risk", "1"), "got both"),
        (("--lipschitz", "2"), "--lipschitz without --head goes with --risk"),
        (("--seed", "-1"), "--seed"),
        (("--risk", "1"), "--risk needs --head or --lipschitz"),
        (("--loss", "squared"), "--loss needs --head or --lipschitz"),
        (("--head", "HEAD", "--labels", "LABELS", "--target-layer", "first"), "--target-layer may be second"),
        (("--lipschitz", "1", "--risk", "1", "--loss", "hing"), "did you mean 'hinge'"),
        (("--head", "HEAD", "--labels", "LABELS", "--lipschitz", "0.01"), "is no constant of this head"),
        (("--held-out", "1"), "--held-out must be a share"),
        (("--quiet",), "--quiet without --out or --json"),
    ],
)
def test_mistakes_are_one_line(cli, files, task, tmp_path, options, says):
    names = {"HEAD": tmp_path / "head.npz", "LABELS": tmp_path / "labels.npy"}
    run = cli("certify", *files, *(names.get(option, option) for option in options))
    assert run.code == 2
    assert says in run.err
    assert run.out.count("\n") <= 2
