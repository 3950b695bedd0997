"""Predictivity of rows not seen: definition, scikit-learn, masks, gradients, mistakes."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from oracles import held_out as oracle

from jaxalign.alignment.regression import linear_predictivity
from jaxalign.measures.linear import linear_predictivity as measure

RIDGES = (1e-3, 0.1, 1.0, 10.0, 1e3)
OPTIONS = {
    "least squares": {"folds": 3},
    "ridge": {"folds": 3, "ridge": 0.3},
    "ridges": {"folds": 3, "ridge": RIDGES},
    "ridges in sample": {"ridge": RIDGES},
}
X, Y = CASES["A"]
X, Y = X[:35, :6], Y[:35, :4]
#: Fewer rows than features.
WIDE, WIDE_Y = CASES["B"]
WIDE, WIDE_Y = WIDE[:35, :50], WIDE_Y[:35, :4]
MASK = np.arange(35) % 5 != 2


@jax.jit
def everything(x, y, mask=None):
    return {name: linear_predictivity(x, y, mask=mask, **options) for name, options in OPTIONS.items()}


def padded(x, y):
    """With NaN in the rows that do not count."""
    return (*(np.where(MASK[:, None], v, np.nan) for v in (x, y)), MASK)


def test_values_equal_the_definition(x64):
    """In float64 of masked inputs, which are the subset."""
    if not x64:
        found, x, y = everything(X.astype(np.float32), Y.astype(np.float32)), X, Y
    else:
        found, x, y = everything(*padded(X, Y)), X[MASK], Y[MASK]
    for name, options in OPTIONS.items():
        expected = oracle.linear_predictivity(x, y, **options)
        assert float(found[name]) == pytest.approx(expected, abs=1e-10 if x64 else 5e-6), name


def test_ridges_are_chosen_in_different_places():
    """The cases above try the choice: it is neither the first nor the last, and not always the same."""
    assert {oracle.chosen(x, y, RIDGES) for x, y in ((X, Y), (WIDE, WIDE_Y))} == {0.1, 1.0}


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_values_of_scikit_learn():
    """Also with fewer rows than features. Ours get masked inputs, theirs the subset."""
    from sklearn.linear_model import LinearRegression, Ridge, RidgeCV

    folds = 3
    fold = np.arange(MASK.sum()) % folds
    for every_x, every_y in ((X, Y), (WIDE, WIDE_Y)):
        values, x, y = everything(*padded(every_x, every_y)), every_x[MASK], every_y[MASK]
        for name, model in {
            "least squares": lambda m: LinearRegression(),
            "ridge": lambda m: Ridge(alpha=0.3 * m),
            "ridges": lambda m: RidgeCV(alphas=np.array(RIDGES) * m),
        }.items():
            missed = total = 0.0
            for k in range(folds):
                train, test = fold != k, fold == k
                found = model(train.sum()).fit(x[train], y[train]).predict(x[test])
                missed += np.sum((y[test] - found) ** 2)
                total += np.sum((y[test] - y[train].mean(axis=0)) ** 2)
            assert float(values[name]) == pytest.approx(1 - missed / total, abs=1e-10), name


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences():
    """Also of the ridge, of a feature that varies on held-out rows only, and beyond the span of few rows."""
    still = X.copy()
    still[np.arange(35) % 3 != 0, 1] = 3.0

    def total(x, still, wide, y, ridge):
        return jnp.stack(
            [
                linear_predictivity(x, y, mask=MASK, **OPTIONS["ridges"]),
                linear_predictivity(still, y, folds=3, ridge=ridge),
                linear_predictivity(wide, y, folds=2),
            ]
        )

    inputs = (X, still, WIDE, Y, np.asarray(0.3))
    directions = tuple(np.asarray(np.random.default_rng(i).standard_normal(v.shape)) for i, v in enumerate(inputs))
    _, tangents = jax.jit(lambda *inputs: jax.jvp(total, inputs, directions))(*inputs)
    step = 1e-6
    ahead, behind = (
        jax.jit(total)(*(v + h * d for v, d in zip(inputs, directions, strict=True))) for h in (step, -step)
    )
    np.testing.assert_allclose(tangents, (ahead - behind) / (2 * step), rtol=1e-5)


@pytest.mark.slow
def test_gradients_are_finite_where_singular_values_coincide_and_zero_on_padding():
    directions = np.linalg.qr(np.column_stack([np.ones(28), np.random.default_rng(0).standard_normal((28, 3))]))[0]
    x, y = np.full((35, 6), np.nan, np.float32), np.full((35, 3), np.nan, np.float32)
    x[MASK], y[MASK] = np.repeat(directions[:, 1:], 2, axis=1), directions[:, 1:] ** 2  # every singular value thrice

    def score(x, y):
        return linear_predictivity(x, y, mask=MASK, **OPTIONS["ridges in sample"])

    for gradient in jax.jit(jax.grad(score, (0, 1)))(x, y):
        assert np.all(np.isfinite(gradient))
        assert np.any(np.asarray(gradient)[MASK])
        assert not np.any(np.asarray(gradient)[~MASK])


@pytest.mark.slow
def test_what_is_exact_is_found_and_what_is_not_there_costs():
    noise = np.random.default_rng(5).standard_normal((35, 4)).astype(np.float32)
    x = X.astype(np.float32)
    exact, none = everything(x, x[:, :4] @ noise[:4] + 7), everything(x, noise)
    assert float(exact["least squares"]) == pytest.approx(1, abs=1e-6)
    assert float(none["least squares"]) < float(none["ridges"]) < 0.05 < float(none["ridges in sample"]) + 0.05


def test_undefined_is_nan_and_warns_of_nothing():
    x, y = X.astype(np.float32), Y.astype(np.float32)
    bad = x.copy()
    bad[3, 4] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for inputs in ((np.ones_like(x), y), (x, np.ones_like(y)), (bad, y)):
            for name, value in everything(*inputs).items():
                assert np.isnan(value), name


@pytest.mark.parametrize("size", [1e-15, 1e15])
def test_any_units_will_do(size):
    x, y = X.astype(np.float32), Y.astype(np.float32)
    small = np.float32(size)
    for options in ({"folds": 3}, {"folds": 3, "ridge": 0.3}):
        scaled = {**options, "ridge": float(options["ridge"] * small * small)} if "ridge" in options else options
        found, expected = linear_predictivity(x * small, y * small, **scaled), linear_predictivity(x, y, **options)
        assert float(found) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.slow
def test_a_matrix_is_the_loop_over_pairs():
    layers = [v.astype(np.float32) for v in (X, Y, WIDE)]
    for options in OPTIONS.values():
        found = measure(**options).matrix(layers, mask=MASK)
        expected = [
            [oracle.linear_predictivity(x[MASK], y[MASK], **options) for y in (X, Y, WIDE)] for x in (X, Y, WIDE)
        ]
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_what_is_said_of_the_measure():
    assert measure(folds=4).definition == "linear_predictivity[ridge=0.0,folds=4]"
    assert measure(ridge=(0.1, 1.0), folds=4).definition == "linear_predictivity[ridge=0.1 or 1.0,folds=4]"
    assert measure(folds=4).bounds == (-np.inf, 1)
    assert measure().needs_more_examples
    assert not measure(folds=4).needs_more_examples
    assert jax.tree.leaves(measure(ridge=(0.1, 1.0), folds=4)) == [0.1, 1.0]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"folds": 1}, ValueError, "folds must be at least 2, got 1"),
        ({"folds": 2.5}, TypeError, "folds must be an integer"),
        ({"folds": 36}, ValueError, r"folds must be at most the rows \(35\), got 36"),
        ({"ridge": ()}, ValueError, "ridge must hold at least one number"),
        ({"ridge": (0.0, 1.0)}, ValueError, "ridges to choose from must be positive"),
        ({"ridge": (0.1, -1.0), "folds": 2}, ValueError, "ridge must be at least 0, got -1.0"),
        ({"ridge": "auto", "folds": 2}, TypeError, "ridge must be a number"),
        ({"ridge": np.ones(2)}, ValueError, "ridge must be one number"),
    ],
)
def test_mistakes_are_named(options, error, says):
    with pytest.raises(error, match=f"linear_predictivity: {says}"):
        linear_predictivity(X, Y, **options)


def test_small_features_count_beside_large_ones():
    """Without a ridge the units of features do not matter, in float32 either."""
    g = np.random.default_rng(0)
    x = g.standard_normal((100, 7)).astype(np.float32)
    y = (x @ g.standard_normal((7, 8)) + 0.5 * g.standard_normal((100, 8))).astype(np.float32)
    units = np.float32(10.0) ** np.linspace(-4, 4, 7, dtype=np.float32)
    one = float(linear_predictivity(x, y, folds=5))
    assert one > 0.8
    assert float(linear_predictivity(x * units, y, folds=5)) == pytest.approx(one, abs=1e-5)
