"""A stitch on held-out rows beside models and controls, against float64."""

from __future__ import annotations

import functools
import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxalign.signatures.whitened import UninformativeWarning
from jaxalign.stitching import (
    LinearStitch,
    evaluate_stitch,
    least_squares,
    low_rank,
    orthogonal,
    partial_least_squares,
    permutation,
    ridge,
    ridge_path,
)

RNG = np.random.default_rng(0)
N, P, Q, T = 120, 6, 5, 3
TEST = np.arange(1, N, 3)
FIT = np.setdiff1d(np.arange(N), TEST)
PENALTY = 0.05


def draw(width=Q):
    """Two layers that share most of what they know, a head of the second, and labels it often gets right."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((N, 4))
    x = common @ rng.standard_normal((4, P)) + 0.1 * rng.standard_normal((N, P)) + 1
    y = common @ rng.standard_normal((4, width)) + 0.1 * rng.standard_normal((N, width)) - 2
    head = rng.standard_normal((width, T))
    labels = (y @ head + rng.standard_normal((N, T))).argmax(1)
    return x, y, head, labels


def cross_entropies(logits, labels):
    log = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return -log[np.arange(len(labels)), labels]


def ridge_map(x, y):
    """Ridge regression with a bias, on moments over n."""
    xc, yc = x - x.mean(0), y - y.mean(0)
    kernel = np.linalg.solve(xc.T @ xc / len(x) + PENALTY * np.eye(x.shape[1]), xc.T @ yc / len(x))
    return lambda new: (new - x.mean(0)) @ kernel + y.mean(0)


def evaluate(x, y, head, labels, **options):
    matrix = None if head is None else jnp.asarray(head)
    options = {"stitcher": functools.partial(ridge, penalty=PENALTY), "held_out": TEST, "key": 0} | options
    return evaluate_stitch(
        jnp.asarray(x), jnp.asarray(y), None if matrix is None else lambda z: z @ matrix, labels, **options
    )


def test_every_number_is_its_definition_on_held_out_rows(float64):
    x, y, head, labels = draw()
    source_head = RNG.standard_normal((P, T))
    matrix = jnp.asarray(source_head)
    result = evaluate(x, y, head, labels, source_head=lambda x: x @ matrix)
    mapped = ridge_map(x[FIT], y[FIT])(x[TEST])
    outputs = {"stitched": mapped @ head, "intact target": y[TEST] @ head, "source model": x[TEST] @ source_head}
    mean = np.repeat(y[FIT].mean(0)[None], len(TEST), axis=0)
    outputs["mean"] = mean @ head
    losses = {name: cross_entropies(logits, labels[TEST]) for name, logits in outputs.items()}
    for name, logits in outputs.items():
        numbers = result.models[name].to_dict()
        expected = {
            "risk": losses[name].mean(),
            "standard_error": losses[name].std(ddof=1) / np.sqrt(len(TEST)),
            "accuracy": np.mean(logits.argmax(1) == labels[TEST]),
            "agreement": np.mean(logits.argmax(1) == outputs["intact target"].argmax(1)),
        }
        for key, value in expected.items():
            np.testing.assert_allclose(numbers[key], value, rtol=1e-6, err_msg=f"{name} {key}")
    misalignment = np.mean(np.sum((mapped - y[TEST]) ** 2, axis=1))
    spread = np.mean(np.sum((mean - y[TEST]) ** 2, axis=1))
    np.testing.assert_allclose(result.stitched.misalignment, misalignment, rtol=1e-10)
    np.testing.assert_allclose(result.stitched.r_squared, 1 - misalignment / spread, rtol=1e-10)
    np.testing.assert_allclose(result.controls["mean"].r_squared, 0, atol=1e-12)
    over_intact, over_source = (losses["stitched"] - losses[name] for name in ("intact target", "source model"))
    np.testing.assert_allclose(float(result.excess), over_intact.mean(), rtol=1e-10)
    np.testing.assert_allclose(result.excess.standard_error, over_intact.std(ddof=1) / np.sqrt(len(TEST)), rtol=1e-10)
    np.testing.assert_allclose(float(result.excess_over_source), over_source.mean(), rtol=1e-10)
    np.testing.assert_array_equal(result.held_out_rows, TEST)
    np.testing.assert_array_equal(result.fitted_rows, FIT)
    assert result.accuracy_drop == result.intact.accuracy - result.stitched.accuracy
    probe = ridge_path(jnp.asarray(x[FIT]), jnp.asarray(np.eye(T)[labels[FIT]])).stitch(jnp.asarray(x[TEST]))
    assert result.models["linear probe"] is result.probe
    assert result.probe.accuracy == np.mean(np.argmax(probe, 1) == labels[TEST])


def test_controls_know_nothing_and_are_of_the_right_size(float64):
    x, y, head, labels = draw()
    result = evaluate(x, y, head, labels)
    assert list(result.controls) == ["random map", "shuffled source", "mean"]
    assert result.stitched.r_squared > 0.8
    assert all(control.r_squared < 0.1 for control in result.controls.values())
    assert float(result.stitched.risk) < min(float(control.risk) for control in result.controls.values())
    same = draw(width=P)
    controls = evaluate(*same).controls
    assert next(iter(controls)) == "identity"
    squares = np.sum((same[0] - same[1]) ** 2, axis=1)
    np.testing.assert_allclose(controls["identity"].misalignment, np.mean(squares[TEST]))
    # Independent of the target and as large: the misalignment is twice the variance, on average.
    values = [evaluate(*same, key=key).controls["random map"].r_squared for key in range(8)]
    assert np.mean(values) == pytest.approx(-1, abs=0.5)


def test_excess_can_be_negative(float64):
    """A head on a layer that is noisier than what the source knows of it."""
    x = RNG.standard_normal((N, P))
    y = x + RNG.standard_normal((N, P))
    options = {"stitcher": functools.partial(ridge, penalty=0.0), "source_head": lambda x: x}
    result = evaluate(x, y, np.eye(P), jnp.asarray(x), **options)
    assert float(result.excess) < -1 < 0 < float(result.excess_over_source)
    assert np.isnan(result.stitched.accuracy)
    np.testing.assert_allclose(float(result.probe.risk), 0, atol=1e-6)


def test_without_a_head_the_risk_is_the_misalignment(float64):
    x, y, _, _ = draw()
    result = evaluate(x, y, None, None)
    np.testing.assert_allclose(float(result.stitched.risk), result.stitched.misalignment, rtol=1e-12)
    assert float(result.intact.risk) == 0
    assert result.probe is None


def test_splits_are_by_key_or_given(float64):
    x, y, head, labels = draw()
    one, same, other = (evaluate(x, y, head, labels, held_out=np.float32(1 / 3), key=key) for key in (1, 1, 2))
    assert len(one.held_out_rows) == N // 3
    assert not np.intersect1d(one.fitted_rows, one.held_out_rows).size
    assert str(one) == str(same)
    assert not np.array_equal(one.held_out_rows, other.held_out_rows)
    given = evaluate(x, y, head, labels, held_out=np.isin(np.arange(N), TEST))
    np.testing.assert_array_equal(given.held_out_rows, TEST)
    # Padding in front, half of it held out: what is left is as without.
    padded = [np.concatenate([np.full_like(a[:4], -9), a]) for a in (x, y, labels)]
    padded[0][:4] = np.nan
    masked = evaluate(*padded[:2], head, padded[2], mask=np.arange(N + 4) >= 4, held_out=np.r_[0, 1, TEST + 4])
    np.testing.assert_array_equal(masked.held_out_rows, TEST + 4)
    assert str(masked) == str(given)


@pytest.mark.slow
def test_rows_fitted_on_are_flagged_or_refused():
    x, y, head, labels = (np.asarray(a, np.float32 if a.dtype == float else np.int32) for a in draw())
    few = x[:10], y[:10], head, labels[:10]
    result = evaluate(*few, held_out=0, stitcher=functools.partial(ridge, penalty=100.0))
    assert result.in_sample
    assert result.to_dict()["examples_held_out"] == 0
    assert "so too good" in str(result)
    with pytest.warns(UninformativeWarning), pytest.raises(ValueError, match="held_out must not be 0 for a map with 7"):
        evaluate(*few, held_out=0, stitcher=least_squares)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::jaxalign.signatures.whitened.UninformativeWarning")
def test_rows_fitted_on_are_refused_where_degrees_of_freedom_are_unknown():
    """Two dimensions and a bias for four rows."""
    x, y = (np.asarray(a, np.float32) for a in draw()[:2])
    two = functools.partial(low_rank, rank=2)
    for stitcher, freedom in ((two, 3), (functools.partial(partial_least_squares, components=2), 3), (orthogonal, 4)):
        with pytest.raises(ValueError, match=f"held_out must not be 0 for a map with about {freedom} degrees"):
            evaluate(x[:4], y[:4], None, None, held_out=0, stitcher=stitcher)
    assert evaluate(x[:10], y[:10], None, None, held_out=0, stitcher=two).in_sample
    assert not LinearStitch.of(jnp.eye(2), jnp.zeros(2)).overfit


def test_stitchers_of_other_kinds(float64):
    x, y, head, labels = draw(width=P)
    for stitcher in (functools.partial(orthogonal, scale=True), ridge_path, lambda x, y: lambda new: 0 * new + y[:1]):
        assert np.isfinite(evaluate(x, y, head, labels, stitcher=stitcher).stitched.misalignment)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_narrow_floats_are_matched_with_64_bit_types_on(float64, dtype):
    """Under strict promotion, which optax does not keep to."""
    x = jnp.asarray(RNG.standard_normal((20, 4)), dtype)
    stitch = permutation(x, x[:, ::-1])
    assert stitch.kernel.dtype == jnp.float32
    np.testing.assert_allclose(stitch.kernel, np.eye(4)[::-1], rtol=1e-6)


@pytest.mark.slow
def test_modules_are_judged_as_they_evaluate():
    x, y, head, labels = (np.asarray(a, np.float32 if a.dtype == float else np.int32) for a in draw())
    rngs = nnx.Rngs(0)
    layers = nnx.BatchNorm(P, rngs=rngs), nnx.Dropout(0.5, rngs=rngs), nnx.Linear(P, Q, rngs=rngs)
    module = nnx.Sequential(*layers)
    result = evaluate(x, y, head, labels, stitcher=lambda x, y: module)
    weights, bias = np.asarray(layers[2].kernel[...]), np.asarray(layers[2].bias[...])
    mapped = x[TEST] / np.sqrt(1 + layers[0].epsilon) @ weights + bias  # statistics of nothing: mean 0, variance 1
    np.testing.assert_allclose(result.stitched.misalignment, np.mean(np.sum((mapped - y[TEST]) ** 2, 1)), rtol=1e-5)
    np.testing.assert_allclose(result.stitch(jnp.asarray(x[TEST])), mapped, rtol=1e-4, atol=1e-5)
    assert not layers[0].mean[...].any()  # nor did evaluating change what was fitted
    assert not layers[1].deterministic


@pytest.mark.slow
def test_tokens_and_feature_maps(float64):
    x, y = RNG.standard_normal((12, 4, P)), RNG.standard_normal((12, 4, Q))
    head = RNG.standard_normal((Q, T))
    per_token = evaluate(x, y, head, RNG.integers(0, T, (12, 4)), held_out=0.5)
    assert per_token.probe is not None
    maps = RNG.standard_normal((12, 4, 4, P)), RNG.standard_normal((12, 2, 2, Q))
    pooled = evaluate_stitch(
        *map(jnp.asarray, maps), lambda z: z.mean((1, 2)) @ jnp.asarray(head), RNG.integers(0, T, 12), key=0
    )
    assert pooled.probe is None
    assert np.isfinite(pooled.stitched.misalignment)


def test_it_prints_as_a_table_and_goes_into_json(float64):
    x, y, head, labels = draw()
    result = evaluate(x, y, head, labels)
    lines = str(result).splitlines()
    assert [line.split("  ")[0] for line in lines[1:-1]] == list(result.models)
    assert f"{len(TEST)} held-out examples; excess risk" in lines[-1]
    numbers = json.loads(json.dumps(result.to_dict()))
    assert numbers["models"]["stitched"]["accuracy"] == result.stitched.accuracy
    assert numbers["excess"] == float(result.excess)


def test_labels_are_checked_wherever_they_count(float64):
    x, y, head, labels = draw()
    labels[FIT[0]] = -1
    with pytest.raises(ValueError, match="targets must be labels from 0 to 2, of the 3 outputs of the head, got -1"):
        evaluate(x, y, head, labels)
    padded = [np.concatenate([a[FIT[:1]], a]) for a in (x, y, labels)]
    padded[2][FIT[0] + 1] = 0
    assert evaluate(*padded[:2], head, padded[2], mask=np.arange(N + 1) > 0, held_out=TEST + 1).probe is not None


def test_mistakes_are_named(float64):
    x, y, head, labels = draw()
    cases = {
        "targets must have one row for each of the 120": (x, y, head, labels[:-1], {}),
        "x and y must hold the same examples": (x, y[:-1], head, labels, {}),
        "head must take the target layer, of width 5 ": (x, y, head.T, labels, {}),
        "targets must be labels from 0 to 2, of the 3 outputs of the head, got 3": (x, y, head, labels + 1, {}),
        "head and targets go together": (x, y, head, None, {}),
        "held_out must be at least 0 and below 1": (x, y, head, labels, {"held_out": 1.5}),
        r"held_out must be at least 0 and below 1, .* got 2\.0": (x, y, head, labels, {"held_out": np.float32(2)}),
        "mask must leave at least 2 examples, got 0": (
            x, y, head, labels, {"held_out": 0, "mask": np.zeros(N, bool)}
        ),
        "x must hold at least 2 examples, got 1": (x[:1], y[:1], head, labels[:1], {"held_out": 0}),
        "held_out must leave at least 2": (x, y, head, labels, {"held_out": 0.001}),
        "held_out must be a share, row numbers from 0 to 119": (x, y, head, labels, {"held_out": np.array([120])}),
        r"mask must be boolean of shape \(120,\)": (x, y, head, labels, {"mask": np.ones(3, bool)}),
        r"stitcher must return a map onto the target layer, \(40, 5\)": (
            x, y, head, labels, {"stitcher": lambda x, y: lambda new: new}
        ),
    }  # fmt: skip
    for message, (*arrays, options) in cases.items():
        with pytest.raises(ValueError, match=f"evaluate_stitch: {message}"):
            evaluate(*arrays, **({"held_out": TEST} | options))
    with pytest.raises(TypeError, match=r"evaluate_stitch: stitcher must be a function of x and y that .*, got int"):
        evaluate(x, y, head, labels, stitcher=5)
    with pytest.raises(TypeError, match="stitcher must return a map that can be called"):
        evaluate(x, y, head, labels, stitcher=lambda x, y: x)
