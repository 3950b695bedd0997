"""Persistent homology by the reduction of a boundary matrix, and the complexes of `topology` from their definitions."""

from __future__ import annotations

from itertools import combinations

import numpy as np


def bars(filtration):
    """Bars of dimension 1 of a complex: a dict from simplices (sorted tuples, at most triangles) to when they enter."""
    order = sorted(filtration, key=lambda simplex: (filtration[simplex], len(simplex)))
    place = {simplex: i for i, simplex in enumerate(order)}
    columns, killed, found = {}, {}, []
    for simplex in order:
        column = {place[face] for face in combinations(simplex, len(simplex) - 1)} if len(simplex) > 1 else set()
        while column and max(column) in killed:
            column ^= columns[killed[max(column)]]
        columns[simplex] = column
        if column:
            killed[max(column)] = simplex
    for simplex in order:
        if len(simplex) == 2 and not columns[simplex]:
            death = filtration[killed[place[simplex]]] if place[simplex] in killed else np.inf
            if death > filtration[simplex]:
                found.append((filtration[simplex], death))
    return sorted(found)


def rips(distances):
    """Every simplex enters with its longest edge; edges of infinite length never do."""
    n = len(distances)
    filtration = {(i,): 0.0 for i in range(n)}
    for size in (2, 3):
        for simplex in combinations(range(n), size):
            longest = max(distances[i, j] for i, j in combinations(simplex, 2))
            if np.isfinite(longest):
                filtration[simplex] = longest
    return filtration


def cross_barcode(w, other):
    """The authors' matrix of `2 n + 1` points: `w`, the joint graph, edges between, and a point next to all of `w`."""
    n = len(w)
    upper = np.where(np.tri(n, k=-1, dtype=bool), np.inf, w)
    matrix = np.zeros((2 * n + 1, 2 * n + 1))
    matrix[:n, :n], matrix[n:-1, n:-1] = w, np.minimum(w, other)
    matrix[n:-1, :n], matrix[:n, n:-1] = upper, upper.T
    matrix[-1, n:-1] = matrix[n:-1, -1] = np.inf
    return bars(rips(matrix))


def rtd(x, y):
    distances = [np.linalg.norm(z[:, None] - z[None], axis=2) for z in (x, y)]
    w, v = (d / np.quantile(d, 0.9) for d in distances)
    return sum(death - birth for pair in ((w, v), (v, w)) for birth, death in cross_barcode(*pair)) / 2


def witness(distances, thickest):
    """A simplex enters when a row is nearer to its corners than to others, but for as much, and its faces are in."""
    corners = range(distances.shape[1])
    filtration = {}
    for size in (1, 2, 3):
        for simplex in combinations(corners, size):
            rest = [i for i in corners if i not in simplex]
            lacking = distances[:, list(simplex)].max(axis=1) - distances[:, rest].min(axis=1)
            faces = [filtration.get(face, np.inf) for face in combinations(simplex, size - 1)] if size > 1 else []
            enters = max(0.0, lacking.min(), *faces)
            if enters <= thickest:
                filtration[simplex] = enters
    return filtration


def living_times(distances, gamma, most_holes, steps=20_000):
    """Shares of thicknesses by number of holes, counted at many thicknesses."""
    thickest = gamma * distances.max()
    at = (np.arange(steps) + 0.5) / steps * thickest
    holes = sum((birth <= at) & (at < death) for birth, death in bars(witness(distances, thickest)))
    return np.bincount(holes * np.ones(steps, int), minlength=most_holes)[:most_holes] / steps
