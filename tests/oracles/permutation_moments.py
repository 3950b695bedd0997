"""Moments of `T = Σ_ij K_ij L_π(i)π(j)` over permutations: over all of them, and by patterns of equal indices."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import cache
from itertools import permutations

import numpy as np


def over_all(score, n):
    """Mean, standard deviation and skewness of a function of a permutation, over all of them."""
    values = np.array([score(list(order)) for order in permutations(range(n))])
    mean, deviation = values.mean(), values.std()
    # Rounding is no spread.
    if deviation <= 1e-12 * np.abs(values).max():
        return mean, 0.0, np.nan
    return mean, deviation, np.mean((values - mean) ** 3) / deviation**3


def partitions(items):
    """All ways to put things into sets."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for partition in partitions(rest):
        for i in range(len(partition)):
            yield [*partition[:i], [first, *partition[i]], *partition[i + 1 :]]
        yield [[first], *partition]


def graph(labels):
    """Of edges with these ends: how often each pair of vertices is joined, up to the names of vertices."""
    edges = [tuple(sorted(labels[i : i + 2])) for i in range(0, len(labels), 2)]
    names = sorted(set(labels))
    return min(
        tuple(sorted(tuple(sorted(order[names.index(v)] for v in edge)) for edge in edges))
        for order in permutations(range(len(names)))
    )


def unrestricted(matrix, edges):
    """`Σ Π_edges K` over all indices, equal or not."""
    letters = "abcdef"
    terms = ",".join(letters[i] + letters[j] for i, j in edges)
    return np.einsum(terms + "->", *[matrix] * len(edges), optimize=True)


@cache
def patterns(edges):
    """Which partitions of the `2 edges` indices there are, and sums over distinct indices by Möbius inversion."""
    found = []
    for partition in partitions(list(range(2 * edges))):
        blocks, sums = len(partition), defaultdict(int)
        for coarser in partitions(list(range(blocks))):
            labels, sign = [0] * (2 * edges), 1
            for name, members in enumerate(coarser):
                sign *= (-1) ** (len(members) - 1) * math.factorial(len(members) - 1)
                for block in members:
                    for place in partition[block]:
                        labels[place] = name
            sums[graph(labels)] += sign
        found.append((blocks, dict(sums)))
    return found


def raw_moment(one, other, power):
    """`E T^power` for any two symmetric matrices with at least `2 power` rows."""
    n = one.shape[0]
    graphs = {g for _, sums in patterns(power) for g in sums}
    values = [{g: unrestricted(m, g) for g in graphs} for m in (one, other)]
    total = 0.0
    for blocks, sums in patterns(power):
        a, b = (sum(sign * value[g] for g, sign in sums.items()) for value in values)
        total += a * b / math.perm(n, blocks)
    return total


def by_patterns(one, other):
    """Mean, standard deviation and skewness of `T`, from matrices without their traces for the sake of digits."""
    n = one.shape[0]
    center = np.eye(n) - 1 / n
    mean = raw_moment(one, other, 1)
    one, other = (m - np.trace(m) / (n - 1) * center for m in (one, other))
    variance, third = (raw_moment(one, other, p) for p in (2, 3))
    return mean, np.sqrt(variance), third / variance**1.5
