"""Round trips, files by other programs, and what is mapped."""

import os
import sys
import tracemalloc
import zipfile

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from jaxalign.features import Layers, load, save

SUFFIXES = (".npy", ".npz", ".safetensors")
MANY = (".npz", ".safetensors", ".zarr")


def mapped(array):
    """Whether the numbers lie in a memory map, and nowhere else."""
    while not isinstance(array, np.memmap):
        if array.base is None:
            return False
        array = array.base
    return True


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip_of_every_dtype(tmp_path, matrix, dtype, suffix):
    path = tmp_path / f"block3{suffix}"
    save(path, {"block3": matrix(dtype=dtype)})
    layers = load(path)
    assert list(layers) == ["block3"]
    assert layers["block3"].dtype == dtype
    assert layers["block3"].tobytes() == matrix(dtype=dtype).tobytes()
    assert layers.ids is None
    assert layers.source == str(path)
    assert mapped(layers["block3"])
    assert not layers["block3"].flags.writeable
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", MANY)
@pytest.mark.parametrize(
    "ids",
    [None, [5, 3, 4, 0, 1, 2], np.arange(6, dtype=np.uint16), ["a", "ä", 'quo"te', "日本", "", "with space"]],
    ids=["none", "int64", "uint16", "text"],
)
def test_round_trip_of_order_and_ids(tmp_path, matrix, suffix, ids):
    path = tmp_path / f"model{suffix}"
    names = ["layer10", "layer2", "z/0", "a b", "ünï", "LAYER2", "x.npy"]
    arrays = {
        name: matrix(d=d, dtype=dtype, start=d)
        for d, (name, dtype) in enumerate(
            zip(names, ["f2", "f8", ml_dtypes.bfloat16, "f4", "f8", "f2", "f4"], strict=True), start=1
        )
    }
    save(path, arrays, ids=ids)
    layers = load(path)
    assert list(layers) == names
    for name, array in arrays.items():
        assert layers[name].dtype == array.dtype
        assert mapped(layers[name]) == (suffix != ".zarr")
        np.testing.assert_array_equal(layers[name], array)
    if ids is None:
        assert layers.ids is None
    else:
        assert layers.ids.tolist() == list(ids)
        assert layers.ids.dtype == np.asarray(ids).dtype


@pytest.mark.parametrize("suffix", MANY)
def test_layers_are_saved_with_their_ids_unless_others_are_given(tmp_path, matrix, suffix):
    path = tmp_path / f"model{suffix}"
    layers = Layers({"a": matrix()}, ids=list("abcdef"))
    save(path, layers)
    assert load(path).ids.tolist() == list("abcdef")
    save(path, load(path), ids=range(6))  # replaces the file that is mapped while it is read
    assert load(path).ids.tolist() == list(range(6))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_any_memory_layout_and_jax_arrays_are_saved(tmp_path, matrix, suffix):
    path = tmp_path / f"x{suffix}"
    for array in (
        np.asfortranarray(matrix()),
        matrix(12, 8)[::2, ::2],
        matrix().astype(">f4"),
        jnp.asarray(matrix()),
        jnp.asarray(matrix(), jnp.bfloat16),
    ):
        save(path, {"x": array})
        np.testing.assert_array_equal(load(path)["x"], np.asarray(array))


