"""What others do, written here from what their sources do, in torch and faiss.

`published_*` follow code in use: normalize and recompute for every pair, center by matrix
products, sort whole rows, intersect n × n masks. `best_*` are as fast as we could write them
in torch: everything cached, one product for all pairs.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import torch

torch.set_num_threads(1)
faiss.omp_set_num_threads(1)


def tensors(arrays: list[np.ndarray]) -> list[Any]:
    """The same data for torch."""
    return [torch.from_numpy(x) for x in arrays]


# One pair at a time, as published.


def published_cka(x: Any, y: Any) -> float:
    """Biased linear CKA of row-normalized features through tr(K H L H), three times."""
    x, y = torch.nn.functional.normalize(x), torch.nn.functional.normalize(y)
    k, m = x @ x.T, y @ y.T
    n = len(k)
    h = torch.eye(n) - torch.ones(n, n) / n

    def hsic(k: Any, m: Any) -> Any:
        return torch.trace(k @ h @ m @ h)

    return float(hsic(k, m) / (torch.sqrt(hsic(k, k) * hsic(m, m)) + 1e-6))


def published_unbiased_cka(x: Any, y: Any) -> float:
    """Unbiased linear CKA of row-normalized features, with a matrix product for its row sums."""
    x, y = torch.nn.functional.normalize(x), torch.nn.functional.normalize(y)
    k, m = (x @ x.T).fill_diagonal_(0), (y @ y.T).fill_diagonal_(0)
    n = len(k)

    def hsic(k: Any, m: Any) -> Any:
        value = (k * m.T).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 * (k @ m).sum() / (n - 2)
        return value / (n * (n - 3))

    return float(hsic(k, m) / (torch.sqrt(hsic(k, k) * hsic(m, m)) + 1e-6))


def published_rbf_cka(x: Any, y: Any, sigma: float) -> float:
    """RBF CKA with H K H as matrix products, kernels recomputed for each of three HSICs."""
    n = len(x)
    h = torch.eye(n) - torch.ones(n, n) / n

    def kernel(x: Any) -> Any:
        g = x @ x.T
        q = torch.diag(g)
        return torch.exp(-(q[:, None] + q[None, :] - 2 * g) / (2 * sigma**2))

    def hsic(x: Any, y: Any) -> Any:
        return torch.sum((h @ kernel(x) @ h) * (h @ kernel(y) @ h))

    return float(hsic(x, y) / torch.sqrt(hsic(x, x) * hsic(y, y)))


def published_mutual_knn(x: Any, y: Any, k: int) -> float:
    """Mutual kNN by sorting whole rows of cosines and intersecting n × n masks."""
    x, y = torch.nn.functional.normalize(x), torch.nn.functional.normalize(y)
    ids = [(f @ f.T).fill_diagonal_(-1e8).argsort(dim=1, descending=True)[:, :k] for f in (x, y)]
    return mask_overlap(ids[0], ids[1])


def mask_overlap(a: Any, b: Any) -> float:
    """Overlap of two neighbor lists through n × n masks."""
    n, k = a.shape
    rows = torch.arange(n)[:, None]
    one, other = torch.zeros(n, n), torch.zeros(n, n)
    one[rows, a] = 1
    other[rows, b] = 1
    return float((one * other).sum(dim=1).div(k).mean())


# All pairs, as well as torch can.


def best_linear_cka_grams(xs: list[Any], *, unbiased: bool = False) -> np.ndarray:
    """Centered Grams of every layer stacked, one product for all pairs."""
    grams = torch.stack([_gram(x - x.mean(0)) for x in xs])
    return _finish(grams, unbiased)


def best_rbf_cka(xs: list[Any], sigmas: list[float] | None) -> np.ndarray:
    """Gaussian kernels of every layer, centered, stacked, one product; medians by torch.median if no sigmas."""
    kernels = []
    for i, x in enumerate(xs):
        x = x - x.mean(0)
        q = (x * x).sum(1)
        squared = (q[:, None] + q[None, :] - 2 * x @ x.T).clamp_(min=0)
        if sigmas is None:
            n = len(x)
            upper = squared[torch.triu_indices(n, n, 1).unbind()]
            rate = 1 / (2 * upper.median())
        else:
            rate = 1 / (2 * sigmas[i] ** 2)
        k = squared.mul_(-rate).exp_()
        k -= k.mean(0)[None, :]
        k -= k.mean(1)[:, None]
        kernels.append(k)
    return _finish(torch.stack(kernels), False)


def best_feature_loop(xs: list[Any]) -> np.ndarray:
    """‖XᵀY‖² for every pair i <= j."""
    xs = [x - x.mean(0) for x in xs]
    inner = torch.zeros(len(xs), len(xs))
    for i, x in enumerate(xs):
        for j in range(i, len(xs)):
            inner[i, j] = inner[j, i] = (x.T @ xs[j]).square().sum()
    return _cosine(inner)


def best_feature_concat(xs: list[Any]) -> np.ndarray:
    """All features side by side, one product, block norms."""
    widths = [x.shape[1] for x in xs]
    z = torch.cat([x - x.mean(0) for x in xs], dim=1)
    squares = (z.T @ z).square_()
    blocks = [[b.sum() for b in row.split(widths, dim=1)] for row in squares.split(widths, dim=0)]
    return _cosine(torch.tensor(blocks))


def feature_cka(x: Any, y: Any) -> Any:
    """Linear CKA of one pair in feature space, differentiable."""
    x, y = x - x.mean(0), y - y.mean(0)
    return (x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())


def gram_cka(x: Any, y: Any) -> Any:
    """Linear CKA of one pair through Grams, differentiable."""
    x, y = x - x.mean(0), y - y.mean(0)
    k, m = x @ x.T, y @ y.T
    return (k * m).sum() / (k.norm() * m.norm())


def best_neighbors(x: Any, k: int, block: int = 512) -> Any:
    """Cosine neighbors by blocks of rows and torch.topk."""
    x = torch.nn.functional.normalize(x)
    found = []
    for start in range(0, len(x), block):
        scores = x[start : start + block] @ x.T
        scores[torch.arange(len(scores)), torch.arange(start, start + len(scores))] = -2
        found.append(scores.topk(k, dim=1).indices)
    return torch.cat(found)


def faiss_neighbors(x: np.ndarray, k: int) -> np.ndarray:
    """Cosine neighbors by faiss's exact index, self dropped."""
    x = np.ascontiguousarray(x / np.linalg.norm(x, axis=1, keepdims=True))
    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    _, ids = index.search(x, k + 1)
    own = ids == np.arange(len(x))[:, None]
    own[~own.any(axis=1), -1] = True
    return ids[~own].reshape(len(x), k)


