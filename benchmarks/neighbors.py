"""Nearest neighbors: the search of one layer, and the overlaps of many."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

import jaxalign as ja
from benchmarks import peers
from benchmarks.cases import Case
from benchmarks.problems import layers
from jaxalign.alignment.neighbors import NeighborScore
from jaxalign.signatures.neighbors import NeighborSignature


def cases() -> Iterator[Case]:
    """Searches, then overlaps given the lists."""
    search = jax.jit(NeighborSignature(10))
    for d, number, goals in ((256, "8", (1.3, 0.9)), (768, "", (1.0, None))):
        x = layers(1, 10_000, d)[0]
        device, torch_x = jnp.asarray(x), peers.tensors([x])[0]
        targets = {"torch.topk by blocks": goals[0], "faiss IndexFlatIP": goals[1]}
        yield Case(
            f"10 nearest neighbors by cosine, n=10000, d={d}",
            lambda device=device: np.asarray(search(device).ids),
            {
                "torch.topk by blocks": lambda torch_x=torch_x: peers.best_neighbors(torch_x, 10),
                "faiss IndexFlatIP": lambda x=x: peers.faiss_neighbors(x, 10),
            },
            {name: goal for name, goal in targets.items() if goal is not None},
            lambda ids, x=x: _wrong_share(ids, x),
            target_number=number,
        )
    xs = layers(12, 4096, 64)
    lists = [jax.block_until_ready(search(jnp.asarray(x))) for x in xs]
    torch_ids = [peers.torch.from_numpy(np.array(found.ids)).long() for found in lists]
    overlaps = jax.jit(NeighborScore().matrix)
    name = "torch n x n masks for every pair, as published"
    yield Case(
        "mutual kNN matrix given neighbor lists, 12 layers, n=4096, k=10",
        lambda: np.asarray(overlaps(lists)),
        {name: lambda: [peers.mask_overlap(a, b) for i, a in enumerate(torch_ids) for b in torch_ids[i:]]},
        {name: 100},
        lambda value: abs(float(value[0, 1]) - peers.mask_overlap(torch_ids[0], torch_ids[1])),
        target_number="10",
    )
    x, y = layers(2, 1024, 768)
    pair = [jnp.asarray(x), jnp.asarray(y)]
    torch_x, torch_y = peers.tensors([x, y])
    yield Case(
        "mutual kNN of one pair, n=1024, d=768",
        lambda: float(ja.mutual_knn(*pair)),
        {"torch, as published": lambda: peers.published_mutual_knn(torch_x, torch_y, 10)},
        {"torch, as published": 1},
    )


def _wrong_share(ids: np.ndarray, x: np.ndarray) -> float:
    """Share of neighbors that float64 does not find, over the first 500 rows."""
    unit = x.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    scores = unit[:500] @ unit.T
    scores[np.arange(500), np.arange(500)] = -np.inf
    exact = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    return float(np.mean([len(set(a) - set(b)) / 10 for a, b in zip(exact, ids[:500], strict=True)]))
