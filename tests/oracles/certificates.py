"""Misalignment, its range and bounds on stitching risk, written from the definitions in NumPy float64."""

from __future__ import annotations

import numpy as np

# Oracle O1 of the specification: five rows, all moments small fractions.
Z1 = np.array([[1.0, 0], [0, 1], [2, 1], [-1, 1], [0, -2]])
Z2 = np.array([[1.0, 1, 0], [0, 2, 1], [3, 1, -1], [-1, 0, 2], [0, -1, 1]])
Y = np.array([[1.0], [0], [2], [-1], [1]])
W2 = np.array([[1.0], [-1], [0.5]])


def moments(z1, z2, *, center=False, weights=None):
    """Second moments of both layers and across, about the weighted mean or 0."""
    weights = np.full(len(z1), 1 / len(z1)) if weights is None else weights / weights.sum()
    if center:
        z1, z2 = z1 - weights @ z1, z2 - weights @ z2
    return (z1.T * weights) @ z1, (z1.T * weights) @ z2, (z2.T * weights) @ z2


def misalignment(z1, z2, *, stitcher="linear", ridge=0.0, rank=None, center=False, weights=None):
    """The closed forms, as differences of traces; for well-conditioned layers only."""
    center = center or stitcher == "affine"
    s11, s12, s22 = moments(z1, z2, center=center, weights=weights)
    if stitcher in ("linear", "affine"):
        return np.trace(s22) - np.trace(s12.T @ np.linalg.pinv(s11) @ s12)
    if stitcher == "ridge":
        kernel = np.linalg.solve(s11 + ridge * np.eye(len(s11)), s12)
        return np.trace(s22) - 2 * np.trace(kernel.T @ s12) + np.trace(kernel.T @ s11 @ kernel)
    if stitcher == "low_rank":
        values, vectors = np.linalg.eigh(s11)
        root = vectors / np.sqrt(values) @ vectors.T
        singular = np.linalg.svd(root @ s12)[1]
        return np.trace(s22) - np.sum(singular[:rank] ** 2)
    nuclear = np.linalg.svd(s12)[1].sum()
    if stitcher == "orthogonal":
        return np.trace(s11) + np.trace(s22) - 2 * nuclear
    if stitcher == "scaled_orthogonal":
        return np.trace(s22) - nuclear**2 / np.trace(s11)
    assert stitcher == "identity"
    return np.trace(s11) + np.trace(s22) - 2 * np.trace(s12)


def spectra_and_alignment(z1, z2, *, center=False):
    """Eigenvalues above rounding, descending, and kernel alignment."""
    s11, s12, s22 = moments(z1, z2, center=center)
    spectra = []
    for s in (s11, s22):
        values = np.sort(np.linalg.eigvalsh(s))[::-1]
        spectra.append(np.where(values > 1e-13 * values[0], values, 0))
    return spectra[0], spectra[1], np.sum(s12**2) / np.linalg.norm(s11) / np.linalg.norm(s22)


def interval(eig1, eig2, alignment):
    """The range of the misalignment, poured in one direction at a time."""
    eig1, eig2 = np.sort(eig1[eig1 > 0])[::-1], np.sort(eig2[eig2 > 0])[::-1]
    budget = alignment * np.linalg.norm(eig1) * np.linalg.norm(eig2)

    def explained(directions):
        left, total = budget, 0.0
        for direction, value in zip(directions, eig2, strict=False):
            if left >= direction * value:
                left -= direction * value
                total += value
            else:
                total += left / direction
                break
        return total

    return eig2.sum() - explained(eig1[::-1]), eig2.sum() - explained(eig1)
