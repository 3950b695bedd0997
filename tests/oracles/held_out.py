"""Predictivity out of sample from its definition: float64 NumPy, every fit made anew."""

from __future__ import annotations

import numpy as np


def predicted(x, y, x_new, ridge):
    """What the regression of `y` on `x` says of other rows; the least-norm one without a ridge."""
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    x, y = x - mean_x, y - mean_y
    if ridge:
        penalized = x.T @ x + len(x) * ridge * np.eye(x.shape[1])
        return (x_new - mean_x) @ np.linalg.solve(penalized, x.T @ y) + mean_y
    return (x_new - mean_x) @ (np.linalg.pinv(x, rcond=1e-10) @ y) + mean_y


def chosen(x, y, ridges):
    """The ridge with which rows are predicted best from all others; `n` times it is added with a row less, too."""
    if not isinstance(ridges, tuple):
        return ridges
    n, everyone = len(x), np.arange(len(x))

    def error(ridge):
        return sum(
            np.sum((y[i] - predicted(x[everyone != i], y[everyone != i], x[i], ridge * n / (n - 1))) ** 2)
            for i in everyone
        )

    return min(ridges, key=error)


def linear_predictivity(x, y, ridge=0.0, folds=None):
    fold = np.arange(len(x)) % (folds or 1)
    missed = total = 0.0
    for k in range(folds or 1):
        test, train = fold == k, (fold != k) | (folds is None)
        found = predicted(x[train], y[train], x[test], chosen(x[train], y[train], ridge))
        missed += np.sum((y[test] - found) ** 2)
        total += np.sum((y[test] - y[train].mean(axis=0)) ** 2)
    return 1 - missed / total
