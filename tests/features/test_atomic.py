"""Writing: complete under the final name, or not at all, and the error is about that name."""

import contextlib
import errno
import os
import stat

import numpy as np
import pytest

from jaxalign._core.atomic import atomic_files, atomic_path
from jaxalign.features import load, save

SUFFIXES = (".npy", ".npz", ".safetensors")


def test_the_name_appears_when_the_block_ends(tmp_path):
    final = tmp_path / "x.txt"
    with atomic_path(final) as path:
        assert path.parent == tmp_path
        assert path.suffix == ".txt"
        assert path.name.startswith(".")
        path.write_text("new")
        assert not final.exists()
    assert final.read_text() == "new"
    assert os.listdir(tmp_path) == ["x.txt"]


def write_half(final, error):
    with atomic_path(final) as path:
        path.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_things_as_they_were(tmp_path, error):
    final = tmp_path / "x.txt"
    for before in (None, "old"):
        if before:
            final.write_text(before)
        with pytest.raises(error):
            write_half(str(final), error)
        assert os.listdir(tmp_path) == (["x.txt"] if before else [])
    assert final.read_text() == "old"


def write_together(folder, names, full=None):
    with atomic_files(folder) as staging:
        for name in names:
            (staging / name).write_text("newest")
        if full is not None:
            raise OSError(errno.ENOSPC, "full", str(staging / full))


def test_several_files_appear_together_or_not_at_all(tmp_path):
    (tmp_path / "a").write_text("old")
    with atomic_files(tmp_path) as staging:
        for name in ("a", "b"):
            (staging / name).write_text("new")
        assert (tmp_path / "a").read_text() == "old"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "b": "new"}
    (tmp_path / "c").mkdir()
    with pytest.raises(IsADirectoryError, match=f"'{tmp_path / 'c'}'"):
        write_together(tmp_path, "abc")
    with pytest.raises(OSError, match=f"full.*'{tmp_path / 'b'}'"):
        write_together(tmp_path, "a", full="b")
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c"}


def test_permissions_are_those_of_the_earlier_file_or_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    usual = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    final = tmp_path / "x.txt"

    def write():
        with atomic_path(final) as path:
            path.unlink()  # as writers do that rename a private file of their own
            path.touch(mode=0o600)
        return stat.S_IMODE(final.stat().st_mode)

    assert write() == usual
    final.chmod(0o640)
    assert write() == 0o640


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_saved_files_have_the_usual_permissions(tmp_path, matrix, suffix):
    (tmp_path / "plain").touch()
    save(tmp_path / f"x{suffix}", {"x": matrix()})
    assert (tmp_path / f"x{suffix}").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_links_stay_links(tmp_path):
    (tmp_path / "data").mkdir()
    link = tmp_path / "x.txt"
    link.symlink_to(tmp_path / "data" / "real.txt")
    with atomic_path(link) as path:
        path.write_text("new")
    assert link.is_symlink()
    assert (tmp_path / "data" / "real.txt").read_text() == "new"


def test_names_of_any_length_that_the_file_system_takes(tmp_path):
    final = tmp_path / ("n" * 251 + ".txt")
    with atomic_path(final) as path:
        path.write_text("new")
    assert final.read_text() == "new"


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    with (
        pytest.raises(FileNotFoundError, match="folder to write into does not exist") as caught,
        atomic_path(tmp_path / "no" / "x"),
    ):
        pass
    assert caught.value.filename == str(tmp_path / "no")
    with pytest.raises(IsADirectoryError, match="it is a folder") as caught, atomic_path(tmp_path):
        pass
    assert caught.value.filename == str(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"), atomic_path(tmp_path / "pipe"):
        pass
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="'no'"), atomic_path("no/x.txt"):
        pass
    with atomic_path("x.txt") as path:
        path.write_text("relative")
    assert (tmp_path / "x.txt").read_text() == "relative"


def test_errors_about_other_files_keep_their_names(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic_path(tmp_path / "x.txt"):
        (tmp_path / "input.txt").read_text()
    assert caught.value.filename == str(tmp_path / "input.txt")
    with (
        pytest.raises(OSError, match=r"x\.txt: cannot be written, nothing was changed \(no number\)"),
        atomic_path(tmp_path / "x.txt"),
    ):
        raise OSError("no number")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("call", "code", "error"),
    [
        ("open", errno.EACCES, PermissionError),
        ("open", errno.EROFS, OSError),
        ("fsync", errno.ENOSPC, OSError),
        ("fsync", errno.EIO, OSError),
        ("replace", errno.EACCES, PermissionError),
        ("replace", errno.ENOSPC, OSError),
    ],
)
def test_system_errors_name_the_final_path(tmp_path, matrix, monkeypatch, suffix, call, code, error):
    final = tmp_path / f"x{suffix}"
    save(final, {"x": matrix()})
    before = final.read_bytes()
    original = getattr(os, call)

    def fail(target, *arguments, **keywords):
        if call == "open" and not str(target).endswith(f".tmp{suffix}"):
            return original(target, *arguments, **keywords)
        raise OSError(code, os.strerror(code), *([] if call == "fsync" else [str(target)]))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(error) as caught:
        save(final, {"x": matrix(start=1)})
    monkeypatch.undo()
    assert caught.value.errno == code
    assert caught.value.filename == str(final)
    assert os.strerror(code) in str(caught.value)
    assert "nothing was changed" in str(caught.value)
    assert os.listdir(tmp_path) == [final.name]
    assert final.read_bytes() == before


def test_a_folder_that_cannot_be_flushed_is_no_failure(tmp_path, matrix, monkeypatch):
    original = os.fsync

    def fail(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    save(tmp_path / "x.npz", {"x": matrix()})
    np.testing.assert_array_equal(load(tmp_path / "x.npz")["x"], matrix())


@contextlib.contextmanager
def files_no_larger_than(size):
    """The system refuses to write beyond `size` bytes, as a full disk does, in the middle of a file."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", [0, 1, 100, 5000, 100_000, 399_999, 400_000])
def test_a_disk_that_fills_up_midway(tmp_path, suffix, size):
    final = tmp_path / f"x{suffix}"
    with (
        files_no_larger_than(size),
        pytest.raises(OSError, match=r"cannot be written, nothing was changed \(.*File too large") as caught,
    ):
        save(final, {"x": np.ones((1000, 100), np.float32)})
    assert str(final) in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_writer_that_fails_midway(tmp_path, matrix, monkeypatch, suffix):
    """Whatever the reason: here an array that cannot be read any more when it is its turn."""

    def fail(array):
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(np, "ascontiguousarray", fail)
    with pytest.raises(RuntimeError, match="the device is gone"):
        save(tmp_path / f"x{suffix}", {"x": matrix()})
    assert os.listdir(tmp_path) == []
