"""Twenty models of one width, from twenty seeds: trained in one program, and one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import nnx

from benchmarks.cases import Case
from jaxalign.studies import make_wedges, train_wedge_models
from jaxalign.studies.wedge_models import BATCH, LEARNING_RATE, SLOPE, WedgeModel

CLASSES, SEEDS, EPOCHS = 4, 20, 4
POINTS = 20_000
STEPS = EPOCHS * -(-POINTS // BATCH)


def cases() -> Iterator[Case]:
    """Widths of the study; the loops of steps are timed for two seeds and scaled."""
    wedges = make_wedges(CLASSES, train=POINTS)
    batches = [(wedges.x_train[rows], wedges.y_train[rows]) for rows in orders()]
    steps_of_one = 2
    for width in (16, 32, 64, 128):
        apart = "the same program, a seed at a time"
        stepped, published = "a compiled step called from Python, a seed at a time", "torch, a seed at a time"
        yield Case(
            f"{SEEDS} seeds of width {width}, {STEPS} steps of {BATCH}",
            trained(wedges, width, [list(range(SEEDS))]),
            {
                apart: trained(wedges, width, [[seed] for seed in range(SEEDS)]),
                stepped: stepped_from_python(width, batches, range(steps_of_one)),
                published: torch_loop(width, batches, range(steps_of_one)),
            },
            {apart: 5},
            scaled={stepped: SEEDS / steps_of_one, published: SEEDS / steps_of_one},
            repeats=3,
        )


def orders() -> Iterator[np.ndarray]:
    """Rows of every batch."""
    rng = np.random.default_rng(0)
    for _ in range(EPOCHS):
        yield from np.array_split(rng.permutation(POINTS), STEPS // EPOCHS)


def trained(wedges: Any, width: int, groups: list[list[int]]) -> Callable[[], Any]:
    """The library's own training, one group of seeds after another."""
    return lambda: [train_wedge_models(wedges, width=width, seeds=seeds, epochs=EPOCHS).f for seeds in groups]


def stepped_from_python(width: int, batches: list[Any], seeds: range) -> Callable[[], Any]:
    """What most training scripts do: one compiled step, called for every batch."""
    graphdef, _ = nnx.split(WedgeModel(CLASSES, width, 2, rngs=nnx.Rngs(0)))
    optimizer = optax.adam(LEARNING_RATE)

    def loss(weights: nnx.State, x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(nnx.merge(graphdef, weights)(x), y))

    @jax.jit
    def step(weights: nnx.State, state: Any, x: jax.Array, y: jax.Array) -> tuple[Any, Any]:
        updates, state = optimizer.update(jax.grad(loss)(weights, x, y), state, weights)
        return optax.apply_updates(weights, updates), state

    def run() -> Any:
        for seed in seeds:
            weights: Any = nnx.split(WedgeModel(CLASSES, width, 2, rngs=nnx.Rngs(seed)))[1]
            state = optimizer.init(weights)
            for x, y in batches:
                weights, state = step(weights, state, x, y)
            jax.block_until_ready(weights)

    return run


def torch_loop(width: int, batches: list[Any], seeds: range) -> Callable[[], Any]:
    """The same in torch, with all labels embedded once a step."""

    def perceptron(inputs: int) -> torch.nn.Sequential:
        sizes = (inputs, width, width, width)
        hidden = [m for a, b in pairwise(sizes) for m in (torch.nn.Linear(a, b), torch.nn.LeakyReLU(SLOPE))]
        return torch.nn.Sequential(*hidden, torch.nn.Linear(width, 2, bias=False))

    on_torch = [(torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))) for x, y in batches]
    labels = torch.eye(CLASSES)[:, : CLASSES - 1]

    def run() -> Any:
        for seed in seeds:
            torch.manual_seed(seed)
            embed, unembed = perceptron(2), perceptron(CLASSES - 1)
            optimizer = torch.optim.Adam([*embed.parameters(), *unembed.parameters()], lr=LEARNING_RATE)
            for x, y in on_torch:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(embed(x) @ unembed(labels).T, y).backward()
                optimizer.step()

    return run
