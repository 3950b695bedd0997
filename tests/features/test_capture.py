"""Activations out of models, batch by batch."""

import json
import os
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax.ad_checkpoint import checkpoint_name

from jaxalign import features
from jaxalign.features import FeatureFileError, capture, list_layers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 4)).astype(np.float32)


class Net(nnx.Module):
    """Two layers with what differs between training and evaluation."""

    def __init__(self):
        rngs = nnx.Rngs(0, dropout=1)
        self.first, self.norm = nnx.Linear(4, 6, rngs=rngs), nnx.BatchNorm(6, rngs=rngs)
        self.dropout, self.second = nnx.Dropout(0.5, rngs=rngs), nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        return self.second(self.dropout(jax.nn.relu(self.norm(self.first(x)))))


class Tokens(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.embed, self.block = nnx.Embed(20, 5, rngs=rngs), nnx.Linear(5, 5, rngs=rngs)

    def __call__(self, tokens, attention_mask=None):
        return self.block(self.embed(tokens))


def test_batches_of_an_array_are_what_the_model_makes_of_it():
    net = Net()
    state = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(net, nnx.Not(nnx.RngState))))
    before = np.asarray(nnx.clone(net)(X))  # a copy, in training mode: dropout draws
    found = capture(net, X, batch_size=4, layers=["first", "norm", "second"], ids=np.arange(10))
    assert list(found) == ["first", "norm", "second"]
    np.testing.assert_array_equal(found.ids, np.arange(10))
    after = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(net, nnx.Not(nnx.RngState))))
    jax.tree.map(np.testing.assert_array_equal, state, after)
    np.testing.assert_array_equal(before, np.asarray(nnx.clone(net)(X)))
    net.eval()
    np.testing.assert_allclose(found["second"], net(X), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["first"], net.first(jnp.asarray(X)), rtol=1e-5, atol=1e-6)
    outputs = np.asarray(net(X))
    capture(net, X)
    np.testing.assert_array_equal(outputs, net(X))  # bit by bit


