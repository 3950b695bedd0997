"""Dissimilarities and their comparisons from the definitions: float64 NumPy and SciPy, loops over pairs."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.spatial.distance import pdist, squareform
from scipy.stats import kendalltau, pearsonr, rankdata, spearmanr


def mahalanobis(x, noise=None):
    covariance = np.cov(x.T) if noise is None else noise
    return squareform(pdist(x, "mahalanobis", VI=np.linalg.inv(covariance)))


def residuals(x, repeats):
    """Measurements minus the mean of their example."""
    blocks = x.reshape(repeats, -1, x.shape[1])
    return (blocks - blocks.mean(axis=0)).reshape(x.shape)


def noise_covariance(x, repeats):
    """Ledoit and Wolf's estimate from outer products, for the degrees of freedom that means of repeats leave."""
    rows = residuals(x, repeats)
    n, d = rows.shape
    outer = [np.outer(row, row) for row in rows]
    sample = sum(outer) / n
    target = np.trace(sample) / d * np.eye(d)
    distance = np.sum((sample - target) ** 2)
    error = sum(np.sum((product - sample) ** 2) for product in outer) / n**2
    share = min(error / distance, 1)
    return (share * target + (1 - share) * sample) * repeats / (repeats - 1)


def crossnobis(x, repeats, noise=None):
    inverse = np.linalg.inv(noise_covariance(x, repeats) if noise is None else noise)
    blocks = x.reshape(repeats, -1, x.shape[1])
    m = blocks.shape[1]
    found = np.zeros((m, m))
    for i, j in itertools.product(range(m), repeat=2):
        pairs = itertools.permutations(range(repeats), 2)
        found[i, j] = np.mean(
            [(blocks[a, i] - blocks[a, j]) @ inverse @ (blocks[b, i] - blocks[b, j]) for a, b in pairs]
        )
    return found


def poisson(x):
    rates = (x + 0.1) / 1.1
    differences = (v[:, None] - v[None, :] for v in (rates, np.log(rates)))
    return np.sum(np.multiply(*differences), axis=2)


def averaged(x, repeats):
    return x.reshape(repeats, -1, x.shape[1]).mean(axis=0)


def matrix(x, metric, repeats=1):
    if metric == "crossnobis":
        return crossnobis(x, repeats)
    own = {"mahalanobis": mahalanobis, "poisson": poisson}
    x = averaged(x, repeats)
    return own[metric](x) if metric in own else squareform(pdist(x, metric))


def tau_a(a, b):
    signs = [np.sign(v[:, None] - v[None, :]) for v in (a, b)]
    return np.sum(signs[0] * signs[1]) / (len(a) * (len(a) - 1))


def rho_a(a, b):
    """The mean of Spearman's coefficient over random orders of equals."""
    u, v = (rankdata(values) - (len(values) + 1) / 2 for values in (a, b))
    return np.sum(u * v) * 12 / (len(a) ** 3 - len(a))


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def whitened_cosine(a, b):
    """The cosine by the inverse covariance of dissimilarities, as examples have independent noise of equal size."""
    n = len(squareform(a))
    contrasts = np.array([np.eye(n)[i] - np.eye(n)[j] for i, j in itertools.combinations(range(n), 2)])
    root = np.linalg.inv(np.linalg.cholesky((contrasts @ contrasts.T) ** 2))
    return cosine(root @ a, root @ b)


def whitened_correlation(a, b):
    return whitened_cosine(a - a.mean(), b - b.mean())


def root_of_second_moment(a):
    d = squareform(a)
    h = np.eye(len(d)) - 1 / len(d)
    values, vectors = np.linalg.eigh(-h @ d @ h / 2)
    return vectors * np.sqrt(np.where(values > 1e-12 * values[-1], values, 0)) @ vectors.T


def bures(a, b):
    a, b = root_of_second_moment(a), root_of_second_moment(b)
    return np.linalg.norm(a @ b, "nuc") / np.linalg.norm(a) / np.linalg.norm(b)


COMPARED = {
    "spearman": lambda a, b: spearmanr(a, b)[0],
    "pearson": lambda a, b: pearsonr(a, b)[0],
    "cosine": cosine,
    "kendall": lambda a, b: kendalltau(a, b)[0],
    "tau_a": tau_a,
    "rho_a": rho_a,
    "whitened_cosine": whitened_cosine,
    "whitened_correlation": whitened_correlation,
    "bures": bures,
}


def rsa(x, y, metric, comparison, repeats=1):
    upper = np.triu_indices(len(x) // repeats, 1)
    return COMPARED[comparison](*(matrix(v, metric, repeats)[upper] for v in (x, y)))
