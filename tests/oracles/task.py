"""Alignment with a task from its definitions: float64 NumPy on whole matrices."""

from __future__ import annotations

import numpy as np


def gram(z):
    z = np.asarray(z, np.float64)
    return z @ z.T


def rbf(z, sigma):
    z = np.asarray(z, np.float64)
    return np.exp(-np.sum((z[:, None] - z[None]) ** 2, axis=2) / (2 * sigma**2))


def columns(y):
    y = np.asarray(y, np.float64)
    return y[:, None] if y.ndim == 1 else y


def alignment(k, y, center=False):
    t = columns(y) @ columns(y).T
    if center:
        h = np.eye(len(k)) - 1 / len(k)
        k, t = h @ k @ h, h @ t @ h
    return np.sum(k * t) / (np.linalg.norm(k) * np.linalg.norm(t))


def kare(k, y, penalty):
    n = len(k)
    inverse = np.linalg.inv(k / n + penalty * np.eye(n))
    return np.sum((inverse @ columns(y)) ** 2) / n / (np.trace(inverse) / n) ** 2


def gcv(k, y, penalty):
    """Generalized cross-validation of kernel ridge regression without a bias."""
    n = len(k)
    hat = k @ np.linalg.inv(k + n * penalty * np.eye(n))
    return np.sum((columns(y) - hat @ columns(y)) ** 2) / n / (1 - np.trace(hat) / n) ** 2


def spectrum(k, y):
    """Eigenvalues of `K / n` that are not 0, largest first, and the power of the targets along each."""
    values, vectors = np.linalg.eigh(k / len(k))
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > 1e-11 * values[0]
    return values[kept], np.sum((vectors[:, kept].T @ columns(y)) ** 2, axis=1) / len(k)


def cumulative_power(k, y):
    _, powers = spectrum(k, y)
    return np.cumsum(powers) / powers.sum()


def explained(k, y):
    return spectrum(k, y)[1].sum() / np.mean(np.sum(columns(y) ** 2, axis=1))


def source_norm(k, y, order):
    values, powers = spectrum(k, y)
    return np.sqrt(np.sum(powers / values ** (2 * order)))


def risk_and_bound(k, y):
    y = columns(y)
    n = len(k)
    predicted = k @ y / np.linalg.norm(k)
    bound = 2 / n * (np.sum(y**2) - alignment(k, y) * np.linalg.norm(y.T @ y))
    return np.sum((y - predicted) ** 2) / n, bound


def inputs(n, d, t, seed=0):
    g = np.random.default_rng(seed)
    z = g.standard_normal((n, d)) @ np.diag(np.logspace(0, -1, d)) + 0.3
    return z, z[:, :1] @ g.standard_normal((1, t)) + 0.5 * g.standard_normal((n, t))