def test_linen_and_functions_give_the_same():
    class Same(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(3, name="out")(jnp.tanh(linen.Dense(6, name="hidden")(x)))

    variables = Same().init(jax.random.key(0), X)
    by_linen = capture((Same(), variables), X, batch_size=3)
    assert list(by_linen) == ["hidden", "out"]

    def function(x):
        p = variables["params"]
        hidden = checkpoint_name(x @ p["hidden"]["kernel"] + p["hidden"]["bias"][None], "hidden")
        return {"out": jnp.tanh(hidden) @ p["out"]["kernel"] + p["out"]["bias"][None]}

    by_function = capture(function, (X[start : start + 5] for start in (0, 5)))
    assert list(by_function) == ["hidden", "out"]
    for name in by_linen:
        np.testing.assert_allclose(by_linen[name], by_function[name], rtol=1e-5, atol=1e-6)


def test_tokens_are_pooled_over_those_that_are_real():
    net = Tokens()
    tokens = RNG.integers(0, 20, size=(6, 7))
    mask = np.arange(7)[None] < np.array([7, 3, 1, 5, 7, 2])[:, None]
    mask[1] = np.arange(7) >= 4  # padding on the left
    batches = [
        {"tokens": tokens[rows], "attention_mask": mask[rows].astype(int), "ids": np.arange(6)[rows]}
        for rows in (slice(0, 4), slice(4, 6))
    ]
    every = np.asarray(net(tokens))
    expected = {
        "mean": [row[m].mean(axis=0) for row, m in zip(every, mask, strict=True)],
        "max": [row[m].max(axis=0) for row, m in zip(every, mask, strict=True)],
        "first": [row[m][0] for row, m in zip(every, mask, strict=True)],
        "last": [row[m][-1] for row, m in zip(every, mask, strict=True)],
        "cls": every[:, 0],
        "flatten": every.reshape(6, -1),
    }
    for pool, rows in expected.items():
        found = capture(net, batches, layers="block", pool=pool, ids="ids")
        np.testing.assert_allclose(found["block"], np.stack(rows), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found.ids, np.arange(6))
    only = capture(lambda z: {"block": net(z)}, batches, inputs="tokens", ids="ids")
    np.testing.assert_allclose(only["block"], np.stack(expected["mean"]), rtol=1e-5, atol=1e-6)
    own = capture(net, batches, layers="block", pool=lambda z, m: jnp.where(m[:, :, None], z, 0).sum(axis=1), ids="ids")
    np.testing.assert_allclose(own["block"], (every * mask[:, :, None]).sum(axis=1), rtol=1e-4, atol=1e-5)


def test_pixels_are_pooled_and_masks_are_for_tokens_only():
    images = RNG.normal(size=(5, 4, 4, 3)).astype(np.float32)
    net = nnx.Sequential(nnx.Conv(3, 2, (3, 3), rngs=nnx.Rngs(0)))
    found = capture(net, images, batch_size=2)
    np.testing.assert_allclose(found["layers.0"], np.asarray(net(images)).mean(axis=(1, 2)), rtol=1e-4, atol=1e-6)
    low = capture(net, images, dtype=jnp.bfloat16, layers="layers.0", pool="max")
    assert low["layers.0"].dtype == jnp.bfloat16
    np.testing.assert_allclose(
        np.float32(low["layers.0"]), np.asarray(net(images)).max(axis=(1, 2)), rtol=0.01, atol=0.01
    )


def test_names_within_calls_are_found_and_those_of_loops_are_not():
    @jax.custom_jvp
    def by_rule(x):
        return checkpoint_name(3 * x, "by rule")

    by_rule.defjvp(lambda primals, tangents: (by_rule(*primals), 3 * tangents[0]))
    inner = jax.jit(lambda x: checkpoint_name(jnp.sin(x), "inner"))

    def function(x):
        x = by_rule(inner(inner(x)))
        x = jax.checkpoint(lambda z: checkpoint_name(2 * z, "again"))(x)
        x, _ = jax.lax.scan(lambda c, _: (checkpoint_name(c + 1, "loop"), None), x, None, length=2)
        return {"out": x, "total": x.sum(), "counts": jnp.arange(10), "other way": x.T}

    found = capture(function, X, batch_size=10)
    assert list(found) == ["inner", "inner#2", "by rule", "again", "out"]  # with a row for each example
    expected = np.sin(np.sin(X))
    np.testing.assert_allclose(found["inner#2"], expected, rtol=1e-6)
    np.testing.assert_allclose(found["by rule"], 3 * expected, rtol=1e-6)
    np.testing.assert_allclose(found["out"], 6 * expected + 2, rtol=1e-5, atol=1e-6)


def test_layers_are_listed_without_computing():
    listed = list_layers(Net(), jax.ShapeDtypeStruct((7, 4), jnp.float32), layers=["*st", "second"])
    assert listed == {"first": ((7, 6), "float32"), "second": ((7, 3), "float32")}


class KilledError(Exception):
    pass


def stopping(array, after, size=2):
    """Batches, until someone pulls the plug."""
    for start in range(0, len(array), size):
        if start // size == after:
            raise KilledError
        yield array[start : start + size]


@pytest.fixture
def calls(monkeypatch):
    """How many batches were computed."""
    from jaxalign.features import runners

    run, count = runners._pooled, []
    monkeypatch.setattr(runners, "_pooled", lambda *a, **k: count.append(1) or run(*a, **k))
    return count


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".zarr"])
def test_a_stopped_capture_goes_on_where_it_was(tmp_path, calls, suffix):
    net, out = Net(), tmp_path / f"model{suffix}"
    whole = capture(net, X, batch_size=2)
    calls.clear()
    with pytest.raises(KilledError):
        capture(net, stopping(X, 3), out=out)
    assert not out.exists()
    assert len(calls) == 3
    found = capture(net, stopping(X, None), out=out, ids=[f"e{i}" for i in range(10)])
    assert len(calls) == 3 + 1 + 2  # the last one again, and those that were missing
    assert os.listdir(tmp_path) == [out.name]
    assert found.source == str(out)
    assert found.ids[3] == "e3"
    for name in whole:
        np.testing.assert_array_equal(found[name], whole[name])
    np.testing.assert_array_equal(features.load(out)["norm"], whole["norm"])


