"""A run that was killed goes on to the same numbers; a checkpoint of another run is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxalign.stitching import Affine, cross_entropy, fit, squared
from jaxalign.stitching.checkpoint import Checkpoints, data_digest

RNG = np.random.default_rng(0)
X, Y = (jnp.asarray(RNG.standard_normal((40, d)), jnp.float32) for d in (5, 4))
ADAM = optax.adam(0.01)
training_of_fit = sys.modules["jaxalign.stitching.fit"]  # the function has the name of its file


class Noisy(nnx.Module):
    """Has a state of random numbers that must be kept too."""

    def __init__(self, *, rngs):
        self.dropout = nnx.Dropout(0.3, rngs=rngs)
        self.affine = Affine(5, 4, rngs=rngs)

    def __call__(self, x):
        return self.affine(self.dropout(x))


SETTINGS = {
    "optimizer": ADAM,
    "steps": 30,
    "batch_size": 8,
    "key": 4,
    "held_out": 0.2,
    "evaluate_every": 7,
    "checkpoint_every": 6,
    "penalty": 0.01,
}


def run(folder, module=None, x=X, y=Y, **settings):
    module = Noisy(rngs=nnx.Rngs(0)) if module is None else module
    return fit(module, x, y, checkpoint=folder, **{**SETTINGS, **settings})


def same(a, b):
    for name in ("losses", "held_out_losses", "held_out_steps"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    leaves = [jax.tree.leaves(nnx.state(r.module, nnx.Param)) for r in (a, b)]
    for one, other in zip(*leaves, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (a.best_step, a.stopped_at) == (b.best_step, b.stopped_at)


class KilledError(Exception):
    pass


@pytest.fixture
def killed(tmp_path, monkeypatch):
    """A folder in which a run was killed after 18 steps."""
    save = Checkpoints.save

    def save_and_die(self, step, state):
        save(self, step, state)
        if step == 18:
            raise KilledError

    monkeypatch.setattr(Checkpoints, "save", save_and_die)
    with pytest.raises(KilledError):
        run(tmp_path / "run")
    monkeypatch.undo()
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["18"]
    return tmp_path / "run"


def test_a_killed_run_goes_on_to_the_same_numbers(killed, tmp_path, monkeypatch):
    whole = run(tmp_path / "whole")
    without = fit(Noisy(rngs=nnx.Rngs(0)), X, Y, **{**SETTINGS, "checkpoint_every": None})
    same(whole, without)
    first = []
    train = training_of_fit.train

    def recorded(problem, training, losses, step, stop):
        first.append(int(step))
        return train(problem, training, losses, step, stop)

    monkeypatch.setattr(training_of_fit, "train", recorded)
    same(run(killed), whole)
    assert first == [18, 21, 24, 28]
    assert [entry.name for entry in killed.iterdir()] == ["30"]
    same(run(killed), whole)  # a finished run is read
    assert len(first) == 4


def test_early_stopping_goes_on_where_it_was(tmp_path):
    settings = {"patience": 1, "optimizer": optax.adam(1.0), "evaluate_every": 3}
    stopped = run(tmp_path, **settings)
    assert stopped.stopped_at < 30
    same(run(tmp_path, **settings), stopped)


OTHERS = [
    ("steps: 30 there, 31 here", {"steps": 31}),
    ("batch_size: 8 there, 4 here", {"batch_size": 4}),
    ("penalty: 0.0099.* there, 0.5 here", {"penalty": 0.5}),
    ("evaluate_every: 7 there, 15 here", {"evaluate_every": 15}),
    ("evaluate_every: 7 there, 6 here", {"evaluate_every": 6}),  # as many looks
    ("patience: None there, 3 here", {"patience": 3}),
    ("[(]optimizer or what it steps on differs[)]", {"optimizer": optax.adam(0.011)}),
    ("[(]optimizer or what it steps on differs[)]", {"optimizer": optax.adam(0.01, b2=0.99)}),
    ("optimizer or what it steps on differs", {"optimizer": optax.sgd(0.01)}),
    ("[(]module, head or loss differs", {"loss": lambda o, t: 2 * squared(o, t)}),
    ("[(](held-out )?data differs[)]", {"x": X.at[3, 2].add(1e-6)}),
    ("[(]data differs; held-out data differs[)]", {"x": X[::-1]}),
    ("data differs", {"x": X[1:], "y": Y[1:]}),
    ("[(]data differs; held-out data differs[)]", {"y": -Y}),
    ("key differs", {"key": 5}),
    ("[(]start of the module differs[)]", {"module": Noisy(rngs=nnx.Rngs(1))}),
    ("module, head or loss differs", {"module": Affine(5, 4, rngs=nnx.Rngs(0))}),
    ("parameters of the head differs; module, head or loss", {"head": nnx.Linear(4, 3, rngs=nnx.Rngs(0))}),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    run(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("named", "settings"), OTHERS)
def test_a_checkpoint_of_another_run_is_refused(folder, named, settings):
    with pytest.raises(ValueError, match=f"fit: checkpoint folder .* belongs to another run .*{named}"):
        run(folder, **settings)


def test_folders_that_are_none_are_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match=r"holds other files, such as thesis\.tex; name an empty or new one"):
        run(tmp_path)
    for file in (tmp_path / "thesis.tex", tmp_path / "thesis.tex" / "run"):
        with pytest.raises(
            ValueError, match=r"fit: checkpoint must be the path of a folder, got .*thesis.tex is a file"
        ):
            run(file)
    with pytest.raises(TypeError, match="checkpoint must be the path of a folder, got int 3"):
        run(3)


def test_digests_see_one_bit_and_the_order_and_the_type():
    x = jnp.arange(6.0).reshape(2, 3)
    different = [x, x.T, x[::-1], x.astype(jnp.bfloat16), x.astype(jnp.int32), jnp.nextafter(x, x + 1), x > 2]
    digests = [data_digest(v) for v in different]
    assert len(set(digests)) == len(digests)
    assert data_digest(np.asarray(x)) == digests[0]
    assert data_digest(jax.random.key(1)) != data_digest(jax.random.key(2))


def test_digests_see_signs_and_rows_that_change_places():
    x = jnp.asarray(RNG.standard_normal((1024, 4)), jnp.float32)  # 512 words are 128 rows
    swapped = x.at[jnp.asarray([3, 131])].set(x[jnp.asarray([131, 3])])
    exchanged = jnp.concatenate([x[512:], x[:512]])
    different = [x, -x, x.at[:2].multiply(-1), swapped, exchanged, x.astype(jnp.bfloat16), -x.astype(jnp.bfloat16)]
    assert len({data_digest(v) for v in different}) == len(different)
    assert data_digest(jnp.zeros((0, 3))) == data_digest(np.zeros((0, 3), np.float32))


PROGRAM = """
import sys, jax.numpy as jnp, numpy as np, optax
from flax import nnx
from jaxalign.stitching import Affine, fit
g = np.random.default_rng(0)
x, y = (jnp.asarray(g.standard_normal((2000, d)), jnp.float32) for d in (64, 48))
folder = None if sys.argv[1] == "none" else sys.argv[1]
every = None if folder is None else 50
run = fit(Affine(64, 48, rngs=nnx.Rngs(0)), x, y, optimizer=optax.adam(1e-3), steps=4000, batch_size=128, key=0,
          held_out=0.1, checkpoint=folder, checkpoint_every=every)
