"""Figures of learning dynamics: their numbers, and that the picture shows these."""

from dataclasses import replace

import numpy as np
import pytest

from jaxalign.dynamics import SETTINGS, Setting, TwoPointParams, TwoPointState, two_point_trajectory
from jaxalign.studies import compared_runs, dynamics_drawings, dynamics_figures, fitted_run

SMALL = Setting(activation="linear", gain=0.3, lr=0.1, width=20, hidden=1, epochs=200)


@pytest.fixture(scope="module")
def runs():
    deep = Setting(activation="tanh", gain=0.8, lr=0.05, width=20, hidden=3, epochs=400)
    return {"two layers": fitted_run(SMALL, key=0), "three": fitted_run(deep, key=1)}


def lines(panel):
    return {line.get_label(): line.get_xydata().T for line in panel.lines}


def test_trajectories_and_losses_are_those_of_the_runs(runs):
    arrays, figure = dynamics_figures.trajectories(runs)
    for panel, (name, run) in zip(figure.axes, runs.items(), strict=True):
        steps, h, y, w = run.recording.trajectory(run.layer)
        np.testing.assert_array_equal(arrays[f"{name}/h"], h)
        theory = run.fit.trajectory(steps)
        np.testing.assert_allclose(arrays[f"{name}/w_theory"], theory.w[:, run.layer], rtol=1e-6)
        assert panel.get_title() == name
        drawn = [line.get_ydata() for line in panel.lines]
        for values, expected in zip(drawn[::2], (h, y, w), strict=True):
            np.testing.assert_array_equal(values, expected)
        np.testing.assert_allclose(drawn[1], theory.h[:, run.layer], rtol=1e-6)
    arrays, figure = dynamics_figures.losses(runs)
    for panel, (name, run) in zip(figure.axes, runs.items(), strict=True):
        # Two inputs and one output: what was recorded is the loss of the pair.
        np.testing.assert_allclose(arrays[f"{name}/loss"], run.recording.loss, atol=1e-6)
        np.testing.assert_array_equal(lines(panel)["network"][1], arrays[f"{name}/loss"])
        assert arrays[f"{name}/dy2"] == pytest.approx(0.5, rel=1e-6)


def test_a_run_that_obeys_the_theory_is_a_straight_line_and_follows_the_flow(runs):
    """The theory's own trajectory, in place of the network's."""
    run = runs["two layers"]
    exact = run.fit.trajectory(run.recording.steps)
    recording = replace(run.recording, h=np.asarray(exact.h)[:, :, None], y=np.asarray(exact.y), w=np.asarray(exact.w))
    arrays, _ = dynamics_figures.conservation({"exact": replace(run, recording=recording)})
    line = float(arrays["exact/slope"]) * arrays["exact/h"]
    np.testing.assert_allclose(arrays["exact/readout"], line, atol=1e-3 * np.ptp(line))

    arrays, _ = dynamics_figures.phases({"exact": run}, resolution=25)
    h, w = (arrays[f"exact/{name}_grid"] for name in "hw")
    inside = np.isfinite(arrays["exact/h_velocity"])
    assert 50 < inside.sum() < inside.size
    start = TwoPointState(*(np.asarray(z)[0] for z in run.fit.state0))
    params = run.fit.params
    a, b = float(params.eta_h[0]), float(params.eta_y[0])
    constant = a * start.y / start.h - b * start.h
    for i, j in np.argwhere(inside)[::17]:
        y = (b * h[j] ** 2 + constant * h[j]) / a
        assert abs(w[i] - y) <= np.sqrt(0.5 * y) + 1e-9
        here = TwoPointState(h[j], y, w[i])
        later = two_point_trajectory(0.01, here, TwoPointParams(a, b, dx2=1.0, dy2=0.5))
        for name in "hw":
            moved = (float(getattr(later, name)) - float(getattr(here, name))) / 0.01
            assert arrays[f"exact/{name}_velocity"][i, j] == pytest.approx(moved, abs=1e-4)


def test_depth_shows_every_layer_and_ablations_every_equation(runs):
    arrays, figure = dynamics_figures.depth(runs["three"])
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), runs["three"].fit.sse)
    assert arrays["layer"].tolist() == [0, 1, 2]
    arrays, figure = dynamics_figures.ablations(runs["three"])
    assert len(figure.axes) == 5
    np.testing.assert_array_equal(figure.axes[2].lines[1].get_ydata(), arrays["fitted"][2, 0])


