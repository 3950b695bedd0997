"""Maps between layers from their definitions, in NumPy and float64, one row or one direction at a time."""

from __future__ import annotations

import numpy as np

#: Two layers, targets and a linear head of five examples, with the values that are known of them.
Z1 = np.array([[1.0, 0], [0, 1], [2, 1], [-1, 1], [0, -2]])
Z2 = np.array([[1.0, 1, 0], [0, 2, 1], [3, 1, -1], [-1, 0, 2], [0, -1, 1]])
Y = np.array([[1.0], [0], [2], [-1], [1]])


def shares_of(n, weights=None):
    """Weights of sum 1."""
    weights = np.ones(n) if weights is None else np.asarray(weights, float)
    return weights / weights.sum()


def ridge(x, y, penalty=0.0, affine=True, weights=None):
    """Kernel and bias by the normal equations, the mean of weighted squares and the penalty on the kernel alone."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    w = shares_of(len(x), weights)[:, None]
    ones = np.ones((len(x), 1)) if affine else np.zeros((len(x), 0))
    design = np.hstack([x, ones])
    penalties = np.diag([penalty] * x.shape[1] + [0.0] * ones.shape[1])
    solution = np.linalg.solve(design.T @ (w * design) + penalties, design.T @ (w * y))
    bias = solution[-1] if affine else np.zeros(y.shape[1])
    return solution[: x.shape[1]], bias


def error(x, y, kernel, bias, weights=None):
    """The weighted mean of squared distances."""
    return float(shares_of(len(x), weights) @ ((np.asarray(x) @ kernel + bias - y) ** 2).sum(axis=1))


def leave_one_out(x, y, penalty=0.0, affine=True, weights=None):
    """Every row predicted by the fit to all others, the penalty on sums of squares unchanged."""
    shares, total = shares_of(len(x), weights), 0.0
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        left = 1 - shares[i]
        kernel, bias = ridge(x[rest], y[rest], penalty / left, affine, shares[rest])
        total += shares[i] * ((x[i] @ kernel + bias - y[i]) ** 2).sum()
    return total


def hat_matrix(x, penalty=0.0, affine=True):
    """What targets are multiplied by to give fitted values."""
    columns = []
    for target in np.eye(len(x)):
        kernel, bias = ridge(x, target[:, None], penalty, affine)
        columns.append((x @ kernel + bias)[:, 0])
    return np.array(columns).T


def low_rank(x, y, rank):
    """The best linear map of a rank: least squares, then the leading directions of what it fits."""
    kernel = np.linalg.lstsq(x, y, rcond=None)[0]
    directions = np.linalg.svd(x @ kernel)[2][:rank]
    return kernel @ directions.T @ directions
