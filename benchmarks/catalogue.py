"""The other families against those who have them: distances, CKNNA, CCA, Procrustes, RSA."""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from scipy.spatial.distance import pdist
from scipy.stats import rankdata

import jaxalign as ja
from benchmarks import peers
from benchmarks.cases import Case
from benchmarks.problems import layers


def cases() -> Iterator[Case]:
    """Single pairs, then all pairs."""
    x, y = layers(2, 3072, 256)
    pair, torch_pair = [jnp.asarray(v) for v in (x, y)], peers.tensors([x, y])
    yield Case(
        "distance correlation, n=3072, d=256",
        lambda: float(ja.distance_correlation(*pair)),
        {
            "torch.cdist, centered": lambda: peers.cdist_distance_correlation(torch_pair[0], torch_pair[1]),
            "hyppo Dcorr statistic": lambda: peers.hyppo_distance_correlation(x, y),
        },
        {"torch.cdist, centered": 3, "hyppo Dcorr statistic": 8},
        lambda value: abs(value - _exact_distance_correlation(x, y)),
        repeats=3,
        target_number="6",
    )
    yield Case(
        "CKNNA, k=10, n=3072, d=256",
        lambda: float(ja.cknna(*pair)),
        {"torch n x n masks, as published": lambda: peers.published_cknna(torch_pair[0], torch_pair[1], 10)},
        {"torch n x n masks, as published": 15},
        lambda value: abs(value - peers.published_cknna(torch_pair[0].double(), torch_pair[1].double(), 10)),
        repeats=3,
        target_number="11",
    )
    xs = layers(8, 2000, 256)
    devices, tensors = [jnp.asarray(v) for v in xs], peers.tensors(xs)
    exact = {name: _exact_correlations(xs[0], xs[1], power) for name, power in (("mean", 1), ("mean_squared", 2))}
    for reduce, goal in (("mean", 4), ("mean_squared", 6)):
        measure = ja.measures.cca(reduce=reduce)
        yield Case(
            f"CCA, {reduce}, all pairs of 8 layers, n=2000, d=256",
            lambda measure=measure: np.asarray(measure.matrix(devices)),
            {"torch, decomposed for every pair": lambda reduce=reduce: peers.pairwise_cca(tensors, reduce)},
            {"torch, decomposed for every pair": goal},
            lambda value, reduce=reduce: abs(float(value[0, 1]) - exact[reduce]),
            repeats=3,
            target_number="12",
        )
    distance = ja.measures.angular_procrustes()
    yield Case(
        "angular Procrustes, all pairs of 8 layers, n=2000, d=256",
        lambda: np.asarray(distance.matrix(devices)),
        {"torch.linalg.svdvals of every pair": lambda: peers.pairwise_procrustes(tensors)},
        {"torch.linalg.svdvals of every pair": 1.1},
        lambda value: abs(float(value[0, 1]) - _exact_angle(xs[0], xs[1])),
        repeats=3,
        target_number="13",
    )
    a, b = layers(2, 1024, 768)
    device_pair = [jnp.asarray(v) for v in (a, b)]
    yield Case(
        "RSA, correlation, Spearman, n=1024, d=768",
        lambda: float(ja.rsa(*device_pair)),
        {"SciPy pdist and rankdata": lambda: _scipy_rsa(a, b, rankdata)},
        {"SciPy pdist and rankdata": 1},
        lambda value: abs(value - _scipy_rsa(a.astype(np.float64), b.astype(np.float64), rankdata)),
        repeats=3,
    )
    yield Case(
        "RSA, correlation, Pearson, n=1024, d=768",
        lambda: float(ja.rsa(*device_pair, comparison="pearson")),
        {"SciPy pdist": lambda: _scipy_rsa(a, b, np.asarray)},
        {"SciPy pdist": 1},
        lambda value: abs(value - _scipy_rsa(a.astype(np.float64), b.astype(np.float64), np.asarray)),
        repeats=3,
    )


def _scipy_rsa(x: np.ndarray, y: np.ndarray, scale: object) -> float:
    one, other = (scale(pdist(v, "correlation")) for v in (x, y))  # pyright: ignore[reportCallIssue]
    return float(np.corrcoef(one, other)[0, 1])


def _exact_distance_correlation(x: np.ndarray, y: np.ndarray) -> float:
    centered = []
    for v in (x.astype(np.float64), y.astype(np.float64)):
        squares = np.sum(v * v, axis=1)
        distances = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * v @ v.T, 0))
        np.fill_diagonal(distances, 0)
        centered.append(distances - distances.mean(0)[None, :] - distances.mean(1)[:, None] + distances.mean())
    one, other = centered
    return float(np.sqrt(np.sum(one * other) / np.sqrt(np.sum(one * one) * np.sum(other * other))))


def _exact_correlations(x: np.ndarray, y: np.ndarray, power: int) -> float:
    bases = [np.linalg.qr(v.astype(np.float64) - v.mean(0, dtype=np.float64))[0] for v in (x, y)]
    return float(np.mean(np.linalg.svd(bases[0].T @ bases[1], compute_uv=False) ** power))


def _exact_angle(x: np.ndarray, y: np.ndarray) -> float:
    x, y = (v.astype(np.float64) - v.mean(0, dtype=np.float64) for v in (x, y))
    inner = np.linalg.svd(x.T @ y, compute_uv=False).sum()
    return float(np.arccos(inner / np.linalg.norm(x) / np.linalg.norm(y)))
