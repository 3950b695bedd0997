"""Gromov-Wasserstein distance: alike geometries are near, unlike ones are not; the extra is named."""

from __future__ import annotations

import sys
import warnings

import jax
import numpy as np
import pytest

from jaxalign.alignment.gromov_wasserstein import gromov_wasserstein_distance

pytestmark = pytest.mark.slow  # to import OTT takes a second

G = np.random.default_rng(0)
X = G.standard_normal((14, 3)).astype(np.float32) * np.array([3, 2, 1], np.float32)
Y = G.standard_normal((11, 2)).astype(np.float32)


@pytest.fixture(autouse=True)
def optional_package():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a package that OTT depends on
        pytest.importorskip("ott")


def test_geometries():
    turn = np.linalg.qr(G.standard_normal((3, 3)))[0].astype(np.float32)
    same = 2 * X[G.permutation(14)] @ turn + 1
    near, blurred = (float(gromov_wasserstein_distance(X, same, epsilon=e)) for e in (1e-3, 1e-1))
    far = float(gromov_wasserstein_distance(X, Y, epsilon=1e-3))
    assert near < 0.01 < blurred
    assert near < 0.1 < far
    assert far == pytest.approx(float(gromov_wasserstein_distance(Y, X, epsilon=1e-3)), rel=1e-2)
    assert np.isnan(gromov_wasserstein_distance(X, np.ones_like(Y)))
    gradient = jax.grad(gromov_wasserstein_distance)(X, Y)
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient)


def test_mistakes_are_named(monkeypatch):
    with pytest.raises(ValueError, match="gromov_wasserstein_distance: epsilon must be positive, got 0"):
        gromov_wasserstein_distance(X, Y, epsilon=0)
    with pytest.raises(ValueError, match="gromov_wasserstein_distance: y must have shape"):
        gromov_wasserstein_distance(X, Y[0])
    monkeypatch.setitem(sys.modules, "ott.geometry.geometry", None)
    with pytest.raises(ImportError, match=r"jaxalign\[transport\]"):
        gromov_wasserstein_distance(X, Y, epsilon=0.5)
