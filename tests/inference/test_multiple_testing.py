"""Adjusted p-values against SciPy and a plain loop."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import false_discovery_control

from jaxalign.inference.multiple_testing import benjamini_hochberg, holm

PVALUES = np.random.default_rng(0).random((3, 5)) ** 2
PVALUES[1, 2] = PVALUES[0, 4]  # a tie


def holm_by_steps(pvalues):
    flat = pvalues.ravel()
    adjusted, largest = np.empty_like(flat), 0.0
    for step, place in enumerate(np.argsort(flat)):
        largest = max(largest, min(1.0, (len(flat) - step) * flat[place]))
        adjusted[place] = largest
    return adjusted.reshape(pvalues.shape)


def false_discoveries(pvalues):
    return false_discovery_control(pvalues.ravel()).reshape(pvalues.shape)


CASES = pytest.mark.parametrize(("adjust", "oracle"), [(benjamini_hochberg, false_discoveries), (holm, holm_by_steps)])


@CASES
def test_values(adjust, oracle, x64):
    found = adjust(jnp.asarray(PVALUES, float))
    assert found.dtype == (jnp.float64 if x64 else jnp.float32)
    np.testing.assert_allclose(found, oracle(PVALUES), rtol=1e-12 if x64 else 1e-6)


@CASES
def test_tests_that_were_not_made_do_not_count(adjust, oracle):
    holed = np.insert(PVALUES.ravel(), [0, 4, 15], [np.nan, 1.5, -0.5]).astype(np.float32)
    found = np.asarray(adjust(holed))
    inside = (holed >= 0) & (holed <= 1)
    assert np.all(np.isnan(found[~inside]))
    np.testing.assert_allclose(found[inside], oracle(PVALUES).ravel(), rtol=1e-6)
    assert np.all(np.isnan(adjust(jnp.full((2, 2), jnp.nan))))


@CASES
def test_extremes_and_shapes(adjust, oracle):
    for case in (np.float32(0.3), np.zeros(4, np.float32), np.ones((2, 1), np.float32)):
        assert adjust(case).shape == case.shape
        np.testing.assert_allclose(adjust(case), case)
    assert adjust(jnp.zeros((0, 3))).shape == (0, 3)
    assert jax.jit(lambda p: adjust(p))(jnp.asarray([0.5, 0.01])).shape == (2,)


def test_mistakes_are_named():
    with pytest.raises(TypeError, match="holm: pvalues must be floating point, got array int32"):
        holm(jnp.arange(3))
    with pytest.raises(TypeError, match="benjamini_hochberg: pvalues must be an array"):
        benjamini_hochberg([0.1, 0.2])
