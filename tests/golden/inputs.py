"""Inputs that any machine can make again; the reference values of `peers.json` belong to them."""

from __future__ import annotations

import numpy as np


def make_pair(n, dx, dy, rank, seed, dtype=np.float64):
    """Two noisy views of the same latent variables; the order of the draws is part of the recipe."""
    g = np.random.default_rng(seed)
    z = g.standard_normal((n, rank))
    a = g.standard_normal((rank, dx)) / np.sqrt(rank)
    b = g.standard_normal((rank, dy)) / np.sqrt(rank)
    noise_x, noise_y = g.standard_normal((n, dx)), g.standard_normal((n, dy))
    x = z @ a + 0.5 * noise_x + 0.25
    y = np.tanh(1.5 * (z @ b)) + 0.5 * noise_y - 0.10
    return x.astype(dtype), y.astype(dtype)


def tied_pair():
    """Small integers: many duplicate rows, many equal distances and equal angles."""
    g = np.random.default_rng(3)
    x = g.integers(0, 3, (60, 5)).astype(float)
    return x, g.integers(0, 3, (60, 5)).astype(float)


#: More rows than features; fewer; ties.
CASES = {
    "A": make_pair(64, 16, 24, 8, 0),
    "B": make_pair(40, 64, 96, 8, 1),
    "D": tied_pair(),
}


def large_pair():
    """`T1024`, of which only float64 truths of the linear scores are kept."""
    return make_pair(1024, 768, 768, 64, 0, np.float32)
