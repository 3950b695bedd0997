"""Affine maps between all layers of two networks, trained by Adam, against a loop over pairs in torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

from benchmarks.cases import Case
from benchmarks.problems import layers
from jaxalign.stitching import fit_pairs
from jaxalign.stitching.minibatches import epoch_order

STEPS, RATE, BATCH = 200, 1e-3, 256
ADAM = optax.adam(RATE)


def cases() -> Iterator[Case]:
    """All rows, through moments, and minibatches; each 200 steps of 4 x 4 pairs."""
    rows = 1500
    a, b = layers(4, rows, 128), layers(4, rows, 128, seed=1)
    one, other = ([jnp.asarray(v) for v in side] for side in (a, b))
    key = jax.random.key(0)
    batches = drawn(key, rows)
    everything = [np.arange(rows)] * STEPS
    size = "16 pairs, 200 steps, n=1500, d=128"

    def ours(**settings: Any) -> Callable[[], Any]:
        return lambda: jax.block_until_ready(fit_pairs(one, other, optimizer=ADAM, steps=STEPS, **settings).kernels)

    yield Case(
        f"all rows, through moments, {size}",
        ours(),
        {"torch, autograd, pair by pair": lambda: torch_loop(a, b, None)},
        {"torch, autograd, pair by pair": 8},
        error=distance(a, b, everything),
    )
    yield Case(
        f"minibatches of {BATCH}, {size}",
        ours(batch_size=BATCH, key=key),
        {
            "torch, autograd, pair by pair": lambda: torch_loop(a, b, batches),
            "torch, gradient by hand, pair by pair": lambda: torch_loop(a, b, batches, by_hand=True),
        },
        {"torch, autograd, pair by pair": 3},
        error=distance(a, b, batches),
    )


def drawn(key: jax.Array, rows: int) -> list[np.ndarray]:
    """The rows of each step as `fit_pairs` draws them."""
    per_epoch = rows // BATCH
    orders = [np.asarray(epoch_order(key, jnp.asarray(e), rows, None)) for e in range(-(-STEPS // per_epoch))]
    return [orders[s // per_epoch][(s % per_epoch) * BATCH :][:BATCH] for s in range(STEPS)]


def torch_loop(
    a: list[np.ndarray], b: list[np.ndarray], batches: list[np.ndarray] | None, *, by_hand: bool = False
) -> list[torch.Tensor]:
    """One optimizer for each pair; layers are centered once, and rows of a batch taken from the centered ones."""
    one, other = ([torch.from_numpy(v - v.mean(0)) for v in side] for side in (a, b))
    chosen = None if batches is None else [torch.from_numpy(rows.astype(np.int64)) for rows in batches]
    kernels = []
    for x in one:
        for y in other:
            kernel = torch.zeros(x.shape[1], y.shape[1], requires_grad=not by_hand)
            optimizer = torch.optim.Adam([kernel], lr=RATE)
            for step in range(STEPS):
                inputs, targets = (x, y) if chosen is None else (x[chosen[step]], y[chosen[step]])
                residual = inputs @ kernel - targets
                if by_hand:
                    kernel.grad = inputs.T @ residual * (2 / len(inputs))
                else:
                    optimizer.zero_grad()
                    residual.square().sum(1).mean().backward()
                optimizer.step()
            kernels.append(kernel.detach())
    return kernels


def distance(a: list[np.ndarray], b: list[np.ndarray], batches: list[np.ndarray]) -> Callable[[Any], float]:
    """The root mean square difference of weights from those of the same steps in float64.

    Not the largest: Adam divides a gradient by its own size, so that the direction of the first step of a weight whose
    gradient is 0 is a matter of rounding.
    """

    def error(kernels: Any) -> float:
        one, other = ([v.astype(np.float64) - v.astype(np.float64).mean(0) for v in side] for side in (a, b))
        squares = []
        for i, j in ((0, 0), (3, 2)):  # two pairs stand for all: it takes long
            kernel, first, second = np.zeros((a[i].shape[1], b[j].shape[1])), 0.0, 0.0
            for t, rows in enumerate(batches, start=1):
                x, y = one[i][rows], other[j][rows]
                gradient = 2 * x.T @ (x @ kernel - y) / len(rows)
                first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
                kernel = kernel - RATE * (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
            squares.append(np.mean((kernels[i][j] - kernel) ** 2))
        return float(np.sqrt(np.mean(squares)))

    return error
