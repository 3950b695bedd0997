"""The command as a program of its own: help, output for pipes, and what it says when parts are missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxalign._version import __version__

ROOT = Path(__file__).resolve().parents[2]


def program(*arguments, code=None, **environment):
    command = [sys.executable, *(("-c", code) if code else ("-m", "jaxalign.cli")), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=120)


def test_results_for_a_pipe(files):
    run = program("compare", *files, "-m", "cka", "--json", COLUMNS="20")
    assert run.returncode == 0
    assert json.loads(run.stdout)["models"]["one"] == str(files[0])
    assert run.stdout.count("\n") == 1
    run = program("compare", *files, "-m", "cka", COLUMNS="20", PYTHONIOENCODING="ascii")
    assert run.returncode == 0
    assert "\x1b" not in run.stdout
    assert any(
        line.replace("|", " ").split()[:4] == ["one", "second", "two", "second"] for line in run.stdout.splitlines()
    )


def test_a_mistake_has_no_traceback(tmp_path):
    run = program("compare", tmp_path / "absent.npz")
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr == f"jaxalign: {tmp_path / 'absent.npz'}: no such file or folder\n"


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_its_packages_it_says_how_to_get_them(package):
    hidden = f"import sys; sys.modules[{package!r}] = None; from jaxalign.cli import main; main()"
    run = program("measures", code=hidden)
    assert run.returncode == 2
    assert run.stderr == f'jaxalign: the command line needs {package}: pip install "jaxalign[demo]"\n'


def test_a_reader_that_leaves_early_is_no_error():
    command = f"set -o pipefail; {sys.executable} -m jaxalign.cli measures | head -n 1"
    run = subprocess.run(
        ["bash", "-c", command], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    assert run.stdout.startswith("Measures")
    assert run.stderr == ""
    # 0 when everything was in the pipe before the reader left.
    assert run.returncode in (0, 141)


def test_a_pipe_that_is_closed_from_the_start_has_a_status_of_its_own():
    """Also where the output is so short that it is written only in the end."""
    reading, writing = os.pipe()
    os.close(reading)
    for arguments in (["measures"], ["measures", "--json"]):
        run = subprocess.run(
            [sys.executable, "-m", "jaxalign.cli", *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
        assert (run.returncode, run.stderr) == (141, ""), arguments
    os.close(writing)


@pytest.mark.parametrize("command", [(), ("compare",), ("measures",), ("demo",)])
def test_help_has_examples_and_exit_codes(cli, command):
    run = cli(*command, "--help")
    assert run.code == 0
    assert run.out.startswith("Usage: jaxalign")
    assert "Examples:\n    jaxalign" in run.out
    for line in ("0    done", "2    wrong usage", "3    the output cannot be written", "130  interrupted"):
        assert line in run.out


def test_version(cli):
    run = cli("--version")
    assert (run.code, run.out) == (0, f"jaxalign {__version__}\n")


def test_no_command_is_wrong_usage(cli):
    run = cli()
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("Usage: jaxalign")


def test_an_unknown_command(cli):
    run = cli("compar")
    assert run.code == 2
    assert "No such command 'compar'" in run.err
    assert "Try 'jaxalign --help'" in run.err
