"""Zarr: round trips, groups by other programs, damage, and what is there while a store is written."""

from __future__ import annotations

import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import zarr

from jaxalign.features import FeatureFileError, Layers, load, save, zarr_stores


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_round_trip_of_every_dtype_in_blocks(tmp_path, matrix, dtype, monkeypatch):
    monkeypatch.setattr("jaxalign.features.layers.BLOCK_BYTES", 64)
    monkeypatch.setattr(zarr_stores, "BLOCK_BYTES", 64)
    array = matrix(n=23, d=5, dtype=dtype)
    save(tmp_path / "model.zarr", {"one": array, "zeros": np.zeros((23, 2), np.float32)})
    layers = load(tmp_path / "model.zarr")
    assert layers["one"].dtype == dtype
    assert layers["one"].tobytes() == array.tobytes()
    assert not layers["zeros"].any()
    assert zarr.open_group(tmp_path / "model.zarr", mode="r")["one"].nchunks > 3
    assert os.listdir(tmp_path) == ["model.zarr"]


def test_names_that_are_special_to_files(tmp_path, matrix):
    names = ["z/0", "..", ".", "__x", "zarr.json", "a b", "ünï", "%2E", "c", "labels", "ids "]
    save(tmp_path / "model.zarr", {name: matrix(d=i + 1) for i, name in enumerate(names)})
    layers = load(tmp_path / "model.zarr")
    assert list(layers) == names
    for i, name in enumerate(names):
        np.testing.assert_array_equal(layers[name], matrix(d=i + 1))


@pytest.mark.parametrize("version", [2, 3])
def test_groups_by_other_programs(tmp_path, matrix, version):
    group = zarr.open_group(tmp_path / "theirs.zarr", mode="w", zarr_format=version)
    for name, array in {
        "layer10": matrix(),
        "layer2": matrix(d=2, dtype=np.float64),
        "ids": np.arange(6) + 5,
        "labels": np.array([0, 1, 0, 1, 0, 1]),
        "count": np.ones((6, 2), int),
    }.items():
        group.create_array(name, data=array)
    layers = load(tmp_path / "theirs.zarr")
    assert list(layers) == ["layer2", "layer10"]
    np.testing.assert_array_equal(layers["layer10"], matrix())
    assert (layers.ids.tolist(), layers.labels.tolist()) == ([5, 6, 7, 8, 9, 10], [0, 1, 0, 1, 0, 1])


def test_a_store_of_one_array_is_one_layer(tmp_path, matrix):
    zarr.save_array(str(tmp_path / "only.zarr"), matrix())
    layers = load(tmp_path / "only.zarr")
    assert list(layers) == ["only"]
    np.testing.assert_array_equal(layers["only"], matrix())


def chunks(path: Path):
    return [file for file in path.rglob("*") if file.is_file() and file.name != "zarr.json"]


def test_damage_is_found(tmp_path, matrix):
    path = tmp_path / "model.zarr"
    save(path, {"x": matrix()}, ids=range(6))
    (chunk,) = (file for file in chunks(path) if "x" in file.parts)
    whole = bytearray(chunk.read_bytes())
    flipped = bytearray(whole)
    flipped[10] ^= 1
    for bad in (flipped, whole[:-5]):
        chunk.write_bytes(bad)
        with pytest.raises(FeatureFileError, match=r"model.zarr: not a Zarr file, or truncated or damaged"):
            load(path)
    chunk.unlink()
    with pytest.raises(FeatureFileError, match=r"model.zarr: damaged: 1 of 1 chunks of /x are missing"):
        load(path)
    chunk.write_bytes(whole)
    assert load(path).rows == 6
    (path / "zarr.json").write_text("{")
    with pytest.raises(FeatureFileError, match=r"model.zarr: not a Zarr file"):
        load(path)
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(FeatureFileError, match=r"empty.zarr"):
        load(tmp_path / "empty.zarr")
    (tmp_path / "file.zarr").write_bytes(b"")
    with pytest.raises(FeatureFileError, match="a Zarr store is a folder, this is a file"):
        load(tmp_path / "file.zarr")


def test_an_older_store_stays_until_the_new_one_is_complete(tmp_path, matrix, monkeypatch):
    path = tmp_path / "model.zarr"
    save(path, {"old": matrix()})

    def fail(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(zarr_stores, "_write_array", fail)
    with pytest.raises(KeyboardInterrupt):
        save(path, {"new": matrix()})
    assert list(load(path)) == ["old"]
    assert os.listdir(tmp_path) == ["model.zarr"]
    monkeypatch.undo()
    replace = os.replace

    failed = []

    def fail_at_the_end(source, target):
        if Path(target) == path and not failed:
            failed.append(source)
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail_at_the_end)
        with pytest.raises(OSError, match=r"model.zarr"):
            save(path, {"new": matrix()})
    assert list(load(path)) == ["old"]
    save(path, {"new": matrix(d=2)})
    assert list(load(path)) == ["new"]
    assert os.listdir(tmp_path) == ["model.zarr"]


def test_where_a_store_cannot_be(tmp_path, matrix):
    (tmp_path / "model.zarr").write_text("a file")
    with pytest.raises(NotADirectoryError, match=r"model.zarr"):
        save(tmp_path / "model.zarr", {"x": matrix()})
    with pytest.raises(FileNotFoundError, match="nowhere"):
        save(tmp_path / "nowhere" / "model.zarr", {"x": matrix()})


def test_without_the_package(tmp_path, matrix, monkeypatch):
    layers = Layers({"x": matrix()})
    save(tmp_path / "model.zarr", layers)
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    with pytest.raises(
        ImportError, match=r'model.zarr: Zarr stores need zarr; install it with: pip install "jaxalign\[io\]"'
    ):
        load(tmp_path / "model.zarr")
    with pytest.raises(ImportError, match="Zarr stores need zarr"):
        save(tmp_path / "other.zarr", layers)
    assert os.listdir(tmp_path) == ["model.zarr"]
