"""Activations of submodules: the right arrays under the right names, and a model that stays as it was."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jaxalign.features.intermediates import as_network, intermediates, layer_names

X = jnp.asarray(np.random.default_rng(0).standard_normal((5, 3)), jnp.float32)


class Block(nnx.Module):
    def __init__(self, *, rngs):
        self.linear = nnx.Linear(3, 3, rngs=rngs)

    def __call__(self, x):
        return nnx.relu(self.linear(x))


class Net(nnx.Module):
    """Its blocks run in another order than they are named, one of them twice."""

    def __init__(self, *, rngs):
        self.z = Block(rngs=rngs)
        self.blocks = nnx.List([Block(rngs=rngs) for _ in range(11)])

    def __call__(self, x):
        x = self.z(x)
        for block in self.blocks:
            x = x + block(x)
        return self.z(x)


class LinenBlock(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.relu(linen.Dense(3, name="linear")(x))


class LinenNet(linen.Module):
    def setup(self):
        self.z = LinenBlock()
        self.a = LinenBlock()

    def __call__(self, x):
        return self.z(self.a(self.z(x)))


def numpy_blocks(model):
    """Pre- and post-activations of every call, in order, in float64."""
    found, x = {}, np.asarray(X, np.float64)

    def block(name, b, x, suffix=""):
        pre = x @ np.asarray(b.linear.kernel[...], np.float64) + np.asarray(b.linear.bias[...])
        found[f"{name}.linear{suffix}"], found[f"{name}{suffix}"] = pre, np.maximum(pre, 0)
        return found[f"{name}{suffix}"]

    x = block("z", model.z, x)
    for i, b in enumerate(model.blocks):
        x = x + block(f"blocks.{i}", b, x)
    return block("z", model.z, x, "#2"), found


def test_every_call_has_its_array_in_the_order_of_execution():
    model = Net(rngs=nnx.Rngs(0))
    outputs, found = intermediates(model, X)
    expected_outputs, expected = numpy_blocks(model)
    assert list(found) == list(expected)
    np.testing.assert_allclose(outputs, expected_outputs, rtol=1e-5, atol=1e-5)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


def test_linen_gives_the_same_names_and_numbers():
    module = LinenNet()
    variables = module.init(jax.random.key(1), X)
    outputs, found = intermediates((module, variables), X)
    assert list(found) == ["z.linear", "z", "a.linear", "a", "z.linear#2", "z#2"]
    x = np.asarray(X, np.float64)
    for name in ("z", "a", "z#2"):
        dense = variables["params"][name[0]]["linear"]
        x = np.maximum(x @ np.asarray(dense["kernel"], np.float64) + np.asarray(dense["bias"]), 0)
        np.testing.assert_allclose(found[name], x, rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(outputs, found["z#2"])
    stale = {**variables, "intermediates": {"z": {"__call__": (jnp.zeros(3),)}}}
    np.testing.assert_array_equal(intermediates((module, stale), X)[1]["z"], found["z"])


def test_patterns_choose():
    model = Net(rngs=nnx.Rngs(0))
    names = layer_names(model, X)
    assert names == list(numpy_blocks(model)[1])
    assert layer_names(model, X, layers="blocks.?") == [f"blocks.{i}" for i in range(10)]
    assert layer_names(model, X, layers=["z*", "blocks.1"]) == ["z.linear", "z", "blocks.1", "z.linear#2", "z#2"]
    assert list(intermediates(model, X, layers="z")[1]) == ["z"]


def test_names_cost_nothing():
    model = Net(rngs=nnx.Rngs(0))
    huge = jax.ShapeDtypeStruct((10**12, 3), jnp.float32)
    assert layer_names(model, huge, layers="z*") == ["z.linear", "z", "z.linear#2", "z#2"]


def test_jit_grad_vmap_and_scan_keep_numbers_and_order():
    model = Net(rngs=nnx.Rngs(0))
    graphdef, state = nnx.split(model)
    _, found = intermediates(model, X)

    def run(state, x):
        return intermediates(nnx.merge(graphdef, state), x)[1]

    def same(other):
        assert list(other) == list(found)
        for name in found:
            np.testing.assert_allclose(other[name], found[name], rtol=1e-6, atol=1e-6, err_msg=name)

    same(jax.jit(run)(state, X))
    stacked = jax.jit(jax.vmap(run, in_axes=(None, 0)))(state, X[None])
    same({name: value[0] for name, value in stacked.items()})
    _, scanned = jax.lax.scan(lambda c, x: (c, run(state, x)), None, X[None])
    same({name: value[0] for name, value in scanned.items()})
    gradient = jax.grad(lambda state: jnp.sum(run(state, X)["z"]))(state)
    np.testing.assert_allclose(gradient["z"]["linear"]["bias"][...], (found["z"] > 0).sum(0))
    np.testing.assert_array_equal(gradient["blocks"][0]["linear"]["bias"][...], 0)


class Noisy(nnx.Module):
    def __init__(self, *, rngs):
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.dropout(self.norm(x))


def test_the_model_stays_as_it_was_and_advances_only_where_asked():
    model = Noisy(rngs=nnx.Rngs(0))
    types = [type(m) for _, m in nnx.iter_modules(model)]
    before = jax.tree.map(jnp.copy, nnx.state(model))
    attributes = set(vars(model))
    first, second = (intermediates(model, X)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert int(before["dropout"]["rngs"]["count"][...]) == int(model.dropout.rngs.count[...])
    np.testing.assert_array_equal(before["norm"]["mean"][...], model.norm.mean[...])
    assert types == [type(m) for _, m in nnx.iter_modules(model)]
    assert attributes == set(vars(model))

    network, params, rest = as_network("f", model)
    _, _, advanced = network.run(params, rest, X)
    np.testing.assert_allclose(advanced["norm"]["mean"][...], 0.01 * np.mean(X, 0), rtol=1e-4)
    assert int(advanced["dropout"]["rngs"]["count"][...]) == int(rest["dropout"]["rngs"]["count"][...]) + 1
    outputs, _, kept = network.run(params, rest, X, evaluate=True)
    np.testing.assert_allclose(outputs, X, rtol=1e-4)
    np.testing.assert_array_equal(kept["norm"]["mean"][...], 0)


def test_a_failing_model_stays_as_it_was():
    class Failing(nnx.Module):
        def __init__(self, *, rngs):
            self.block = Block(rngs=rngs)

        def __call__(self, x):
            raise RuntimeError(f"within {type(self.block(x)).__name__}")

    model = Failing(rngs=nnx.Rngs(0))
    with pytest.raises(RuntimeError, match="within"):
        intermediates(model, X)
    assert type(model.block) is Block
    np.testing.assert_array_equal(intermediates(model.block, X)[0], model.block(X))


def test_what_is_inside_a_transformation_is_left_out():
    class Remat(nnx.Module):
        def __init__(self, *, rngs):
            self.a, self.b, self.c = (Block(rngs=rngs) for _ in range(3))

        def __call__(self, x):
            x = jax.checkpoint(lambda x: self.a(x))(x)
            x = nnx.remat(lambda m, x: m(x))(self.b, x)
            return self.c(x)

    model = Remat(rngs=nnx.Rngs(0))
    outputs, found = jax.jit(lambda x: intermediates(model, x))(X)
    assert list(found) == ["c.linear", "c"]
    np.testing.assert_allclose(outputs, model(X), rtol=1e-6)


def test_linen_scan_is_seen_if_it_carries_intermediates():
    class Scanned(linen.Module):
        @linen.compact
        def __call__(self, x):
            def step(block, x, _):
                return block(x), None

            axes = {"params": 0, "intermediates": 0}
            scan = linen.scan(step, variable_axes=axes, split_rngs={"params": True}, length=4)
            return scan(LinenBlock(name="block"), x, None)[0]

    module = Scanned()
    variables = module.init(jax.random.key(0), X)
    outputs, found = intermediates((module, {"params": variables["params"]}), X)
    assert {name: h.shape for name, h in found.items()} == {"block.linear": (4, 5, 3), "block": (4, 5, 3)}
    np.testing.assert_array_equal(found["block"][-1], outputs)


def test_linen_statistics_and_keys():
    class Module(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.BatchNorm(use_running_average=False, name="norm")(x)
            return linen.Dropout(0.5, deterministic=False, name="dropout")(x)

    module = Module()
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    network, params, rest = as_network("f", (module, module.init(keys, X)))
    one, other, again = (network.run(params, rest, X, key=jax.random.key(k))[1]["dropout"] for k in (2, 3, 2))
    np.testing.assert_array_equal(one, again)
    assert np.any(np.asarray(one) != np.asarray(other))
    advanced = network.run(params, rest, X, key=jax.random.key(2))[2]
    np.testing.assert_allclose(advanced["batch_stats"]["norm"]["mean"], 0.01 * np.mean(X, 0), rtol=1e-4)
    kept = network.run(params, rest, X, key=jax.random.key(2), evaluate=True)[2]
    np.testing.assert_array_equal(kept["batch_stats"]["norm"]["mean"], 0)


def test_what_returns_no_single_array_is_no_layer():
    class Two(nnx.Module):
        def __init__(self, *, rngs):
            self.block = Block(rngs=rngs)

        def __call__(self, x):
            return x, self.block(x)

    class Outer(nnx.Module):
        def __init__(self, *, rngs):
            self.two = Two(rngs=rngs)

        def __call__(self, x):
            return self.two(x)[1]

    assert layer_names(Outer(rngs=nnx.Rngs(0)), X) == ["two.block.linear", "two.block"]


@pytest.mark.parametrize(
    ("model", "layers", "error", "message"),
    [
        (
            "net",
            "block.1",
            ValueError,
            r"'block.1' matches none of 'z.linear', .*\(26 in all\); did you mean 'blocks.1",
        ),
        ("net", ["z", "q*"], ValueError, r"intermediates: layers must match .* 'q\*' matches none"),
        ("net", 3, TypeError, "layers must be a pattern of names or a list of them, got int 3"),
        ("net", [], TypeError, "layers must be a pattern of names or a list of them, got list"),
        (LinenNet(), "*", TypeError, r"model is a Linen module without variables; pass \(module, variables\)"),
        (3, "*", TypeError, r"model must be an NNX module or a pair \(Linen module, variables\)"),
        (jnp.sin, "*", ValueError, "the model has no layers: no submodule returns one array"),
    ],
)
def test_mistakes_are_named(model, layers, error, message):
    model = Net(rngs=nnx.Rngs(0)) if model == "net" else model
    with pytest.raises(error, match=message):
        intermediates(model, X, layers=layers)