def test_the_same_arrays_give_the_same_npz_bytes(tmp_path, matrix):
    for name in ("a.npz", "b.npz"):
        save(tmp_path / name, {"x": matrix(), "y": matrix(d=3)}, ids=range(6))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_other_programs_read_what_is_saved(tmp_path, matrix):
    arrays = {"b": matrix(), "a": matrix(d=2, dtype=np.float16)}
    for suffix in MANY:
        save(tmp_path / f"x{suffix}", arrays, ids=range(6))
    with np.load(tmp_path / "x.npz", allow_pickle=False) as archive:
        assert archive.files == ["b", "a", "ids"]
        np.testing.assert_array_equal(archive["b"], arrays["b"])
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        assert archive.testzip() is None
    tensors = safetensors.numpy.load_file(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(tensors["a"], arrays["a"])
    save(tmp_path / "x.npy", {"x": matrix(dtype=ml_dtypes.bfloat16)})
    assert jnp.load(tmp_path / "x.npy").dtype == jnp.bfloat16


def test_npz_numbers_are_aligned(tmp_path, matrix):
    path = tmp_path / "x.npz"
    save(path, {"n" * length: matrix(d=length, dtype=np.float64) for length in range(1, 9)})
    assert all(array.ctypes.data % 64 == 0 for array in load(path).values())


def test_numpy_files_are_read(tmp_path, matrix):
    np.save(tmp_path / "x.npy", np.asfortranarray(matrix()))
    layers = load(tmp_path / "x.npy")
    np.testing.assert_array_equal(layers["x"], matrix())
    assert mapped(layers["x"])
    arrays = {"layer10": matrix(), "layer2": np.asfortranarray(matrix(d=3)), "a/b": matrix().astype(">f8")}
    for writer in (np.savez, np.savez_compressed):
        writer(tmp_path / "x.npz", **arrays, ids=np.array(list("abcdef")))
        layers = load(tmp_path / "x.npz")
        assert list(layers) == list(arrays)
        assert layers.ids.tolist() == list("abcdef")
        for name, array in arrays.items():
            np.testing.assert_array_equal(layers[name], array)
            assert layers[name].dtype == array.dtype.newbyteorder("=")
            assert not layers[name].flags.writeable
        assert mapped(layers["layer10"]) == mapped(layers["layer2"]) == (writer is np.savez)


def test_large_compressed_members_are_read_in_parts(tmp_path):
    array = np.random.default_rng(0).integers(0, 9, (1 << 17, 5)).astype(np.float32)
    np.savez_compressed(tmp_path / "x.npz", x=array)
    np.testing.assert_array_equal(load(tmp_path / "x.npz")["x"], array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_npy_version_is_read(tmp_path, matrix, version):
    with open(tmp_path / "x.npy", "wb") as file:
        if version == (3, 0):
            text = repr({"descr": "<f4", "fortran_order": False, "shape": (6, 4)}).encode()
            file.write(np.lib.format.magic(3, 0) + len(text).to_bytes(4, "little") + text + matrix().tobytes())
        else:
            np.lib.format.write_array(file, matrix(), version=version)
    np.testing.assert_array_equal(load(tmp_path / "x.npy")["x"], matrix())


def test_jax_files_with_bfloat16_are_read(tmp_path, matrix):
    array = jnp.asarray(matrix(), jnp.bfloat16)
    jnp.save(tmp_path / "x.npy", array)
    jnp.savez(tmp_path / "x.npz", x=array)
    for path in tmp_path.iterdir():
        assert load(path)["x"].dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(load(path)["x"], np.asarray(array))


def test_a_zip_file_behind_other_bytes_is_read(tmp_path, matrix):
    path = tmp_path / "x.npz"
    np.savez(path, x=matrix())
    path.write_bytes(b"#!some launcher\n" + path.read_bytes())
    np.testing.assert_array_equal(load(path)["x"], matrix())


@pytest.mark.parametrize("metadata", [None, {"layers": "12"}, {"layers": '["layer2"]'}, {"layers": "no JSON"}])
def test_safetensors_by_others_are_in_natural_order(tmp_path, matrix, metadata):
    path = tmp_path / "x.safetensors"
    arrays = {"layer10": matrix(), "layer2": matrix(dtype=ml_dtypes.bfloat16), "layer1": matrix(d=3)}
    safetensors.numpy.save_file(arrays, path, metadata=metadata)
    layers = load(path)
    assert list(layers) == ["layer1", "layer2", "layer10"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(layers[name], array)


def test_reading_safetensors_needs_no_torch(tmp_path, matrix, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    save(tmp_path / "x.safetensors", {"x": matrix(dtype=ml_dtypes.bfloat16)})
    assert load(tmp_path / "x.safetensors")["x"].dtype == ml_dtypes.bfloat16


def test_safetensors_missing_names_the_extra(tmp_path, matrix, monkeypatch):
    path = tmp_path / "x.safetensors"
    save(path, {"x": matrix()})
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r'pip install "jaxalign\[io\]"'):
        load(path)
    save(tmp_path / "y.safetensors", {"x": matrix()})  # for which it is not needed
    assert (tmp_path / "y.safetensors").read_bytes() == path.read_bytes()


def test_safetensors_are_those_of_the_package(tmp_path, matrix):
    """Written here, read there: all types, in whatever order they come."""
    dtypes = (np.float16, np.float64, ml_dtypes.bfloat16, np.float32)
    layers = {np.dtype(dtype).name: matrix(dtype=dtype) for dtype in dtypes}
    save(tmp_path / "x.safetensors", layers, ids=np.arange(len(matrix())))
    found = safetensors.numpy.load_file(tmp_path / "x.safetensors")
    assert set(found) == {*layers, "ids"}
    for name, array in layers.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    np.testing.assert_array_equal(found["ids"], np.arange(len(matrix())))


def test_folder_of_arrays(tmp_path, matrix):
    for i in (10, 2, 1):
        np.save(tmp_path / f"layer{i}.npy", matrix(start=i))
    np.save(tmp_path / "ids.npy", np.array(list("abcdef")))
    np.save(tmp_path / ".unfinished.npy", matrix(n=3))
    (tmp_path / "README.md").write_text("not an array")
    (tmp_path / "folder.npy").mkdir()
    layers = load(tmp_path)
    assert list(layers) == ["layer1", "layer2", "layer10"]
    assert layers.ids.tolist() == list("abcdef")
    assert layers.source == str(tmp_path)
    for i in (10, 2, 1):
        np.testing.assert_array_equal(layers[f"layer{i}"], matrix(start=i))
        assert mapped(layers[f"layer{i}"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_mapped_layer_shows_what_is_on_the_disk_now(tmp_path, matrix, suffix):
    path = tmp_path / f"x{suffix}"
    save(path, {"x": matrix()})
    layers = load(path)
    content = path.read_bytes()
    at = content.index(matrix().tobytes())
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(np.float32(99).tobytes())
    assert layers["x"][0, 0] == 99


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_loading_takes_no_memory_for_the_numbers(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    save(path, {"x": np.zeros((1 << 14, 1 << 8), np.float32)})
    tracemalloc.start()
    layers = load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert layers["x"].nbytes == 1 << 24
    assert peak < 1 << 20


def test_a_file_larger_than_memory_loads_and_is_read_by_rows(tmp_path):
    path = tmp_path / "x.npy"
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 30, 1 << 10)}
        np.lib.format.write_array_header_1_0(file, header)
        try:
            os.truncate(path, file.tell() + (1 << 42))  # 4 TiB, none of it on the disk
        except OSError:
            pytest.skip("the file system has no sparse files of this size")
    layers = load(path)
    assert layers["x"].nbytes == 1 << 42
    assert layers["x"][(1 << 30) - 1].sum() == 0


def test_many_layers_need_one_file_descriptor(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    path = tmp_path / "x.npz"
    save(path, {f"layer{i}": np.ones((2, 1)) for i in range(300)})
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 200), hard))
    try:
        layers = load(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(layers) == 300


FACTS = {"model": "ünï", "parameters": 63, "loss": 0.25, "pretrained": True, "bits_per_byte": None}


@pytest.mark.parametrize("suffix", MANY)
@pytest.mark.parametrize("labels", [np.array([1, 0, 2, 1, 0, 2], np.int8), ["a", "b", "ä", "a", "", "b"]])
def test_round_trip_of_labels_and_facts(tmp_path, matrix, suffix, labels):
    path = tmp_path / f"model{suffix}"
    save(path, {"a": matrix(), "b": matrix(d=2)}, labels=labels, facts=FACTS)
    layers = load(path)
    assert (list(layers), layers.ids, dict(layers.facts)) == (["a", "b"], None, FACTS)
    assert layers.labels.tolist() == list(labels)
    assert layers.labels.dtype == np.asarray(labels).dtype
    save(tmp_path / f"copy{suffix}", layers)
    copy = load(tmp_path / f"copy{suffix}")
    np.testing.assert_array_equal(copy.labels, layers.labels)
    assert copy.facts == FACTS
    save(tmp_path / f"other{suffix}", layers, labels=np.zeros(6, int), facts={})
    other = load(tmp_path / f"other{suffix}")
    assert (other.labels.tolist(), dict(other.facts)) == ([0] * 6, {})


def test_labels_and_facts_of_a_folder(tmp_path, matrix):
    np.save(tmp_path / "a.npy", matrix())
    np.save(tmp_path / "labels.npy", np.arange(6) % 2)
    (tmp_path / "facts.json").write_text('{"parameters": 63}')
    layers = load(tmp_path)
    assert (list(layers), layers.labels.tolist(), dict(layers.facts)) == (["a"], [0, 1] * 3, {"parameters": 63})


def test_a_layer_may_be_named_labels_or_facts_where_there_are_none(tmp_path, matrix):
    for suffix in MANY:
        save(tmp_path / f"model{suffix}", {"labels": matrix(), "facts": matrix(d=2)})
        layers = load(tmp_path / f"model{suffix}")
        assert (sorted(layers), layers.labels, dict(layers.facts)) == (["facts", "labels"], None, {})
