"""Single measures as others compute them: torch and NumPy written from what libraries do, and what PyPI has.

All take one pair of float32 arrays and return a number. Linear algebra is torch's, pinned to one thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.linalg import orthogonal_procrustes
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import jensenshannon, pdist
from scipy.special import softmax
from scipy.stats import kendalltau, rankdata

from benchmarks import peers


def _centered(*arrays: np.ndarray) -> list[Any]:
    return [x - x.mean(0) for x in peers.tensors(list(arrays))]


# Kernels.


def torch_cka(x: np.ndarray, y: np.ndarray) -> float:
    """In feature space or through Grams, whichever is smaller."""
    one, other = peers.tensors([x, y])
    return float((peers.feature_cka if len(x) > x.shape[1] else peers.gram_cka)(one, other))


def torch_unbiased_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Through Grams without their diagonals."""
    return float(peers.best_linear_cka_grams(peers.tensors([x, y]), unbiased=True)[0, 1])


def torch_kernel_alignment(x: np.ndarray, y: np.ndarray) -> float:
    """In feature space."""
    one, other = peers.tensors([x, y])
    return float((one.T @ other).square().sum() / ((one.T @ one).norm() * (other.T @ other).norm()))


def torch_hsic(x: np.ndarray, y: np.ndarray) -> float:
    """In feature space."""
    one, other = _centered(x, y)
    return float((one.T @ other).square().sum() / len(x) ** 2)


def torch_operator_singular_values(x: np.ndarray, y: np.ndarray) -> float:
    """The largest singular value of the cross-covariance."""
    one, other = _centered(x, y)
    return float(torch.linalg.svdvals(one.T @ other)[0] / len(x))


def torch_ridge_cca(x: np.ndarray, y: np.ndarray, ridge: float) -> Any:
    """Correlations of ridge-whitened features, by Cholesky factors."""
    bases = []
    for v in _centered(x, y):
        covariance = v.T @ v / len(v) + ridge * torch.eye(v.shape[1])
        factor = torch.linalg.cholesky(covariance)
        bases.append(torch.linalg.solve_triangular(factor, v.T, upper=False) / len(v) ** 0.5)
    return torch.linalg.svdvals(bases[0] @ bases[1].T)


# Distances.


def scipy_rsa(x: np.ndarray, y: np.ndarray, metric: str, comparison: str) -> float:
    """SciPy's distances and ranks."""
    one, other = (pdist(v, metric) for v in (x, y))  # pyright: ignore[reportCallIssue, reportArgumentType]
    if comparison == "kendall":
        return float(kendalltau(one, other)[0])  # pyright: ignore[reportArgumentType]
    if comparison == "spearman":
        one, other = rankdata(one), rankdata(other)
    return float(np.corrcoef(one, other)[0, 1])


def rsatoolbox_rsa(x: np.ndarray, y: np.ndarray, method: str, comparison: str) -> float:
    """rsatoolbox's data sets, matrices and comparison."""
    import rsatoolbox

    one, other = (rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(v), method=method) for v in (x, y))
    return float(rsatoolbox.rdm.compare(one, other, method=comparison)[0, 0])


# Neighbors.


