"""Scores of samples with repeated examples in float64 NumPy: every draw is written out, and pairs of copies left out.

A sample is a list of draws, each the number of an example. Matrices are those of the whole sample.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
from scipy.stats import rankdata


def draws_of(weights):
    return np.repeat(np.arange(len(weights)), np.asarray(weights, int))


def unbiased_hsic(k, m, weights):
    """The mean over ordered fours of draws of four different examples of the four-sample estimator."""
    draws = draws_of(weights)
    total, count = 0.0, 0
    for four in permutations(range(len(draws)), 4):
        i, j, q, r = draws[list(four)]
        if len({i, j, q, r}) == 4:
            total += k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
            count += 1
    return total / count


def centered_sum(k, m, weights, centering):
    """Inner product of matrices of draws, centered by the mean of the draws, without pairs of copies."""
    draws = draws_of(weights)
    k, m = (np.asarray(v, float)[np.ix_(draws, draws)] for v in (k, m))
    if centering != "none":
        n = len(draws)
        h = np.eye(n) - 1 / n
        # A draw and its copies are at one place: what the mean takes off does not ask who is a copy.
        k, m = h @ k @ h, h @ m @ h
    n = len(draws)
    pairs = draws[:, None] != draws[None, :]
    off = np.sum((k * m)[pairs]) * n * (n - 1) / pairs.sum()
    return off if centering == "hollow" else off + np.sum(np.diag(k) * np.diag(m))


def kernel_score(k, m, weights, centering, scaling):
    """CKA ("cosine"), or HSIC."""
    n = int(np.sum(weights))
    if centering == "unbiased":
        inner = lambda a, b: unbiased_hsic(a, b, weights) * n * (n - 3)  # noqa: E731
    else:
        inner = lambda a, b: centered_sum(a, b, weights, centering)  # noqa: E731
    if scaling == "cosine":
        return inner(k, m) / np.sqrt(inner(k, k) * inner(m, m))
    return inner(k, m) / {"n2": n * n, "nm1": (n - 1) ** 2, "u": n * (n - 3), "none": 1}[scaling]


def rsa(d, e, weights, comparison):
    draws = draws_of(weights)
    pairs = [(i, j) for a, i in enumerate(draws) for j in draws[:a] if i != j]
    one, other = (np.asarray([v[pair] for pair in pairs]) for v in (d, e))
    if comparison in ("spearman", "rho_a"):
        one, other = rankdata(one), rankdata(other)
    if comparison == "cosine":
        return one @ other / np.sqrt(one @ one * (other @ other))
    one, other = one - one.mean(), other - other.mean()
    if comparison == "rho_a":
        m = len(one)
        return 12 * one @ other / (m**3 - m)
    return one @ other / np.sqrt(one @ one * (other @ other))


def neighbor_lists(d, weights, k):
    """The k nearest draws of other examples of every draw: pairs of example and number of the copy."""
    lists = {}
    for i in np.flatnonzero(weights):
        order = [j for j in np.argsort(d[i], kind="stable") if j != i]
        lists[i] = [(j, copy) for j in order for copy in range(int(weights[j]))][:k]
    return lists


def knn(d, e, weights, k, agreement):
    """The mean over draws of what two lists have in common."""
    one, other = neighbor_lists(d, weights, k), neighbor_lists(e, weights, k)
    found = []
    for i in draws_of(weights):
        common = len(set(one[i]) & set(other[i]))
        if agreement == "cycle":
            found.append(any(i in {v for v, _ in one[j]} for j, _ in other[i]))
        else:
            found.append(common / k if agreement == "overlap" else common / (2 * k - common))
    return np.mean(found)
