"""Ridge stitches between all layers, against loops over pairs of scikit-learn and torch."""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
import torch
from sklearn.linear_model import Ridge, RidgeCV

from benchmarks.cases import Case
from benchmarks.problems import layers
from jaxalign.stitching import ridge, ridge_path, stitch_matrix

PENALTY = 1e-2
ALPHAS = np.logspace(-4, 2, 24)
PENALTIES = tuple(ALPHAS)


def cases() -> Iterator[Case]:
    """One penalty where rows are many and where features are, then the choice among 24."""
    yield _one_penalty(8, 2500, 256, "16", {"scikit-learn Ridge, loop": 2, "torch, Cholesky factor shared": 1})
    yield _one_penalty(12, 800, 512, "17", {"torch, Cholesky factor shared": 5})
    yield _one_penalty(12, 600, 1024, "", {"torch, Cholesky factor shared": 5})

    few, many = layers(4, 1500, 128), layers(8, 2500, 256)
    small, large = ([jnp.asarray(x) for x in side] for side in (few, many))
    yield Case(
        "24 penalties, chosen by generalized cross-validation, L=4, n=1500, d=128",
        lambda: stitch_matrix(small, penalties=PENALTIES).misalignment.block_until_ready(),
        {
            "scikit-learn RidgeCV, loop": lambda: _with_scikit_learn(few, lambda t: RidgeCV(alphas=ALPHAS * t)),
            "one penalty, ours": lambda: stitch_matrix(small, penalties=PENALTY).misalignment.block_until_ready(),
        },
        {"scikit-learn RidgeCV, loop": 30, "one penalty, ours": 1 / 1.3},
        target_number="18",
        repeats=9,
    )
    yield Case(
        "24 penalties, chosen by generalized cross-validation, L=8, n=2500, d=256",
        lambda: stitch_matrix(large, penalties=PENALTIES).misalignment.block_until_ready(),
        {"one penalty, ours": lambda: stitch_matrix(large, penalties=PENALTY).misalignment.block_until_ready()},
        {"one penalty, ours": 1 / 1.3},
        repeats=7,
    )
    yield Case(
        "one pair, 24 penalties with the map of the best, n=2500, d=256",
        lambda: ridge_path(large[0], large[1], penalties=PENALTIES).stitch.kernel.block_until_ready(),
        {
            "scikit-learn RidgeCV": lambda: RidgeCV(alphas=ALPHAS * 2500).fit(many[0], many[1]).coef_,
            "one penalty, ours": lambda: ridge(large[0], large[1], penalty=PENALTY).kernel.block_until_ready(),
        },
        {"one penalty, ours": 1 / 1.3},
        repeats=9,
    )


def _one_penalty(count: int, n: int, d: int, number: str, targets: dict[str, float]) -> Case:
    ours = layers(count, n, d)
    device = [jnp.asarray(x) for x in ours]
    peers = {
        "scikit-learn Ridge, loop": lambda: _with_scikit_learn(ours, lambda t: Ridge(alpha=PENALTY * t)),
        "torch, Cholesky factor shared": lambda: _with_torch(ours),
    }

    def error(value: np.ndarray) -> float:
        """The largest error of R²."""
        wide = [x.astype(np.float64) for x in ours]
        exact = _with_scikit_learn(wide, lambda t: Ridge(alpha=PENALTY * t))
        train, test = _sides(n)
        variance = [np.sum((y[test] - y[train].mean(axis=0)) ** 2) / test.sum() for y in wide]
        return float(np.abs((value - exact) / np.array(variance)).max())

    return Case(
        f"all pairs, one penalty, L={count}, n={n}, d={d}",
        lambda: stitch_matrix(device, penalties=PENALTY).misalignment.block_until_ready(),
        peers,
        targets,
        error=error,
        target_number=number,
        repeats=7,
    )


def _sides(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows trained on and every fifth row, held out."""
    test = np.arange(n) % 5 == 4
    return ~test, test


def _with_scikit_learn(layers: list[np.ndarray], model) -> np.ndarray:
    train, test = _sides(len(layers[0]))
    errors = np.zeros((len(layers), len(layers)))
    for i, x in enumerate(layers):
        for j, y in enumerate(layers):
            fitted = model(train.sum()).fit(x[train], y[train])
            errors[i, j] = np.sum((fitted.predict(x[test]) - y[test]) ** 2) / test.sum()
    return errors


def _with_torch(layers: list[np.ndarray]) -> np.ndarray:
    """One Cholesky factor for each source, of its smaller side; centering and splitting once for each layer."""
    train, test = (torch.from_numpy(side) for side in _sides(len(layers[0])))
    rows = []
    for x in map(torch.from_numpy, layers):
        own = x[train]
        mean = own.mean(dim=0)
        rows.append((own - mean, x[test] - mean))
    errors = np.zeros((len(layers), len(layers)))
    for i, (x, x_test) in enumerate(rows):
        by_features = x.shape[1] <= x.shape[0]
        products = x.T @ x if by_features else x @ x.T
        products.diagonal().add_(PENALTY * len(x))
        factor = torch.linalg.cholesky(products)
        inputs = x_test if by_features else x_test @ x.T
        for j, (y, y_test) in enumerate(rows):
            kernel = torch.cholesky_solve(x.T @ y if by_features else y, factor)
            errors[i, j] = float(((inputs @ kernel - y_test) ** 2).sum()) / len(y_test)
    return errors
