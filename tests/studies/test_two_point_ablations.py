"""Equations with one term changed, against SciPy's integration of the equations written out."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from jaxalign.dynamics import Setting
from jaxalign.studies import ablated_fits, fitted_run, run_setting


@pytest.fixture(scope="module")
def run():
    return fitted_run(Setting(activation="linear", gain=0.1, lr=0.05, width=100, hidden=1, epochs=600), key=0)


def equations(name, a, b, dy2):
    def velocity(_, state):
        h, y, w = state
        dh, dy = -a * w, -w * (b * h + a * y / h)
        last = (a / 2) * (w / h) * (y + w)
        dw = -(b / 2) * h * (3 * w - y + dy2) - last
        return {
            "as they are": (dh, dy, dw),
            "y' doubled": (dh, 2 * dy, dw),
            "h' doubled": (2 * dh, dy, dw),
            "last term of w' negative": (dh, dy, dw + 2 * last),
            "y' without y / h": (dh, -w * b * h, dw),
        }[name]

    return velocity


def test_each_fit_solves_its_equations_and_is_the_best_of_them(run):
    found = ablated_fits(run, times=150)
    t, seen = found["steps"].astype(float), found["measured"].astype(float)
    share = len(run.recording.steps) / len(t)
    for name, sse, fitted, (eta_h, eta_y) in zip(
        found["equations"], found["sse"], found["fitted"], found["rates"], strict=True
    ):
        solved = solve_ivp(
            equations(name, eta_h, eta_y, 0.5), (0, t[-1]), seen[:, 0], "LSODA", t, rtol=1e-9, atol=1e-12
        ).y
        np.testing.assert_allclose(fitted, solved, atol=1e-4)
        assert sse == pytest.approx(share * np.sum((solved - seen) ** 2), rel=0.01)
        for change in ([1.02, 1.0], [1 / 1.02, 1.0], [1.0, 1.02], [1.0, 1 / 1.02]):  # a minimum
            other = np.array([eta_h, eta_y]) * change
            near = solve_ivp(equations(name, *other, 0.5), (0, t[-1]), seen[:, 0], "LSODA", t, rtol=1e-9, atol=1e-12).y
            assert np.sum((near - seen) ** 2) > np.sum((solved - seen) ** 2)
    assert found["equations"][0] == "as they are"
    assert found["sse"][0] == pytest.approx(float(run.fit.sse[0]), rel=0.05)  # the closed form, over all steps


@pytest.mark.slow
def test_no_change_fits_a_deep_network_better():
    found = ablated_fits(fitted_run(run_setting("narrow"), key=0))
    assert found["equations"][0] == "as they are"
    assert found["sse"][0] < 0.9 * found["sse"][1:].min()


def test_too_few_times_are_an_error(run):
    with pytest.raises(ValueError, match="times must be at least 3, got 2"):
        ablated_fits(run, times=2)
