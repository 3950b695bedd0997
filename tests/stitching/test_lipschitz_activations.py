"""The table of constants, against slopes on a fine grid."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxalign.stitching.lipschitz import lipschitz_bound
from jaxalign.stitching.lipschitz.activations import CONSTANTS, activation_constant

#: Of one number; slopes are near 1 only far out where it says so.
FUNCTIONS = {
    **{name: getattr(jax.nn, name) for name in CONSTANTS if hasattr(jax.nn, name) and "softmax" not in name},
    "gelu_tanh": partial(jax.nn.gelu, approximate=True),
    "gelu_exact": partial(jax.nn.gelu, approximate=False),
    "abs": jnp.abs,
    "sin": jnp.sin,
    "cos": jnp.cos,
}
del FUNCTIONS["logsumexp"]
SLACK = {"squareplus": 1e-2, "soft_sign": 1e-3}


def test_every_entry_is_tested():
    assert set(FUNCTIONS) | {"softmax", "logsumexp"} == set(CONSTANTS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_not_below_the_steepest_slope_and_near_it(float64, name):
    # Points next to the kinks on either side, none on them.
    x = jnp.concatenate([jnp.linspace(-15, 15, 300_001) + 1e-7, jnp.array([-1e-9, 3 - 1e-9])])
    steepest = float(jnp.max(jnp.abs(jax.vmap(jax.grad(FUNCTIONS[name]))(x))))
    assert steepest <= CONSTANTS[name] * (1 + 1e-15)
    assert steepest >= CONSTANTS[name] * (1 - SLACK.get(name, 1e-5))


@pytest.mark.slow
def test_digits_are_rounded_up(float64):
    """Where the steepest point is smooth, the grid finds the value to nearly all digits of the table."""
    for name, peak in (("gelu", 1.4185040084), ("gelu_exact", 2**0.5), ("silu", 2.3993572806), ("mish", 1.4905712232)):
        x = jnp.linspace(peak - 1e-3, peak + 1e-3, 2001)
        value = float(jnp.max(jax.vmap(jax.grad(FUNCTIONS[name]))(x)))
        assert value <= CONSTANTS[name] < value + 2e-9


@pytest.mark.slow
def test_functions_of_vectors(float64):
    logits = jnp.asarray(np.random.default_rng(0).standard_normal((2000, 5)) * 4)
    for name, function in (("softmax", jax.nn.softmax), ("log_softmax", jax.nn.log_softmax)):
        known = activation_constant("test", name, 5)
        assert known is not None
        constant = known[1]
        norms = np.linalg.norm(np.asarray(jax.vmap(jax.jacobian(function))(logits)), 2, axis=(1, 2))
        assert np.all(norms <= constant)
        steep = jnp.array([0.0, 0, -99, -99, -99]) if name == "softmax" else jnp.array([99.0, 0, 0, 0, 0])
        np.testing.assert_allclose(np.linalg.norm(jax.jacobian(function)(steep), 2), constant, rtol=1e-12)
    gradients = jax.vmap(jax.grad(jax.nn.logsumexp))(logits)
    assert float(jnp.max(jnp.linalg.norm(gradients, axis=1))) <= 1


@pytest.mark.parametrize(
    ("layer", "constant"),
    [
        (jax.nn.relu, 1),
        (nnx.gelu, 1.128993069),
        (partial(nnx.gelu, approximate=False), 1.128904146),
        (partial(jax.nn.leaky_relu, negative_slope=0.2), 1),
        (partial(jax.nn.leaky_relu, negative_slope=-3.0), 3),
        (partial(jax.nn.elu, alpha=2.0), 2),
        (partial(jax.nn.celu, alpha=2.0), 1),
        (partial(jax.nn.softmax, axis=-1), 0.5),
        (jnp.tanh, 1),
        (jax.lax.logistic, 0.25),
        (nnx.swish, 1.099839321),
        ("hard_swish", 1.5),
        (partial(nnx.max_pool, window_shape=(2, 2), strides=(2, 2)), 1),
        (partial(nnx.max_pool, window_shape=(3, 3), strides=(2, 2)), 2),
        (partial(nnx.max_pool, window_shape=(2, 2)), 2),
        (partial(nnx.avg_pool, window_shape=(2, 2), strides=(2, 2)), 0.5),
        (partial(nnx.avg_pool, window_shape=(3, 3), strides=(2, 2)), 2 / 3),
        (partial(nnx.avg_pool, window_shape=(2,), padding="SAME", count_include_pad=False), 2**0.5),
    ],
)
def test_what_is_recognized(layer, constant):
    np.testing.assert_allclose(float(lipschitz_bound([layer])), constant, rtol=1e-6)


@pytest.mark.parametrize("layer", [partial(jax.nn.elu, 2.0), partial(jax.nn.softmax, axis=0), partial(jnp.sum, axis=0)])
def test_what_is_not(layer):
    with pytest.raises(TypeError, match="constant is not known"):
        lipschitz_bound([layer])


def test_pools_are_not_steeper():
    x = np.random.default_rng(0).standard_normal((200, 2, 5, 5, 1)).astype(np.float32)
    before = np.linalg.norm((x[:, 0] - x[:, 1]).reshape(200, -1), axis=1)
    for pool in (nnx.max_pool, nnx.avg_pool):
        for window, strides, padding in (((3, 3), (2, 2), "VALID"), ((2, 2), (1, 1), "SAME"), ((2, 3), (2, 2), "SAME")):
            layer = partial(pool, window_shape=window, strides=strides, padding=padding)
            with jax.numpy_dtype_promotion("standard"):  # Flax's mean divides by an integer
                after = np.asarray(layer(x[:, 0]) - layer(x[:, 1]))
            ratio = np.linalg.norm(after.reshape(200, -1), axis=1) / before
            assert ratio.max() <= float(lipschitz_bound([layer], input_shape=(5, 5, 1)))