def test_a_single_layer_has_a_whole_number(runs):
    _, figure = dynamics_figures.depth(runs["two layers"])
    for panel in figure.axes:
        low, high = panel.get_xlim()
        assert [tick for tick in panel.get_xticks() if low <= tick <= high] == [0]


def test_ends_can_be_drawn_where_no_network_came_to_one():
    squares = np.arange(1.0, 5.0).reshape(2, 2)
    for finished in (np.zeros((2, 2), bool), np.eye(2, dtype=bool) & [[True], [False]]):
        arrays = {"a/theory": squares, "a/network": squares, "a/finished": finished}
        (panel,) = dynamics_drawings.draw_ends(arrays).axes
        assert panel.get_title() == f"a\n{finished.sum()} of 4 finished"
        assert panel.get_xlim() == pytest.approx((0, 4.2))


def test_runs_of_settings_by_name():
    told = []
    runs = compared_runs(["two_layer", "orthogonal_low"], width=150, epochs=5, each=told.append)
    assert told == list(runs) == ["two_layer", "orthogonal_low"]
    assert len(runs["orthogonal_low"].h_inf) == 4
    assert runs["two_layer"].recording.model.hidden[0].kernel[...].shape == (1, 150)
    assert runs["orthogonal_low"].recording.model.hidden[1].kernel[...].shape == (100, 100)  # as it is
    assert runs["orthogonal_low"].recording.steps[-1] == 5


def small_figure(name):
    """A figure that trains networks of its own, in small."""
    of = dynamics_figures.OF_OTHERS[name]
    shallow = replace(SETTINGS["xor_shallow"], gain=0.5, width=8, epochs=20)
    return {
        "ends": lambda: of({"one": SMALL, "two": replace(SMALL, gain=0.5)}, cells=2),
        "initial-scale": lambda: of(SMALL, (0.1, 2.0), rates=(0.1, 0.05)),
        "xor": lambda: of({"a": shallow, "b": replace(shallow, gain=2.0)}),
        "contexts": lambda: of(("orthogonal_high",), side=8),
        "digit-trajectory": lambda: of(fitted_run(SMALL, key=0)),
        "digit-structure": lambda: of(networks=1, epochs=(0, 1), per_class=2),
        "universality": lambda: of(("relu", "tanh"), width=8, steps=4),
    }[name]()


@pytest.mark.slow
@pytest.mark.parametrize("name", dynamics_figures.OF_OTHERS)
def test_figures_of_networks_of_their_own(name, tmp_path):
    arrays, figure = small_figure(name)
    assert all(np.isfinite(values).all() for values in arrays.values() if values.dtype.kind == "f")
    draw = getattr(dynamics_drawings, "draw_" + {"digit-trajectory": "trajectories"}.get(name, name.replace("-", "_")))
    np.savez(tmp_path / "arrays.npz", **arrays)
    again = draw(np.load(tmp_path / "arrays.npz"))  # from the file alone
    assert [panel.get_title() for panel in again.axes] == [panel.get_title() for panel in figure.axes]
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_names_of_runs_may_hold_anything(runs):
    arrays, figure = dynamics_figures.losses({"a/b": runs["three"]})
    assert figure.axes[0].get_title() == "a/b"
    assert set(arrays) == {f"a/b/{name}" for name in ("steps", "loss", "loss_theory", "dy2")}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dynamics_figures.trajectories({}), "runs must hold at least one"),
        (lambda: compared_runs(["defualt"]), "did you mean 'default'"),
        (lambda: compared_runs([]), "names must name at least one"),
        (lambda: compared_runs(["two_layer"], epochs=1), "epochs must be at least 2"),
        (lambda: dynamics_figures.contexts(["none"]), "settings must be of"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_without_matplotlib_nothing_is_trained(monkeypatch):
    monkeypatch.setattr(dynamics_figures.importlib.util, "find_spec", lambda name: None)
    for draw in (dynamics_figures.trajectories, dynamics_figures.depth, *dynamics_figures.OF_OTHERS.values()):
        with pytest.raises(ImportError, match=r"needs matplotlib: pip install"):
            draw()
