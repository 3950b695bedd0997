"""Notebooks run from top to bottom, print what they show, and claim what they print."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import warnings
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(path):
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def printed(cell):
    """What a cell has printed, as it is kept in the file."""
    return "".join("".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream")


def run(path):
    """What each cell prints now, all in one namespace."""
    import matplotlib.pyplot as plt

    namespace, outputs = {"__name__": "__main__"}, []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for cell in cells(path):
            stream = io.StringIO()
            with contextlib.redirect_stdout(stream):
                exec(compile("".join(cell["source"]), str(path), "exec"), namespace)
            outputs.append(stream.getvalue())
    plt.close("all")
    return outputs


def test_there_are_notebooks_and_all_of_their_cells_have_run():
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        assert any(output["output_type"] == "display_data" for cell in cells(path) for output in cell["outputs"])
        for cell in cells(path):
            for output in cell["outputs"]:
                assert output["output_type"] != "error", path


@pytest.mark.slow
def test_the_notebook_on_stitching_runs_and_its_claims_hold(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    path = FOLDER / "stitching.ipynb"
    kept, now = [printed(cell) for cell in cells(path)], run(path)
    assert [text.count("\n") for text in now] == [text.count("\n") for text in kept]
    for texts in (kept, now):
        text = "\n".join(texts)
        mean, most = map(float, re.search(r"trained stitches: mean (-?[\d.]+), most (-?[\d.]+)", text).groups())
        assert mean <= 1
        assert most <= 2  # points below the intact network, of the same architecture with another seed
        shuffled, frequent = map(float, re.search(r"random: ([\d.]+) % right.*digit: ([\d.]+) %", text).groups())
        assert abs(shuffled - frequent) < 3
        risks = re.findall(r"risk ([\d.]+), probe ([\d.]+)", text)
        assert risks
        assert all(risk == probe for risk, probe in risks)
    assert os.environ["MPLBACKEND"] == "Agg"
