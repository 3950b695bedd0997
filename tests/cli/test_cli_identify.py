"""`jaxalign identify`, in this process."""

from __future__ import annotations

import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import features
from jaxalign.cli import identify as command
from jaxalign.identifiability import (
    Sets,
    identify,
    identify_representations,
    log_probs,
    most_variable_labels,
)

INPUTS, LABELS, WIDTH = 40, 6, 2


@pytest.fixture
def pair(tmp_path):
    """Two models of width 2 with their heads: embeddings and logits, the second a noisy turn of the first."""
    rng = np.random.default_rng(0)
    f, g = rng.normal(size=(INPUTS, WIDTH)), 2 * rng.normal(size=(LABELS, WIDTH))
    turn = np.array([[1.0, 0.5], [0.0, 2.0]])
    noise = 0.05 * rng.normal(size=f.shape)
    sides = {"one": (f, g), "two": (f @ turn + noise, g @ np.linalg.inv(turn).T)}
    made = SimpleNamespace(f={}, g={}, logits={}, bias={}, paths=[], heads=[], folder=tmp_path)
    for name, (embeddings, unembeddings) in sides.items():
        made.f[name], made.g[name] = np.float32(embeddings), np.float32(unembeddings)
        made.logits[name] = np.float32(embeddings @ unembeddings.T)
        made.bias[name] = np.float32(rng.normal(size=LABELS))
        path = tmp_path / f"{name}.npz"
        layers = {"logits": made.logits[name], "hidden": made.f[name]}
        features.save(path, layers, ids=[f"example-{i}" for i in range(INPUTS)])
        np.savez(tmp_path / f"head-{name}.npz", kernel=made.g[name].T)
        np.savez(tmp_path / f"biased-{name}.npz", kernel=made.g[name].T, bias=made.bias[name])
        made.paths.append(path)
        made.heads.append(tmp_path / f"head-{name}.npz")
    return made


def other_logits(pair, name, logits):
    """A file with these logits in place of those of the model."""
    path = pair.folder / f"other-{name}.npz"
    features.save(path, {"logits": logits})
    return path


def same(document, expected):
    """Everything that the record holds, but for what is added to the notes."""
    found = {name: document[name] for name in expected.to_dict() if name != "notes"}
    known = {name: value for name, value in expected.to_dict().items() if name != "notes"}
    assert found == json.loads(json.dumps(known))
    assert document["notes"][: len(expected.notes)] == list(expected.notes)
    return document["notes"][len(expected.notes) :]


def test_numbers_and_files_are_those_of_the_record(cli, pair):
    out = pair.folder / "out"
    run = cli("identify", *pair.paths, "--out", out)
    assert run.code == 0, run.err
    expected = identify(*map(jnp.asarray, pair.logits.values()), m=WIDTH, key=0)
    assert run.out.startswith("one, layer 'logits', and two, layer 'logits'; example ids agree\n\n")
    assert str(expected) in run.out
    assert run.out.endswith(f"written to {out}: identification.json, identification.txt\n")
    assert run.err == ""
    assert {path.name for path in out.iterdir()} == {"identification.json", "identification.txt"}
    document = json.loads((out / "identification.json").read_text())
    assert same(document, expected) == []
    assert document["first"] == {"name": "one", "path": str(pair.paths[0]), "layer": "logits", "head": None}
    assert (document["rows"], document["all_labels"], document["seed"]) == (INPUTS, LABELS, 0)
    assert (document["settings"]["tuples"], document["settings"]["subsets"]) == (200, None)
    assert document["jaxalign"]
    assert document["jax"]
    assert str(expected) in (out / "identification.txt").read_text()
    again = cli("identify", *pair.paths, "--json")
    assert again.document == {**document, "files": []}
    assert again.err.startswith("one, layer 'logits'")
    silent = cli("identify", *pair.paths, "--quiet", "--out", out, "--sets", out / "identification.json")
    assert (silent.code, silent.out, silent.err) == (0, "", "")
    fixed = json.loads((out / "identification.json").read_text())
    assert fixed["settings"]["sets"] == str(out / "identification.json")
    assert same(fixed, expected) == []


