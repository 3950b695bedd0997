"""`Comparison`: the closest layers, and files that hold all of it or say why they do not."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os

import numpy as np
import pytest

import jaxalign as ja

NAN, INF = math.nan, math.inf
MODELS = [("m", "0"), ("m", "1"), ("n", "0")]


# The closest layers


def test_best_is_the_closest_pair_of_every_two_models(make_result):
    values = [[1.0, 0.9, 0.2], [0.9, 1.0, 0.7], [0.2, 0.7, 1.0]]
    assert make_result(values, MODELS).best() == (("m", "n", "1", "0", pytest.approx(0.7)),)
    two = make_result(values, MODELS, [("p", "x"), ("p", "y"), ("q", "z")])
    assert [pair[:4] for pair in two.best("cka")] == [
        ("m", "p", "0", "x"),  # 1.0, and so is 1 with y: the first
        ("m", "q", "1", "z"),
        ("n", "p", "0", "y"),
        ("n", "q", "0", "z"),
    ]
    assert [round(pair.value, 6) for pair in two.best()] == [1.0, 0.7, 0.7, 1.0]


def test_best_of_a_distance_is_the_lowest(make_result):
    values = [[0.0, 3.0, INF], [3.0, 0.0, 2.0], [INF, 2.0, 0.0]]
    assert make_result(values, MODELS, closer=False).best() == (("m", "n", "1", "0", 2.0),)
    apart = make_result([[INF]], [("m", "0")], [("n", "0")], closer=False).best()
    assert apart == (("m", "n", "0", "0", INF),)  # as far as can be, but defined
    lowest = make_result([[-INF, -1.0]], [("m", "0")], [("n", "0"), ("n", "1")]).best()
    assert lowest == (("m", "n", "0", "1", -1.0),)


def test_one_model_is_compared_with_itself_without_its_diagonal(make_result):
    values = [[1.0, 0.5, 0.9], [0.5, 1.0, 0.1], [0.9, 0.1, 1.0]]
    assert make_result(values).best() == (("", "", "0", "2", pytest.approx(0.9)),)
    single = make_result([[1.0]]).best()[0]
    assert single[:4] == ("", "", None, None)
    assert math.isnan(single.value)


def test_a_measure_that_is_not_symmetric_has_two_best_pairs(make_result):
    result = make_result([[1.0, 0.2], [0.6, 1.0]], [("m", "0"), ("n", "0")])
    assert [pair[:2] for pair in result.best()] == [("m", "n")]
    result = dataclasses.replace(result, symmetric={"cka": False})
    assert result.best() == (("m", "n", "0", "0", pytest.approx(0.2)), ("n", "m", "0", "0", pytest.approx(0.6)))
    shown = np.asarray(result.plot(by="model").axes[0].images[0].get_array(), float)
    np.testing.assert_allclose(shown, [[np.nan, 0.2], [0.6, np.nan]], rtol=1e-6)


def test_undefined_scores_are_never_the_best(make_result):
    some = make_result([[NAN, 0.1], [0.3, NAN]], [("m", "0"), ("m", "1")], [("n", "0"), ("n", "1")])
    assert some.best() == (("m", "n", "1", "0", pytest.approx(0.3)),)
    for closer in (True, False):
        none = make_result([[NAN]], [("m", "0")], [("n", "0")], closer=closer).best()[0]
        assert none[:4] == ("m", "n", None, None)
        assert math.isnan(none.value)


def test_best_changes_nothing(make_result):
    result = make_result([[1.0, 0.5], [0.5, 1.0]])
    result.best()
    np.testing.assert_array_equal(result.values["cka"], np.float32([[1.0, 0.5], [0.5, 1.0]]))


def test_a_measure_that_was_not_computed_is_refused(make_result):
    result = make_result([[1.0]])
    for call in (result.best, result.to_table, result.plot):
        with pytest.raises(ValueError, match="measure must be one of 'cka', got 'ckaa'; did you mean 'cka'"):
            call("ckaa")
    with pytest.raises(ValueError, match="by must be one of 'layer', 'model', got 'models'"):
        result.plot(by="models")


# Files


@pytest.fixture
def results(make_result, layers):
    values = np.array([[1.0, NAN, 0.1], [0.3, INF, -INF]])
    a, b = [("µ/1", 'la"yer'), ("µ/1", "y[/]\n")], [("", "x"), ("", "y"), ("", "z")]
    return {
        "float64": make_result(values, a, b, closer=False, bounds=(-INF, INF)),
        "float32": make_result(values.astype(np.float32), a, b, bounds=(0.0, INF)),
        "computed": ja.compare(layers(1), measures=[ja.measures.cka(), ja.measures.hsic()], mask=np.arange(40) < 31),
    }


@pytest.mark.parametrize("suffix", [".npz", ".json", ".JSON"])
@pytest.mark.parametrize("name", ["float64", "float32", "computed"])
def test_a_file_holds_all_of_it(name, suffix, results, tmp_path):
    result, path = results[name], tmp_path / f"out{suffix}"
    result.save(path)
    loaded = ja.load_comparison(str(path))
    for key, matrix in result.values.items():
        np.testing.assert_array_equal(loaded.values[key], matrix)
        assert loaded.values[key].dtype == matrix.dtype
    for field in ("layers_a", "layers_b", "widths_a", "definitions", "bounds", "chance", "larger_is_closer", "same"):
        assert getattr(loaded, field) == getattr(result, field), field
    assert loaded.info == result.info
    assert isinstance(loaded, ja.Comparison)
    assert loaded.to_json() == result.to_json()
    assert [path.name for path in tmp_path.iterdir()] == [f"out{suffix}"]


def test_json_is_strict_and_complete(results):
    def refuse(constant):
        raise AssertionError(constant)

    content = json.loads(results["float64"].to_json(), parse_constant=refuse)
    assert content["values"]["cka"] == [[1.0, None, 0.1], [0.3, "inf", "-inf"]]
    assert content["bounds"]["cka"] == [None, None]
    assert content["names_a"] == ['µ/1/la"yer', "µ/1/y[/]\n"]
    assert content["definitions"] == {"cka": "cka[linear,biased]"}
    assert content["info"]["examples"] == 40


def test_a_file_that_is_not_a_comparison_is_refused_by_name(results, tmp_path):
    results["computed"].save(tmp_path / "good.npz")
    results["computed"].save(tmp_path / "good.json")
    archive, text = (tmp_path / "good.npz").read_bytes(), (tmp_path / "good.json").read_text()
    flipped = bytearray(archive)
    flipped[len(flipped) // 2] ^= 0xFF
    content = json.loads(text)
    files = {
        "empty.npz": b"",
        "half.npz": archive[: len(archive) // 2],
        "flipped.npz": bytes(flipped),
        "text.npz": b"not an archive",
        "empty.json": b"",
        "half.json": text[: len(text) // 2].encode(),
        "latin.json": b'{"format": "\xff"}',
        "list.json": b"[1, 2]",
        "number.json": b"3",
        "other.json": b'{"format": "something-else"}',
        "lacking.json": json.dumps({k: v for k, v in content.items() if k != "bounds"}).encode(),
        "shape.json": json.dumps({**content, "values": {"cka": [[1.0]]}}).encode(),
        "text.json": json.dumps({**content, "values": {"cka": "abc"}}).encode(),
    }
    np.savez(tmp_path / "arrays.npz", x=np.ones(3))
    np.savez(tmp_path / "pickled.npz", comparison=np.array([{}], object))
    np.save(tmp_path / "one.npy", np.ones(3))
    files["npy.npz"] = (tmp_path / "one.npy").read_bytes()
    files |= {name: (tmp_path / name).read_bytes() for name in ("arrays.npz", "pickled.npz")}
    for name, written in files.items():
        (tmp_path / name).write_bytes(written)
        with pytest.raises(ValueError, match=r"is not a readable comparison: .") as caught:
            ja.load_comparison(tmp_path / name)
        assert str(caught.value).startswith(f"load_comparison: {tmp_path / name} "), name


def test_no_damage_of_one_byte_goes_changes_a_score(make_result, tmp_path):
    result, path = make_result([[0.25]]), tmp_path / "out.npz"
    result.save(path)
    content, unnoticed = path.read_bytes(), []
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x15]) + content[place + 1 :])
        with contextlib.suppress(ValueError):
            assert ja.load_comparison(path).to_json() == result.to_json(), place
            unnoticed.append(place)
    assert len(unnoticed) < len(content) / 4  # dates and the like


def test_what_cannot_be_opened_says_so(results, tmp_path):
    with pytest.raises(FileNotFoundError):
        ja.load_comparison(tmp_path / "none.npz")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(IsADirectoryError):
        ja.load_comparison(tmp_path / "folder.json")
    for call in (results["computed"].save, ja.load_comparison):
        with pytest.raises(ValueError, match=r"path must end in .npz or .json, got .*\.np'; did you mean '.npz'"):
            call(tmp_path / "out.np")


@pytest.mark.parametrize("name", ["out.npz", "out.json"])
def test_a_file_that_cannot_be_written_leaves_nothing(name, results, tmp_path, monkeypatch):
    result = results["computed"]
    with pytest.raises(FileNotFoundError):
        result.save(tmp_path / "nowhere" / name)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).mkdir()
    with pytest.raises(IsADirectoryError):
        result.save(tmp_path / "folder" / name)
    (tmp_path / name).write_text("the last one")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        result.save(tmp_path / name)
    assert caught.value.filename == str(tmp_path / name)
    assert (tmp_path / name).read_text() == "the last one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", name]
