"""Every measure of the catalogue in one comparison: what a loop over pairs gives, in its place."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxalign import MEASURES, compare
from jaxalign.measures import kernel_canonical_correlation, linear_predictivity


def layer(seed):
    shared = np.random.default_rng(99).standard_normal((40, 3))
    g = np.random.default_rng(seed)
    return (shared @ g.standard_normal((3, 5)) + g.standard_normal((40, 5)) + 0.3).astype(np.float32)


MODELS = {
    "small": {"one": layer(0)},
    "large": {"one": layer(1), "two": layer(2)},
}
LAYERS = [array for model in MODELS.values() for array in model.values()]


@jax.jit
def everything(x, y):
    return {name: measure(x, y) for name, measure in MEASURES.items()}


@pytest.mark.slow
def test_all_measures_at_once():
    found = compare(MODELS, measures=list(MEASURES.values()), progress=False)
    small, large = MODELS.values()
    across = compare({"small": small}, {"large": large}, measures=list(MEASURES.values()), progress=False)
    pairs = [[everything(x, y) for y in LAYERS] for x in LAYERS]
    for name in MEASURES:
        # Distances of an input to itself are roots of rounding.
        tolerance = 2e-3 if MEASURES[name].metric else 2e-5
        expected = np.array([[float(scores[name]) for scores in row] for row in pairs])
        np.testing.assert_allclose(found.values[name], expected, rtol=2e-5, atol=tolerance, err_msg=name)
        np.testing.assert_allclose(across.values[name], expected[:1, 1:], rtol=2e-5, atol=2e-5, err_msg=name)
        assert found.larger_is_closer[name] == MEASURES[name].larger_is_closer


@pytest.mark.parametrize("measure", [linear_predictivity(ridge=0.1), kernel_canonical_correlation(ridge=0.1)])
def test_settings_are_part_of_the_definition(measure):
    found = compare(MODELS, measures=[measure], progress=False)
    assert "ridge=0.1" in found.definitions[measure.name]