def test_heads_give_what_only_representations_show(cli, pair):
    options = ("--layer", "hidden", "--head", pair.heads[0], "--head2", pair.heads[1])
    run = cli("identify", *pair.paths, *options, "--json")
    assert run.code == 0, run.err
    parts = [jnp.asarray(part[name]) for name in ("one", "two") for part in (pair.f, pair.g)]
    expected = identify_representations(*parts, key=0)
    assert same(run.document, expected) == []
    assert run.document["s_min"] > 0
    assert run.document["rep_distance"] < run.document["rep_distance_bound"]
    assert run.document["second"]["head"] == str(pair.heads[1])
    assert "layer 'hidden' through" in run.err
    # Without names the layer is the last.
    assert cli("identify", *pair.paths, *options[2:], "--json").document == run.document


@pytest.mark.slow
def test_models_are_compared_in_dimensions_of_their_own(cli, pair):
    rng = np.random.default_rng(1)
    logits = pair.logits["one"], np.float32(rng.normal(size=(INPUTS, 4)) @ rng.normal(size=(4, LABELS)))
    paths = [pair.paths[0], other_logits(pair, "four", logits[1])]
    run = cli("identify", *paths, "--json")
    assert run.code == 0, run.err
    assert (run.document["dimension"], run.document["dimension2"]) == (WIDTH, 4)
    same(run.document, identify(*map(jnp.asarray, logits), key=0))
    run = cli("identify", *paths, "--dimension", 3, "--json")
    assert (run.document["dimension"], run.document["dimension2"]) == (3, 3)


@pytest.mark.slow
def test_settings_are_those_of_the_library(cli, pair):
    models = [jnp.asarray(logits) for logits in pair.logits.values()]
    options = ("--dimension", 1, "--tuples", 1, "--weight", "0.5", "--seed", 4, "--subsets", 2, "--json")
    run = cli("identify", *pair.paths, *options)
    assert run.code == 0, run.err
    expected = identify(*models, m=1, tuples=1, weight=0.5, key=4, subsets=2)
    assert same(run.document, expected) == []
    assert run.document["settings"]["subsets"] == 2
    assert run.document["sets"] != identify(*models, m=1, weight=0.5, key=4, subsets=2).sets
    heads = ("--layer", "hidden", "--head", pair.heads[0], "--head2", pair.heads[1])
    through = cli("identify", *pair.paths, *heads, "--dimension", 1, "--json").document
    assert through["dimension"] == 1
    assert through["rep_distance"] is None


@pytest.mark.slow
def test_labels_to_choose_from(cli, pair):
    models = [jnp.asarray(logits) for logits in pair.logits.values()]
    anchors = most_variable_labels(*models, count=4)
    run = cli("identify", *pair.paths, "--anchors", 4)
    assert run.code == 0, run.err
    assert "sets from the 4 most variable of 6 labels" in run.out
    expected = identify(*models, m=WIDTH, labels=anchors, key=0)
    assert str(expected) in run.out
    np.savez(pair.folder / "some.npz", labels=np.asarray(anchors)[::-1].astype(np.int64), more=np.zeros(2))
    named = cli("identify", *pair.paths, "--labels", pair.folder / "some.npz", "--json")
    assert named.code == 0, named.err
    assert f"sets from 4 of 6 labels, those in {pair.folder / 'some.npz'}" in named.err
    same(named.document, identify(*models, m=WIDTH, labels=anchors[::-1], key=0))
    sets = named.document["sets"]
    assert {*sets["labels"], sets["label_pivot"], sets["left_out"]} == set(np.asarray(anchors).tolist())
    # As many as a dimension takes: none is left out.
    few = cli("identify", *pair.paths, "--anchors", 3, "--json").document["sets"]
    assert few["left_out"] is None
    assert len(few["labels"]) == 2


