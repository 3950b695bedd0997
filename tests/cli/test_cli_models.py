"""Files on the command line as models."""

from __future__ import annotations

import numpy as np
import pytest

from jaxalign import features
from jaxalign.cli.errors import Problem
from jaxalign.cli.models import describe_ids, load_models, name_models, usable_rows


def saved(path, rows=6, ids=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    features.save(path, {"layer": np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)}, ids=ids)
    return path


def names(tmp_path, *arguments):
    return [name.replace(tmp_path.name, "TMP") for name in name_models([str(tmp_path / a) for a in arguments])]


def test_models_are_called_after_their_files(tmp_path):
    assert names(tmp_path, "b.npz", "a.v1.safetensors") == ["b", "a.v1"]


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    assert names(tmp_path, "run1/m.npz", "run2/m.npz", "other.npz") == ["run1/m", "run2/m", "other"]
    assert names(tmp_path, "x/run/m.npz", "y/run/m.npz") == ["x/run/m", "y/run/m"]


def test_files_of_one_name_in_one_folder_are_told_apart_by_their_suffix(tmp_path):
    assert names(tmp_path, "m.npz", "m.safetensors") == ["m.npz", "m.safetensors"]


def test_a_folder_keeps_its_whole_name(tmp_path):
    (tmp_path / "model.v1").mkdir()
    assert names(tmp_path, "model.v1") == ["model.v1"]
    (tmp_path / "model.zarr").mkdir()
    assert names(tmp_path, "model.zarr") == ["model"]


def test_a_name_can_be_given():
    assert list(name_models(["big=a/m.npz", "b/m.npz", "x=m=1.npz"])) == ["big", "m", "x"]


def test_a_path_with_an_equals_sign_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(name_models([str(saved(tmp_path / "lr=0.1.npz"))])) == ["lr=0.1"]
    assert list(name_models(["lr=0.1.npz"])) == ["lr=0.1"]
    assert list(name_models(["runs/lr=0.1/m.npz"])) == ["m"]


@pytest.mark.parametrize("arguments", [["a=x.npz", "a=y.npz"], ["x=a.npz", "x.npz"], ["a.npz", "a.npz"]])
def test_two_models_of_one_name_are_refused(arguments):
    with pytest.raises(Problem, match="two models are called"):
        name_models(arguments)


@pytest.mark.parametrize("argument", ["=x.npz", "a="])
def test_half_a_name_is_refused(argument):
    with pytest.raises(Problem, match="PATH or NAME=PATH"):
        name_models([argument])


def test_different_numbers_of_rows_are_reported_by_file(tmp_path):
    one, two = saved(tmp_path / "one.npz", 6), saved(tmp_path / "two.npz", 7)
    with pytest.raises(Problem) as problem:
        load_models([str(one), str(two)])
    assert f"{one} has 6, {two} has 7" in str(problem.value)
    many = [saved(tmp_path / f"m{i}.npz", 6) for i in range(5)]
    with pytest.raises(Problem) as problem:
        load_models([*map(str, many), str(two)])
    assert f"{many[0]} has 6, {two} has 7" in str(problem.value)


def test_ids_that_disagree_are_reported_by_file(tmp_path):
    one = saved(tmp_path / "one.npz", ids=list("abcdef"))
    two = saved(tmp_path / "two.npz", ids=list("abcdfe"))
    without = saved(tmp_path / "without.npz")
    with pytest.raises(Problem) as problem:
        load_models([str(without), str(one), str(two)])
    message = str(problem.value)
    assert f"row 4 is example 'e' in {one} and 'f' in {two}" in message
    assert "different order" in message


def test_what_is_known_of_the_ids(tmp_path):
    one, two = saved(tmp_path / "one.npz", ids=list("abcdef")), saved(tmp_path / "two.npz", ids=list("abcdef"))
    without, also = saved(tmp_path / "without.npz"), saved(tmp_path / "also.npz")
    assert describe_ids(load_models([str(one)])) == ""
    assert describe_ids(load_models([str(one), str(two)])) == "example ids agree"
    assert "no example ids in the files" in describe_ids(load_models([str(without), str(also)]))
    assert "no example ids in without:" in describe_ids(load_models([str(one), str(without)]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.npz", None, "no such file"),
        ("text.txt", b"x", "the suffix '.txt' is not one of"),
        ("damaged.npz", b"PK not really", "damaged"),
        ("empty.npy", b"", "empty"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Problem, match=message) as problem:
        load_models([str(path)])
    assert str(problem.value).startswith(str(path))
    assert problem.value.code == 2


def test_rows_that_are_not_finite(tmp_path):
    bad = np.ones((6, 2), np.float32)
    bad[2, 1], bad[4, 0] = np.nan, np.inf
    for i in range(5):
        features.save(tmp_path / f"m{i}.npz", {"layer": bad if i else np.ones((6, 2), np.float32)})
    models = load_models([str(tmp_path / f"m{i}.npz") for i in range(5)])
    with pytest.raises(Problem) as problem:
        usable_rows(models, mask_nonfinite=False)
    message = str(problem.value)
    assert f"{tmp_path / 'm1.npz'}: NaN or infinity in layer 'layer', 2 rows: 2 (NaN), 4 (infinity)" in message
    assert "and in 1 more files" in message
    assert "--mask-nonfinite" in message
    mask = usable_rows(models, mask_nonfinite=True)
    assert mask is not None
    assert np.flatnonzero(~mask).tolist() == [2, 4]


def test_finite_rows_need_no_mask(tmp_path):
    models = load_models([str(saved(tmp_path / "m.npz"))])
    assert usable_rows(models, mask_nonfinite=False) is None
    assert usable_rows(models, mask_nonfinite=True) is None


def test_a_mask_that_leaves_nothing_is_refused(tmp_path):
    features.save(tmp_path / "m.npz", {"layer": np.full((6, 2), np.nan, np.float32)})
    with pytest.raises(Problem, match="leaves no row"):
        usable_rows(load_models([str(tmp_path / "m.npz")]), mask_nonfinite=True)
