"""CKNNA from its definition: masked matrices, then HSIC of matrices that are not symmetric; float64 NumPy."""

from __future__ import annotations

import numpy as np
from oracles.kernel_family import cosine
from oracles.neighbor_family import neighbors


def hsic(k, l, estimator):
    """Song's estimator over `1 / (n (n - 3))`, or `tr(K H L H)`."""
    n = len(k)
    if estimator == "unbiased":
        k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))
        total = k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * (k @ l).sum() / (n - 2)
        return ((k * l.T).sum() + total) / (n * (n - 3))
    h = np.eye(n) - 1 / n
    return np.trace(k @ h @ l @ h)


def cknna(x, y, k, estimator="unbiased", eps=0.0):
    masks = []
    for side in (x, y):
        masks.append(np.zeros((len(side), len(side))))
        np.put_along_axis(masks[-1], neighbors(side, k), 1.0, axis=1)
    kernels = [cosine(side) for side in (x, y)]
    both = masks[0] * masks[1]
    own = [hsic(m * kernel, m * kernel, estimator) for m, kernel in zip(masks, kernels, strict=True)]
    return hsic(both * kernels[0], both * kernels[1], estimator) / (np.sqrt(own[0] * own[1]) + eps)