@pytest.mark.slow
def test_fixed_sets_make_it_a_metric(cli, pair):
    first = cli("identify", *pair.paths, "--tuples", 2, "--json").document
    (pair.folder / "run.json").write_text(json.dumps(first))
    (pair.folder / "sets.json").write_text(json.dumps(first["sets"]))
    third = other_logits(pair, "three", pair.logits["one"][:, ::-1].copy())
    sides = [(pair.paths[0], pair.paths[1]), (pair.paths[1], third), (pair.paths[0], third)]
    runs = [cli("identify", *side, "--sets", pair.folder / "run.json", "--json").document for side in sides]
    assert all(run["sets"] == first["sets"] for run in runs)
    assert runs[0]["llv"] == first["llv"]
    assert runs[2]["llv"] <= runs[0]["llv"] + runs[1]["llv"]
    back = cli("identify", third, pair.paths[0], "--sets", pair.folder / "run.json", "--json").document
    np.testing.assert_allclose(back["llv"], runs[2]["llv"], rtol=1e-6)
    # Sets alone do not say which dimension.
    bare = cli("identify", *sides[1], "--sets", pair.folder / "sets.json", "--json").document
    assert bare["llv"] == runs[1]["llv"]
    known = Sets(**{n: jnp.asarray(v, jnp.int32) for n, v in first["sets"].items()})
    same(bare, identify(*(jnp.asarray(features.load(path)["logits"]) for path in sides[1]), sets=known, key=0))


@pytest.mark.slow
def test_labels_of_minus_infinity(cli, pair):
    infinite = {name: logits.copy() for name, logits in pair.logits.items()}
    infinite["one"][3, 1] = infinite["two"][:, 1] = -np.inf
    paths = [other_logits(pair, name, logits) for name, logits in infinite.items()]
    run = cli("identify", *paths)
    assert run.code == 2
    assert "row 3" in run.err or "1 row: 3 (infinity)" in run.err
    assert "--mask-nonfinite. Or leave out labels of minus infinity, with --drop-infinite." in run.err
    run = cli("identify", *paths, "--drop-infinite", "--json")
    assert run.code == 0, run.err
    expected = identify(*map(jnp.asarray, infinite.values()), m=WIDTH, drop_infinite=True, key=0)
    same(run.document, expected)
    assert (run.document["labels"], run.document["dropped_labels"], run.document["all_labels"]) == (5, 1, 6)
    assert 1 not in run.document["sets"]["labels"]
    np.save(pair.folder / "some.npy", np.array([5, 1, 0, 3, 2]))
    for options in (("--labels", pair.folder / "some.npy"), ("--anchors", 4)):
        chosen = cli("identify", *paths, "--drop-infinite", *options, "--json").document
        sets = chosen["sets"]
        found = {*sets["labels"], sets["label_pivot"], sets["left_out"]}
        kept = [0, 2, 3, 4, 5]
        models = [log_probs(jnp.asarray(pair.f[n]), jnp.asarray(pair.g[n][kept])) for n in ("one", "two")]
        anchors = [kept[i] for i in most_variable_labels(*models, count=4)]
        assert found == ({0, 2, 3, 5} if options[0] == "--labels" else set(anchors))
        assert chosen["largest"][0] not in ("t1", "t3") or chosen["largest"][2] in found
    # All finite: nothing is left out.
    same(
        cli("identify", *pair.paths, "--drop-infinite", "--json").document,
        identify(*map(jnp.asarray, pair.logits.values()), m=WIDTH, key=0),
    )
    infinite["two"][5, 2] = np.nan
    run = cli("identify", paths[0], other_logits(pair, "two", infinite["two"]), "--drop-infinite")
    assert run.code == 2
    assert f"{paths[1]}: NaN or plus infinity in layer 'logits', row 5" in run.err
    infinite["two"][:] = -np.inf
    run = cli("identify", paths[0], other_logits(pair, "two", infinite["two"]), "--drop-infinite")
    assert run.code == 2
    assert "--drop-infinite leaves 0 labels" in run.err


