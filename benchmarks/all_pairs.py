"""Every layer against every layer: CKA and mutual kNN."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

import jaxalign as ja
from benchmarks import peers
from benchmarks.cases import Case
from benchmarks.problems import exact_cka, exact_linear_cka, exact_rbf, layers


def cases() -> Iterator[Case]:
    """The grid of a typical study, then the targets of the performance plan."""
    yield from grid_of_two_models()
    yield from linear_cached()
    yield from unbiased_loop()
    yield from many_rows()
    yield from gaussian()


def grid_of_two_models() -> Iterator[Case]:
    """12 × 24 layers, n = 1024, d = 768, through `compare`."""
    a, b = layers(12, 1024, 768), layers(24, 1024, 768, seed=1)
    device_a, device_b = [jnp.asarray(x) for x in a], [jnp.asarray(x) for x in b]
    torch_a, torch_b = peers.tensors(a), peers.tensors(b)
    size = "12 x 24 layers, n=1024, d=768"

    def loop(score: Any) -> np.ndarray:
        return np.array([[score(x, y) for y in torch_b] for x in torch_a])

    truth = {(i, j): exact_linear_cka(_unit(a[i]), _unit(b[j])) for i, j in ((0, 0), (3, 17), (11, 23))}
    cosine = ja.measures.cka(kernel=ja.Cosine())
    yield Case(
        f"biased CKA of row-normalized features, {size}",
        lambda: ja.compare(device_a, device_b, measures=cosine, progress=False).values["cka"],
        {"torch loop over pairs, as published": lambda: loop(peers.published_cka)},
        {"torch loop over pairs, as published": 150},
        lambda value: max(abs(value[i, j] - v) for (i, j), v in truth.items()),
    )
    knn = ja.measures.mutual_knn(k=10)
    exact = {(i, j): _exact_overlap(a[i], b[j], 10) for i, j in ((0, 0), (3, 17), (11, 23))}
    yield Case(
        f"mutual kNN, k=10, {size}",
        lambda: ja.compare(device_a, device_b, measures=knn, progress=False).values["mutual_knn"],
        {"torch loop over pairs, as published": lambda: loop(lambda x, y: peers.published_mutual_knn(x, y, 10))},
        {"torch loop over pairs, as published": 50},
        lambda value: max(abs(value[i, j] - v) for (i, j), v in exact.items()),
    )


def linear_cached() -> Iterator[Case]:
    """Target 1: against Grams cached in torch and one product."""
    xs = layers(24, 1500, 768)
    device, torch_xs = [jnp.asarray(x) for x in xs], peers.tensors(xs)
    for estimator, goal in (("biased", 2.0), ("unbiased", 1.7)):
        unbiased = estimator == "unbiased"
        measure = ja.measures.cka(estimator=estimator)
        yield Case(
            f"linear CKA, {estimator}, 24 layers, n=1500, d=768",
            lambda measure=measure: np.asarray(measure.matrix(device)),
            {
                "torch Grams cached, one product": lambda unbiased=unbiased: peers.best_linear_cka_grams(
                    torch_xs, unbiased=unbiased
                )
            },
            {"torch Grams cached, one product": goal},
            lambda value, unbiased=unbiased: _worst(value, xs, unbiased),
            target_number="1",
        )


def unbiased_loop() -> Iterator[Case]:
    """Target 2: against the published loop."""
    xs = layers(12, 1000, 768)
    unit = [_unit(x) for x in xs]
    device, torch_xs = [jnp.asarray(x) for x in xs], peers.tensors(xs)
    measure = ja.measures.cka(kernel=ja.Cosine(), estimator="unbiased")
    name = "torch loop over pairs, as published"
    yield Case(
        "unbiased CKA of row-normalized features, 12 layers, n=1000, d=768",
        lambda: np.asarray(measure.matrix(device)),
        {name: lambda: [peers.published_unbiased_cka(x, y) for i, x in enumerate(torch_xs) for y in torch_xs[i:]]},
        {name: 40},
        lambda value: _worst(value, unit, True),
        target_number="2",
    )


def many_rows() -> Iterator[Case]:
    """Target 3: more rows than features, through moments."""
    xs = layers(8, 20_000, 128)
    device, torch_xs = [jnp.asarray(x) for x in xs], peers.tensors(xs)
    measure = ja.measures.cka()
    yield Case(
        "linear CKA, 8 layers, n=20000, d=128",
        lambda: np.asarray(measure.matrix(device)),
        {
            "torch features, loop over pairs": lambda: peers.best_feature_loop(torch_xs),
            "torch features side by side, one product": lambda: peers.best_feature_concat(torch_xs),
        },
        {"torch features, loop over pairs": 3, "torch features side by side, one product": 1.1},
        lambda value: max(abs(value[i, j] - _feature_truth(xs[i], xs[j])) for i, j in ((0, 1), (2, 7), (5, 6))),
        target_number="3",
    )


def gaussian() -> Iterator[Case]:
    """Targets 4 and 5: Gaussian kernels."""
    xs = layers(12, 2048, 384)
    device, torch_xs = [jnp.asarray(x) for x in xs], peers.tensors(xs)
    sigma = 25.0
    exact = [exact_rbf(x, sigma) for x in xs[:3]]
    for label, bandwidth, goal in (("sigma given", sigma, 2.0), ("median sigma", "median", None)):
        measure = ja.measures.cka(kernel=ja.RBF(bandwidth))
        sigmas = None if bandwidth == "median" else [sigma] * len(xs)
        yield Case(
            f"RBF CKA, {label}, 12 layers, n=2048, d=384",
            lambda measure=measure: np.asarray(measure.matrix(device)),
            {"torch kernels cached, one product": lambda sigmas=sigmas: peers.best_rbf_cka(torch_xs, sigmas)},
            {} if goal is None else {"torch kernels cached, one product": goal},
            (lambda value: max(abs(value[i, j] - exact_cka(exact[i], exact[j])) for i, j in ((0, 1), (0, 2), (1, 2))))
            if sigmas
            else None,
            target_number="4" if sigmas else "",
        )
    few = layers(6, 1024, 384)
    device_few, torch_few = [jnp.asarray(x) for x in few], peers.tensors(few)
    exact_few = [exact_rbf(x, sigma) for x in few[:2]]
    measure = ja.measures.cka(kernel=ja.RBF(sigma))
    name = "torch loop over pairs with H K H, as published"
    yield Case(
        "RBF CKA, sigma given, 6 layers, n=1024, d=384",
        lambda: np.asarray(measure.matrix(device_few)),
        {name: lambda: [peers.published_rbf_cka(x, y, sigma) for i, x in enumerate(torch_few) for y in torch_few[i:]]},
        {name: 100},
        lambda value: abs(value[0, 1] - exact_cka(exact_few[0], exact_few[1])),
        target_number="5",
    )


def _worst(value: np.ndarray, xs: list[np.ndarray], unbiased: bool) -> float:
    """Largest error over a few pairs."""
    pairs = ((0, 1), (2, 7), (5, len(xs) - 1))
    return max(abs(value[i, j] - exact_linear_cka(xs[i], xs[j], unbiased=unbiased)) for i, j in pairs)


def _feature_truth(x: np.ndarray, y: np.ndarray) -> float:
    x, y = (a.astype(np.float64) - a.astype(np.float64).mean(0) for a in (x, y))
    return float(np.sum((x.T @ y) ** 2) / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


def _unit(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _exact_overlap(x: np.ndarray, y: np.ndarray, k: int) -> float:
    ids = []
    for rows in (_unit(x), _unit(y)):
        scores = rows @ rows.T
        np.fill_diagonal(scores, -np.inf)
        ids.append(np.argsort(-scores, axis=1, kind="stable")[:, :k])
    return float(np.mean([len(set(p) & set(q)) / k for p, q in zip(*ids, strict=True)]))
