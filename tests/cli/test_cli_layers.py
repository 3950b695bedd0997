"""`jaxalign layers`: models of this process's modules, and files."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from jaxalign.features import save

NETWORKS = """
import jax.numpy as jnp
from flax import linen, nnx
import jax


def make():
    return nnx.Sequential(nnx.Linear(4, 8, rngs=nnx.Rngs(0)), nnx.relu, nnx.Linear(8, 2, rngs=nnx.Rngs(1)))


def make_lm():
    class LM(nnx.Module):
        def __init__(self):
            self.embed = nnx.Embed(30, 6, rngs=nnx.Rngs(0))
            self.block = nnx.Linear(6, 5, rngs=nnx.Rngs(1))

        def __call__(self, tokens):
            return self.block(self.embed(tokens))

    return LM()


def make_linen():
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(3, name="only")(x)

    return Net(), Net().init(jax.random.key(0), jnp.ones((1, 4)))


class Wide(nnx.Module):
    def __init__(self, width):
        pass


def broken():
    raise RuntimeError("no weights")


def double(x):
    return {"twice": 2 * x, "shape": x[:, :1]}


model = make()
"""


@pytest.fixture
def networks(tmp_path, monkeypatch):
    (tmp_path / "some_networks.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("some_networks", None)


@pytest.mark.parametrize(
    ("arguments", "layers"),
    [
        (("some_networks:make", "--input", "2,4"), {"layers.0": [2, 8], "layers.2": [2, 2]}),
        (("some_networks:model", "layers.2", "--input", "2x4"), {"layers.2": [2, 2]}),
        (("some_networks:make_lm", "--tokens", "3,7"), {"embed": [3, 7, 6], "block": [3, 7, 5]}),
        (("some_networks:make_linen", "--input", "2,4"), {"only": [2, 3]}),
        (("some_networks:double", "--input", "2,4"), {"twice": [2, 4], "shape": [2, 1]}),
    ],
)
def test_layers_of_models(cli, networks, arguments, layers):
    run = cli("layers", *arguments, "--json")
    assert run.code == 0, run.err
    assert {name: value["shape"] for name, value in run.document["layers"].items()} == layers
    printed = cli("layers", *arguments).out
    for name, shape in layers.items():
        line = next(line for line in printed.splitlines() if line.startswith(name))
        assert " x ".join(map(str, shape)) in line


def test_facts_are_printed(cli, networks):
    assert "model Sequential, parameters 58" in cli("layers", "some_networks:make", "--input", "2,4").out


def test_layers_of_files(cli, tmp_path):
    save(tmp_path / "a.npz", {"x": np.ones((5, 3), np.float16)}, facts={"loss": 0.5})
    run = cli("layers", tmp_path / "a.npz", "--json")
    assert run.document == {"layers": {"x": {"shape": [5, 3], "dtype": "float16"}}, "facts": {"loss": 0.5}}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("some_networks:make",), "needs --input SHAPE or --tokens SHAPE"),
        (("some_networks:make", "--input", "2,4", "--tokens", "1,2"), "one of the two"),
        (("some_networks:make", "--input", "2,zero"), "--input must be sizes of at least 1"),
        (("some_networks:make", "--tokens", "0"), "--tokens must be sizes of at least 1"),
        (
            ("some_networks:make", "--input", "2,5"),
            "some_networks:make: fails on such an input: TypeError: dot_general",
        ),
        (("some_networks:make", "blocks.*", "--input", "2,4"), "'blocks.*' matches none of 'layers.0', 'layers.2'"),
        (("some_networks:made", "--input", "2,4"), "some_networks: has no 'made'"),
        (("some_networks:Wide", "--input", "2,4"), "Wide: needs width; name a function"),
        (("no_networks:make", "--input", "2,4"), "no_networks: no such module"),
        (("some_networks", "--input", "2,4"), "a model is MODULE:NAME"),
        (("some_networks:broken", "--input", "2,4"), "broken: fails to make a model: RuntimeError: no weights"),
        (("missing.npz",), "missing.npz: no such file or folder"),
    ],
)
def test_mistakes_are_one_line(cli, networks, arguments, says):
    run = cli("layers", *arguments)
    assert run.code == 2
    assert says in run.err
    assert "Traceback" not in run.err