@pytest.mark.slow
def test_examples_that_are_not_finite_are_left_out(cli, pair):
    broken = pair.logits["two"].copy()
    broken[[4, 7]] = np.nan
    unused = np.full((INPUTS, 1), np.inf, np.float32)
    features.save(pair.folder / "bad.npz", {"logits": broken, "unused": unused})
    run = cli("identify", pair.paths[0], pair.folder / "bad.npz", "--mask-nonfinite")
    assert run.code == 0, run.err
    assert "2 examples with NaN or infinity left out, 38 used" in run.out
    mask = ~np.isnan(broken).any(axis=1)
    expected = identify(jnp.asarray(pair.logits["one"]), jnp.asarray(broken), m=WIDTH, key=0, mask=jnp.asarray(mask))
    assert str(expected) in run.out


@pytest.mark.slow
def test_a_bias_is_one_more_dimension(cli, pair):
    heads = [pair.folder / f"biased-{name}.npz" for name in ("one", "two")]
    options = ("--layer", "hidden", "--head", heads[0], "--head2")
    run = cli("identify", *pair.paths, *options, heads[1], "--json")
    assert run.code == 0, run.err
    ones = np.ones((INPUTS, 1), np.float32)
    parts = []
    for name in ("one", "two"):
        parts += [np.hstack([pair.f[name], ones]), np.hstack([pair.g[name], pair.bias[name][:, None]])]
    notes = same(run.document, identify_representations(*map(jnp.asarray, parts), key=0))
    assert "the head of one has a bias, which counts as one more dimension: (f, 1) and (g, b)" in notes
    for which in ("first", "other"):
        assert f"of 3 dimensions of the {which} model only 2 vary over inputs" in str(run.document["notes"])
    assert run.document["dimension"] == 3
    # The same outputs, from their logits.
    paths = [other_logits(pair, n, pair.f[n] @ pair.g[n].T + pair.bias[n]) for n in ("one", "two")]
    logits = cli("identify", *paths, "--json").document
    np.testing.assert_allclose(logits["llv"], run.document["llv"], rtol=1e-3)
    assert [note.partition(" only ")[2] for note in logits["notes"][-2:]] == [
        note.partition(" only ")[2] for note in notes[-2:]
    ]
    # One bias only, and one that is the same for all labels and so none.
    one = cli("identify", *pair.paths, *options, pair.heads[1], "--json").document
    assert any("models of 3 and 2 dimensions" in note for note in one["notes"])
    np.savez(pair.folder / "flat.npz", kernel=pair.g["one"].T, bias=np.full(LABELS, 0.5, np.float32))
    flat = cli("identify", *pair.paths, *options[:3], pair.folder / "flat.npz", "--head2", pair.heads[1], "--json")
    plain = cli("identify", *pair.paths, *options[:3], pair.heads[0], "--head2", pair.heads[1], "--json").document
    assert flat.document["rep_distance"] == plain["rep_distance"]
    assert flat.document["notes"] == plain["notes"]


@pytest.mark.slow
def test_embeddings_wider_than_labels_determine_go_by_probabilities(cli, pair):
    rng = np.random.default_rng(1)
    wide = {name: np.float32(rng.normal(size=(INPUTS, 9))) for name in ("one", "two")}
    kernels = {name: np.float32(rng.normal(size=(9, 4))) for name in wide}
    for name in wide:
        features.save(pair.folder / f"wide-{name}.npy", {"hidden": wide[name]})
        np.savez(pair.folder / f"kernel-{name}.npz", kernel=kernels[name], bias=pair.bias[name][:4])
    files = [pair.folder / f"wide-{name}.npy" for name in wide]
    heads = ("--head", pair.folder / "kernel-one.npz", "--head2", pair.folder / "kernel-two.npz")
    run = cli("identify", *files, *heads, "--json")
    assert run.code == 0, run.err
    ones = np.ones((INPUTS, 1), np.float32)
    models = [log_probs(np.hstack([wide[n], ones]), np.hstack([kernels[n].T, pair.bias[n][:4, None]])) for n in wide]
    notes = same(run.document, identify(*models, m=3, key=0))
    assert notes == [
        "4 labels do not determine embeddings of 10 dimensions: probabilities alone were compared, and d_f and cca_f "
        "are of what they determine"
    ]
    assert run.document["rep_distance"] is None
    given = cli("identify", *files, *heads, "--dimension", 2, "--json").document
    np.testing.assert_allclose(given["llv"], float(identify(*models, m=2, key=0).llv), rtol=1e-4)


