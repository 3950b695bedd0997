"""CCA and regression families from their definitions: float64 NumPy and SciPy."""

from __future__ import annotations

import numpy as np
from scipy.linalg import inv, orth, sqrtm, subspace_angles


def centered(x):
    x = np.asarray(x, np.float64)
    return x - x.mean(axis=0)


def correlations(x, y):
    """Cosines of the angles between the spans of centered columns, largest first."""
    return np.sort(np.cos(subspace_angles(orth(centered(x)), orth(centered(y)))))[::-1]


def leading(x, variance=1.0, rank=None):
    """The principal components that hold a share of the variance, or so many of them."""
    u, s, _ = np.linalg.svd(centered(x), full_matrices=False)
    if rank is None:
        share = np.cumsum(s**2) / np.sum(s**2)
        rank = int(np.searchsorted(share, variance)) + 1
    rank = min(rank, int(np.sum(s > 1e-10 * s[0])))
    return u[:, :rank] * s[:rank]


def svcca(x, y, variance=0.99, rank=None):
    return correlations(leading(x, variance, rank), leading(y, variance, rank)).mean()


def pwcca(x, y):
    """Canonical variates by inverse roots of covariances, weighted by their part in the features of `x`."""
    x, y = centered(x), centered(y)
    root_x, root_y = (inv(sqrtm(z.T @ z).real) for z in (x, y))
    directions, rho, _ = np.linalg.svd(root_x @ x.T @ y @ root_y, full_matrices=False)
    weights = np.abs((x @ root_x @ directions).T @ x).sum(axis=1)
    return np.sum(weights * rho) / np.sum(weights)


def ridge_cca(x, y, ridge):
    x, y = centered(x), centered(y)
    n = len(x)
    root_x, root_y = (inv(sqrtm(z.T @ z / n + ridge * np.eye(z.shape[1])).real) for z in (x, y))
    rho = np.linalg.svd(root_x @ (x.T @ y / n) @ root_y, compute_uv=False)
    return rho.sum() / min(x.shape[1], y.shape[1])


def linear_predictivity(x, y, ridge=0.0):
    x, y = centered(x), centered(y)
    n, p = x.shape
    coefficients = np.linalg.solve(x.T @ x + n * ridge * np.eye(p), x.T @ y) if ridge else np.linalg.lstsq(x, y)[0]
    return 1 - np.sum((y - x @ coefficients) ** 2) / np.sum(y**2)


def smoother(x, ridge):
    x = centered(x)
    n, p = x.shape
    return x @ np.linalg.pinv(x.T @ x + n * ridge * np.eye(p)) @ x.T


def gulp(x, y, ridge=0.0):
    return np.linalg.norm(smoother(x, ridge) - smoother(y, ridge))


def eigenspace_overlap(x, y):
    u, v = orth(np.asarray(x, np.float64)), orth(np.asarray(y, np.float64))
    return np.sum((u.T @ v) ** 2) / max(u.shape[1], v.shape[1])


def pls_svd(x, y):
    x, y = (centered(z) / np.linalg.norm(centered(z), axis=0) for z in (x, y))
    return np.linalg.svd(x.T @ y, compute_uv=False).sum() / min(x.shape[1], y.shape[1])


def gaussian_mutual_information(x, y):
    """By determinants of covariances."""
    x, y = centered(x), centered(y)
    both = np.concatenate([x, y], axis=1)
    one, other, joint = (np.linalg.slogdet(z.T @ z)[1] for z in (x, y, both))
    return (one + other - joint) / 2


def gaussian_wasserstein_dependence(x, y):
    """By the distance of two Gaussians, of which the covariances are those of whitened inputs."""
    x, y = (z @ inv(sqrtm(z.T @ z).real) for z in (centered(x), centered(y)))
    joint = np.block([[np.eye(x.shape[1]), x.T @ y], [y.T @ x, np.eye(y.shape[1])]])
    return np.trace(joint + np.eye(len(joint)) - 2 * sqrtm(joint).real)
