"""Permutation tests, their closed forms, and the best of many layers, against those who have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from hyppo.independence import Dcorr, Hsic

import jaxalign as ja
from benchmarks import peers
from benchmarks.cases import Case
from benchmarks.problems import layers, squared_distances
from jaxalign import measures
from jaxalign.inference import calibrate_layers, closed_form_test, permutation_test

RBF_HSIC = measures.hsic(kernel=ja.RBF())


def cases() -> Iterator[Case]:
    """One pair by permutation and in closed form, then the maximum over layers."""
    x, y = layers(2, 1000, 768)
    device = [jnp.asarray(v) for v in (x, y)]
    yield Case(
        "HSIC permutation test, 1000 orders, n=1000, d=768",
        lambda: _run(permutation_test(RBF_HSIC, *device, permutations=1000, key=0)),
        {
            "hyppo Hsic, 1 worker": lambda: Hsic().test(x, y, reps=1000, auto=False, workers=1).pvalue,
            "torch, kernels centered once": lambda: gather_loop(x, y, 1000),
        },
        {"hyppo Hsic, 1 worker": 60},
        repeats=3,
    )
    yield Case(
        "HSIC in closed form (three moments), n=1000, d=768",
        lambda: _run(closed_form_test(RBF_HSIC, *device)),
        {"hyppo Hsic, 1000 orders, 1 worker": lambda: Hsic().test(x, y, reps=1000, auto=False, workers=1).pvalue},
        {"hyppo Hsic, 1000 orders, 1 worker": 1000},
        repeats=9,
    )
    yield Case(
        "HSIC in closed form (two moments), n=1000, d=768",
        lambda: _run(closed_form_test(RBF_HSIC, *device, null="gamma")),
        {"torch, kernels centered once, 1000 orders": lambda: gather_loop(x, y, 1000)},
        repeats=9,
    )
    yield Case(
        "distance correlation permutation test, 1000 orders, n=1000, d=768",
        lambda: _run(permutation_test(measures.distance_correlation(), *device, permutations=1000, key=0)),
        {"hyppo Dcorr, 1 worker": lambda: Dcorr().test(x, y, reps=1000, auto=False, workers=1).pvalue},
        repeats=3,
    )
    small = [v[:500, :32] for v in (x, y)]
    on_device = [jnp.asarray(v) for v in small]
    yield Case(
        "HSIC permutation test, 1000 orders, n=500, d=32",
        lambda: _run(permutation_test(RBF_HSIC, *on_device, permutations=1000, key=0)),
        {
            "torch, kernels centered once": lambda: gather_loop(small[0], small[1], 1000),
            "hyppo Hsic, 1 worker": lambda: Hsic().test(small[0], small[1], reps=1000, auto=False, workers=1).pvalue,
        },
        {"torch, kernels centered once": 6, "hyppo Hsic, 1 worker": 100},
        repeats=3,
        target_number="14",
    )
    yield Case(
        "linear CKA permutation test, 1000 orders, n=500, d=32",
        lambda: _run(permutation_test(measures.cka(), *on_device, permutations=1000, key=0)),
        {"torch, kernels centered once": lambda: gather_loop(small[0], small[1], 1000, linear=True)},
        repeats=3,
    )
    large = layers(2, 1500, 128)
    stored = [jnp.asarray(v) for v in large]
    yield Case(
        "HSIC in closed form (two moments), n=1500, d=128",
        lambda: _run(closed_form_test(RBF_HSIC, *stored, null="gamma")),
        {"torch, kernels centered once, 200 orders": lambda: gather_loop(large[0], large[1], 200)},
        {"torch, kernels centered once, 200 orders": 200},
        repeats=9,
        target_number="15",
    )
    a, b = layers(12, 1024, 768), layers(24, 1024, 768, seed=1)
    one, other = [jnp.asarray(v) for v in a], [jnp.asarray(v) for v in b]
    part_a, part_b = peers.tensors(a[:2]), peers.tensors(b[:2])
    yield Case(
        "maximum over 12 x 24 layers, mutual kNN, 200 orders, n=1024, d=768",
        lambda: float(calibrate_layers(measures.mutual_knn(), one, other, permutations=200, key=0).best.pvalue),
        {"loop over pairs as published (2 x 2 layers, 1 order)": lambda: published_layer_loop(part_a, part_b)},
        {"loop over pairs as published (2 x 2 layers, 1 order)": 500},
        repeats=3,
        scaled={"loop over pairs as published (2 x 2 layers, 1 order)": 72 * 200},
    )
    yield Case(
        "maximum over 12 x 24 layers, linear CKA, 50 orders, n=1024, d=768",
        lambda: float(calibrate_layers(measures.cka(), one, other, permutations=50, key=0).best.pvalue),
        {"all pairs anew for each order (2 x 2 layers, 1 order)": lambda: feature_layer_loop(part_a, part_b)},
        repeats=3,
        scaled={"all pairs anew for each order (2 x 2 layers, 1 order)": 72 * 50},
    )


def _run(result: Any) -> float:
    return float(jax.block_until_ready(result).pvalue)


def gather_loop(x: np.ndarray, y: np.ndarray, orders: int, *, linear: bool = False) -> float:
    """Kernels of both sides centered once; for each order a product with the gathered matrix."""
    k, m = (torch.from_numpy(_centered_kernel(v, linear)) for v in (x, y))
    generator = torch.Generator().manual_seed(0)
    observed, extreme = torch.sum(k * m), 0
    for _ in range(orders):
        order = torch.randperm(len(k), generator=generator)
        extreme += int(torch.sum(k * m[order][:, order]) >= observed)
    return (1 + extreme) / (1 + orders)


def _centered_kernel(x: np.ndarray, linear: bool) -> np.ndarray:
    if linear:
        kernel = x @ x.T
    else:
        squared = squared_distances(x)
        kernel = np.exp(-squared / (2 * np.median(squared[np.triu_indices(len(x), 1)]))).astype(np.float32)
    return kernel - kernel.mean(0) - kernel.mean(1)[:, None] + kernel.mean()


def published_layer_loop(a: list[Any], b: list[Any]) -> float:
    """One order of the rows of one side: neighbors of both sides are sought anew for every pair."""
    order = torch.randperm(len(a[0]), generator=torch.Generator().manual_seed(0))
    return max(peers.published_mutual_knn(x, y[order], 10) for x in a for y in b)


def feature_layer_loop(a: list[Any], b: list[Any]) -> float:
    """One order of the rows of one side: linear CKA of every pair through features."""
    order = torch.randperm(len(a[0]), generator=torch.Generator().manual_seed(0))
    return max(float(peers.feature_cka(x, y[order])) for x in a for y in b)