@pytest.mark.parametrize("out", [None, "model.safetensors"])
def test_labels_and_facts_are_kept_beside_the_layers(tmp_path, out):
    batches = [
        {"x": X[i : i + 5], "y": np.arange(i, i + 5) % 3, "name": [f"e{j}" for j in range(i, i + 5)]} for i in (0, 5)
    ]
    path = None if out is None else tmp_path / out
    found = capture(Net(), batches, inputs="x", labels="y", ids="name", facts={"loss": 0.5}, out=path)
    assert found.labels.tolist() == [j % 3 for j in range(10)]
    assert found.ids.tolist() == [f"e{j}" for j in range(10)]
    sizes = [leaf.size for leaf in jax.tree.leaves(nnx.state(Net(), nnx.Param))]
    assert dict(found.facts) == {"model": "Net", "parameters": sum(sizes), "loss": 0.5}
    assert capture(Net(), X, labels=range(10)).labels.tolist() == list(range(10))
    with pytest.raises(ValueError, match=r"labels must have shape \(10,\)"):
        capture(Net(), X, labels=[1, 2])
    with pytest.raises(ValueError, match=r"labels of batch 0 must have shape \(5,\), got \(5, 2\)"):
        capture(Net(), [{"x": X[:5], "y": np.ones((5, 2), int)}], inputs="x", labels="y")


def unfinished(tmp_path, net, after=3):
    with pytest.raises(KilledError):
        capture(net, stopping(X, after), out=tmp_path / "model.npz")
    return tmp_path / ".model.npz.unfinished"


def test_rows_that_are_damaged_or_half_written_are_computed_again(tmp_path, calls):
    net = Net()
    folder = unfinished(tmp_path, net, after=4)
    data = bytearray((folder / "0001.rows").read_bytes())
    data[60] ^= 1  # in the second batch of the second layer
    (folder / "0001.rows").write_bytes(data)
    with (folder / "0000.rows").open("ab") as file:
        file.write(b"half a batch")
    with (folder / "journal.jsonl").open("a") as file:
        file.write('{"rows": 2, "inp')
    calls.clear()
    found = capture(net, X, batch_size=2, out=tmp_path / "model.npz")
    assert len(calls) == 5  # the first one, to compare, and all others
    whole = capture(net, X, batch_size=2)
    for name in whole:
        np.testing.assert_array_equal(found[name], whole[name])


def test_another_model_other_examples_and_other_settings_are_told(tmp_path):
    net = Net()
    unfinished(tmp_path, net)
    out = tmp_path / "model.npz"
    with pytest.raises(FeatureFileError, match=r"model.npz.unfinished: batch 0 is of other examples"):
        capture(net, X + 1, batch_size=2, out=out)
    with pytest.raises(FeatureFileError, match=r"other settings \(dtype\)"):
        capture(net, X, batch_size=2, out=out, dtype=jnp.float16)
    with pytest.raises(FeatureFileError, match=r"other settings \(layers\)"):
        capture(net, X, batch_size=2, out=out, layers="first")
    with pytest.raises(FeatureFileError, match=r"other settings \(channels\)"):
        capture(net, X, batch_size=2, out=out, channels="first")
    other = Net()
    other.first.kernel[...] = other.first.kernel[...].at[0, 0].multiply(1 + 1e-6)
    with pytest.raises(FeatureFileError, match=r"other settings \(model\)"):
        capture(other, X, batch_size=2, out=out)
    lines = (tmp_path / ".model.npz.unfinished" / "journal.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["layers"][0] == "first"
    assert capture(net, X, batch_size=2, out=out).rows == 10  # nothing was lost by any of it


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"layers": "frist"}, ValueError, "did you mean 'first'"),
        ({"batches": []}, ValueError, "batches must hold at least one"),
        ({"batches": 3}, TypeError, "batches must be an array, or an iterable"),
        ({"batches": {"x": X}}, TypeError, "batches must be an array, or an iterable"),
        ({"pool": "mode"}, ValueError, "pool must be"),
        ({"dtype": jnp.int32}, TypeError, "dtype must be float16"),
        ({"dtype": "floot"}, TypeError, "dtype must be a floating type"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"ids": "ids"}, ValueError, "ids names an entry, 'ids', but batch 0 is no mapping"),
        ({"ids": [1, 2]}, ValueError, r"ids must have shape \(10,\)"),
        ({"batches": [{"x": X}], "ids": "id"}, ValueError, "batch 0 has no entry 'id', only 'x'"),
        ({"batches": [(X, X[:3])]}, ValueError, r"one row an example, got shapes \[\(10, 4\), \(3, 4\)\]"),
        (
            {"batches": [{"x": X, "attention_mask": np.eye(10)[:, :9]}], "inputs": "x"},
            ValueError,
            "no real token in row 9",
        ),
        (
            {"batches": [{"x": X, "attention_mask": np.ones(10)}], "inputs": "x"},
            ValueError,
            r"must have shape \(10, tokens\)",
        ),
        ({"model": 3}, TypeError, "model must be an NNX module"),
        ({"out": "model.npy"}, FeatureFileError, "written to .npz, .safetensors or .zarr"),
        ({"out": "nowhere/model.npz"}, FileNotFoundError, "nowhere"),
    ],
)
def test_mistakes_are_named(change, error, message):
    arguments = {"model": Net(), "batches": X, **change}
    with pytest.raises(error, match=message):
        capture(arguments.pop("model"), arguments.pop("batches"), **arguments)


