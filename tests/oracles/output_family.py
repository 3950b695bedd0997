"""Outputs of classifiers with the functions of scikit-learn and SciPy."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.metrics import accuracy_score, cohen_kappa_score


def disagreement(x, y):
    return 1 - accuracy_score(x.argmax(axis=1), y.argmax(axis=1))


def cohen_kappa(x, y):
    return cohen_kappa_score(x.argmax(axis=1), y.argmax(axis=1))


def jensen_shannon(x, y):
    return np.mean(jensenshannon(softmax(x, axis=1), softmax(y, axis=1), axis=1) ** 2)


def kl_divergence(x, y):
    return np.mean(entropy(softmax(x, axis=1), softmax(y, axis=1), axis=1))


def accuracy(x, labels):
    return accuracy_score(labels, x.argmax(axis=1))
