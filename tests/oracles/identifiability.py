"""Comparisons of two models from their definitions, in NumPy and float64, one label, input or subset at a time."""

from __future__ import annotations

import itertools

import numpy as np

#: Embeddings and unembeddings of two models, with the values that are known of them (golden values O1).
F = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1], [2, 1], [1, -1]])
G = np.array([[0.0, 0], [1, 0], [0, 1], [-1, 1], [1, 2]])
F2, G2 = F.copy(), G.copy()
F2[0], F2[3], G2[2], G2[4] = [1, 0.5], [0.5, -1], [0.5, 1], [1, 1]
#: Label pivot, labels, input pivot, inputs.
SETS = {"label_pivot": 0, "labels": [1, 2, 3], "input_pivot": 0, "inputs": [1, 2]}


def log_softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def log_probs(f, g, bias=0.0):
    return log_softmax(f @ g.T + bias)


def std(values):
    return np.std(values, ddof=1)


def llv_terms(p, q, label_pivot, labels, input_pivot, inputs):
    """The entries of all four terms: (rest, pivot) over inputs, (rest, pivot) over labels, psi and phi of both."""

    def entries(columns_p, columns_q, pivot, others):
        rest, pivots, scales = [], [], []
        for j in others:
            s = std(columns_p[j] - columns_p[pivot])
            s2 = std(columns_q[j] - columns_q[pivot])
            rest.append(std(columns_p[j] / s - columns_q[j] / s2))
            pivots.append(std(columns_p[pivot] / s - columns_q[pivot] / s2))
            scales.append((s, s2))
        return np.array(rest), np.array(pivots), np.array(scales)

    return entries(p.T, q.T, label_pivot, labels), entries(p, q, input_pivot, inputs)


def llv(p, q, label_pivot, labels, input_pivot, inputs, weight=1e-5, reduce="max"):
    """The value and the four terms."""
    (rest1, pivot1, psi), (rest2, pivot2, phi) = llv_terms(p, q, label_pivot, labels, input_pivot, inputs)
    over = np.mean if reduce == "mean" else np.max
    t1, t2 = over(np.maximum(rest1, pivot1)), np.max(np.maximum(rest2, pivot2))
    t3, t4 = over(np.abs(psi[:, 0] - psi[:, 1])), over(np.abs(phi[:, 0] - phi[:, 1]))
    terms = np.array([t1, t2, weight * t3, weight * t4])
    return (terms.sum() if reduce == "sum" else terms.max()), np.array([t1, t2, t3, t4])


def best_labels(p, q, leave_out=True):
    """The pivot and the label left out of least first term, going through all in order."""
    c, best = p.shape[1], (np.inf, None, None)
    for k in range(c):
        for left in [j for j in range(c) if j != k] if leave_out else [None]:
            labels = [j for j in range(c) if j not in (k, left)]
            t1 = llv(p, q, k, labels, 0, [1])[1][0]
            if t1 < best[0] - 1e-12:
                best = (t1, k, left)
    return best


def best_inputs(p, q, m):
    """The ordered tuple of inputs of least second term, of all there are."""
    best = (np.inf, None)
    for x0 in range(len(p)):
        for rest in itertools.combinations([i for i in range(len(p)) if i != x0], m):
            (_, _, _), (r, v, _) = llv_terms(p, q, 0, [1], x0, rest)
            value = max(r.max(), v.max())
            if value < best[0] - 1e-12:
                best = (value, (x0, rest))
    return best


def d_svd(x, y):
    """1 minus the mean singular value of the correlation matrix."""

    def units(z):
        z = z - z.mean(axis=0)
        return z / np.linalg.norm(z, axis=0)

    return 1 - np.linalg.svd(units(x).T @ units(y), compute_uv=False).sum() / min(x.shape[1], y.shape[1])


def d_fg(f, g, f2, g2, label_pivot, labels, input_pivot, inputs):
    """Both parts from embeddings and unembeddings, not from probabilities."""
    m = len(inputs)
    of_inputs = []
    for chosen in itertools.combinations(labels, m):
        left, left2 = (np.array([v[j] - v[label_pivot] for j in chosen]).T for v in (g, g2))
        of_inputs.append(d_svd(f @ left, f2 @ left2))
    right, right2 = (np.array([v[i] - v[input_pivot] for i in inputs]).T for v in (f, f2))
    return np.array(of_inputs), d_svd(g @ right, g2 @ right2)


def canonical(x, y):
    """Canonical correlations by QR."""
    bases = [np.linalg.qr(z - z.mean(axis=0))[0] for z in (x, y)]
    return np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)


def kl(p, q):
    return np.mean(np.sum(np.exp(p) * (p - q), axis=1))


def centered(p):
    return p - p.mean(axis=1, keepdims=True)


def d_logit(p, q):
    return np.sqrt(np.mean(np.sum((centered(p) - centered(q)) ** 2, axis=1)))


def d_rep(f, g, f2, g2):
    """The squared distance and the least singular value, over every pivot and subset."""
    c, m = g.shape
    squares, least = [], np.inf
    for pivot in range(c):
        for chosen in itertools.combinations([j for j in range(c) if j != pivot], m):
            left, left2 = (np.array([v[j] - v[pivot] for j in chosen]).T for v in (g, g2))
            a = np.linalg.inv(left.T) @ left2.T
            squares.append(np.mean(np.sum((f - f2 @ a.T) ** 2, axis=1)))
            least = min(least, np.linalg.svd(left, compute_uv=False)[-1])
    return np.mean(squares), least