def _neighbor_sets(x: np.ndarray, y: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    one, other = (peers.best_neighbors(v, k).numpy() for v in peers.tensors([x, y]))
    return one, other


def torch_mutual_knn(x: np.ndarray, y: np.ndarray, k: int = 10) -> float:
    """torch.topk by blocks, and a comparison of indices."""
    one, other = _neighbor_sets(x, y, k)
    return float((one[:, :, None] == other[:, None, :]).sum() / one.size)


def numpy_jaccard_knn(x: np.ndarray, y: np.ndarray, k: int = 10) -> float:
    """The same, and the ratio of every row."""
    one, other = _neighbor_sets(x, y, k)
    common = (one[:, :, None] == other[:, None, :]).sum(axis=(1, 2))
    return float(np.mean(common / (2 * k - common)))


def numpy_cycle_knn(x: np.ndarray, y: np.ndarray, k: int = 10) -> float:
    """Whether a row is among the neighbors of its neighbors, as platonic-rep does it."""
    one, other = _neighbor_sets(x, y, k)
    back = one[other].reshape(len(one), -1)
    return float((back == np.arange(len(one))[:, None]).any(axis=1).mean())


def python_lcs_knn(x: np.ndarray, y: np.ndarray, k: int = 10) -> float:
    """A dynamic program in Python for every row."""
    total = 0
    for one, other in zip(*(ids.tolist() for ids in _neighbor_sets(x, y, k)), strict=True):
        row = [0] * (k + 1)
        for a in one:
            before = 0
            for j, b in enumerate(other):
                before, row[j + 1] = row[j + 1], before + 1 if a == b else max(row[j + 1], row[j])
        total += row[k]
    return total / (k * len(x))


def python_edit_distance_knn(x: np.ndarray, y: np.ndarray, k: int = 10) -> float:
    """Likewise, Levenshtein's distance."""
    total = 0
    for one, other in zip(*(ids.tolist() for ids in _neighbor_sets(x, y, k)), strict=True):
        row = list(range(k + 1))
        for i, a in enumerate(one):
            before, row[0] = row[0], i + 1
            for j, b in enumerate(other):
                before, row[j + 1] = row[j + 1], min(row[j + 1] + 1, row[j] + 1, before + (a != b))
        total += row[k]
    return 1 - total / (k * len(x))


def python_rank_similarity_knn(x: np.ndarray, y: np.ndarray, k: int = 10) -> float:
    """A loop over rows and common neighbors, as in ReSi."""
    one, other = _neighbor_sets(x, y, k)
    values = []
    for a, b in zip(one, other, strict=True):
        _, ranks_a, ranks_b = np.intersect1d(a, b, return_indices=True)
        size = len(ranks_a)
        if size == 0:
            values.append(0.0)
            continue
        total = sum(2 / ((1 + abs(r - s)) * (r + s)) for r, s in zip(ranks_a + 1, ranks_b + 1, strict=True))
        values.append(total / sum(1 / i for i in range(1, size + 1)))
    return float(np.mean(values))


def python_second_order_cosine(x: np.ndarray, y: np.ndarray, k: int = 10) -> float:
    """A loop over rows, cosines to the union of their neighbors, as in ReSi."""
    one, other = _neighbor_sets(x, y, k)
    units = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y)]
    values = []
    for i, (a, b) in enumerate(zip(one, other, strict=True)):
        union = np.union1d(a, b)
        p, q = (u[union] @ u[i] for u in units)
        values.append(p @ q / (np.linalg.norm(p) * np.linalg.norm(q)))
    return float(np.mean(values))


def torch_cknna(x: np.ndarray, y: np.ndarray, k: int = 10) -> float:
    """Masks of n x n, as published."""
    one, other = peers.tensors([x, y])
    return peers.published_cknna(one, other, k)


# Canonical correlation, regression.


def torch_correlations(x: np.ndarray, y: np.ndarray) -> Any:
    """Canonical correlations by two decompositions."""
    bases = [torch.linalg.svd(v, full_matrices=False)[0] for v in _centered(x, y)]
    return torch.linalg.svdvals(bases[0].T @ bases[1])


def torch_qr_correlations(x: np.ndarray, y: np.ndarray) -> Any:
    """Canonical correlations by two QR factors."""
    bases = [torch.linalg.qr(v)[0] for v in _centered(x, y)]
    return torch.linalg.svdvals(bases[0].T @ bases[1])


def torch_svcca(x: np.ndarray, y: np.ndarray, share: float = 0.99) -> float:
    """Leading directions that hold a share of the variance."""
    bases = []
    for v in _centered(x, y):
        u, s, _ = torch.linalg.svd(v, full_matrices=False)
        kept = int((torch.cumsum(s * s, 0) < share * (s * s).sum()).sum()) + 1
        bases.append(u[:, :kept])
    return float(torch.linalg.svdvals(bases[0].T @ bases[1]).mean())


def torch_pwcca(x: np.ndarray, y: np.ndarray) -> float:
    """Weights as in the paper."""
    one, other = _centered(x, y)
    bases = [torch.linalg.svd(v, full_matrices=False)[0] for v in (one, other)]
    u, rho, _ = torch.linalg.svd(bases[0].T @ bases[1], full_matrices=False)
    weights = (one.T @ (bases[0] @ u)).abs().sum(0)
    return float((weights * rho).sum() / weights.sum())


def torch_eigenspace_overlap(x: np.ndarray, y: np.ndarray) -> float:
    """Two QR factors."""
    bases = [torch.linalg.qr(v)[0] for v in peers.tensors([x, y])]
    return float((bases[0].T @ bases[1]).square().sum() / x.shape[1])


