"""Members that are trained together are those that are trained alone."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxalign._core.keys import as_key
from jaxalign.stitching import MLP, Affine, fit, fit_many, squared

RNG = np.random.default_rng(0)
X, Y = (jnp.asarray(RNG.standard_normal((40, d)), jnp.float32) for d in (5, 3))
OTHER = tuple(jnp.asarray(RNG.standard_normal((30, d)), jnp.float32) for d in (5, 3))
ADAM = optax.adam(0.02)
KEYS = [jax.random.key(7), 3]
PENALTIES = [0.0, 0.2, 1.0]


def make(key):
    return Affine(5, 3, rngs=nnx.Rngs(key))


class Noisy(nnx.Module):
    def __init__(self, key):
        self.dropout = nnx.Dropout(0.3, rngs=nnx.Rngs(key))
        self.affine = make(key)

    def __call__(self, x):
        return self.affine(self.dropout(x))


@pytest.mark.parametrize(
    "settings",
    [{"batch_size": 8}, *(pytest.param(s, marks=pytest.mark.slow) for s in ({}, {"batch_size": 4, "accumulate": 2}))],
    ids=str,
)
@pytest.mark.parametrize("maker", [make, Noisy], ids=["affine", "dropout"])
def test_members_are_what_fit_finds_alone(settings, maker):
    mask = jnp.arange(40) < 37
    shared = {"optimizer": ADAM, "steps": 12, "mask": mask, **settings}
    together = fit_many(maker, X, Y, keys=KEYS, penalties=PENALTIES, held_out=OTHER, **shared)
    assert together.losses.shape == (6, 12)
    np.testing.assert_array_equal(together.seeds, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(together.penalties, PENALTIES * 2)
    for index in (0, 2, 4):
        key, penalty = KEYS[together.seeds[index]], together.penalties[index]
        module = maker(as_key("test", key))
        alone = fit(module, X, Y, key=key, penalty=float(penalty), held_out=OTHER, evaluate_every=12, **shared)
        np.testing.assert_allclose(together.losses[index], alone.losses, rtol=1e-4)
        np.testing.assert_allclose(together.held_out_losses[index], alone.held_out_losses[-1], rtol=1e-4)
        leaves = [jax.tree.leaves(nnx.state(m, nnx.Param)) for m in (together.member(index), alone.module)]
        for a, b in zip(*leaves, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.slow
def test_the_best_member_is_that_of_the_least_held_out_loss(x64):
    runs = fit_many(make, X, Y, keys=KEYS, penalties=PENALTIES, held_out=OTHER, optimizer=ADAM, steps=300)
    losses = [float(jnp.mean(squared(runs.member(i)(OTHER[0]), OTHER[1]))) for i in range(6)]
    np.testing.assert_allclose(runs.held_out_losses, losses, rtol=1e-5)
    assert losses[runs.best_index()] <= min(losses) * (1 + 1e-5)  # both keys come to the same minimum
    assert runs.penalties[runs.best_index()] > 0  # there is nothing to learn
    np.testing.assert_array_equal(runs.best().kernel[...], runs.member(runs.best_index()).kernel[...])
    plain = fit_many(make, X, Y, keys=KEYS, optimizer=ADAM, steps=5)
    assert plain.held_out_losses is None
    assert plain.best_index() == int(np.argmin(plain.losses[:, -1]))


@pytest.mark.slow
def test_members_that_diverged_are_not_the_best():
    run = fit_many(make, X, Y, keys=KEYS, optimizer=ADAM, steps=2, held_out=OTHER)
    assert not np.any(run.diverged)
    spoiled = np.arange(2) == run.best_index()
    assert replace(run, diverged=spoiled).best_index() == 1 - run.best_index()
    with pytest.raises(ValueError, match="training diverged for all members"):
        replace(run, diverged=spoiled | True).best()


def test_the_last_step_may_diverge_too():
    with pytest.warns(RuntimeWarning, match=r"the parameters of members \[0, 1\] .* A smaller learning rate may help"):
        run = fit_many(make, 100 * X, Y, keys=KEYS, optimizer=optax.sgd(1e38), steps=1)
    assert run.diverged.tolist() == [True, True]
    assert np.all(np.isfinite(run.losses))
    np.testing.assert_array_equal(run.member(1).kernel[...], make(as_key("test", KEYS[1])).kernel[...])
    with pytest.raises(ValueError, match="training diverged for all members"):
        run.best()
    with pytest.warns(RuntimeWarning, match="x holds NaN"):
        fit_many(make, X * jnp.nan, Y, keys=KEYS, optimizer=ADAM, steps=1)


@pytest.mark.slow
def test_a_member_that_diverges_stops_alone():
    """A wild step spoils the members without a penalty later than those with one."""
    sgd = optax.sgd(0.3)
    with pytest.warns(
        RuntimeWarning, match=r"fit_many: the loss or the parameters of members \[1, 3\] were not finite; they stopped"
    ):
        runs = fit_many(make, X, Y, keys=KEYS, penalties=[0.0, 1e8], optimizer=sgd, steps=30)
    with pytest.warns(RuntimeWarning, match="the loss of step"):
        alone = fit(make(KEYS[0]), X, Y, optimizer=sgd, steps=30, penalty=1e8)
    assert np.all(np.isfinite(runs.losses[[0, 2]]))
    at = alone.diverged_at
    np.testing.assert_allclose(runs.losses[1, :at], alone.losses[:at], rtol=1e-4)
    assert not np.any(np.isfinite(runs.losses[1, at:]))
    np.testing.assert_allclose(runs.member(1).kernel[...], alone.module.kernel[...], rtol=1e-4)
    assert runs.best_index() in (0, 2)


ERRORS = [
    ({"keys": []}, ValueError, "fit_many: keys and penalties must hold at least one each"),
    ({"keys": [0.5]}, TypeError, "fit_many: key must be one key"),
    ({"keys": 3}, TypeError, "fit_many: keys must be a list or an array of keys or integers, got int 3"),
    ({"keys": jax.random.key(0)}, TypeError, "fit_many: keys must be a list or an array"),
    ({"keys": jax.random.PRNGKey(0)}, TypeError, "got array uint32 .2,., which is one key; put it in a list"),
    ({"penalties": 0.1}, TypeError, "fit_many: penalties must be a list or an array of numbers, got float 0.1"),
    ({"penalties": jnp.ones(())}, TypeError, "fit_many: penalties must be a list or an array of numbers, got array"),
    ({"penalties": [0.0, -1.0]}, ValueError, r"fit_many: penalties\[1\] must be at least 0, got -1.0"),
    ({"steps": 0}, ValueError, "fit_many: steps must be at least 1"),
    ({"batch_size": 50}, ValueError, "at most the number of rows that count, 40, got 50"),
    ({"held_out": 0.2}, TypeError, r"fit_many: held_out must be a pair \(x, y\), got float 0.2"),
    (
        {"labels": RNG.integers(0, 3, 40), "held_out": OTHER},
        ValueError,
        r"fit_many: held_out must be a pair \(x, labels\), labels of integers of shape \(rows\)",
    ),
    ({"make": lambda key: None}, TypeError, "fit_many: module must be an nnx.Module"),
    ({"y": Y[:5]}, ValueError, "fit_many: y must have one row for each of the 40 of x"),
]


@pytest.mark.parametrize(("settings", "error", "message"), ERRORS)
def test_mistakes_are_named(settings, error, message):
    settings = {"make": make, "x": X, "y": Y, "keys": KEYS, "optimizer": ADAM, "steps": 2, **settings}
    with pytest.raises(error, match=message):
        fit_many(settings.pop("make"), settings.pop("x"), settings.pop("y"), **settings)


@pytest.mark.slow
def test_keys_of_the_old_kind_are_keys():
    old = jax.random.split(jax.random.PRNGKey(0), 3)
    runs = [fit_many(make, X, Y, keys=keys, optimizer=ADAM, steps=2) for keys in (old, list(old))]
    assert runs[0].losses.shape == (3, 2)
    np.testing.assert_array_equal(runs[0].losses, runs[1].losses)


def test_modules_must_be_alike():
    widths = iter([4, 5])
    with pytest.raises(ValueError, match="make must give modules that differ in their weights only"):
        fit_many(
            lambda key: MLP(5, 3, hidden=[next(widths)], rngs=nnx.Rngs(key)), X, Y, keys=KEYS, optimizer=ADAM, steps=2
        )
