"""Inputs: layers that share a signal, of any number, size and width."""

from __future__ import annotations

import numpy as np


def layers(count: int, n: int, widths: int | list[int], *, seed: int = 0, offset: float = 0.0) -> list[np.ndarray]:
    """Float32 layers `(n, d)` that mix 32 common factors with noise of their own.

    Args:
      count: how many.
      n: examples.
      widths: features of each, or of all.
      seed: of the generator.
      offset: mean of every feature, in units of about one standard deviation.
    """
    generator = np.random.default_rng(seed)
    factors = generator.standard_normal((n, 32), dtype=np.float32)
    sizes = [widths] * count if isinstance(widths, int) else widths
    return [
        factors @ generator.standard_normal((32, d), dtype=np.float32) / np.float32(np.sqrt(32))
        + np.float32(0.7) * generator.standard_normal((n, d), dtype=np.float32)
        + np.float32(offset)
        for d in sizes
    ]


def massive(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The same layers with one feature five times larger and offset by 300, and one entry of +1000."""
    changed = []
    for x in arrays:
        x = x.copy()
        x[:, 3] = 5 * x[:, 3] + 300
        x[7, 5] += 1000
        changed.append(x)
    return changed


def exact_linear_cka(x: np.ndarray, y: np.ndarray, *, unbiased: bool = False) -> float:
    """Linear CKA in float64, from the definition on n × n matrices."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    return exact_cka((x - x.mean(0)) @ (x - x.mean(0)).T, (y - y.mean(0)) @ (y - y.mean(0)).T, unbiased=unbiased)


def exact_rbf_cka(x: np.ndarray, y: np.ndarray, sigma_x: float, sigma_y: float, *, unbiased: bool = False) -> float:
    """RBF CKA in float64, from the definition on n × n matrices."""
    return exact_cka(exact_rbf(x, sigma_x), exact_rbf(y, sigma_y), unbiased=unbiased)


def exact_rbf(x: np.ndarray, sigma: float) -> np.ndarray:
    """The Gaussian kernel matrix in float64."""
    return np.exp(-squared_distances(x) / (2 * sigma**2))


def squared_distances(x: np.ndarray) -> np.ndarray:
    """Squared distances of all rows in float64."""
    x = x.astype(np.float64)
    x = x - x.mean(0)
    lengths = np.sum(x * x, axis=1)
    squared = np.maximum(lengths[:, None] + lengths[None, :] - 2 * x @ x.T, 0)
    np.fill_diagonal(squared, 0)
    return squared


def exact_cka(k: np.ndarray, m: np.ndarray, *, unbiased: bool = False) -> float:
    """CKA of two kernel matrices in float64: HKH, or U-centering."""
    k, m = (_u_center(a) if unbiased else a - a.mean(0) - a.mean(1)[:, None] + a.mean() for a in (k, m))
    return float(np.sum(k * m) / np.sqrt(np.sum(k * k) * np.sum(m * m)))


def _u_center(k: np.ndarray) -> np.ndarray:
    n = len(k)
    k = k - np.diag(np.diag(k))
    k = k - (k.sum(0)[None, :] + k.sum(1)[:, None]) / (n - 2) + k.sum() / ((n - 1) * (n - 2))
    return k - np.diag(np.diag(k))
