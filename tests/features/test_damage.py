"""Damaged files of every format, byte by byte: a clear error or the right numbers, never anything else."""

import os

import ml_dtypes
import numpy as np
import pytest

from jaxalign.features import FeatureFileError, load, save

KINDS = ("npy", "npz", "npz by numpy", "npz compressed", "safetensors", "safetensors with text ids")
IDS = np.arange(5) + 40


def arrays(kind):
    names = ("block2",) if kind == "npy" else ("block2", "block10")
    return {name: np.arange(15, dtype=np.float32).reshape(5, 3) + len(name) for name in names}


@pytest.fixture
def written(tmp_path, request):
    """A valid file of the kind, and its content."""
    kind = request.param
    path = tmp_path / f"block2.{kind.split()[0]}"
    if kind == "npz by numpy":
        np.savez(path, **arrays(kind), ids=IDS)
    elif kind == "npz compressed":
        np.savez_compressed(path, **arrays(kind), ids=IDS)
    else:
        save(path, arrays(kind), ids=None if kind == "npy" else IDS.astype(str) if "text" in kind else IDS)
    return kind, path, path.read_bytes()


def replace(path, content):
    """A new file: one that is still mapped may not shrink."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(content)
    os.replace(temporary, path)


@pytest.mark.parametrize("written", KINDS, indirect=True)
def test_truncated_at_every_length(written):
    _, path, content = written
    for length in range(len(content)):
        replace(path, content[:length])
        with pytest.raises(FeatureFileError) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("written", KINDS, indirect=True)
def test_bytes_missing_at_the_front_or_zeroed(written):
    """Transfers that fail leave holes; nothing but payload may be zero without notice."""
    _, path, content = written
    for length in range(1, 64):
        replace(path, content[length:])
        with pytest.raises(FeatureFileError):
            load(path)
    replace(path, bytes(len(content)))
    with pytest.raises(FeatureFileError):
        load(path)


def payload(kind, content):
    """Offsets at which the numbers and ids of an uncompressed file lie."""
    places = set()
    for array in [*arrays(kind).values(), IDS]:
        at = content.find(array.tobytes())
        if at >= 0:
            places.update(range(at, at + array.nbytes))
    return places


@pytest.mark.parametrize("written", KINDS, indirect=True)
@pytest.mark.parametrize("flip", [0x01, 0x02, 0x80, 0xFF])
def test_every_byte_flipped(written, flip):
    """Either `FeatureFileError`, or layers of the same size, whose bytes are the same if a header was hit.

    A header without a checksum may turn into another valid one; then the names, the dtype
    (the byte order included) or the order of the axes may differ, but never the size.
    """
    kind, path, content = written
    numbers = payload(kind, content)
    size = next(iter(arrays(kind).values())).nbytes
    loaded = 0
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= flip
        replace(path, bytes(damaged))
        try:
            layers = load(path)
        except FeatureFileError:
            continue
        loaded += 1
        assert len(layers) in (len(arrays(kind)), len(arrays(kind)) + 1)  # the ids may have lost their name
        for array in layers.values():
            assert array.shape[0] == 5 or array.shape == (3, 5)
            assert array.nbytes in (size, IDS.nbytes)
            array.sum(dtype=np.float64)  # readable to the last byte
        if at not in numbers and list(layers) == list(arrays(kind)):
            for name, array in arrays(kind).items():
                assert sorted(layers[name].tobytes()) == sorted(array.tobytes())
    if kind != "npz compressed":
        assert loaded >= len(numbers) // 4


@pytest.mark.parametrize("written", ["npz compressed"], indirect=True)
def test_checksums_are_compared_where_members_are_read(written):
    _, path, content = written
    start = content.index(b"block2.npy") + len(b"block2.npy") + 20
    end = content.index(b"PK\x03\x04", start)
    refused = 0
    for at in range(start, end):
        damaged = bytearray(content)
        damaged[at] ^= 0x04
        replace(path, bytes(damaged))
        try:
            layers = load(path)
        except FeatureFileError:
            refused += 1
        else:  # bits that fill up the last byte mean nothing
            np.testing.assert_array_equal(layers["block2"], arrays("npz")["block2"])
    assert refused >= end - start - 1


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
@pytest.mark.parametrize("length", [1, 7, 8, 9, 100, 5000])
def test_garbage(tmp_path, suffix, length):
    path = tmp_path / f"x{suffix}"
    generator = np.random.default_rng(length)
    magic = {".npy": b"\x93NUMPY\x01\x00", ".npz": b"PK\x03\x04", ".safetensors": b"\x20\0\0\0\0\0\0\0{"}[suffix]
    for content in (generator.bytes(length), b"\0" * length, b"\xff" * length, b"[" * length, magic + b"(" * length):
        replace(path, content)
        with pytest.raises(FeatureFileError) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_one_format_under_the_name_of_another(tmp_path, suffix):
    save(tmp_path / f"x{suffix}", {"x": np.ones((3, 2), ml_dtypes.bfloat16)})
    for other in {".npy", ".npz", ".safetensors"} - {suffix}:
        replace(tmp_path / f"y{other}", (tmp_path / f"x{suffix}").read_bytes())
        with pytest.raises(FeatureFileError, match=f"not a {other} file"):
            load(tmp_path / f"y{other}")
