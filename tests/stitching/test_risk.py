"""Risks of stitched models, against sums in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jaxalign.stitching import Affine, LinearStitch, least_squares, linear_stitching_risk, stitching_error, zero_one

RNG = np.random.default_rng(0)
N, P, Q, T = 24, 5, 4, 3


@pytest.fixture
def problem():
    """Activations, a map, a head as a matrix, numbers and labels as targets."""
    x, kernel, bias = RNG.standard_normal((N, P)), RNG.standard_normal((P, Q)), RNG.standard_normal(Q)
    return x, kernel, bias, RNG.standard_normal((Q, T)), RNG.standard_normal((N, T)), RNG.integers(0, T, N)


def mean_and_error(losses, weights):
    """The weighted mean, and its standard error from the unbiased variance of a weighted mean."""
    weights = weights / weights.sum()
    mean = np.sum(weights * losses)
    return mean, np.sqrt(np.sum(weights**2 * (losses - mean) ** 2) / (1 - np.sum(weights**2)))


@pytest.mark.parametrize("kind", ["squared", "cross-entropy", "zero-one"])
def test_the_definition(problem, x64, kind):
    x, kernel, bias, head, numbers, labels = problem
    dtype, rtol = (jnp.float64, 1e-11) if x64 else (jnp.float32, 1e-4)
    outputs = (x @ kernel + bias) @ head
    log = outputs - np.log(np.exp(outputs).sum(1, keepdims=True))
    losses = {
        "squared": np.sum((outputs - numbers) ** 2, axis=1),
        "cross-entropy": -log[np.arange(N), labels],
        "zero-one": (outputs.argmax(1) != labels).astype(float),
    }[kind]
    targets = jnp.asarray(numbers, dtype) if kind == "squared" else jnp.asarray(labels)
    stitch = LinearStitch.of(jnp.asarray(kernel, dtype), jnp.asarray(bias, dtype))
    matrix, weights = jnp.asarray(head, dtype), RNG.uniform(0.2, 1, N)
    args = (jnp.asarray(x, dtype), lambda z: z @ matrix, targets)
    loss = zero_one if kind == "zero-one" else None
    for given, expected in ((None, np.ones(N)), (jnp.asarray(weights, dtype), weights)):
        risk = stitching_error(*args, stitch=stitch, loss=loss, weights=given)
        np.testing.assert_allclose([risk.value, risk.standard_error], mean_and_error(losses, expected), rtol=rtol)
        assert float(risk) == float(risk.value)
        assert risk.value.dtype == dtype
    equal = stitching_error(*args, stitch=stitch, loss=loss)
    np.testing.assert_allclose(equal.standard_error, losses.std(ddof=1) / np.sqrt(N), rtol=rtol)
    np.testing.assert_allclose(equal.examples, N, rtol=1e-6)


@pytest.mark.slow
def test_golden_value_of_the_regression_stitch(float64):
    """Oracle O1 of the specification: T0, the risk of the least squares map under the head."""
    z1 = jnp.asarray([[1.0, 0], [0, 1], [2, 1], [-1, 1], [0, -2]])
    z2 = jnp.asarray([[1.0, 1, 0], [0, 2, 1], [3, 1, -1], [-1, 0, 2], [0, -1, 1]])
    y, head = jnp.asarray([[1.0], [0], [2], [-1], [1]]), jnp.asarray([[1.0], [-1], [0.5]])
    stitch = least_squares(z1.astype(float), z2, affine=False)
    np.testing.assert_allclose(
        stitching_error(z1, lambda z: z @ head, y, stitch=stitch).value, 0.448780487805, atol=1e-12
    )
    intact = stitching_error(z2, lambda z: z @ head, y, stitch=lambda z: z)
    np.testing.assert_allclose(intact.value, 0.95, atol=1e-12)


@pytest.mark.slow
def test_heads_and_maps_of_every_kind_agree(problem):
    x, kernel, bias, head, _, labels = problem
    x, kernel, bias, head = (jnp.asarray(a, jnp.float32) for a in (x, kernel, bias, head))
    expected = stitching_error(x, lambda z: z @ head, labels, stitch=lambda x: x @ kernel + bias[None, :])
    layer = nnx.Linear(Q, T, use_bias=False, rngs=nnx.Rngs(0))
    layer.kernel[...] = head
    module = Affine(P, Q, rngs=nnx.Rngs(0))
    module.kernel[...], module.bias[...] = kernel, bias
    heads = layer, (linen.Dense(T, use_bias=False), {"params": {"kernel": head}}), jax.tree_util.Partial(_times, head)
    for one in heads:
        for stitch in (module, LinearStitch.of(kernel, bias)):
            risk = stitching_error(x, one, labels, stitch=stitch)
            np.testing.assert_allclose(risk.value, expected.value, rtol=1e-5)


def _times(head, z):
    return z @ head


@pytest.mark.slow
def test_tokens_with_a_label_each():
    x, kernel = jnp.asarray(RNG.standard_normal((6, 4, P))), jnp.asarray(RNG.standard_normal((P, T)))
    labels = RNG.integers(0, T, (6, 4))
    stitch = LinearStitch.of(kernel, jnp.zeros(T, kernel.dtype))
    risk = stitching_error(x, lambda z: z, labels, stitch=stitch, loss=zero_one)
    wrong = (np.asarray(x) @ np.asarray(kernel)).argmax(-1) != labels
    np.testing.assert_allclose(risk.value, wrong.mean(), rtol=1e-6)
    assert float(risk.examples) == pytest.approx(6)


@pytest.mark.slow
def test_a_mask_is_a_subset_and_padding_has_no_gradient(problem, x64):
    x, kernel, _, head, numbers, _ = problem
    dtype = jnp.float64 if x64 else jnp.float32
    mask = RNG.uniform(size=N) < 0.6
    stitch = LinearStitch.of(jnp.asarray(kernel, dtype), jnp.zeros(Q, dtype))
    matrix = jnp.asarray(head, dtype)

    def normalized(z):  # NaN for rows of 0
        return (z / jnp.linalg.norm(z, axis=1, keepdims=True)) @ matrix

    padded = [jnp.asarray(np.where(mask[:, None], a, np.nan), dtype) for a in (x, numbers)]
    result = stitching_error(padded[0], normalized, padded[1], stitch=stitch, mask=mask)
    expected = stitching_error(
        jnp.asarray(x[mask], dtype), normalized, jnp.asarray(numbers[mask], dtype), stitch=stitch
    )
    np.testing.assert_allclose(result.value, expected.value, rtol=1e-5)
    np.testing.assert_allclose(result.standard_error, expected.standard_error, rtol=1e-5)

    def value(x, stitch):
        return stitching_error(x, normalized, padded[1], stitch=stitch, mask=mask).value

    by_row, by_stitch = jax.jit(jax.grad(value, (0, 1), allow_int=True))(padded[0], stitch)
    assert np.isfinite(by_row).all()
    assert not np.asarray(by_row)[~mask].any()
    assert np.abs(np.asarray(by_row)[mask]).min() > 0
    assert np.abs(by_stitch.kernel).min() > 0


def test_no_map_is_below_the_best_one(problem, float64):
    x, _, _, head, numbers, _ = problem
    matrix = jnp.asarray(head[:, :1] @ np.ones((1, T)))  # of rank 1
    best = linear_stitching_risk(jnp.asarray(x), matrix, jnp.asarray(numbers))
    reached = stitching_error(jnp.asarray(x), lambda z: z @ matrix, jnp.asarray(numbers), stitch=best.stitch)
    np.testing.assert_allclose(reached.value, best.risk, rtol=1e-10)
    for step in RNG.standard_normal((5, P, Q)) * 0.1:
        moved = LinearStitch.of(best.stitch.kernel + jnp.asarray(step), best.stitch.bias)
        assert float(stitching_error(jnp.asarray(x), lambda z: z @ matrix, jnp.asarray(numbers), stitch=moved)) > float(
            best.risk
        )


def test_mistakes_are_named(problem):
    x, kernel, bias, head, _, labels = problem
    x, kernel, bias, head = (jnp.asarray(a, jnp.float32) for a in (x, kernel, bias, head))
    stitch = LinearStitch.of(kernel, bias)
    with pytest.raises(ValueError, match=r"stitching_error: targets must have one row for each of the 24 examples"):
        stitching_error(x, lambda z: z @ head, labels[:-1], stitch=stitch)
    with pytest.raises(ValueError, match=r"stitching_error: head must take stitch, of width 4 "):
        stitching_error(x, lambda z: z @ head.T, labels, stitch=stitch)
    with pytest.raises(TypeError, match=r"stitching_error: stitch must be a map that can be called.*array"):
        stitching_error(x, lambda z: z @ head, labels, stitch=kernel)
    with pytest.raises(TypeError, match=r"stitching_error: head must be a function"):
        stitching_error(x, head, labels, stitch=stitch)
    with pytest.raises(ValueError, match=r"stitching_error: loss must return one value an example, shape \(24,\)"):
        stitching_error(x, lambda z: z @ head, labels, stitch=stitch, loss=lambda o, t: jnp.mean(o))
    with pytest.raises(ValueError, match=r"stitching_error: weights must have shape \(24,\)"):
        stitching_error(x, lambda z: z @ head, labels, stitch=stitch, weights=jnp.ones(3))
