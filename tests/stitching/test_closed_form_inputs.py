"""What closed forms of maps take: masks, weights, tokens, feature maps, small types, mistakes; jit and vmap."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.stitching import (
    LinearStitch,
    least_squares,
    low_rank,
    orthogonal,
    partial_least_squares,
    permutation,
    ridge,
    ridge_path,
)

RNG = np.random.default_rng(1)
X = (RNG.normal(size=(24, 4)) + 1).astype(np.float32)
TARGET = (X @ RNG.normal(size=(4, 3)) + 0.3 * RNG.normal(size=(24, 3))).astype(np.float32)

FORMS = {
    "least_squares": least_squares,
    "ridge": partial(ridge, penalty=0.1),
    "ridge_path": lambda x, y, **kwargs: ridge_path(x, y, penalties=(0.1, 1.0), **kwargs).stitch,
    "low_rank": partial(low_rank, rank=2),
    "orthogonal": orthogonal,
    "permutation": permutation,
    "partial_least_squares": partial(partial_least_squares, components=2),
}
#: By default the forms that others are made of; all of them among the slow tests, as each compiles anew.
PLAIN = ("least_squares", "orthogonal")
every_form = pytest.mark.parametrize(
    "form",
    [pytest.param(form, id=name, marks=[] if name in PLAIN else [pytest.mark.slow]) for name, form in FORMS.items()],
)


def assert_same(one: LinearStitch, other: LinearStitch, tolerance: float = 2e-5):
    for name in ("kernel", "bias", "error", "variance", "loo_error", "degrees_of_freedom", "examples"):
        a, b = getattr(one, name), getattr(other, name)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=name)


@every_form
def test_masked_rows_are_absent(form):
    mask = np.arange(30) < 24
    padding = np.full((6, 4), np.nan, np.float32)
    padded = form(np.vstack([X, padding]), np.vstack([TARGET, padding[:, :3]]), mask=mask)
    assert_same(padded, form(X, TARGET))


@every_form
def test_whole_weights_are_repetitions(form):
    counts = np.arange(24) % 3
    repeated = form(np.repeat(X, counts, axis=0), np.repeat(TARGET, counts, axis=0))
    weighted = form(X, TARGET, weights=counts.astype(np.float32) * 1e-30)
    np.testing.assert_allclose(weighted.kernel, repeated.kernel, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(weighted.bias, repeated.bias, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(weighted.error, repeated.error, rtol=1e-3)


@pytest.mark.slow
@every_form
def test_tokens_are_rows(form):
    tokens = form(X.reshape(6, 4, 4), TARGET.reshape(6, 4, 3))
    assert_same(tokens, form(X, TARGET))
    assert tokens(X.reshape(6, 4, 4)).shape == (6, 4, 3)
    real = np.arange(24).reshape(6, 4) % 4 < 3
    masked = form(X.reshape(6, 4, 4), TARGET.reshape(6, 4, 3), mask=real)
    assert_same(masked, form(X, TARGET, mask=real.ravel()))
    examples = np.arange(6) < 4
    masked = form(X.reshape(6, 4, 4), TARGET.reshape(6, 4, 3), mask=examples)
    assert_same(masked, form(X, TARGET, mask=np.arange(24) < 16))


def test_feature_maps_are_resized_to_the_target():
    fine = RNG.normal(size=(5, 8, 8, 3)).astype(np.float32)
    coarse = fine.reshape(5, 4, 2, 4, 2, 3).mean(axis=(2, 4))
    target = coarse @ RNG.normal(size=(3, 2)).astype(np.float32)
    same = least_squares(coarse, target)
    assert same.grid is None
    stitch = least_squares(fine, target)
    assert stitch.grid == (4, 4)
    out = stitch(fine)
    assert out.shape == target.shape
    np.testing.assert_allclose(stitch.error, jnp.mean(jnp.sum((out - target) ** 2, axis=-1)), rtol=1e-4)
    # A constant map stays constant, whatever the grid.
    flat = np.broadcast_to(fine[:, :1, :1], fine.shape)
    np.testing.assert_allclose(stitch(flat), np.broadcast_to(stitch(flat)[:, :1, :1], out.shape), atol=1e-5)
    with pytest.raises(ValueError, match=r"stitch: x must be feature maps .* resizes to \(4, 4\)"):
        stitch(fine[:, 0])


@pytest.mark.slow
@every_form
@pytest.mark.parametrize("dtype", [jnp.bfloat16, pytest.param(jnp.float16, marks=pytest.mark.slow)])
def test_small_types_give_float32(form, dtype):
    x, y = jnp.asarray(X, dtype), jnp.asarray(TARGET, dtype)
    stitch = form(x, y)
    assert_same(stitch, form(x.astype(jnp.float32), y.astype(jnp.float32)))
    assert stitch.kernel.dtype == stitch(x).dtype == jnp.float32


@every_form
@pytest.mark.parametrize("scale", [1e-18, pytest.param(1e15, marks=pytest.mark.slow)])
def test_units_of_any_size(form, scale):
    # In the units of the other input, so that a penalty means the same.
    one = form(X, TARGET * np.float32(scale))
    ratio = 1 if form in (orthogonal, permutation) else scale
    np.testing.assert_allclose(one.kernel / ratio, form(X, TARGET).kernel, rtol=1e-5, atol=1e-6)
    if form is not permutation and form is not orthogonal:
        np.testing.assert_allclose(one.r_squared, form(X, TARGET).r_squared, rtol=1e-5)


def test_small_variation_on_a_large_offset():
    offset = (X + 1e4).astype(np.float32)
    stitch = least_squares(offset, TARGET)
    exact = np.linalg.lstsq(*(z.astype(float) - z.astype(float).mean(axis=0) for z in (offset, TARGET)), rcond=None)[0]
    np.testing.assert_allclose(stitch.kernel, exact, rtol=1e-4)
    # The map itself keeps what its kernel and bias would lose.
    np.testing.assert_allclose(jnp.mean(jnp.sum((stitch(offset) - TARGET) ** 2, axis=1)), stitch.error, rtol=1e-4)


@pytest.mark.slow
@every_form
def test_vmap_and_jit(form):
    stacked = jnp.stack([X, 2 * X + 1])
    both = jax.jit(jax.vmap(lambda x: form(x, TARGET)))(stacked)
    for i in range(2):
        assert_same(jax.tree.map(lambda leaf, i=i: leaf[i], both), form(stacked[i], TARGET), 1e-4)


@every_form
@pytest.mark.parametrize("platform", ["tpu", pytest.param("cuda", marks=pytest.mark.slow)])
def test_lowers_for_accelerators(form, platform):
    exported = jax.export.export(jax.jit(lambda x, y: form(x, y).error), platforms=[platform])
    assert exported(jnp.asarray(X), jnp.asarray(TARGET)).platforms == (platform,)


@every_form
def test_not_a_number_reaches_the_result(form):
    broken = X.copy()
    broken[3, 2] = np.nan
    assert np.isnan(form(broken, TARGET).error)


@pytest.mark.slow
@pytest.mark.parametrize("form", [least_squares, FORMS["ridge"]])
def test_constant_inputs_explain_nothing(form):
    flat = np.full((24, 4), 3, np.float32)
    stitch = form(flat, TARGET)
    np.testing.assert_allclose(stitch.kernel, 0, atol=1e-6)
    np.testing.assert_allclose(stitch.bias, TARGET.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(stitch.r_squared, 0, atol=1e-6)
    assert int(stitch.rank) == 0
    assert np.isnan(form(X, flat[:, :2]).r_squared)


MISTAKES = [
    (lambda: least_squares(X, TARGET[:20]), ValueError, "same examples in the same order, got 24 and 20"),
    (lambda: least_squares(X, TARGET.reshape(6, 4, 3)), ValueError, "of one kind, got rows .* and tokens"),
    (lambda: least_squares(X.reshape(6, 4, 4), TARGET[:18].reshape(6, 3, 3)), ValueError, "same tokens, got 4 and 3"),
    (lambda: least_squares(X[:, 0], TARGET), ValueError, "x must be one of rows"),
    (lambda: least_squares(X.astype(int), TARGET), TypeError, "x must be floating point"),
    (lambda: least_squares(X, TARGET, weights=np.ones(5, np.float32)), ValueError, r"weights must have shape \(24,\)"),
    (lambda: least_squares(X, TARGET, mask=np.ones(24)), TypeError, "mask must be boolean"),
    (lambda: ridge(X, TARGET, penalty=-1.0), ValueError, "ridge: penalty must be at least 0, got -1"),
    (lambda: ridge(X, TARGET, penalty=jnp.asarray(-2.0)), ValueError, "ridge: penalty must be at least 0, got -2"),
    (lambda: ridge(X, TARGET, penalty=np.ones(2)), ValueError, "penalty must be one number"),
    (lambda: ridge(X, TARGET, penalty="much"), TypeError, "penalty must be a number"),
    (lambda: ridge_path(X, TARGET, penalties=(0.1, -0.1)), ValueError, "penalties must be at least 0, got -0.1"),
    (lambda: ridge_path(X, TARGET, penalties=()), ValueError, "a vector of at least one"),
    (lambda: ridge_path(X, TARGET, select="cv"), ValueError, "select must be one of 'gcv', 'loo', got 'cv'"),
    (lambda: low_rank(X, TARGET, rank=0), ValueError, "rank must be at least 1, got 0"),
    (lambda: low_rank(X, TARGET, rank=1.5), TypeError, "rank must be an integer"),
    (lambda: partial_least_squares(X, TARGET, components=0), ValueError, "components must be at least 1"),
    (lambda: least_squares(X, TARGET)(X[:, :2]), ValueError, "x must have 4 features, the last axis"),
]


@pytest.mark.parametrize(("call", "error", "message"), MISTAKES, ids=[message for _, _, message in MISTAKES])
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@every_form
def test_negative_weights_give_not_a_number(form):
    assert np.isnan(form(X, TARGET, weights=np.linspace(-0.1, 1, 24, dtype=np.float32)).error)