def test_another_function_is_told_by_its_values(tmp_path):
    """Of each feature by itself: one of a thousand times the size must not hide what the others are."""

    def scaled(x, by=1.0):
        return {"h": x * jnp.array([[1000, 1, 1, by]], jnp.float32)}

    folder = unfinished(tmp_path, scaled)
    out = tmp_path / "model.npz"
    with pytest.raises(FeatureFileError, match=r"layer 'h' of batch 2 is not what it was"):
        capture(partial(scaled, by=1.1), X, batch_size=2, out=out)
    assert folder.is_dir()
    assert capture(partial(scaled, by=1.0001), X, batch_size=2, out=out).rows == 10  # as devices may round


def test_channels_may_come_first():
    x = RNG.normal(size=(5, 3, 7)).astype(np.float32)
    x[:, 1] += 5
    tokens = np.arange(7)[None] < np.array([7, 3, 1, 5, 7])[:, None]

    def network(x):
        return {"h": x, "flat": x[:, 0]}

    batch = [{"x": x, "attention_mask": tokens}]
    np.testing.assert_allclose(capture(network, x, channels="first")["h"], x.mean(axis=2), rtol=1e-5)
    np.testing.assert_allclose(capture(network, x, channels="last")["h"], x.mean(axis=1), rtol=1e-5)
    masked = capture(network, batch, inputs="x", channels="first")["h"]
    np.testing.assert_allclose(masked, (x * tokens[:, None]).sum(2) / tokens.sum(1)[:, None], rtol=1e-5)
    np.testing.assert_array_equal(capture(network, x, channels="first")["flat"], x[:, 0])