@pytest.mark.slow
def test_many_labels(cli, pair):
    rng = np.random.default_rng(2)
    f, g = rng.normal(size=(INPUTS, 3)), rng.normal(size=(2100, 3))
    models = [np.float32(z @ g.T) for z in (f, f + 0.1 * rng.normal(size=f.shape))]
    files = [other_logits(pair, f"many-{i}", logits) for i, logits in enumerate(models)]
    run = cli("identify", *files)
    assert (run.code, run.out) == (2, "")
    assert "2100 labels, too many to go through all pairs: give --anchors, such as 200, or --labels" in run.err
    run = cli("identify", *files, "--anchors", 60)
    assert run.code == 2
    assert "with 2100 labels give --dimension" in run.err
    run = cli("identify", *files, "--anchors", 60, "--dimension", 3, "--json")
    assert run.code == 0, run.err
    assert run.document["settings"]["subsets"] == 1000
    labels = most_variable_labels(*map(jnp.asarray, models), count=60)
    expected = identify(*map(jnp.asarray, models), m=3, labels=labels, subsets=1000, key=0)
    notes = same(run.document, expected)
    assert notes == ["d_f is the largest of 1000 subsets of labels, of 3.1e+04; --subsets draws more"]
    assert run.document["cca_f"] is None
    (pair.folder / "run.json").write_text(json.dumps(run.document))
    again = cli("identify", *files, "--sets", pair.folder / "run.json", "--json").document
    assert again["llv"] == run.document["llv"]
    assert again["dimension"] == 3


