"""Stochastic shape distance from its definition, in float64 NumPy and SciPy, from many starts."""

from __future__ import annotations

import numpy as np
from scipy.linalg import orthogonal_procrustes, sqrtm


def statistics(x, repeats, width):
    """Means less their mean, and covariances of the measurements of each example."""
    x = np.pad(x, ((0, 0), (0, width - x.shape[1])))
    blocks = x.reshape(repeats, -1, width)
    means = blocks.mean(axis=0)
    return means - means.mean(axis=0), [np.cov(blocks[:, i].T) for i in range(blocks.shape[1])]


def root(covariance):
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def squared_bures(s, t):
    half = root(s)
    return np.trace(s) + np.trace(t) - 2 * np.trace(sqrtm(half @ t @ half + 1e-15 * np.eye(len(s))).real)


def value_at(rotation, x, y, alpha):
    """The squared distance with the second input rotated so."""
    (means_x, covariances_x), (means_y, covariances_y) = x, y
    means = np.sum((means_x - means_y @ rotation) ** 2)
    noise = sum(squared_bures(s, rotation.T @ t @ rotation) for s, t in zip(covariances_x, covariances_y, strict=True))
    return (alpha * means + (2 - alpha) * noise) / len(means_x)


def improved(rotation, x, y, alpha, steps):
    """Rotations of features, and of the roots of covariances, found in turn."""
    (means_x, covariances_x), (means_y, covariances_y) = x, y
    roots_x, roots_y = ([root(c) for c in covariances] for covariances in (covariances_x, covariances_y))
    for _ in range(steps):
        turned = [orthogonal_procrustes((b @ rotation).T, a.T)[0].T @ b for a, b in zip(roots_x, roots_y, strict=True)]
        weights = [np.sqrt(alpha), *[np.sqrt(2 - alpha)] * len(roots_x)]
        stacked_x, stacked_y = (
            np.vstack([w * part for w, part in zip(weights, [means, *roots], strict=True)])
            for means, roots in ((means_x, roots_x), (means_y, turned))
        )
        rotation = orthogonal_procrustes(stacked_y, stacked_x)[0]
    return rotation


def stochastic_shape_distance(x, y, repeats, alpha=1.0, steps=200, starts=1):
    """The least of several starts, of which the first is the rotation that is best for the means."""
    width = max(x.shape[1], y.shape[1])
    x, y = statistics(x, repeats, width), statistics(y, repeats, width)
    random = np.random.default_rng(0)
    rotations = [
        orthogonal_procrustes(y[0], x[0])[0],
        *(np.linalg.qr(random.standard_normal((width, width)))[0] for _ in range(starts - 1)),
    ]
    return np.sqrt(min(value_at(improved(r, x, y, alpha, steps), x, y, alpha) for r in rotations))
