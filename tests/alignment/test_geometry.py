"""Measures of one representation: definitions, other libraries, bounds, masks, gradients."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from oracles import geometry_family as oracle

from jaxalign import effective_rank, participation_ratio, uniformity
from jaxalign.alignment.geometry import concentricity, magnitude
from jaxalign.alignment.intrinsic import intrinsic_dimension

X = CASES["A"][0]
FUNCTIONS = {
    "participation_ratio": (participation_ratio, oracle.participation_ratio),
    "effective_rank": (effective_rank, oracle.effective_rank),
    "uniformity": (uniformity, oracle.uniformity),
    "magnitude": (magnitude, oracle.magnitude),
    "concentricity": (concentricity, oracle.concentricity),
    "intrinsic_dimension": (intrinsic_dimension, oracle.intrinsic_dimension),
    "intrinsic_dimension mle": (
        partial(intrinsic_dimension, method="mle", k=10),
        partial(oracle.intrinsic_dimension, k=10),
    ),
}


@jax.jit
def everything(x, mask=None):
    return {name: function(x, mask=mask) for name, (function, _) in FUNCTIONS.items()}


#: One program for all that is masked, and one for its gradients.
slopes = jax.jit(jax.jacrev(everything))
EVERYONE = np.ones(64, bool)


def test_values_equal_the_definitions(x64):
    for x in (X, X + 5, 1e-25 * X, 1e20 * X, *([X.T] if x64 else [])):
        found = everything(jnp.asarray(x, float))
        for name, (_, definition) in FUNCTIONS.items():
            assert float(found[name]) == pytest.approx(definition(x), rel=1e-10 if x64 else 2e-5), name


@pytest.mark.slow
def test_known_values():
    assert float(participation_ratio(jnp.eye(5))) == pytest.approx(4, rel=1e-6)
    assert float(effective_rank(jnp.eye(5))) == pytest.approx(5, rel=1e-6)
    assert float(magnitude(jnp.eye(4))) == 0.5
    assert float(concentricity(jnp.eye(4))) == pytest.approx(0.5, rel=1e-6)
    same = everything(jnp.ones((64, 16)), EVERYONE)
    assert float(same["effective_rank"]) == pytest.approx(1, rel=1e-5)
    assert float(same["uniformity"]) == pytest.approx(0, abs=1e-6)
    assert float(same["magnitude"]) == pytest.approx(4, rel=1e-6)
    assert float(same["concentricity"]) == pytest.approx(1, rel=1e-6)


def test_undefined_is_nan():
    same = np.ones((64, 16), np.float32)
    constant, origin, without, holes = (
        everything(x, mask)
        for x, mask in (
            (same, EVERYONE),
            (0 * same, EVERYONE),
            (same, ~EVERYONE),
            (np.where(np.arange(64)[:, None] == 3, np.nan, X).astype(np.float32), EVERYONE),
        )
    )
    for name in ("participation_ratio", "intrinsic_dimension", "intrinsic_dimension mle"):
        assert np.isnan(constant[name]), name
    for name in FUNCTIONS:
        assert np.isnan(without[name]), name
        assert np.isnan(holes[name]), name
        assert np.isnan(origin[name]) == (name not in ("uniformity", "magnitude")), name
    # A row of zeros has no direction, nor have rows that cancel.
    assert np.isnan(concentricity(jnp.array([[1.0, 2.0], [0.0, 0.0]])))
    assert np.isnan(concentricity(jnp.array([[1.0, -2.0], [-1.0, 2.0]])))
    assert np.isnan(uniformity(jnp.ones((1, 3))))


@pytest.mark.slow
def test_masked_rows_do_not_count():
    mask = np.arange(64) % 3 != 1
    padded = np.where(mask[:, None], X, np.nan).astype(np.float32)
    found, gradients = everything(padded, mask), slopes(padded, mask)
    for name, (_, definition) in FUNCTIONS.items():
        assert float(found[name]) == pytest.approx(definition(X[mask]), rel=2e-5), name
        assert np.all(np.isfinite(gradients[name])), name
        assert np.all(np.asarray(gradients[name])[~mask] == 0), name
        assert np.any(np.asarray(gradients[name])[mask] != 0), name


@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences():
    direction = np.random.default_rng(0).standard_normal(X.shape)
    _, tangents = jax.jit(lambda x: jax.jvp(everything, (x,), (direction,)))(X)
    ahead, behind = everything(X + 1e-6 * direction), everything(X - 1e-6 * direction)
    for name in FUNCTIONS:
        expected = float(ahead[name] - behind[name]) / 2e-6
        assert float(tangents[name]) == pytest.approx(expected, rel=1e-6, abs=1e-8), name


def test_gradients_are_finite_in_degenerate_places():
    """Repeated rows, a row of zeros, no variation, no mean; a singular value of 0 has none in `effective_rank`."""
    x = X.astype(np.float32)
    x[3], x[5] = x[4], 0
    for rows in (x, np.ones_like(x), np.zeros_like(x), x - x.mean(axis=0)):
        for name, slope in slopes(rows, EVERYONE).items():
            if name != "effective_rank" or rows is x:
                assert np.all(np.isfinite(slope)), name


def test_wrong_input_is_named():
    for name, (function, _) in FUNCTIONS.items():
        with pytest.raises(ValueError, match=f"{name.split()[0]}: x must have shape"):
            function(jnp.ones(3))
    with pytest.raises(ValueError, match="must have more than 2 rows for the distances to 2 neighbors, got 2"):
        intrinsic_dimension(jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="method must be one of 'twonn', 'mle', got 'two'; did you mean 'twonn'"):
        intrinsic_dimension(X, method="two")
    with pytest.raises(ValueError, match="k must be at least 2, got 1"):
        intrinsic_dimension(X, method="mle", k=1)
