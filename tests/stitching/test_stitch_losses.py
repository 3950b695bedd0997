"""Losses against their definitions in float64, and what they refuse."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.stitching import cross_entropy, kl_divergence, squared, zero_one

RNG = np.random.default_rng(0)
SHAPES = [(6, 4), (6, 3, 4)]


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def by_example(values):
    return values.reshape(values.shape[0], -1).sum(1)


@pytest.fixture(params=SHAPES, ids=str)
def arrays(request):
    logits, other = RNG.standard_normal((2, *request.param)) * 3
    return logits, other, RNG.integers(0, 4, request.param[:-1])


def test_losses_are_their_definitions(arrays, x64):
    logits, other, labels = arrays
    dtype, rtol = (jnp.float64, 1e-12) if x64 else (jnp.float32, 1e-5)
    p, q = softmax(other), softmax(logits)
    onehot = np.eye(4)[labels]
    expected = {
        (squared, "other"): by_example((logits - other) ** 2),
        (cross_entropy, "labels"): by_example(-(onehot * np.log(q)).sum(-1)),
        (cross_entropy, "p"): by_example(-(p * np.log(q)).sum(-1)),
        (kl_divergence, "other"): by_example((p * np.log(p / q)).sum(-1)),
        (zero_one, "labels"): by_example(logits.argmax(-1) != labels) / max(1, labels[0].size),
        (zero_one, "p"): by_example(logits.argmax(-1) != p.argmax(-1)) / max(1, labels[0].size),
    }
    targets = {"other": jnp.asarray(other, dtype), "labels": jnp.asarray(labels), "p": jnp.asarray(p, dtype)}
    for (loss, name), value in expected.items():
        result = loss(jnp.asarray(logits, dtype), targets[name])
        assert (result.shape, result.dtype) == ((6,), dtype)
        np.testing.assert_allclose(result, value, rtol=rtol, atol=rtol)


def test_half_precision_is_summed_in_float32():
    spec = jax.ShapeDtypeStruct((5, 3), jnp.bfloat16)
    for loss in (squared, cross_entropy, kl_divergence, zero_one):
        assert jax.eval_shape(loss, spec, spec).dtype == jnp.float32


@pytest.mark.slow
def test_gradients_are_finite_and_a_label_out_of_range_is_not_a_number():
    logits = jnp.asarray([[1e4, 0.0], [0.0, -1e4]])
    for loss, target in ((cross_entropy, jnp.asarray([1, 0])), (kl_divergence, logits), (squared, logits)):
        assert jnp.all(jnp.isfinite(jax.grad(lambda o, f=loss, t=target: jnp.sum(f(o, t)))(logits)))
    np.testing.assert_array_equal(jnp.isnan(cross_entropy(logits, jnp.asarray([-1, 2]))), True)


X = jnp.ones((4, 3))
ERRORS = [
    (squared, jnp.ones((4, 2)), ValueError, r"squared: targets must have the shape of outputs, \(4, 3\), got"),
    (squared, jnp.ones((4, 3), jnp.int32), TypeError, "squared: targets must be floating point"),
    (cross_entropy, jnp.zeros(5, jnp.int32), ValueError, r"labels must have shape \(4,\), one for each prediction"),
    (cross_entropy, jnp.zeros((4, 3), jnp.int32), ValueError, r"labels must have shape \(4,\)"),
    (cross_entropy, jnp.zeros(4), TypeError, r"labels must be integers of shape \(4,\), or floating point"),
    (cross_entropy, jnp.zeros((4, 3), bool), TypeError, "labels must be integers"),
    (cross_entropy, jnp.zeros((4, 2)), ValueError, r"labels must have the shape of outputs, \(4, 3\), got \(4, 2\)"),
    (kl_divergence, jnp.zeros((4, 2)), ValueError, "kl_divergence: reference must have the shape of outputs"),
    (zero_one, jnp.zeros(5, jnp.int32), ValueError, r"zero_one: labels must have shape \(4,\)"),
    (zero_one, "cat", TypeError, "zero_one: labels must be an array"),
]


@pytest.mark.parametrize(("loss", "targets", "error", "message"), ERRORS)
def test_mistakes_are_named(loss, targets, error, message):
    with pytest.raises(error, match=message):
        loss(X, targets)


def test_outputs_need_features():
    with pytest.raises(ValueError, match=r"squared: outputs must have shape \(examples, ..., features\), got"):
        squared(jnp.ones(3), jnp.ones(3))
