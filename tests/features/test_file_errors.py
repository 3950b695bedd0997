"""Files that cannot be read or written: the error names the file and the cause, and nothing is unpickled."""

import io
import json
import math
import os
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from jaxalign.features import FeatureFileError, load, save

SUFFIXES = (".npy", ".npz", ".safetensors")


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder") as caught:
        load(tmp_path / "x.npz")
    assert caught.value.filename == str(tmp_path / "x.npz")
    assert "readable" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"readable: folders of .npy files, and .npy, .npz, .safetensors"):
        load(tmp_path / "x")


@pytest.mark.parametrize("name", ["x.h5", "x.pkl", "x"])
def test_unknown_suffixes(tmp_path, matrix, name):
    path = tmp_path / name
    with pytest.raises(FeatureFileError, match=r"suffix '.*' is not one of .npy, .npz, .safetensors"):
        save(path, {"x": matrix()})
    path.write_bytes(b"anything")
    with pytest.raises(FeatureFileError, match=r"suffix '.*' is not one of .npy, .npz, .safetensors") as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_suffixes_may_be_capital_letters(tmp_path, matrix):
    save(tmp_path / "x.NPZ", {"x": matrix()})
    np.testing.assert_array_equal(load(tmp_path / "x.NPZ")["x"], matrix())


def test_paths_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "x.npy")
    with pytest.raises(FeatureFileError, match="neither a regular file nor a folder"):
        load(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("files", "message"),
    [([], "is empty"), (["ids.npy", "x.npz"], r"holds 2 entries, but no layer; .* give .*/\*\.npz")],
)
def test_folders_without_layers(tmp_path, files, message):
    for name in files:
        np.save(tmp_path / name, np.arange(3)) if name == "ids.npy" else (tmp_path / name).touch()
    with pytest.raises(FeatureFileError, match=message) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: the folder ")


def test_folder_errors_name_the_file(tmp_path, matrix):
    np.save(tmp_path / "a.npy", matrix())
    np.save(tmp_path / "b.npy", matrix(n=7))
    with pytest.raises(FeatureFileError, match="'a' has 6, 'b' has 7"):
        load(tmp_path)
    (tmp_path / "b.npy").write_bytes(b"junk")
    with pytest.raises(FeatureFileError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'b.npy'}: not a .npy file")


def write_any(path, array):
    """One array `x` in the format of the suffix, without any of the checks of `save`."""
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, x=array)
    else:
        safetensors.numpy.save_file({"x": array}, path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(3, np.float32), r"layer 'x': must have shape .* \(3,\)"),
        (np.ones((3, 2, 2), np.float32), r"\(3, 2, 2\); pool or flatten"),
        (np.ones((3, 2), np.int64), r"int64.*array.astype\(np.float32\)"),
        (np.ones((3, 2), np.bool_), "bool"),
        (np.ones((3, 0), np.float32), "must not be empty"),
    ],
)
def test_arrays_in_files_that_are_no_layer(tmp_path, suffix, array, message):
    path = tmp_path / f"x{suffix}"
    write_any(path, array)
    with pytest.raises(FeatureFileError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "'x'" in str(caught.value)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((3, 2), np.complex64), "complex64"),
        (np.full((3, 2), "a"), "<U1"),
        (np.full((3, 2), b"a"), r"\|S1"),
        (np.ones((3, 2), "V3"), r"\|V3"),
        (np.ones((3, 2), "M8[s]"), "datetime64"),
        (np.ones((3, 2), [("a", "f4")]), "structured"),
    ],
)
def test_arrays_of_anything_but_numbers(tmp_path, suffix, array, message):
    path = tmp_path / f"x{suffix}"
    write_any(path, array)
    with pytest.raises(FeatureFileError, match=message):
        load(path)


def test_tensors_of_dtypes_without_a_layer(tmp_path):
    path = tmp_path / "x.safetensors"
    header = b'{"x":{"dtype":"F8_E5M2","shape":[3,2],"data_offsets":[0,6]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(6))
    with pytest.raises(FeatureFileError, match=r"tensor 'x' has the dtype F8_E5M2, which cannot be a layer or ids"):
        load(path)