def cdist_distance_correlation(x: Any, y: Any) -> float:
    """Distances by torch.cdist, centered in place."""
    one, other = (torch.cdist(v, v) for v in (x, y))
    for matrix in (one, other):
        mean = matrix.mean(0)
        matrix -= mean[None, :]
        matrix -= (mean - mean.mean())[:, None]
    return float(((one * other).sum() / (one.norm() * other.norm())).sqrt())


def hyppo_distance_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """hyppo's biased statistic."""
    from hyppo.independence import Dcorr

    return float(Dcorr(bias=True).statistic(x.astype(np.float64), y.astype(np.float64)))


def published_cknna(x: Any, y: Any, k: int) -> float:
    """CKNNA of row-normalized features through n × n masks, three times."""
    x, y = torch.nn.functional.normalize(x), torch.nn.functional.normalize(y)
    one, other = x @ x.T, y @ y.T
    n = len(one)

    def mask(kernel: Any) -> Any:
        ids = kernel.clone().fill_diagonal_(-torch.inf).topk(k, dim=1).indices
        return torch.zeros_like(kernel).scatter_(1, ids, 1)

    def hsic(a: Any, b: Any) -> Any:
        return (a * b.T).sum() + a.sum() * b.sum() / ((n - 1) * (n - 2)) - 2 * (a @ b).sum() / (n - 2)

    def similarity(a: Any, b: Any) -> Any:
        both = mask(a) * mask(b)
        return hsic(both * a, both * b)

    return float(similarity(one, other) / (similarity(one, one) * similarity(other, other)).sqrt())


def pairwise_cca(xs: list[Any], reduce: str) -> np.ndarray:
    """Both sides decomposed for every pair i <= j."""
    found = np.zeros((len(xs), len(xs)))
    for i, x in enumerate(xs):
        for j in range(i, len(xs)):
            bases = [torch.linalg.svd(v - v.mean(0), full_matrices=False)[0] for v in (x, xs[j])]
            rho = torch.linalg.svdvals(bases[0].T @ bases[1])
            found[i, j] = found[j, i] = float((rho if reduce == "mean" else rho * rho).mean())
    return found


def pairwise_procrustes(xs: list[Any]) -> np.ndarray:
    """Centered once; singular values of every product i <= j."""
    xs = [x - x.mean(0) for x in xs]
    xs = [x / x.norm() for x in xs]
    found = np.zeros((len(xs), len(xs)))
    for i, x in enumerate(xs):
        for j in range(i, len(xs)):
            found[i, j] = found[j, i] = float(torch.linalg.svdvals(x.T @ xs[j]).sum().clamp(max=1).arccos())
    return found


def _gram(x: Any) -> Any:
    return x @ x.T


def _finish(grams: Any, unbiased: bool) -> np.ndarray:
    count, n, _ = grams.shape
    if not unbiased:
        flat = grams.reshape(count, -1)
        return _cosine(flat @ flat.T)
    grams.diagonal(dim1=1, dim2=2).zero_()
    flat, rows = grams.reshape(count, -1), grams.sum(2)
    totals = rows.sum(1)
    inner = flat @ flat.T + torch.outer(totals, totals) / ((n - 1) * (n - 2)) - 2 / (n - 2) * rows @ rows.T
    return _cosine(inner)


def _cosine(inner: Any) -> np.ndarray:
    scale = inner.diagonal().sqrt()
    return (inner / torch.outer(scale, scale)).numpy()
