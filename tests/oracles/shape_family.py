"""Shape family from its definitions: float64 NumPy, SciPy's assignment."""

from __future__ import annotations

import numpy as np
from oracles.linear_family import centered
from scipy.linalg import orthogonal_procrustes
from scipy.optimize import linear_sum_assignment


def shaped(x, y, scale="unit", alpha=1.0):
    """Centered, whitened, scaled, and of one width."""
    shapes = []
    for z in (x, y):
        u, s, vt = np.linalg.svd(centered(z), full_matrices=False)
        kept = s > 1e-10 * s[0]
        z = (u[:, kept] * (alpha * s[kept] + 1 - alpha)) @ vt[kept]
        z = z / np.linalg.norm(z) if scale == "unit" else z
        shapes.append(np.pad(z, ((0, 0), (0, max(x.shape[1], y.shape[1]) - z.shape[1]))))
    return shapes


def procrustes_distance(x, y, scale="unit"):
    x, y = shaped(x, y, scale)
    rotation, _ = orthogonal_procrustes(y, x)
    return np.linalg.norm(x - y @ rotation)


def angular_procrustes(x, y, alpha=1.0):
    x, y = shaped(x, y, alpha=alpha)
    rotation, _ = orthogonal_procrustes(y, x)
    return np.arccos(np.clip(np.sum(x * (y @ rotation)), -1, 1))


def permutation_distance(x, y, scale="unit"):
    x, y = shaped(x, y, scale)
    rows, columns = linear_sum_assignment(-x.T @ y)
    return np.linalg.norm(x[:, rows] - y[:, columns])


def correlation_match(x, y, kind="hard"):
    correlations = np.corrcoef(x.T, y.T)[: x.shape[1], x.shape[1] :]
    if kind == "soft":
        return (correlations.max(axis=0).mean() + correlations.max(axis=1).mean()) / 2
    return correlations[linear_sum_assignment(-correlations)].mean()