np.savez(sys.argv[2], run.losses, run.held_out_losses, run.module.kernel[...], run.module.bias[...])
"""


@pytest.mark.slow
def test_a_process_that_is_killed_outright_goes_on_to_the_same_numbers(tmp_path):
    folder, whole, resumed = tmp_path / "run", tmp_path / "whole.npz", tmp_path / "resumed.npz"
    command = [sys.executable, "-c", PROGRAM]
    subprocess.run([*command, "none", str(whole)], check=True)
    process = subprocess.Popen([*command, str(folder), str(resumed)])
    deadline = time.monotonic() + 120
    while not (folder.is_dir() and any(e.name.isdigit() and int(e.name) >= 200 for e in folder.iterdir())):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    steps = [int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()]
    assert 0 < max(steps) < 4000
    assert not resumed.exists()
    subprocess.run([*command, str(folder), str(resumed)], check=True)
    with np.load(whole) as a, np.load(resumed) as b:
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.slow
def test_labels_and_cross_entropy_are_kept_too(tmp_path):
    labels = RNG.integers(0, 4, 40)
    settings = {"labels": labels, "loss": cross_entropy}
    first, again = run(tmp_path, **settings), run(tmp_path, **settings)
    same(first, again)
    assert first.losses[-1] < first.losses[0]