def test_the_layer_of_outputs_is_found(cli, pair, monkeypatch):
    seen = []
    monkeypatch.setattr(command, "identification", lambda outputs, choices: (_ for _ in ()).throw(ValueError("x: end")))
    choose = command.choose_models
    monkeypatch.setattr(command, "choose_models", lambda *a, **k: seen.append(choose(*a, **k)) or seen[-1])
    logits = pair.logits["one"]
    features.save(pair.folder / "p.npz", {"hidden": logits[:, :3], "log_probs": logits, "last": logits[:, :2]})
    features.save(pair.folder / "plain.npy", {"whatever": logits})
    features.save(pair.folder / "q.npz", {"out": logits, "hidden": logits[:, :3], "logits": logits[:, :2]})
    for options, layers in (
        (("p.npz", "plain.npy"), ("log_probs", "plain")),
        (("plain.npy", "q.npz", "--layer2", "out"), ("plain", "out")),
        (("q.npz", "plain.npy", "--layer", "out"), ("out", "plain")),
        (("q.npz", "one.npz", "--layer", "out", "--layer2", "logits"), ("out", "logits")),
        (("p.npz", "q.npz", "--layer", "hidden"), ("hidden", "hidden")),
    ):
        run = cli("identify", *(pair.folder / o if "." in o else o for o in options))
        assert "end" in run.err, run.err
        assert tuple(model.layer for model in seen[-1]) == layers
        assert f"layer {layers[0]!r}, and" in run.out
    features.save(pair.folder / "none.npz", {"a": logits, "b": logits})
    run = cli("identify", pair.folder / "p.npz", pair.folder / "none.npz")
    assert run.code == 2
    assert f"{pair.folder / 'none.npz'}: no layer is called 'logits' or 'log_probs'" in run.err
    assert "with --layer2 (it has a, b), or give --head and --head2" in run.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--layer", "logit"), "--layer: ONE has no layer 'logit'; did you mean 'logits'?"),
        (("--layer2", "hidden"), "both models must have the same labels: ONE, layer 'logits', has 6, TWO, layer 'hidd"),
        (("--head", "HEAD"), "--head needs --head2 beside it"),
        (("--head2", "HEAD"), "--head2 needs --head beside it"),
        (("--layer", "logits", "--head", "HEAD", "--head2", "HEAD"), "takes 2 features, layer 'logits' of ONE has 6"),
        (("--head", "TURNED", "--head2", "HEAD"), "'kernel' is (features, outputs), which it would be transposed"),
        (("--head", "HEAD", "--head2", "NARROW"), "labels: HEAD has 6, NARROW has 3"),
        (("--head", "SETS", "--head2", "HEAD"), "SETS: is no .npy or .npz file of numbers"),
        (("--labels", "NUMBERS", "--anchors", "3"), "--labels and --anchors both choose labels; give one"),
        (("--labels", "FLOATS"), "--labels FLOATS: must be integers of shape (count,), got float64 (4,)"),
        (("--labels", "BEYOND"), "--labels BEYOND: must be in 0..5, got 6"),
        (("--labels", "REPEATED"), "--labels REPEATED: must all be different: they are the labels to compare on"),
        (("--labels", "missing.npy"), "missing.npy: No such file"),
        (("--labels", "HEADS"), "--labels HEADS: must be the array 'labels' of a .npz file, or the only one"),
        (("--labels", "PAIR"), "dimension 2 takes at least 3 labels, there are 2 to choose sets from"),
        (("--anchors", "7"), "--anchors: the models have 6 labels, got 7"),
        (("--anchors", "1"), "--anchors"),
        (("--dimension", "0"), "--dimension"),
        (("--dimension", "6"), "dimension 6 takes at least 7 labels, there are 6 to choose sets from"),
        (("--weight", "-1"), "--weight must be a number from 0 on, got -1"),
        (("--weight", "nan"), "--weight must be a number from 0 on, got nan"),
        (("--sets", "SETS", "--anchors", "3"), "--sets fixes labels and inputs, it cannot go with --anchors"),
        (("--sets", "SETS", "--labels", "PAIR", "--tuples", "9"), "it cannot go with --labels and --tuples"),
        (("--sets", "missing.json"), "missing.json: No such file"),
        (("--sets", "HEAD"), "--sets HEAD: is no text"),
        (("--sets", "BROKEN"), "--sets BROKEN: is no JSON, or it is damaged"),
        (("--sets", "LIST"), "--sets LIST: must hold a JSON object, got list"),
        (("--sets", "OTHER"), "it has no 'input_pivot', 'inputs'"),
        (("--sets", "ODD"), "--sets ODD: must be the JSON of an earlier run of 'jaxalign identify', with 'sets'"),
        (("--sets", "WORDS"), "--sets WORDS: 'label_pivot' must be an integer and 'labels' a list of them"),
        (("--sets", "FAR"), "--sets FAR: inputs must be in 0..39, got 40"),
        (("--sets", "TWICE"), "--sets TWICE: 'label_pivot' and 'labels' must all be different, got [0, 1, 0]"),
        (("--sets", "ELSEWHERE"), "--sets ELSEWHERE: it is of 41 inputs, the models have 40"),
        (("--sets", "SIZED"), "--sets SIZED: 'dimension' must be a positive integer, got 0"),
        (("--sets", "LEFT"), "--sets LEFT: 'left_out' must be a label in 0..5 or null, got 9"),
        (("--sets", "SETS", "--drop-infinite"), "for every two models, it cannot go with --sets"),
        (("--drop-infinite", "--mask-nonfinite"), "--drop-infinite leaves out labels, --mask-nonfinite examples"),
        (("--drop-infinite", "--head", "HEAD", "--head2", "HEAD"), "what a head makes of embeddings is finite"),
        (("--quiet",), "--quiet without --out or --json"),
        (("--out", ""), "--out must name a folder"),
    ],
)
def test_mistakes_are_one_line(cli, pair, options, says):
    good = {"label_pivot": 0, "labels": [1, 2], "input_pivot": 0, "inputs": [1, 2], "left_out": None}
    arrays = {
        "NUMBERS": np.arange(4),
        "FLOATS": np.arange(4.0),
        "BEYOND": np.arange(7),
        "REPEATED": np.array([0, 1, 1, 2]),
        "PAIR": np.arange(2),
    }
    texts = {
        "SETS": json.dumps(good),
        "BROKEN": "{",
        "LIST": "[1]",
        "OTHER": json.dumps({"label_pivot": 0, "labels": [1]}),
        "ODD": json.dumps({"sets": 3}),
        "WORDS": json.dumps({**good, "labels": ["a"]}),
        "FAR": json.dumps({"sets": {**good, "inputs": [40]}}),
        "TWICE": json.dumps({**good, "labels": [1, 0]}),
        "ELSEWHERE": json.dumps({"sets": good, "rows": 41}),
        "SIZED": json.dumps({"sets": good, "dimension": 0}),
        "LEFT": json.dumps({**good, "left_out": 9}),
    }
    places = {"HEAD": pair.heads[0], "HEADS": pair.folder / "biased-one.npz", "ONE": pair.paths[0]}
    places["TWO"] = pair.paths[1]
    for name in {*options, says.split(":")[0].split()[-1]}:
        if name in arrays:
            places[name] = pair.folder / f"{name}.npy"
            np.save(places[name], arrays[name])
        if name in texts:
            places[name] = pair.folder / f"{name}.json"
            places[name].write_text(texts[name])
    for name, kernel in (("TURNED", pair.g["one"]), ("NARROW", pair.g["one"][:3].T)):
        places[name] = pair.folder / f"{name.lower()}.npz"
        np.savez(places[name], kernel=kernel)
    run = cli("identify", *pair.paths, *(places.get(option, option) for option in options))
    assert run.code == 2
    for name in sorted(places, key=len, reverse=True):
        says = says.replace(name, str(places[name]))
    assert says in run.err
    assert "Traceback" not in run.err
    assert run.out.count("\n") <= 3


