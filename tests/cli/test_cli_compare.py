"""`jaxalign compare`, in this process."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from jaxalign import features
from jaxalign.cli.errors import Problem
from jaxalign.cli.sizes import parse_bytes
from jaxalign.comparison import compare, load_comparison
from jaxalign.measures import cka, mutual_knn


def test_it_writes_what_compare_computes(cli, files, layers, tmp_path):
    out = tmp_path / "deep" / "out"
    run = cli("compare", *files, "-m", "cka", "--measure", "mutual_knn:k=3", "--out", out)
    assert run.code == 0
    expected = compare(layers, measures=[cka(), mutual_knn(k=3)])
    for name in ("comparison.npz", "comparison.json"):
        result = load_comparison(out / name)
        assert result.names_a == expected.names_a
        assert result.info["ids_checked"]
        for key in ("cka", "mutual_knn"):
            np.testing.assert_array_equal(result.values[key], expected.values[key])
    with (out / "scores.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 2 * 4 * 4
    with (out / "best-pairs.csv").open() as stream:
        (row, _) = csv.DictReader(stream)
    assert (row["model_a"], row["layer_a"], row["model_b"], row["layer_b"]) == ("one", "second", "two", "second")
    pictures = {"cka-layers.png", "cka-models.png", "mutual_knn-layers.png", "mutual_knn-models.png"}
    assert {path.name for path in out.iterdir()} == {
        *pictures, "comparison.npz", "comparison.json", "scores.csv", "best-pairs.csv"
    }  # fmt: skip
    for text in ("2 models, 4 layers, 40 examples; example ids agree", "cka[linear,biased]", f"written to {out}"):
        assert text in run.out
    assert run.err == ""


def test_json_is_one_document(cli, files, tmp_path):
    run = cli("compare", *files, "-m", "cka", "--json", "--out", tmp_path / "out")
    assert run.code == 0
    document = run.document
    assert document["models"] == {"one": str(files[0]), "two": str(files[1])}
    assert document["best"]["cka"][0]["layer_a"] == "second"
    assert document["comparison"] == json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert str(tmp_path / "out" / "scores.csv") in document["files"]
    assert document["masked_rows"] == []
    assert "2 models" in run.err


def test_without_out_nothing_is_written(cli, files, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run = cli("compare", *files)
    assert run.code == 0
    assert list((tmp_path / "here").iterdir()) == []
    assert "cka[linear,unbiased]" in run.out
    assert "mutual_knn[k=10" in run.out


def test_an_empty_name_of_a_folder_is_refused(cli, files, tmp_path, monkeypatch):
    """What an unset variable leaves of `--out "$DIR"` is not the folder one is in."""
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    run = cli("compare", *files, "--out", "")
    assert run.code == 2
    assert "--out must name a folder" in run.err
    assert sorted(tmp_path.iterdir()) == before


def test_one_file_is_compared_with_itself(cli, files, tmp_path):
    run = cli("compare", files[0], "-m", "cka:estimator=unbiased", "--out", tmp_path / "out")
    assert run.code == 0
    assert "two different layers" in run.out
    assert not (tmp_path / "out" / "cka-models.png").exists()
    assert load_comparison(tmp_path / "out" / "comparison.npz").values["cka"].shape == (2, 2)


def test_a_measure_twice_with_other_settings_makes_files_of_its_own(cli, files, tmp_path):
    run = cli("compare", *files, "-m", "cka", "-m", "cka:kernel=rbf,bandwidth=0.5", "--out", tmp_path)
    assert run.code == 0
    assert (tmp_path / "cka-linear-biased-layers.png").exists()
    assert (tmp_path / "cka-rbf-sigma=0.5-biased-layers.png").exists()


@pytest.mark.slow
def test_rows_with_nan_are_refused_or_left_out(cli, files, layers, tmp_path):
    layers["two"]["first"][7, 2] = np.nan
    features.save(files[1], layers["two"])
    refused = cli("compare", *files, "--json")
    assert refused.code == 2
    assert "layer 'first', 1 row: 7 (NaN)" in refused.document["error"]
    assert refused.document["exit_code"] == 2
    run = cli("compare", *files, "-m", "cka", "--json", "--mask-nonfinite")
    assert run.document["masked_rows"] == [7]
    assert run.document["comparison"]["info"]["examples_used"] == 39
    kept = {name: {layer: np.delete(x, 7, axis=0) for layer, x in model.items()} for name, model in layers.items()}
    expected = compare(kept, measures=cka()).values["cka"]
    np.testing.assert_allclose(run.document["comparison"]["values"]["cka"], expected, rtol=1e-6)
    assert "1 example with NaN or infinity left out, 39 used" in cli("compare", *files, "--mask-nonfinite").out


def test_scores_that_are_not_defined_are_null_in_json_and_a_word_in_tables(cli, tmp_path):
    features.save(tmp_path / "flat.npz", {"a": np.ones((20, 2), np.float32), "b": np.ones((20, 3), np.float32)})
    run = cli("compare", tmp_path / "flat.npz", "--json", "-m", "cka")
    assert run.code == 0
    assert run.document["best"]["cka"][0]["value"] is None
    assert "undefined" in cli("compare", tmp_path / "flat.npz", "-m", "cka").out


def test_too_few_examples_for_the_measures_that_nobody_asked_for(cli, tmp_path):
    file = tmp_path / "few.npz"
    features.save(file, {"a": np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)})
    run = cli("compare", file)
    assert run.code == 2
    assert "the default measures (cka:estimator=unbiased, mutual_knn:k=10) need at least 11 examples, got 8" in run.err
    assert cli("compare", file, "-m", "mutual_knn:k=3").code == 0


@pytest.mark.slow
def test_many_pairs_are_cut_short_in_the_terminal_only(cli, layers, tmp_path):
    paths = [tmp_path / f"m{i}.npz" for i in range(8)]
    for path in paths:
        features.save(path, {"layer": layers["one"]["first"]})
    run = cli("compare", *paths, "-m", "cka", "--out", tmp_path / "out")
    assert "and 8 more pairs of models; all in best-pairs.csv" in run.out
    assert len((tmp_path / "out" / "best-pairs.csv").read_text().splitlines()) == 1 + 28
    assert "and 8 more pairs of models; --out or --json gives all" in cli("compare", *paths, "-m", "cka").out


def test_names_with_brackets_are_printed_as_they_are(cli, layers, tmp_path):
    features.save(tmp_path / "m.npz", {"[red]a[/red]": layers["one"]["first"], ":smile:[0]": layers["two"]["first"]})
    run = cli("compare", tmp_path / "m.npz", "-m", "cka", "--out", tmp_path / "out")
    assert run.code == 0
    assert "[red]a[/red]" in run.out
    assert ":smile:[0]" in run.out


def test_float64_is_said_to_be_narrowed(cli, layers, tmp_path):
    features.save(tmp_path / "m.npz", {"a": layers["one"]["first"].astype(np.float64)})
    assert "float64 is computed in float32" in cli("compare", tmp_path / "m.npz", "-m", "cka").out


@pytest.mark.slow
def test_quiet_prints_nothing_but_json(cli, files, tmp_path):
    run = cli("compare", *files, "-q", "--out", tmp_path / "out")
    assert (run.code, run.out, run.err) == (0, "", "")
    run = cli("compare", *files, "--quiet", "--json")
    assert (run.code, run.err) == (0, "")
    assert run.document["models"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-m", "ckaa"], "did you mean 'cka'"),
        (["-m", "mutual_knn:k=40"], "k must be smaller than the number of rows (40)"),
        (["-m", "mutual_knn:k=0"], "k must be at least 1, got 0"),
        (["-m", "cka", "-m", "cka"], "measures must differ"),
        (["--quiet"], "--quiet without --out or --json"),
        (["--fresh"], "only with --out"),
        (["--max-memory", "lots"], "'lots' is not a positive number of bytes"),
        (["--nope"], "No such option: --nope"),
        (["absent.npz"], "absent.npz: no such file"),
    ],
)
def test_mistakes_end_with_status_2_and_no_traceback(cli, files, options, message):
    run = cli("compare", *files, *options)
    assert run.code == 2
    assert message in run.err
    assert "Traceback" not in run.err
    as_json = cli("compare", *files, "--json", *(option for option in options if option != "--quiet"))
    if options != ["--quiet"]:
        assert message in as_json.document["error"]
        assert as_json.code == as_json.document["exit_code"] == 2


def test_bugs_keep_their_traceback(cli, files, monkeypatch):
    def broken(*args, **kwargs):
        raise TypeError("unsupported operand type(s) for +")

    monkeypatch.setattr("jaxalign.cli.compare.compare", broken)
    with pytest.raises(TypeError, match="unsupported operand"):
        cli("compare", *files)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1500000", 1500000), ("500MB", 500 * 10**6), ("2GiB", 2**31), (" 1.5 kib ", 1536), ("1e6", 10**6), ("3 b", 3)],
)
def test_sizes(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1GB", "0", "2XB", "nan", "inf", "1GG", "0.5"])
def test_sizes_that_are_none(text):
    with pytest.raises(Problem, match="not a positive number of bytes"):
        parse_bytes(text)


@pytest.mark.slow
def test_scores_are_calibrated_when_asked(cli, files, layers, tmp_path):
    run = cli("compare", *files, "-m", "cka", "--calibrate", "39", "--seed", "3", "--out", tmp_path / "out")
    assert run.code == 0
    expected = compare(layers, measures=cka(), calibrate=39, key=3)
    result = load_comparison(tmp_path / "out" / "comparison.npz")
    np.testing.assert_array_equal(result.pvalues["cka"], expected.pvalues["cka"])
    assert result.info["seed"] == 3
    assert "calibrated" in run.out
    assert "39 random orders of the examples, level 0.05" in run.out
    with (tmp_path / "out" / "best-pairs.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert float(row["pvalue"]) == pytest.approx(expected.best()[0].pvalue)
    document = cli("compare", *files, "-m", "hsic", "--calibrate", "39", "--json").document
    assert document["best"]["hsic"][0]["calibrated"] is None
    assert document["best"]["hsic"][0]["pvalue"] > 0
    few = cli("compare", *files, "--calibrate", "5")
    assert few.code == 2
    assert "calibrate must be at least 19 for alpha=0.05" in few.err
