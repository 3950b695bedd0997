"""What moments determine, from the rows themselves and loops over spectra, in NumPy and float64."""

from __future__ import annotations

import numpy as np
from oracles import stitching

#: Two layers, targets and the kernel of a linear head on the second layer.
Z1, Z2, Y = stitching.Z1, stitching.Z2, stitching.Y
W2 = np.array([[1.0], [-1], [0.5]])


def about(x, affine):
    """Rows less their mean, for affine maps."""
    return x - x.mean(axis=0) if affine else x


def residual(x, y, affine):
    """The mean squared length of what of `y` is outside the columns of `x`, taken off twice."""
    x, y = about(x, affine), about(y, affine)
    u, s, _ = np.linalg.svd(x / np.maximum(np.linalg.norm(x, axis=0), 1e-300), full_matrices=False)
    u = u[:, s > 1e-10 * s[0]]
    left = y - u @ (u.T @ y)
    left = left - u @ (u.T @ left)
    return np.sum(left**2) / len(x)


def rotation_errors(x, y, affine):
    """Of the best rotation, and of the best rotation times a number, by its matrix; the narrower layer padded."""
    x, y = about(x, affine), about(y, affine)
    width = max(x.shape[1], y.shape[1])
    x, y = (np.pad(z, ((0, 0), (0, width - z.shape[1]))) for z in (x, y))
    u, s, vt = np.linalg.svd(x.T @ y)
    rotated = x @ u @ vt
    scale = np.sum(s) / np.sum(x**2)
    return [np.sum((f * rotated - y) ** 2) / len(x) for f in (1.0, scale)]


def alignment(x, y, affine):
    """Of `n × n` kernel matrices."""
    k, l = (about(z, affine) @ about(z, affine).T for z in (x, y))
    return np.sum(k * l) / np.sqrt(np.sum(k * k) * np.sum(l * l))


def spectrum(x, affine):
    """Eigenvalues of second moments, descending."""
    return np.linalg.svd(about(x, affine), compute_uv=False) ** 2 / len(x)


def interval(eig1, eig2, aligned):
    """The least and the largest misalignment for two spectra and an alignment, one row at a time (8.4)."""
    eig1, eig2 = np.sort(eig1)[::-1], np.sort(eig2)[::-1]
    total, rows = aligned * np.linalg.norm(eig1) * np.linalg.norm(eig2), min(len(eig1), len(eig2))

    def filled(order):
        rest, explained = total, 0.0
        for one, two in zip(order[:rows], eig2[:rows], strict=True):
            taken = min(rest, one * two)
            explained += taken / one
            rest -= taken
        return explained, rest

    least, _ = filled(eig1)
    most, rest = filled(eig1[::-1])
    most = np.sum(eig2[:rows]) if rest > 0 else most
    return np.sum(eig2) - most, np.sum(eig2) - least


def head_risks(x, z2, head, bias, y, affine):
    """Least risk under a head by least squares over every entry of the map; and the risks beside it."""
    n, y = len(x), y - bias
    ones = np.ones((n, int(affine)))
    design, own = np.hstack([x, ones]), np.hstack([z2, ones])
    long = np.kron(design, head.T)
    best = np.linalg.lstsq(long, y.ravel(), rcond=1e-11)[0]
    to_layer = design @ np.linalg.lstsq(design, z2, rcond=1e-11)[0]
    probe = design @ np.linalg.lstsq(design, y, rcond=1e-11)[0]
    own_probe = own @ np.linalg.lstsq(own, y, rcond=1e-11)[0]
    return {
        "risk": np.sum((long @ best - y.ravel()) ** 2) / n,
        "probe_risk": np.sum((probe - y) ** 2) / n,
        "head_risk": np.sum((z2 @ head - y) ** 2) / n,
        "best_head_risk": np.sum((own_probe - y) ** 2) / n,
        "stitched_risk": np.sum((to_layer @ head - y) ** 2) / n,
        "misalignment": np.sum((to_layer @ head - z2 @ head) ** 2) / n,
    }
