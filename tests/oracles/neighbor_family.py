"""Nearest neighbors and their overlap, from the definitions: float64 NumPy, and exact rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from scipy.spatial.distance import cdist


def closeness(x, metric="cosine"):
    """`(n, n)` scores that grow with closeness; -inf on the diagonal: a row is not its own neighbor."""
    x = np.asarray(x).astype(np.float64)
    if metric == "euclidean":
        scores = -cdist(x, x, "sqeuclidean")
    else:
        length = np.linalg.norm(x, axis=1, keepdims=True)
        # The cosine through the difference of unit rows, which keeps the digits of rows that nearly coincide.
        unit = np.divide(x, length, out=np.zeros_like(x), where=length > 0)
        scores = unit @ unit.T if np.any(length == 0) else -cdist(unit, unit, "sqeuclidean")
    np.fill_diagonal(scores, -np.inf)
    return scores


def neighbors(x, k, metric="cosine"):
    """Indices of the `k` nearest rows, nearest first; equals by lowest index."""
    return np.argsort(-closeness(x, metric), axis=1, kind="stable")[:, :k]


def overlap(a, b):
    """Mean share of members that two lists have in common."""
    return float(np.mean([len(set(i) & set(j)) / len(i) for i, j in zip(a.tolist(), b.tolist(), strict=True)]))


def mutual_knn(x, y, k, metric="cosine"):
    return overlap(neighbors(x, k, metric), neighbors(y, k, metric))


def averaged(of, x, y, k, metric="cosine"):
    """The mean over examples of a function of two lists."""
    lists = [neighbors(side, k, metric).tolist() for side in (x, y)]
    return float(np.mean([of(a, b) for a, b in zip(*lists, strict=True)]))


def cycle_knn(x, y, k, metric="cosine"):
    near_x, near_y = (neighbors(side, k, metric) for side in (x, y))
    return float(np.mean([any(i in near_x[j] for j in near_y[i]) for i in range(len(x))]))


def common_subsequence(a, b):
    """Length of the longest common subsequence, by the recursion."""
    if not a or not b:
        return 0
    if a[-1] == b[-1]:
        return common_subsequence(a[:-1], b[:-1]) + 1
    return max(common_subsequence(a[:-1], b), common_subsequence(a, b[:-1]))


def levenshtein(a, b):
    """Edit distance, by the recursion."""
    if not a or not b:
        return len(a) + len(b)
    return min(levenshtein(a[:-1], b[:-1]) + (a[-1] != b[-1]), levenshtein(a[:-1], b) + 1, levenshtein(a, b[:-1]) + 1)


def jaccard(a, b):
    return len(set(a) & set(b)) / len(set(a) | set(b))


def rank_similarity(a, b):
    common = set(a) & set(b)
    ranks = [(a.index(v) + 1, b.index(v) + 1) for v in common]
    total = sum(2 / ((1 + abs(r - s)) * (r + s)) for r, s in ranks)
    return total / sum(1 / m for m in range(1, len(common) + 1)) if common else 0.0


def second_order_cosine(x, y, k, entries="similarity"):
    lists = [neighbors(side, k) for side in (x, y)]
    cosines = [1 - cdist(side, side, "cosine") for side in (x, y)]
    found = []
    for i, (a, b) in enumerate(zip(*lists, strict=True)):
        union = sorted({*a, *b})
        u, v = (c[i, union] if entries == "similarity" else 1 - c[i, union] for c in cosines)
        found.append(u @ v / np.linalg.norm(u) / np.linalg.norm(v))
    return float(np.mean(found))


def exact_cosines(x):
    """Sign times square of every cosine between rows of small integers, as fractions; 0 for a zero row.

    Squares keep the order of cosines and are rational, so ties are ties.
    """
    rows = [[int(v) for v in row] for row in np.asarray(x)]
    lengths = [sum(v * v for v in row) for row in rows]

    def cosine(i, j):
        dot = sum(u * v for u, v in zip(rows[i], rows[j], strict=True))
        square = Fraction(dot * dot, lengths[i] * lengths[j]) if lengths[i] * lengths[j] else Fraction(0)
        return square if dot >= 0 else -square

    return [[cosine(i, j) for j in range(len(rows))] for i in range(len(rows))]


def exact_neighbors(cosines, k):
    """The `k` nearest rows by exact cosines, ties to the lowest row."""
    n = len(cosines)
    order = [sorted((j for j in range(n) if j != i), key=lambda j: (-cosines[i][j], j)) for i in range(n)]
    return np.array([row[:k] for row in order])
