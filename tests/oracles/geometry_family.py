"""Geometry of one representation from its definitions: float64 NumPy, all distances at once."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist, pdist


def participation_ratio(x):
    spectrum = np.linalg.eigvalsh(np.cov(x.T))
    return spectrum.sum() ** 2 / np.sum(spectrum**2)


def effective_rank(x):
    shares = np.linalg.svd(x, compute_uv=False)
    shares = shares / shares.sum()
    return np.exp(-np.sum(shares * np.log(shares)))


def uniformity(x):
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return np.log(np.mean(np.exp(-2 * pdist(unit, "sqeuclidean"))))


def magnitude(x):
    return np.linalg.norm(x.mean(axis=0))


def concentricity(x):
    return 1 - cdist(x, x.mean(axis=0)[None], "cosine").mean()


def intrinsic_dimension(x, k=2):
    """Levina and Bickel's maximum of the likelihood, one for all rows; two neighbors are the two-neighbor model."""
    near = np.sort(cdist(x, x), axis=1)[:, 1 : k + 1]
    near = near[near[:, 0] > 0]
    return (k - 1) * len(near) / np.sum(np.log(near[:, -1:] / near))


def neighbor_graph(x, k):
    """Adjacency of the graph in which a row and its nearest are joined, whichever lists the other."""
    distances = cdist(x, x)
    np.fill_diagonal(distances, np.inf)
    graph = np.zeros_like(distances)
    np.put_along_axis(graph, np.argsort(distances, axis=1, kind="stable")[:, :k], 1.0, axis=1)
    return np.maximum(graph, graph.T)


def laplacian(graph):
    degree = graph.sum(axis=0)
    return np.eye(len(graph)) - graph / np.sqrt(np.outer(degree, degree))


TIMES = np.logspace(-1, 1, 256)


def heat_trace(x, k=5):
    return np.exp(-np.outer(TIMES, np.linalg.eigvalsh(laplacian(neighbor_graph(x, k))))).sum(axis=1)


def imd(x, y, k=5):
    return np.max(np.exp(-2 * (TIMES + 1 / TIMES)) * np.abs(heat_trace(x, k) - heat_trace(y, k)))
