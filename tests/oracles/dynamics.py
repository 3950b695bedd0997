"""The two-point theory in plain float64 NumPy: its equations as printed, integrated by SciPy, and golden values."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np
import scipy.integrate


class Case(NamedTuple):
    """Rates, squared distances, and where a pair starts."""

    eta_h: float
    eta_y: float
    dx2: float
    dy2: float
    h: float
    y: float
    w: float


#: Golden values O1 to O8, integrated at a tolerance of 1e-13: name -> case, end of h, time -> (h, y, w).
GOLDEN: dict[str, tuple[Case, float, dict[float, tuple[float, float, float]]]] = {
    "one output": (
        Case(0.5, 1, 1, 0.5, 0.25, 0.04, 0.04 - 0.2 * sqrt(0.5)),
        0.5921735403192875,
        {
            1: (0.306126527295, 0.083343882147, -0.120793182282),
            5: (0.516557253456, 0.358033326022, -0.065070281870),
            20: (0.592129285975, 0.499910225387, -0.000044885291),
        },
    ),
    "several outputs": (
        Case(0.5, 1, 1, 0.5, 0.25, 0.04, 0.04 - 0.3 * sqrt(0.02)),
        0.5921735403192875,
        {
            1: (0.263733343597, 0.049441216227, -0.049760103469),
            5: (0.447523751612, 0.248396940966, -0.095005657414),
            20: (0.592044777883, 0.499738813557, -0.000128929496),
        },
    ),
    "lazy": (
        Case(0.5, 1, 1, 0.5, 10, 0.1, 0.1 - 0.5 * sqrt(0.05)),
        10.019950223745377,
        {
            0.1: (10.003377927595, 0.167615151970, -0.096977547223),
            0.5: (10.016919633975, 0.439134423877, -0.029176699388),
        },
    ),
    "wrong side": (
        Case(0.5, 1, 2, 0.5, 1, 0.04, 0.04 + sqrt(0.02)),
        1.33463442476886,
        {1: (0.983369369080, 0.022980721728, -0.084212379095), 5: (1.307126169816, 0.453737700794, -0.022569815835)},
    ),
    "through zero": (
        Case(0.5, 1, 1, 0.5, 0.05, 0.5, 1.0),
        0.05,
        {
            0.5: (0.008997597601, 0.089238129772, -0.121994123651),
            1: (0.034915468090, 0.348101313918, -0.069092474337),
            6: (0.049999945735, 0.499999451924, -0.000000274038),
        },
    ),
    "targets agree": (
        Case(0.5, 1, 1, 0, 0.25, 0.04, 0.04),
        0.17,
        {
            1: (0.232868016881, 0.029279900833, 0.029279900833),
            5: (0.196935402072, 0.010609068474, 0.010609068474),
            20: (0.171835103778, 0.000630670496, 0.000630670496),
        },
    ),
    "merge": (
        Case(0.5, 1, 1, 0, 0.05, 0.5, 0.5),
        0.0,
        {1: (3.506535802151e-4, 0.003471716360, 0.003471716360)},
    ),
    "small weights": (
        Case(6.6e-4, 5.2e-2, 1, 0.5, 1e-3, 1e-8, 1e-8 - sqrt(0.5e-8)),
        0.0801642559210831,
        {
            1000: (0.013965420454, 0.014266067679, -0.070191222352),
            1500: (0.049682675346, 0.190563601095, -0.118113901402),
            2000: (0.074392725996, 0.430173497969, -0.033600961208),
        },
    ),
}


def velocity(case: Case, h, y, w):
    a, b = case.eta_h * case.dx2, case.eta_y
    return (
        -a * w,
        -w * (b * h + a * y / h),
        -(b / 2) * h * (3 * w - y + case.dy2) - (a / 2) * (w / h) * (y + w),
    )


def integrate(case: Case, times):
    """h, y, w at times, shape (times, 3), in the coordinates of the equations; not through h = 0."""
    solution = scipy.integrate.solve_ivp(
        lambda _, z: velocity(case, *z), (0, times[-1]), case[4:], "DOP853", t_eval=times, rtol=1e-13, atol=1e-15
    )
    assert solution.success
    return solution.y.T


def gradient_flow(case: Case, times):
    """The same from the loss itself: matrices of a linear network with one hidden unit and two outputs."""
    d, p = sqrt(case.dy2), sqrt(case.h)
    along = (case.y - case.w) / (d * p) if d else 0.0
    start = np.array([p, along, sqrt(max(0.0, case.y / case.h - along**2))])
    target = np.array([d, 0.0])

    def move(_, z):
        error = z[0] * z[1:] - target
        return np.concatenate([[-case.eta_h * case.dx2 / 2 * (z[1:] @ error)], -case.eta_y / 2 * z[0] * error])

    solution = scipy.integrate.solve_ivp(move, (0, times[-1]), start, "DOP853", t_eval=times, rtol=1e-13, atol=1e-15)
    p, u = solution.y[0], solution.y[1:]
    y = p**2 * (u**2).sum(axis=0)
    return np.stack([p**2, y, y - p * (target @ u)], axis=1)


def random_cases(count: int, seed: int = 0) -> list[Case]:
    """Pairs of all regimes, on both sides, with rates and distances over several orders of magnitude."""
    rng = np.random.default_rng(seed)
    cases = []
    for _ in range(count):
        eta_h, eta_y, dx2, dy2, h, y = 10 ** rng.uniform([-1, -1, -0.5, -1, -2, -3], [0.5, 0.5, 0.5, 0.5, 0.7, 0.5])
        cosine = rng.uniform(-0.95, 1)
        cases.append(Case(eta_h, eta_y, dx2, dy2, h, y, y - cosine * sqrt(y * dy2)))
    return cases