def test_output_that_cannot_be_written_is_noticed_before_the_work(cli, pair, monkeypatch):
    monkeypatch.setattr(command, "identification", None)
    (pair.folder / "file").write_text("mine")
    run = cli("identify", *pair.paths, "--out", pair.folder / "file", "--json")
    assert run.code == 3
    assert run.document["exit_code"] == 3
    assert (pair.folder / "file").read_text() == "mine"


@pytest.mark.slow
def test_models_without_a_difference_between_labels_are_refused(cli, pair):
    flat = other_logits(pair, "flat", np.ones((INPUTS, LABELS), np.float32))
    run = cli("identify", flat, pair.paths[1], "--json")
    assert run.code == 2
    assert "identify: logp must tell labels apart" in run.document["error"]


@pytest.mark.slow
def test_half_precision_and_float64_files(cli, pair):
    narrow = [other_logits(pair, n, jnp.asarray(z, jnp.bfloat16)) for n, z in pair.logits.items()]
    run = cli("identify", *narrow, "--dimension", WIDTH, "--json")
    assert run.code == 0, run.err
    models = [jnp.asarray(z, jnp.bfloat16) for z in pair.logits.values()]
    same(run.document, identify(*models, m=WIDTH, key=0))
    wide = [other_logits(pair, n, z.astype(np.float64)) for n, z in pair.logits.items()]
    run = cli("identify", *wide, "--json")
    assert "float64 is computed in float32; with JAX_ENABLE_X64=1" in run.err
    assert run.document["settings"]["float64"] is False
