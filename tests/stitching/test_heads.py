"""Heads of every kind are one function, frozen, and share programs when only their parameters differ."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jaxalign.stitching.heads import as_head, head_outputs

Z = jnp.asarray(np.random.default_rng(0).standard_normal((5, 4)), jnp.float32)


class Network(nnx.Module):
    def __init__(self, *, rngs):
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.linear = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, z):
        return self.linear(self.dropout(self.norm(z)))


class LinenNetwork(linen.Module):
    @linen.compact
    def __call__(self, z):
        return linen.Dense(3)(z)


def linen_pair(seed):
    module = LinenNetwork()
    return module, module.init(jax.random.key(seed), Z)


PYTREE = jax.tree_util.Partial(lambda w, z: z @ w)
MAKERS = {
    "nnx": lambda seed: Network(rngs=nnx.Rngs(seed)),
    "linen": linen_pair,
    "pytree": lambda seed: jax.tree_util.Partial(PYTREE.func, jax.random.normal(jax.random.key(seed), (4, 3))),
}


def expected(head, z):
    if isinstance(head, nnx.Module):
        head.eval()
        return head(z)
    return head[0].apply(head[1], z) if isinstance(head, tuple) else head(z)


@pytest.mark.parametrize("kind", MAKERS)
def test_another_head_of_the_same_structure_does_not_compile_again(kind):
    traces = []

    @jax.jit
    def run(head, z):
        traces.append(None)
        return head(z)

    for seed in (0, 1):
        head = MAKERS[kind](seed)
        np.testing.assert_allclose(run(as_head("fit", head), Z), expected(head, Z), rtol=1e-5, atol=1e-6)
    assert len(traces) == 1
    assert jax.tree.leaves(as_head("fit", head))


def test_a_function_is_called():
    head = as_head("fit", jnp.tanh)
    np.testing.assert_array_equal(jax.jit(lambda h, z: h(z))(head, Z), jnp.tanh(Z))
    assert as_head("fit", head) is head


def test_a_module_stays_in_training_mode_and_unchanged():
    module = Network(rngs=nnx.Rngs(0))
    before = jax.tree.map(jnp.copy, nnx.to_pure_dict(nnx.state(module, nnx.BatchStat)))
    head = as_head("fit", module)
    head(Z)
    assert not module.norm.use_running_average
    assert not module.dropout.deterministic
    after = nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))
    assert all(jnp.array_equal(a, b) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))
    np.testing.assert_array_equal(head(Z), head(Z))  # no dropout


@pytest.mark.parametrize("kind", MAKERS)
def test_parameters_have_no_gradient_but_activations_do(kind):
    head = as_head("fit", MAKERS[kind](0))
    floating, structure = jax.tree.flatten(head.parameters)
    weights = [leaf for leaf in floating if jnp.issubdtype(leaf.dtype, jnp.floating)]

    def loss(weights, z):
        rest = iter(weights)
        leaves = [next(rest) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf for leaf in floating]
        return jnp.sum(type(head)(jax.tree.unflatten(structure, leaves), head.apply)(z) ** 2)

    of_weights, of_z = jax.grad(loss, argnums=(0, 1))(weights, Z)
    assert all(not jnp.any(g) for g in of_weights)
    assert jnp.any(of_z != 0)


def test_what_a_head_does_not_take_is_an_error_that_names_widths():
    head = as_head("fit", nnx.Linear(4, 3, rngs=nnx.Rngs(0)))
    assert head_outputs("fit", head, Z, "the module").shape == (5, 3)
    with pytest.raises(ValueError, match=r"fit: head must take what the module gives \(width 7, shape \(5, 7\), float"):
        head_outputs("fit", head, jnp.ones((5, 7)), "the module")
    with pytest.raises(ValueError, match=r"head must return one array of shape \(5, ..., outputs\), got .* \(5,\)"):
        head_outputs("fit", as_head("fit", lambda z: z[:, 0]), Z, "y")
    with pytest.raises(ValueError, match="got a tuple"):
        head_outputs("fit", as_head("fit", lambda z: (z, z)), Z, "y")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (LinenNetwork(), "without variables"),
        (3.0, "head must be a function, an NNX module or a pair .* got float 3.0"),
        (nnx.Linear, "got the class Linear"),
    ],
)
def test_what_is_no_head_is_named(head, message):
    with pytest.raises(TypeError, match=message):
        as_head("fit", head)
