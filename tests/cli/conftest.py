"""Files of activations, and the command as a function."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from typer.main import get_command

from jaxalign import features
from jaxalign.cli.app import app

ROWS = 40


@pytest.fixture
def cli(capsys):
    """`cli("measures")` -> exit status and what was printed, as `code`, `out`, `err`, and `document` for JSON."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            get_command(app).main(args=[str(argument) for argument in arguments], prog_name="jaxalign")
        out, err = capsys.readouterr()
        document = json.loads(out) if "--json" in arguments and out else None
        return SimpleNamespace(code=ended.value.code, out=out, err=err, document=document)

    return run


@pytest.fixture
def layers():
    """Two models on the same examples, the second a noisy copy of the first."""
    rng = np.random.default_rng(0)
    one = {name: rng.normal(size=(ROWS, width)).astype(np.float32) for name, width in (("first", 6), ("second", 9))}
    two = {name: array + 0.1 * rng.normal(size=array.shape).astype(np.float32) for name, array in one.items()}
    return {"one": one, "two": two}


@pytest.fixture
def files(tmp_path, layers):
    """The models in files, with ids."""
    paths = [tmp_path / "one.npz", tmp_path / "two.safetensors"]
    for path in paths:
        features.save(path, layers[path.stem], ids=[f"example-{i}" for i in range(ROWS)])
    return paths


@pytest.fixture
def task(layers, tmp_path):
    """Files of a head on the last layer of the second model, and of labels that it often gets right."""
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=(9, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    labels = (layers["two"]["second"] @ kernel + bias + rng.normal(size=(ROWS, 3))).argmax(axis=1)
    np.savez(tmp_path / "head.npz", kernel=kernel, bias=bias)
    np.save(tmp_path / "labels.npy", labels)
    return kernel, bias, labels
