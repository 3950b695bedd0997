"""Optimal transport of features as a linear program, by SciPy, in float64."""

from __future__ import annotations

import numpy as np
from oracles.linear_family import centered
from scipy.optimize import linprog
from scipy.spatial.distance import cdist


def least_cost(costs):
    """The least cost of a coupling with uniform weights."""
    costs = np.asarray(costs, np.float64)
    p, q = costs.shape
    sums = np.vstack([np.kron(np.eye(p), np.ones((1, q))), np.kron(np.ones((1, p)), np.eye(q))])
    weights = np.concatenate([np.full(p, 1 / p), np.full(q, 1 / q)])
    size = np.max(np.abs(costs), initial=1e-300)
    found = linprog(np.ravel(costs) / size, A_eq=sums, b_eq=weights, method="highs")
    assert found.success
    return found.fun * size


def soft_matching_distance(x, y, scale="unit"):
    points = []
    for z in (x, y):
        z = centered(z).T
        lengths = np.linalg.norm(z, axis=1)
        size = {"unit": np.sqrt(np.mean(lengths**2)), "raw": 1.0, "feature": lengths[:, None]}[scale]
        points.append(z / size)
    return np.sqrt(least_cost(cdist(*points, "sqeuclidean")))
