"""The theory beside networks, in small: what section after section of the paper shows."""

from dataclasses import replace

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from jaxalign._core.keys import as_key
from jaxalign.dynamics import SETTINGS, Setting, record
from jaxalign.studies import (
    depth_profile,
    distance_grid,
    fit_recording,
    fitted_run,
    gain_sweep,
    run_setting,
    xor_distances,
)

SMALL = Setting(activation="linear", gain=0.1, lr=0.05, width=300, hidden=1, epochs=600)


def test_settings_are_those_of_trajectories():
    setting = run_setting("default", width=200)
    assert (setting.lr, setting.epochs, setting.width) == (0.005, 6000, 200)
    assert run_setting(SETTINGS["default"]).epochs == 3000


def test_a_linear_network_of_two_layers_has_the_rates_of_its_loss():
    """With half the mean squared error, effective rates are half the learning rate and the mean's is the whole."""
    run = fitted_run(SMALL, key=0)
    row = run.row
    # Effective rates are not those of the weights: readouts across the pair learn too, which the theory leaves out.
    assert row["eta_h"] == pytest.approx(SMALL.lr / 2, rel=0.05)
    assert row["eta_y"] == pytest.approx(SMALL.lr / 2, rel=0.15)
    assert row["eta_ybar"] == pytest.approx(SMALL.lr, rel=0.1)
    assert min(row["r2_h"], row["r2_y"]) > 0.99
    assert row["loss_r2"] > 0.99
    assert row["h_theory"] == pytest.approx(row["h_network"], rel=0.01)
    assert run.fit.sse.shape == (1,)


def test_a_recording_of_any_network_is_fitted_by_the_name_of_a_layer():
    """Three inputs and two outputs: the loss is that of the pair, not of all."""

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first, self.second = nnx.Linear(2, 8, rngs=rngs), nnx.Linear(8, 2, rngs=rngs)

        def __call__(self, x):
            return self.second(self.first(x))

    x, y = (np.random.default_rng(i).normal(size=(3, 2)).astype(np.float32) for i in (0, 1))
    recording = record(
        Net(nnx.Rngs(0)),
        x,
        y,
        optimizer=optax.sgd(0.05),
        steps=150,
        layers="first",
        pairs=[(0, 1), (0, 2)],
        kept=[0, 150],
    )
    run = fit_recording(recording, layer="first", pair=1)
    np.testing.assert_array_equal(run.curves["h"], recording.h[:, 0, 1])
    outputs = recording.outputs[:, [0, 2]]
    expected = np.sum((outputs - y[[0, 2]]) ** 2, axis=(1, 2)) / 4
    np.testing.assert_allclose(run.curves["loss"][[0, 150]], expected, rtol=1e-5)
    assert run.curves["loss_theory"][0] == pytest.approx(expected[0], rel=1e-5)
    assert run.layer == 0
    np.testing.assert_allclose(run.curves["h_theory"], run.fit.trajectory(recording.steps).h[:, 0], rtol=1e-6)
    with pytest.raises(ValueError, match="did you mean 'first'"):
        fit_recording(recording, layer="frist")


@pytest.mark.slow
def test_the_middle_of_a_deep_network_fits_best():
    run = fitted_run(run_setting("narrow", hidden=8, epochs=3000, gain=1.0), key=0)
    profile = depth_profile(run)
    best = int(np.argmin(profile["sse"]))
    assert 0 < best < 7
    assert profile["sse"][0] > 3 * profile["sse"][best]
    assert profile["eta_h"][-1] > profile["eta_h"][0]
    assert list(profile["layer"]) == list(range(8))


def test_small_weights_end_at_the_task_and_large_ones_where_they_were():
    sweep = gain_sweep(SMALL, [0.05, 2.5], rates=[0.1, 0.02], ratio=1.0, key=0)
    rich, lazy = sweep["h_network"]
    assert rich == pytest.approx(np.sqrt(0.5), rel=0.02)
    assert lazy / sweep["h_start"][1] == pytest.approx(1.0, abs=0.02)
    np.testing.assert_allclose(sweep["fixed"], sweep["h_network"], rtol=0.05)
    assert (sweep["loss"] < 1e-4).all()


@pytest.mark.slow
def test_ends_over_a_grid_of_distances_are_predicted_by_one_ratio():
    grid = distance_grid(replace(SMALL, lr=0.1), key=0, cells=3, fits=2, most_steps=2400)
    assert grid["finished"].all()
    assert float(grid["ratio"]) == pytest.approx(1.0, rel=0.2)
    apart = grid["theory"][:, 1:].ravel(), grid["network"][:, 1:].ravel()
    assert np.corrcoef(*apart)[0, 1] > 0.999


def test_xor_is_trained_on_squared_errors_without_a_half():
    setting = Setting(activation="tanh", gain=1.0, lr=0.05, width=8, hidden=1, epochs=50, layer=0)
    found = xor_distances(setting, ratio=1.0, key=0)
    inputs, targets = np.float32([[0, 0], [0, 1], [1, 0], [1, 1]]), np.float32([[0], [1], [1], [0]])
    key = as_key("test", 0)
    rngs = nnx.Rngs(jax.random.fold_in(key, 0), dropout=jax.random.fold_in(key, 1))
    recording = record(
        setting.network(rngs=rngs, inputs=2, outputs=1),
        inputs,
        targets,
        optimizer=optax.sgd(0.05),
        steps=50,
        loss=lambda outputs, targets: ((outputs - targets) ** 2).mean(),
    )
    for (i, j), h in zip(recording.pairs, recording.h[-1, 0], strict=True):
        assert found["network"][i, j] == pytest.approx(h, rel=1e-5)
    assert float(found["loss"]) == pytest.approx(recording.loss[-1] / 2, rel=1e-5)


@pytest.mark.slow
def test_inputs_of_xor_with_one_label_merge_in_a_network_of_small_weights_only():
    rich = xor_distances(replace(SETTINGS["xor_rich"], width=200), ratio=0.02, key=0)
    assert rich["loss"] < 1e-3
    same, other = rich["network"][[0, 1], [3, 2]], rich["network"][[0, 0, 1, 2], [1, 2, 3, 3]]
    assert same.max() < 0.3 * other.min()
    assert rich["correlation"] > 0.95
    lazy = xor_distances(replace(SETTINGS["xor_shallow"], gain=4.0, lr=1e-3), ratio=0.05, key=0)
    assert lazy["correlation"] > 0.99


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: run_setting("defualt"), ValueError, "did you mean 'default'"),
        (lambda: run_setting(3), TypeError, "name must be names, got"),
        (
            lambda: gain_sweep(SMALL, [0.1, 0.2], rates=[0.1], ratio=1.0, key=0),
            ValueError,
            "rates must be as many as gains",
        ),
        (lambda: gain_sweep(SMALL, [], rates=[], ratio=1.0, key=0), ValueError, "gains must name at least one"),
        (lambda: distance_grid(SMALL, key=0, cells=0), ValueError, "cells must be at least 1"),
        (lambda: xor_distances(SMALL, ratio=-1.0, key=0), ValueError, "ratio must be positive"),
    ],
)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.filterwarnings("ignore:record")
def test_a_network_that_diverges_is_an_error():
    with pytest.raises(ValueError, match="the network diverged with a learning rate of 50 and a gain of 2"):
        fitted_run(replace(SMALL, lr=50.0, gain=2.0, epochs=50), key=0)
