"""`jaxalign platonic`, in this process: what it says is what the study says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jaxalign import load_comparison
from jaxalign.features import load, save
from jaxalign.studies.platonic import Preprocessing, platonic_study

N = 60


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """Four language models and three vision models of one world, the better the less noise."""
    folder = tmp_path_factory.mktemp("features")
    seen = np.random.default_rng(0).normal(size=(N, 5))
    for kind, count in (("language", 4), ("vision", 3)):
        (folder / kind).mkdir()
        for i in range(count):
            rng = np.random.default_rng(10 * count + i)
            layers = {
                f"layer{j}": (
                    np.tanh(seen @ rng.normal(size=(5, 12))) + (count - i) * rng.normal(size=(N, 12)) / 2
                ).astype(np.float32)
                for j in range(2)
            }
            facts = {"parameters": 100 * (i + 1), "loss": float(count - i), "seed": 0, "name": "x"}
            save(folder / kind / f"{kind[0]}{i}.npz", layers, ids=np.arange(N), facts=facts)
    return folder


def study_of(features, *patterns, **settings):
    sides = [{p.stem: load(p) for p in sorted(features.glob(pattern))} for pattern in patterns]
    return platonic_study(*sides, **settings)


def test_two_modalities(cli, features, tmp_path):
    out = tmp_path / "out"
    run = cli("platonic", features, "--x", "language/*", "--y", "vision/*", "--calibrate", 49, "--out", out, "--scale")
    assert run.code == 0, run.err
    study = study_of(features, "language/*", "vision/*", calibrate=49, key=0)
    document = json.loads((out / "platonic.json").read_text())
    assert (document["models_x"], document["models_y"]) == (["l0", "l1", "l2", "l3"], ["v0", "v1", "v2"])
    assert document["preprocessing"] == Preprocessing().definition
    assert document["chance_of_one_pair"] == {"mutual_knn": 10 / (N - 1)}
    best = {(row["model_a"], row["model_b"]): row for row in document["best"]["mutual_knn"]}
    assert best["l3", "v2"]["value"] == pytest.approx(study.table()[3, 2])
    assert best["l3", "v2"]["pvalue"] == pytest.approx(study.pvalues()[3, 2])
    # Of facts those that differ, losses turned round, of either side, as they are and calibrated.
    trends = {(row["fact"], row["of"], row["calibrated"]): row for row in document["trends"]}
    assert set(trends) == {
        (fact, of, calibrated) for fact in ("parameters", "-loss") for of in "xy" for calibrated in (False, True)
    }
    assert trends["-loss", "x", False]["rho"] == pytest.approx(study.trend("-loss", key=0).rho)
    of_y = study.trend("-loss", key=0, of="y", calibrated=True)
    assert trends["-loss", "y", True]["pvalue"] == pytest.approx(of_y.pvalue)
    line = next(line for line in run.out.splitlines() if line.startswith("mutual_knn, calibrated   -loss of y"))
    assert line.split()[5:7] == ["3", f"{of_y.rho:.3g}"]
    saved = load_comparison(out / "comparison.npz")
    np.testing.assert_allclose(saved.values["mutual_knn"], study.comparison.values["mutual_knn"])
    pictures = ["models", *(f"trend-{fact}-{of}" for fact in ("parameters", "loss") for of in "xy"), "scale"]
    expected = {"platonic.json", "comparison.npz", *(f"{name}.png" for name in pictures)}
    expected |= {f"{name}.npz" for name in pictures[1:]}
    assert {path.name for path in out.iterdir()} == expected
    with np.load(out / "trend-loss-x.npz") as arrays:
        np.testing.assert_allclose(arrays["alignment"], study.table(calibrated=True))
    with np.load(out / "scale.npz") as arrays:
        closest = max(best.values(), key=lambda row: row["value"])
        assert arrays["k = 10/scores"][-1, 0] == pytest.approx(closest["value"], abs=1e-6)


def test_one_modality_with_several_measures_and_facts_of_a_file(cli, features, tmp_path):
    facts, out = tmp_path / "facts.json", tmp_path / "out"
    facts.write_text(json.dumps({f"l{i}": {"accuracy": [0.1, 0.5, 0.3, 0.9][i]} for i in range(4)}))
    options = ("--x", "language/*", "-m", "mutual_knn:k=5", "-m", "cka", "--facts", facts, "--fact", "accuracy")
    run = cli("platonic", features, *options, "--out", out, "--format", "svg", "--json", "--exact", "--per-layer")
    assert run.code == 0, run.err
    document = run.document
    assert document["models_y"] is None
    assert document["preprocessing"] == Preprocessing(exact=True, per="layer").definition
    assert [(row["fact"], row["measure"]) for row in document["trends"]] == [
        ("accuracy", "mutual_knn"),
        ("accuracy", "cka"),
    ]
    assert {path.name for path in out.iterdir()} == {
        "platonic.json",
        "comparison.npz",
        "models-mutual_knn.svg",
        "models-cka.svg",
        *(f"{name}.{kind}" for name in ("trend-accuracy", "map", "agreement") for kind in ("svg", "npz")),
    }
    assert document["files"][0] == f"{out}/platonic.json"
    with np.load(out / "agreement.npz") as arrays:
        assert arrays["rho"].shape == (2, 2)


def test_without_facts_there_are_no_trends(cli, tmp_path):
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(ord(name)).normal(size=(30, 4)).astype(np.float32))
    run = cli("platonic", tmp_path)
    assert run.code == 0, run.err
    assert "no trends: they need a number that all models of a side have, and 3 models" in run.out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--x", "nothing/*"), "--x nothing/*: no feature files in"),
        (("--x", "language/*", "--y", "language/*"), "matches --x and --y"),
        (("--x", "language/l0*"), "matches one model only"),
        (("--x", "language/*", "--fact", "accuracy"), "--fact accuracy: not all models of a side have it"),
        (("--x", "language/*", "--format", "gif"), "--format must be one of png, svg, pdf, got 'gif'"),
        (("--x", "language/*", "--quantile", 2), "quantile must be above 0 and at most 1, got 2.0"),
        (("--x", "language/*", "-m", "mutual_nn"), "mutual_nn"),
        (("--x", "language/*", "--facts", "nowhere.json"), "nowhere.json: No such file"),
        (("--x", "language/*", "--within", "family"), "--within family: of l0 it must be a text or an integer"),
        (("--x", "language/*", "--fact", "-loss", "--within", "parameters"), "no two models agree on it"),
        (("--x", "language/*", "--fresh"), "--fresh discards partial results"),
        (("--x", "language/*", "--quiet"), "would leave nothing"),
        (("--x", "language/*", "-m", "mutual_knn:k=60"), "k must be"),
    ],
)
def test_mistakes_are_one_line(cli, features, options, says):
    run = cli("platonic", features, *options)
    assert run.code == 2
    assert says in run.err
    assert "Traceback" not in run.err


def test_examples_that_do_not_match_are_told_by_file(cli, features, tmp_path):
    layers = load(features / "language" / "l0.npz")
    save(tmp_path / "a.npz", layers)
    save(tmp_path / "b.npz", dict(layers), ids=np.arange(N)[::-1])
    run = cli("platonic", tmp_path)
    assert run.code == 2
    assert "b.npz" in run.err
    run = cli("platonic", tmp_path / "a.npz")
    assert "is no folder" in run.err
    (tmp_path / "facts.json").write_text('{"c": {}}')
    save(tmp_path / "b.npz", layers)
    run = cli("platonic", tmp_path, "--facts", tmp_path / "facts.json")
    assert "there is no model 'c', only a, b" in run.err


def test_examples_with_nan_are_refused_or_left_out(cli, features, tmp_path):
    for path in sorted((features / "language").iterdir()):
        layers = load(path)
        arrays = {name: np.array(z) for name, z in layers.items()}
        if path.stem == "l1":
            arrays["layer0"][3] = np.nan
        save(tmp_path / path.name, arrays, ids=layers.ids, facts=layers.facts)
    run = cli("platonic", tmp_path)
    assert run.code == 2
    assert "l1.npz: NaN or infinity in layer 'layer0', 1 row: 3 (NaN)" in run.err
    out = tmp_path / "out"
    run = cli("platonic", tmp_path, "--x", "*.npz", "--mask-nonfinite", "--scale", "--json", "--out", out)
    assert run.code == 0, run.err
    document = json.loads(run.out)
    assert document["masked_rows"] == [3]
    models = {path.stem: load(path) for path in sorted(tmp_path.glob("*.npz"))}
    study = platonic_study(models, mask=np.arange(N) != 3)
    best = {(row["model_a"], row["model_b"]): row["value"] for row in document["best"]["mutual_knn"]}
    assert best["l2", "l3"] == pytest.approx(study.table()[2, 3])
    with np.load(out / "scale.npz") as arrays:
        assert arrays["k = 10/scores"][-1, 0] == pytest.approx(max(best.values()), abs=1e-6)
        assert arrays["k = 10/sizes"][-1] == N - 1


def test_a_model_that_collapsed_costs_trends_and_map_and_nothing_else(cli, features, tmp_path):
    for path in sorted((features / "language").iterdir()):
        layers = load(path)
        dead = path.stem == "l1"
        save(tmp_path / path.name, {name: z * (not dead) for name, z in layers.items()}, facts=layers.facts)
    out = tmp_path / "out"
    run = cli("platonic", tmp_path, "--x", "*.npz", "-m", "mutual_knn", "-m", "cka", "--scale", "--out", out)
    assert run.code == 0, run.err
    assert "no layers of 3 pairs of models have a score, so that there is no trend: l0 and l1 the first" in run.out
    document = json.loads((out / "platonic.json").read_text())
    assert document["trends"] == []
    written = {path.name for path in out.iterdir()}
    assert {"agreement.png", "scale.png", "models-mutual_knn.png"} <= written
    assert not any(name.startswith(("trend", "map")) for name in written)


def test_trends_among_models_that_agree_on_a_fact(cli, features, tmp_path):
    facts, out = {f"l{i}": {"family": "ab"[i % 2], "accuracy": i / 4} for i in range(4)}, tmp_path / "out"
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    options = ("--x", "language/*", "--fact", "accuracy", "--facts", tmp_path / "facts.json", "--within", "family")
    run = cli("platonic", features, *options, "--out", out)
    assert run.code == 0, run.err
    assert "correlation of alignment and competence among models of the same family" in run.out
    study = study_of(features, "language/*", facts=facts)
    expected = study.trend("accuracy", key=0, within="family")
    (row,) = json.loads((out / "platonic.json").read_text())["trends"]
    assert (row["within"], row["rho"]) == ("family", pytest.approx(expected.rho))
    assert expected.rho != pytest.approx(study.trend("accuracy", key=0).rho)
    with np.load(out / "trend-accuracy.npz") as arrays:
        assert arrays["rho"] == pytest.approx(expected.rho)
