"""Measures of one representation: definitions, bounds, masks, gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from scipy.spatial.distance import pdist

from jaxalign import effective_rank, participation_ratio, uniformity

X = CASES["A"][0]


def definitions(x):
    spectrum = np.linalg.eigvalsh(np.cov(x.T))
    shares = np.linalg.svd(x, compute_uv=False)
    shares = shares / shares.sum()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return {
        participation_ratio: spectrum.sum() ** 2 / np.sum(spectrum**2),
        effective_rank: np.exp(-np.sum(shares * np.log(shares))),
        uniformity: np.log(np.mean(np.exp(-2 * pdist(unit, "sqeuclidean")))),
    }


def test_values_equal_the_definitions(x64):
    for x in (X, X.T, X + 5, 1e-6 * X):
        for function, value in definitions(x).items():
            if function is effective_rank and x.shape == (64, 16):
                assert value < 16
            found = float(function(jnp.asarray(x, float)))
            assert found == pytest.approx(value, rel=1e-10 if x64 else 2e-5), function.__name__


def test_known_values():
    assert float(participation_ratio(jnp.eye(5))) == pytest.approx(4, rel=1e-6)
    assert float(effective_rank(jnp.eye(5))) == pytest.approx(5, rel=1e-6)
    assert float(effective_rank(jnp.ones((5, 3)))) == pytest.approx(1, rel=1e-5)
    assert float(uniformity(jnp.ones((5, 3)))) == 0
    assert np.isnan(participation_ratio(jnp.ones((5, 3))))
    assert np.isnan(effective_rank(jnp.zeros((5, 3))))
    assert np.isnan(uniformity(jnp.ones((1, 3))))


def test_masked_rows_do_not_count():
    mask = np.arange(64) % 3 != 1
    padded = np.where(mask[:, None], X, np.nan).astype(np.float32)
    for function in definitions(X):
        kept = float(function(X[mask].astype(np.float32)))
        assert float(function(padded, mask=mask)) == pytest.approx(kept, rel=1e-5), function.__name__


@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences():
    direction = np.random.default_rng(0).standard_normal(X.shape)
    for function in definitions(X):
        slope = (function(X + 1e-6 * direction) - function(X - 1e-6 * direction)) / 2e-6
        gradient = jax.grad(lambda x, f=function: f(x))(X)
        assert float(jnp.sum(gradient * direction)) == pytest.approx(float(slope), rel=1e-6), function.__name__


def test_wrong_input_is_named():
    for function in definitions(X):
        with pytest.raises(ValueError, match=f"{function.__name__}: x must have shape"):
            function(jnp.ones(3))