def test_what_is_told_beside_layers_is_checked_before_anything_is_computed(calls):
    for beside, message in (
        ({"ids": 10 * [1]}, "ids must all be different"),
        ({"ids": 10 * [1.5]}, "ids must be integers or strings"),
        ({"labels": [None] * 10}, "labels must be integers or strings"),
        ({"facts": {"loss": [1.0]}}, "facts must be texts, numbers"),
        ({"labels": np.arange(9)}, r"labels must have shape \(10,\)"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            capture(Net(), X, **beside)
        with pytest.raises((ValueError, TypeError), match=message):
            capture(Net(), [X], **beside)
    assert len(calls) <= 1  # how many rows there are is not known of an iterable
    facts = {"a": np.float32(0.5), "b": jnp.asarray(2), "c": np.array("text"), "d": np.bool_(True)}
    assert dict(capture(lambda x: {"h": x}, X, facts=facts).facts) == {
        "model": "<lambda>",
        "a": 0.5,
        "b": 2,
        "c": "text",
        "d": True,
    }


def test_numbers_that_float16_does_not_have_are_told():
    def network(x):
        return {"h": 70_000 * x}

    with pytest.raises(ValueError, match="layer 'h' has numbers beyond those of float16 in batch 0"):
        capture(network, np.ones((2, 2)), dtype=jnp.float16)
    assert capture(network, np.ones((2, 2)), dtype=jnp.bfloat16)["h"].dtype == jnp.bfloat16


def test_what_is_no_layer_is_not_listed():
    def network(x):
        return {"h": 2 * x, "table": jnp.ones((7, 2)), "count": jnp.arange(4), "one": jnp.ones(())}

    assert list(list_layers(network, np.ones((4, 2)))) == list(capture(network, np.ones((4, 2)))) == ["h"]
    with pytest.raises(ValueError, match="list_layers: the model has no layers: no submodule returns one array"):
        list_layers(lambda x: x, np.ones((4, 2)))


def test_a_pool_of_another_shape_is_told():
    with pytest.raises(ValueError, match=r"pool must return \(10, features\) for layer 'first'"):
        capture(Net(), X, pool=lambda z, mask: z[:3])


def test_a_function_is_captured_as_it_is_now_not_as_it_was_before():
    weights = np.ones((4, 2), np.float32)

    def network(x):
        return {"h": x @ weights}

    x = np.eye(4, dtype=np.float32)
    np.testing.assert_array_equal(capture(network, x)["h"], weights)
    weights = 3 * weights
    np.testing.assert_array_equal(capture(network, x)["h"], weights)


@pytest.mark.parametrize("out", [None, "model.npz"])
def test_layers_of_another_shape_in_a_later_batch_are_an_error(tmp_path, out):
    out = out and tmp_path / out
    tokens = [np.ones((2, length, 3), np.float32) for length in (4, 6)]
    with pytest.raises(ValueError, match=r"layer 'h' must have shape \(2, 12\) in batch 1, .* got \(2, 18\)"):
        capture(lambda x: {"h": x}, tokens, pool="flatten", out=out)
    with pytest.raises(ValueError, match=r"layer 'p' must have shape \(2, 5\) in batch 1, .* got \(4, 5\)"):
        capture(lambda x: {"h": x, "p": jnp.ones((4, 5))}, np.ones((6, 3)), batch_size=4, out=out and f"{out}.npz")


def test_a_stopped_capture_does_not_go_on_with_fewer_batches(tmp_path):
    batches = [np.full((3, 2), i, np.float32) for i in range(4)]

    def stopped():
        yield from batches[:3]
        raise KeyboardInterrupt

    out = tmp_path / "model.npz"
    with pytest.raises(KeyboardInterrupt):
        capture(lambda x: {"h": x}, stopped(), out=out)
    with pytest.raises(FeatureFileError, match="holds 3 batches of an unfinished capture, more than the 2"):
        capture(lambda x: {"h": x}, batches[:2], out=out)
    journal = tmp_path / ".model.npz.unfinished" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    for damaged in ("5\n", "[1]\n", "{}\n"):  # JSON, but no batch
        journal.write_text("".join([*lines[:2], damaged, *lines[3:]]))
        with pytest.raises(KeyboardInterrupt):
            capture(lambda x: {"h": x}, stopped(), out=out)
    np.testing.assert_array_equal(capture(lambda x: {"h": x}, batches, out=out)["h"], np.concatenate(batches))


def test_masks_are_ones_and_zeros():
    tokens = {"x": np.ones((1, 3, 2), np.float32)}
    for mask in ([[0.0, 0.0, -1e9]], [[1.0, 0.0, np.nan]], [[2, 1, 0]]):  # the first is added to scores
        with pytest.raises(ValueError, match="'attention_mask' of batch 0 must be 1 or True for real tokens"):
            capture(lambda x: {"h": x}, [{**tokens, "attention_mask": np.array(mask)}], inputs="x")


def test_float64_needs_the_setting_of_jax():
    with jax.enable_x64(False), pytest.raises(TypeError, match=r"float64 needs .*jax_enable_x64"):
        capture(lambda x: {"h": x}, np.ones((2, 2)), dtype=np.float64)


def test_masks_are_for_layers_with_a_position_for_each_token_and_part_of_the_examples(tmp_path):
    x = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    mask = np.array([[1, 1, 0, 0], [1, 0, 0, 0]])
    batches = [{"x": x, "attention_mask": mask}, {"x": x, "attention_mask": mask}]

    def network(x):
        return {"tokens": x, "fewer": x[:, ::2]}

    found = capture(network, batches, inputs="x")
    np.testing.assert_allclose(found["tokens"][:2], [x[0, :2].mean(0), x[1, 0]])
    np.testing.assert_allclose(found["fewer"][:2], x[:, ::2].mean(1))

    def stopped():
        yield from batches
        raise KeyboardInterrupt

    out = tmp_path / "model.npz"
    with pytest.raises(KeyboardInterrupt):
        capture(network, stopped(), inputs="x", out=out)
    batches[0] = {"x": x, "attention_mask": 1 - mask}
    with pytest.raises(FeatureFileError, match="batch 0 is of other examples"):
        capture(network, batches, inputs="x", out=out)
