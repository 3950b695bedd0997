"""A comparison that was interrupted or killed goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxalign import features
from jaxalign.comparison import load_comparison
from jaxalign.comparison.store import Store

ROOT = Path(__file__).resolve().parents[2]
LAYERS = 6

#: The command, with a pause after each finished piece so that a signal meets it in the middle.
SLOW = """
import time
from jaxalign.comparison.store import Store
save = Store.save
def slowly(self, name, arrays):
    save(self, name, arrays)
    time.sleep(1)
Store.save = slowly
from jaxalign.cli import main
main()
"""


@pytest.fixture
def command(tmp_path):
    """Arguments of a comparison with a piece for every layer and one or more for CKA."""
    rng = np.random.default_rng(0)
    layers = {f"layer{i}": rng.normal(size=(30, 5)).astype(np.float32) for i in range(LAYERS)}
    features.save(tmp_path / "model.npz", layers)
    return ["compare", f"{tmp_path / 'model.npz'}", "-m", "mutual_knn:k=3", "-m", "cka"]


@pytest.fixture
def saved(monkeypatch):
    """Names of the pieces that were computed, and when to be interrupted."""
    names, stop = [], [None]
    save = Store.save

    def recorded(self, name, arrays):
        save(self, name, arrays)
        names.append(name)
        if len(names) == stop[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Store, "save", recorded)
    return names, stop


def scores(folder):
    return {key: matrix.tobytes() for key, matrix in load_comparison(folder / "comparison.npz").values.items()}


def test_interrupted_and_run_again(cli, command, saved, tmp_path):
    names, stop = saved
    assert cli(*command, "--out", tmp_path / "whole").code == 0
    every = list(names)
    assert len(every) > LAYERS

    names.clear()
    stop[0] = 4
    run = cli(*command, "--out", tmp_path / "out", "--json")
    assert run.code == 130
    assert run.document["exit_code"] == 130
    assert f"{tmp_path / 'out' / '.partial'}: the same command goes on" in run.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".partial"]

    names.clear()
    stop[0] = None
    run = cli(*command, "--out", tmp_path / "out")
    assert run.code == 0
    assert names == every[4:]
    assert scores(tmp_path / "out") == scores(tmp_path / "whole")
    assert not (tmp_path / "out" / ".partial").exists()


def test_fresh_begins_anew(cli, command, saved, tmp_path):
    names, stop = saved
    stop[0] = 2
    assert cli(*command, "--out", tmp_path / "out").code == 130
    stop[0] = None
    names.clear()
    assert cli(*command, "--out", tmp_path / "out", "--fresh").code == 0
    assert len(names) > LAYERS


@pytest.mark.slow
def test_partial_results_of_another_comparison_are_refused(cli, command, saved, tmp_path):
    _, stop = saved
    stop[0] = 2
    assert cli(*command, "--out", tmp_path / "out").code == 130
    stop[0] = None
    other = cli(*command, "-m", "hsic", "--out", tmp_path / "out")
    assert other.code == 2
    assert "belongs to another comparison" in other.err
    assert "--fresh discards it" in other.err
    assert cli(*command, "-m", "hsic", "--out", tmp_path / "out", "--fresh").code == 0


def test_fresh_removes_only_what_a_comparison_puts_there(cli, command, tmp_path):
    foreign = tmp_path / "out" / ".partial" / "thesis.tex"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("years of work")
    run = cli(*command, "--out", tmp_path / "out", "--fresh")
    assert run.code == 3
    assert foreign.read_text() == "years of work"


def test_interrupted_without_a_folder(cli, command, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxalign.cli.compare.compare", interrupted)
    run = cli(*command)
    assert (run.code, run.err) == (130, "jaxalign: interrupted\n")


def start(command, out):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *command, "--out", str(out)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    return process


def wait_for_pieces(process, out, count):
    deadline = time.monotonic() + 60
    while len(list((out / ".partial").glob("[!.]*.npz"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT], ids=["kill", "ctrl-c"])
def test_a_process_that_ends_in_the_middle(cli, command, saved, tmp_path, sent):
    names, _ = saved
    out = tmp_path / "out"
    process = start(command, out)
    wait_for_pieces(process, out, 2)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if sent == signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in errors
    assert ("the same command goes on from there" in errors) == (sent == signal.SIGINT)
    finished = {path.stem for path in (out / ".partial").glob("[!.]*.npz")}
    assert cli(*command, "--out", out).code == 0
    assert names
    assert not finished & set(names)
    assert cli(*command, "--out", tmp_path / "whole").code == 0
    assert scores(out) == scores(tmp_path / "whole")
