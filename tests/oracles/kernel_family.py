"""Kernel alignment, CKA and HSIC in float64 NumPy, from the definitions: every n × n matrix is formed.

Distances are sums of squared differences (SciPy's `cdist`), never a difference of squares.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist


def wide(x):
    return np.asarray(x).astype(np.float64)


def linear(x):
    x = wide(x)
    return x @ x.T


def cosine(x):
    x = wide(x)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return linear(np.divide(x, length, out=np.zeros_like(x), where=length > 0))


def polynomial(x, degree=3, scale=1.0, offset=1.0):
    return (scale * linear(x) + offset) ** degree


def rbf(x, sigma):
    return np.exp(-cdist(wide(x), wide(x), "sqeuclidean") / (2 * sigma**2))


def laplacian(x, sigma):
    return np.exp(-cdist(wide(x), wide(x)) / sigma)


def distance(x, exponent=1.0):
    return -(cdist(wide(x), wide(x)) ** exponent)


def median_sigma(x, scale=1.0, diagonal=False):
    """`scale` times the root of the median squared distance: of distinct rows, or of all n² pairs."""
    squared = cdist(wide(x), wide(x), "sqeuclidean")
    entries = squared.ravel() if diagonal else squared[np.triu_indices(len(squared), 1)]
    return scale * np.sqrt(np.median(entries))


def mean_sigma(x):
    """Root of the mean squared distance of distinct rows."""
    squared = cdist(wide(x), wide(x), "sqeuclidean")
    return np.sqrt(np.mean(squared[np.triu_indices(len(squared), 1)]))


def h_center(k):
    """`H K H` with `H = I - 11ᵀ/n`, as two products of matrices."""
    n = len(k)
    h = np.eye(n) - np.ones((n, n)) / n
    return h @ k @ h


def u_center(k):
    """U-centering (Székely and Rizzo 2014): hollow, and every row of it sums to 0."""
    n = len(k)
    k = k - np.diag(np.diag(k))
    rows = k.sum(axis=1)
    centered = k - (rows[:, None] + rows[None, :]) / (n - 2) + k.sum() / ((n - 1) * (n - 2))
    return centered - np.diag(np.diag(centered))


def hsic_biased(k, l, scaling="n2"):
    n = len(k)
    return np.trace(k @ h_center(l)) / {"n2": n**2, "nm1": (n - 1) ** 2}[scaling]


def hsic_song(k, l):
    """Song et al. (2012), equation 5, written as its three sums."""
    n = len(k)
    k, l = (m - np.diag(np.diag(m)) for m in (k, l))
    ones = np.ones(n)
    trace = np.trace(k @ l)
    means = (ones @ k @ ones) * (ones @ l @ ones) / ((n - 1) * (n - 2))
    rows = 2 / (n - 2) * (ones @ k @ l @ ones)
    return (trace + means - rows) / (n * (n - 3))


def hsic_u(k, l):
    """The same through U-centered matrices, which cancel fewer digits."""
    n = len(k)
    return np.sum(u_center(k) * u_center(l)) / (n * (n - 3))


def _cosine_of(k, l):
    return np.sum(k * l) / np.sqrt(np.sum(k * k) * np.sum(l * l))


def hollow_center(k):
    """`HKH` with its diagonal set to 0 (Lange et al. 2022)."""
    centered = h_center(k)
    return centered - np.diag(np.diag(centered))


CENTER = {"none": lambda m: m, "biased": h_center, "unbiased": u_center, "hollow": hollow_center}


def cka(k, l, estimator="biased"):
    center = CENTER[estimator]
    return _cosine_of(center(k), center(l))


def minibatch_cka(x, y, batches, kernel=linear):
    """Nguyen et al. (2021): unbiased HSIC averaged over batches of rows, then the ratio."""
    mean = {
        name: np.mean([hsic_song(kernel(a[rows]), kernel(b[rows])) for rows in batches])
        for name, (a, b) in {"xy": (x, y), "xx": (x, x), "yy": (y, y)}.items()
    }
    return mean["xy"] / np.sqrt(mean["xx"] * mean["yy"])


def feature_corrected_cka(x, y):
    """Unbiased HSIC of two different features, averaged over all pairs of them that can be."""

    def mean(a, b, same):
        pairs = [(i, j) for i in range(a.shape[1]) for j in range(b.shape[1]) if not (same and i == j)]
        return np.mean([hsic_song(linear(a[:, [i]]), linear(b[:, [j]])) for i, j in pairs])

    return mean(x, y, False) / np.sqrt(mean(x, x, True) * mean(y, y, True))


def deconfounded_cka(k, l, confounder):
    """CKA of the residuals of a regression of all entries on those of the confounder, with an intercept."""

    def residual(m):
        design = np.stack([np.ones(m.size), confounder.ravel()], axis=1)
        return m - (design @ np.linalg.lstsq(design, m.ravel(), rcond=None)[0]).reshape(m.shape)

    return cka(residual(k), residual(l))


def kernel_alignment(k, l):
    return cka(k, l, "none")