class Trap:
    """An object that makes a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("writer", ["npy", "npz", "npz-compressed", "ids", "folder"])
def test_nothing_is_unpickled(tmp_path, matrix, writer):
    sprung = tmp_path / "sprung"
    trap = np.array([[Trap(sprung)]], object)
    path = tmp_path / ("x.npy" if writer == "npy" else "x.npz")
    if writer == "npy":
        np.save(path, trap, allow_pickle=True)
    elif writer == "folder":
        path = tmp_path / "folder"
        path.mkdir()
        np.save(path / "x.npy", trap, allow_pickle=True)
    elif writer == "ids":
        np.savez(path, a=matrix(n=1), ids=trap[0])
    else:
        (np.savez if writer == "npz" else np.savez_compressed)(path, x=trap)
    with pytest.raises(FeatureFileError, match="holds Python objects, and nothing is unpickled") as caught:
        load(path)
    assert str(caught.value).startswith(str(path))
    assert ("'ids'" if writer == "ids" else "'x'") in str(caught.value)
    assert not sprung.exists()


def test_a_pickle_by_another_name_is_not_unpickled(tmp_path):
    sprung = tmp_path / "sprung"
    for suffix in SUFFIXES:
        path = tmp_path / f"x{suffix}"
        path.write_bytes(pickle.dumps(Trap(sprung)))
        with pytest.raises(FeatureFileError, match=f"not a {suffix} file"):
            load(path)
    assert not sprung.exists()


def test_archives_with_other_members(tmp_path, matrix):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(FeatureFileError, match=r"member 'notes.txt' is not a .npy array"):
        load(path)
    buffer = io.BytesIO()
    np.save(buffer, matrix())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", buffer.getvalue())
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", buffer.getvalue())
    with pytest.raises(FeatureFileError, match="two arrays named 'x'"):
        load(path)
    np.savez(path, ids=np.arange(3))
    with pytest.raises(FeatureFileError, match="at least one layer"):
        load(path)


def test_ids_in_files_that_do_not_fit(tmp_path, matrix):
    path = tmp_path / "x.npz"
    np.savez(path, x=matrix(), ids=np.arange(5))
    with pytest.raises(FeatureFileError, match=r"ids must have shape \(6,\)"):
        load(path)
    np.savez(path, x=matrix(), ids=np.zeros(6, int))
    with pytest.raises(FeatureFileError, match="ids must all be different"):
        load(path)
    path = tmp_path / "x.safetensors"
    safetensors.numpy.save_file({"x": matrix(), "ids": np.arange(6.0)}, path)
    with pytest.raises(FeatureFileError, match="ids must be integers or strings"):
        load(path)
    for text in ("junk", "{}", "[1, 2, 3, 4, 5, 6]"):
        safetensors.numpy.save_file({"x": matrix()}, path, metadata={"ids": text})
        with pytest.raises(FeatureFileError, match="JSON list of strings"):
            load(path)
    safetensors.numpy.save_file({"x": matrix()}, path, metadata={"ids": json.dumps(["a"])})
    with pytest.raises(FeatureFileError, match=r"ids must have shape \(6,\)"):
        load(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_empty_files(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    path.touch()
    with pytest.raises(FeatureFileError, match=r"the file is empty \(0 bytes\)"):
        load(path)


def test_npy_files_with_more_than_one_array(tmp_path, matrix):
    path = tmp_path / "x.npy"
    with open(path, "wb") as file:
        np.save(file, matrix())
        np.save(file, matrix())
    with pytest.raises(FeatureFileError, match="takes 224 bytes with its header, there are 448"):
        load(path)


@pytest.mark.parametrize("shape", ["(-6, -4)", "(1 << 70, 4)", f"({2**62}, {2**62})", "(6.0, 4)", "[6, 4]"])
def test_npy_headers_with_impossible_shapes(tmp_path, matrix, shape):
    path = tmp_path / "x.npy"
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + matrix().tobytes())
    with pytest.raises(FeatureFileError, match="truncated or damaged"):
        load(path)


def test_unreadable_files_stay_os_errors(tmp_path, matrix, monkeypatch):
    path = tmp_path / "x.npz"
    save(path, {"x": matrix()})

    def refuse(file, *arguments, **keywords):
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PermissionError, match=r"x\.npz"):
        load(path)
    monkeypatch.undo()

    def exhausted(*arguments, **keywords):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(np, "memmap", exhausted)
    with pytest.raises(OSError, match=r"cannot be memory-mapped \(Too many open files\).*x\.npz"):
        load(path)


def test_what_a_npy_file_cannot_hold(tmp_path, matrix):
    path = tmp_path / "x.npy"
    with pytest.raises(FeatureFileError, match=r"holds one array, not 2 layers; use .npz or .safetensors"):
        save(path, {"a": matrix(), "b": matrix()})
    with pytest.raises(FeatureFileError, match="holds one array, not row ids"):
        save(path, {"a": matrix()}, ids=range(6))
    with pytest.raises(FeatureFileError, match="holds one array, not labels"):
        save(path, {"a": matrix()}, labels=[0] * 6)
    with pytest.raises(FeatureFileError, match="holds one array, not facts"):
        save(path, {"a": matrix()}, facts={"parameters": 1})
    assert os.listdir(tmp_path) == []


def test_facts_that_are_none_name_the_file(tmp_path, matrix):
    np.savez(tmp_path / "x.npz", a=matrix(), facts=np.array("[1]"))
    with pytest.raises(FeatureFileError, match=r"x.npz: the facts must be a JSON object, got '\[1\]'"):
        load(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", a=matrix(), facts=np.array('{"a": [1]}'))
    with pytest.raises(FeatureFileError, match=r"x.npz: facts must be texts, numbers, truth values or None by name"):
        load(tmp_path / "x.npz")
    folder = tmp_path / "model"
    folder.mkdir()
    np.save(folder / "a.npy", matrix())
    (folder / "facts.json").write_text("{")
    with pytest.raises(FeatureFileError, match=r"facts.json: the facts must be a JSON object, got '\{'"):
        load(folder)


def test_what_a_safetensors_file_cannot_hold(tmp_path, matrix, monkeypatch):
    path = tmp_path / "x.safetensors"
    with pytest.raises(ValueError, match="'__metadata__'"):
        save(path, {"__metadata__": matrix()})
    monkeypatch.setattr("jaxalign.features.safetensors.MAX_HEADER_BYTES", 100)
    with pytest.raises(ValueError, match=r"6 string ids or labels do not fit .* 100 MB header .*use integers, or .npz"):
        save(path, {"x": matrix()}, ids=["a" * 20 + str(i) for i in range(6)])
    assert os.listdir(tmp_path) == []


def test_bad_arguments_of_save_leave_nothing(tmp_path, matrix):
    for arrays, ids, error in (
        (matrix(), None, TypeError),
        ({"a": [1.0]}, None, TypeError),
        ({"a": matrix().astype(int)}, None, ValueError),
        ({"ids": matrix()}, None, ValueError),
        ({"a": matrix()}, range(5), ValueError),
    ):
        with pytest.raises(error):
            save(tmp_path / "x.npz", arrays, ids=ids)
    assert os.listdir(tmp_path) == []


def test_mapped_headers_promise_what_the_file_has(tmp_path, matrix):
    """A member whose directory entry claims more than there is must not be mapped past its end."""
    path = tmp_path / "x.npz"
    np.savez(path, x=matrix())
    content = bytearray(path.read_bytes())
    size = len(matrix().tobytes()) + 128
    assert content.count(size.to_bytes(4, "little")) >= 2
    with zipfile.ZipFile(path) as archive:
        directory = archive.start_dir
    shape = content.index(b"(6, 4)")
    content[shape : shape + 6] = b"(9, 4)"
    for at in (directory + 20, directory + 24):
        content[at : at + 4] = (128 + math.prod((9, 4)) * 4).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(FeatureFileError):
        load(path)
