"""One pair of layers: CKA, and CKA with its gradient."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

import jaxalign as ja
from benchmarks import peers
from benchmarks.cases import Case
from benchmarks.problems import layers


def cases() -> Iterator[Case]:
    """A large pair, then a pair small enough for every training step."""
    x, y = layers(2, 10_000, 768)
    device, pair = [jnp.asarray(x), jnp.asarray(y)], peers.tensors([x, y])
    yield Case(
        "linear CKA of one pair, n=10000, d=768",
        lambda: float(ja.cka(*device)),
        {"torch features": lambda: float(peers.feature_cka(*pair))},
        {"torch features": 1.0},
        lambda value: abs(value - _truth(x, y)),
        repeats=9,
    )
    x, y = layers(2, 1024, 256)
    device, pair = [jnp.asarray(x), jnp.asarray(y)], peers.tensors([x, y])
    value_and_gradient = jax.jit(jax.value_and_grad(ja.cka))
    start = [jnp.asarray(x), jnp.asarray(y)]

    def ours() -> float:
        value, gradient = jax.block_until_ready(value_and_gradient(*start))
        assert np.isfinite(np.asarray(gradient)).all()
        return float(value)

    def torch_gradient(score) -> float:
        leaf = pair[0].clone().requires_grad_()
        value = score(leaf, pair[1])
        value.backward()
        return float(value)

    yield Case(
        "linear CKA with gradient, n=1024, d=256",
        ours,
        {
            "torch features, autograd": lambda: torch_gradient(peers.feature_cka),
            "torch Grams, autograd": lambda: torch_gradient(peers.gram_cka),
        },
        {"torch features, autograd": 1.2},
        lambda value: abs(value - _truth(x, y)),
        repeats=41,
        target_number="20",
    )


def _truth(x: np.ndarray, y: np.ndarray) -> float:
    x, y = (a.astype(np.float64) - a.astype(np.float64).mean(0) for a in (x, y))
    return float(np.sum((x.T @ y) ** 2) / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))
