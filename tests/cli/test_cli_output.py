"""Output that cannot be written: status 3, a message, and nothing half-written."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest

import jaxalign
from jaxalign.comparison.store import Store


@pytest.fixture(autouse=True)
def counted(monkeypatch):
    """How many comparisons were begun."""
    import jaxalign.cli.compare as module

    calls, compare = [], module.compare
    monkeypatch.setattr(module, "compare", lambda *a, **k: (calls.append(1), compare(*a, **k))[1])
    return calls


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_in_the_way_is_noticed_before_the_work(cli, files, tmp_path, counted, place):
    (tmp_path / "file").write_text("mine")
    run = cli("compare", *files, "--out", tmp_path / place, "--json")
    assert run.code == 3
    assert run.document["exit_code"] == 3
    assert "file" in run.document["error"]
    assert not counted
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_without_permission_is_noticed_before_the_work(cli, files, tmp_path, counted, monkeypatch):
    def refused(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "out"))

    monkeypatch.setattr("jaxalign.cli.output.tempfile.TemporaryFile", refused)
    run = cli("compare", *files, "--out", tmp_path / "out")
    assert (run.code, run.err) == (3, f"jaxalign: {tmp_path / 'out'}: Permission denied\n")
    assert not counted


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_while_pieces_are_kept(cli, files, tmp_path, monkeypatch):
    monkeypatch.setattr(Store, "save", no_space)
    run = cli("compare", *files, "--out", tmp_path / "out")
    assert run.code == 3
    assert "No space left on device" in run.err
    assert "Traceback" not in run.err


@pytest.mark.slow
def test_a_full_disk_while_results_are_written(cli, files, tmp_path, monkeypatch, counted):
    import pandas

    with monkeypatch.context() as patch:
        patch.setattr(pandas.DataFrame, "to_csv", no_space)
        run = cli("compare", *files, "--out", tmp_path / "out")
    assert run.code == 3
    assert f"{tmp_path / 'out' / 'scores.csv'}: cannot be written" in run.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".partial"}
    assert cli("compare", *files, "--out", tmp_path / "out").code == 0
    assert len(counted) == 2


@pytest.mark.slow
def test_an_earlier_result_stays_until_the_new_one_is_whole(cli, files, tmp_path, monkeypatch):
    assert cli("compare", *files, "--out", tmp_path / "out").code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def half(figure, path, **options):
        path.write_bytes(b"half")
        no_space()

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", half)
    run = cli("compare", *files, "-m", "cka:estimator=biased", "--out", tmp_path / "out")
    assert run.code == 3
    assert f"{tmp_path / 'out' / 'cka-layers.png'}: cannot be written, nothing was changed" in run.err
    after = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert after == before


def test_missing_packages_are_noticed_before_the_work(cli, files, tmp_path, counted, monkeypatch):
    monkeypatch.setattr("jaxalign.cli.output.importlib.util.find_spec", lambda name: None)
    run = cli("compare", *files, "--out", tmp_path / "out")
    assert run.code == 2
    assert 'pip install "jaxalign[report]"' in run.err
    assert not counted


def test_a_full_disk_for_real(cli, files, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.name != "posix" or os.geteuid():
        pytest.skip("mounting needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        run = cli("compare", *files, "--out", disk)
        assert run.code == 3
        assert "No space left" in run.err
        for path in disk.iterdir():  # what is there under its name is whole
            if path.name == "comparison.npz":
                jaxalign.load_comparison(path)
            assert not path.name.endswith(".tmp")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