def torch_predictivity(x: np.ndarray, y: np.ndarray) -> float:
    """torch.linalg.lstsq."""
    one, other = _centered(x, y)
    residual = other - one @ torch.linalg.lstsq(one, other).solution
    return float(1 - residual.square().sum() / other.square().sum())


def sklearn_predictivity(x: np.ndarray, y: np.ndarray) -> float:
    """scikit-learn's LinearRegression."""
    from sklearn.linear_model import LinearRegression

    residual = y - LinearRegression().fit(x, y).predict(x)
    return float(1 - np.sum(residual**2) / np.sum((y - y.mean(0)) ** 2))


def torch_pls_svd(x: np.ndarray, y: np.ndarray) -> float:
    """Singular values of the cross-correlation."""
    one, other = (v / v.square().sum(0).sqrt() for v in _centered(x, y))
    return float(torch.linalg.svdvals(one.T @ other).mean())


# Shapes.


def torch_procrustes(x: np.ndarray, y: np.ndarray) -> float:
    """Unit shapes, torch's singular values."""
    one, other = (v / v.norm() for v in _centered(x, y))
    return float((2 - 2 * torch.linalg.svdvals(one.T @ other).sum()).clamp(min=0).sqrt())


def scipy_permutation(x: np.ndarray, y: np.ndarray) -> float:
    """Unit shapes, SciPy's assignment."""
    one, other = (v / v.norm() for v in _centered(x, y))
    products = (one.T @ other).numpy()
    return float(np.sqrt(2 - 2 * products[linear_sum_assignment(-products)].sum()))


def scipy_correlation_match(x: np.ndarray, y: np.ndarray) -> float:
    """SciPy's assignment of correlations."""
    one, other = (v / v.square().sum(0).sqrt() for v in _centered(x, y))
    products = (one.T @ other).numpy()
    return float(products[linear_sum_assignment(-products)].mean())


def scipy_aligned_cosine(x: np.ndarray, y: np.ndarray) -> float:
    """SciPy's rotation, and cosines of rows."""
    rotation, _ = orthogonal_procrustes(x, y)
    turned = x @ rotation
    return float(np.mean(np.sum(turned * y, 1) / (np.linalg.norm(turned, axis=1) * np.linalg.norm(y, axis=1))))


def scipy_rsm_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Norm of the difference of SciPy's distances."""
    return float(np.sqrt(2) * np.linalg.norm(pdist(x) - pdist(y)))


def sklearn_held_out(x: np.ndarray, y: np.ndarray, folds: int = 5) -> float:
    """scikit-learn's LinearRegression in a loop over folds."""
    from sklearn.linear_model import LinearRegression

    fold = np.arange(len(x)) % folds
    left, total = 0.0, 0.0
    for held in range(folds):
        inside, outside = fold != held, fold == held
        residual = y[outside] - LinearRegression().fit(x[inside], y[inside]).predict(x[outside])
        left, total = left + np.sum(residual**2), total + np.sum((y[outside] - y[inside].mean(0)) ** 2)
    return float(1 - left / total)


# One number of each, and outputs.


def sklearn_intrinsic_dimension(x: np.ndarray, y: np.ndarray) -> float:
    """Two neighbors by scikit-learn, and the maximum of the likelihood."""
    from sklearn.neighbors import NearestNeighbors

    found = []
    for v in (x, y):
        distances = NearestNeighbors(n_neighbors=3, algorithm="brute").fit(v).kneighbors()[0]
        found.append(1 / np.mean(np.log(distances[:, 1] / distances[:, 0])))
    return float(abs(found[0] - found[1]))


def torch_uniformity(x: np.ndarray, y: np.ndarray) -> float:
    """torch.pdist of unit rows."""
    one, other = (torch.nn.functional.normalize(v) for v in peers.tensors([x, y]))
    values = [torch.pdist(v).square().mul(-2).exp().mean().log() for v in (one, other)]
    return float((values[0] - values[1]).abs())


def sklearn_cohen_kappa(x: np.ndarray, y: np.ndarray) -> float:
    """scikit-learn's score of the classes."""
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(x.argmax(1), y.argmax(1)))


def scipy_jensen_shannon(x: np.ndarray, y: np.ndarray) -> float:
    """SciPy's distance, squared."""
    p, q = (softmax(v, axis=1) for v in (x, y))
    return float(np.mean(jensenshannon(p, q, axis=1) ** 2))  # pyright: ignore[reportCallIssue]
