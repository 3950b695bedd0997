"""CCA and regression families: definitions, other libraries, relations, rank, masks, gradients, warnings."""

from __future__ import annotations

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from oracles import linear_family as oracle

import jaxalign as ja
from jaxalign import UninformativeWarning

#: Function, settings, definition.
SCORES = {
    "cca": (ja.cca, lambda x, y: oracle.correlations(x, y).mean()),
    "cca squared": (partial(ja.cca, reduce="mean_squared"), lambda x, y: (oracle.correlations(x, y) ** 2).mean()),
    "cca top": (partial(ja.cca, reduce="top"), lambda x, y: oracle.correlations(x, y).max()),
    "cca yanai": (
        partial(ja.cca, reduce="yanai"),
        lambda x, y: (oracle.correlations(x, y) ** 2).sum() / np.sqrt(x.shape[1] * y.shape[1]),
    ),
    "svcca": (ja.svcca, oracle.svcca),
    "svcca 80 %": (partial(ja.svcca, variance=0.8), partial(oracle.svcca, variance=0.8)),
    "svcca rank": (partial(ja.svcca, rank=4), partial(oracle.svcca, rank=4)),
    "pwcca": (ja.pwcca, oracle.pwcca),
    "ridge_cca": (partial(ja.ridge_cca, ridge=0.3), partial(oracle.ridge_cca, ridge=0.3)),
    "linear_predictivity": (ja.linear_predictivity, oracle.linear_predictivity),
    "linear_predictivity ridge": (
        partial(ja.linear_predictivity, ridge=0.3),
        partial(oracle.linear_predictivity, ridge=0.3),
    ),
    "gulp": (ja.gulp, oracle.gulp),
    "gulp ridge": (partial(ja.gulp, ridge=0.3), partial(oracle.gulp, ridge=0.3)),
    "eigenspace_overlap": (ja.eigenspace_overlap, oracle.eigenspace_overlap),
    "pls_svd": (ja.pls_svd, oracle.pls_svd),
}
X, Y = CASES["A"]


@jax.jit
def everything(x, y, mask=None):
    return {name: function(x, y, mask=mask) for name, (function, _) in SCORES.items()}


def test_values_equal_the_definitions(x64):
    check_definitions(X, Y, rel=1e-10 if x64 else 5e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_values_equal_the_definitions_the_other_way_round():
    check_definitions(Y, X, rel=1e-10)


def check_definitions(x, y, rel):
    found = everything(jnp.asarray(x, float), jnp.asarray(y, float))
    for name, (_, definition) in SCORES.items():
        assert float(found[name]) == pytest.approx(definition(x, y), rel=rel), name


@pytest.mark.usefixtures("float64")
def test_reference_values():
    """Case A: plain float64 NumPy, and the libraries that follow the definitions."""
    found = everything(X, Y)
    for name, value in {
        "cca": 0.6814586221067569,
        "cca squared": 0.5159302122370641,
        "cca top": 0.9615219514399711,
        "cca yanai": 0.42125525428887894,
        "svcca": 0.6667410795234125,
        "pwcca": 0.771909740749217,
        "linear_predictivity": 0.5917786034595922,
        "eigenspace_overlap": 0.34483686876020686,
    }.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-10), name
    assert float(found["gulp"]) ** 2 == pytest.approx(23.490233208413947, rel=1e-10)
    assert float(ja.svcca(X, Y, rank=10)) == pytest.approx(0.6474835875870864, rel=1e-10)
    assert float(ja.pwcca(Y, X)) == pytest.approx(0.7565587195816408, rel=1e-10)


@pytest.mark.usefixtures("float64")
def test_where_other_libraries_differ():
    """Case A. What they compute instead, to show where the difference comes from."""
    # ReSi compares a share of the variance with 0.99 times the variance: one component is left.
    assert float(ja.svcca(X, Y, rank=1)) == pytest.approx(0.3236, abs=5e-5)
    # PWCCA in google/svcca, ReSi and RTD 0.7855; anatome 0.7001; platonic-universe 0.6667, its own SVCCA.
    assert float(ja.pwcca(X, Y)) == pytest.approx(0.7719, abs=5e-5)
    assert float(ja.svcca(X, Y)) == pytest.approx(0.6667, abs=5e-5)
    # Eigenspace overlap over the larger number of features is at most n / max(p, q) with few examples.
    x, y = CASES["B"]
    with pytest.warns(UninformativeWarning):
        assert float(ja.eigenspace_overlap(x, y)) == pytest.approx(1)


@pytest.mark.usefixtures("float64")
def test_small_exact_case():
    """Five examples whose spectra are known in closed form."""
    x = np.array([[1, 0], [0, 1], [2, 1], [-1, 1], [0, -2.0]])
    y = np.array([[1, 1, 0], [0, 2, 1], [3, 1, -1], [-1, 0, 2], [0, -1, 1.0]])
    np.testing.assert_allclose(ja.canonical_correlations(x, y), [1, 0.922728872112], atol=1e-11)
    assert float(ja.ridge_cca(x, y, ridge=0.1)) == pytest.approx((0.939221527617 + 0.702074332565) / 2, abs=1e-11)
    assert float(ja.linear_predictivity(x, y)) == pytest.approx(0.886880466472, abs=1e-11)
    assert float(ja.cca(x, y, reduce="mean_squared")) == pytest.approx(0.925714285714, abs=1e-11)


@pytest.mark.usefixtures("float64")
def test_relations_between_measures():
    rho = np.asarray(ja.canonical_correlations(X, Y))
    np.testing.assert_allclose(rho, oracle.correlations(X, Y), atol=1e-12)
    whitened = [ja.preprocess.whiten(v) for v in (X, Y)]
    yanai = float(ja.cca(X, Y, reduce="yanai"))
    assert float(ja.cka(*whitened)) == pytest.approx(yanai)
    assert float(ja.cca(X, Y, reduce="mean_squared")) == pytest.approx(yanai * np.sqrt(24 / 16))
    assert float(ja.gulp(X, Y)) ** 2 == pytest.approx(16 + 24 - 2 * np.sum(rho**2))
    # R² of y from x, by the product of whitened x with y as it is.
    cross = np.linalg.norm(np.asarray(whitened[0]).T @ oracle.centered(Y)) ** 2
    assert float(ja.linear_predictivity(X, Y)) == pytest.approx(cross / 63 / np.linalg.norm(oracle.centered(Y)) ** 2)
    assert float(ja.svcca(X, Y, variance=1.0)) == pytest.approx(float(ja.cca(X, Y)))
    assert float(ja.ridge_cca(X, Y, ridge=1e-12)) == pytest.approx(float(ja.cca(X, Y)))


@pytest.mark.slow
def test_masked_rows_do_not_count():
    mask = np.arange(64) % 4 != 1
    x, y = X[:, :6].astype(np.float32), Y[:, :7].astype(np.float32)
    padded = [np.where(mask[:, None], v, np.float32(np.nan)) for v in (x, y)]
    found = everything(*padded, mask)
    for name, (_, definition) in SCORES.items():
        assert float(found[name]) == pytest.approx(definition(x[mask], y[mask]), rel=2e-5), name


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_units_of_a_feature_do_not_matter(scale):
    """One feature 1e12 times as large as the others, in float32, still spans one direction."""
    x, y = X.astype(np.float32), Y.astype(np.float32)
    units = np.where(np.arange(16) == 3, scale, 1).astype(np.float32)
    for name in ("cca", "linear_predictivity", "gulp"):
        score = getattr(ja, name)
        assert float(score(x * units, y)) == pytest.approx(float(score(x, y)), rel=2e-5), name


@pytest.mark.slow
def test_missing_rank_is_not_made_up():
    """A repeated and a constant feature change no span."""
    x, y = X.astype(np.float32), Y.astype(np.float32)
    more = np.concatenate([x, x[:, :1] * 2, np.full((64, 1), 5, np.float32)], axis=1)
    names = ("cca", "cca squared", "cca yanai", "svcca", "pwcca", "linear_predictivity", "gulp")
    found = jax.jit(lambda x, y: {name: SCORES[name][0](x, y) for name in names})(more, y)
    for name, value in found.items():
        if name not in {"svcca", "pwcca"}:  # which weigh directions by variance
            assert float(value) == pytest.approx(SCORES[name][1](X, Y), rel=2e-5), name
        assert np.isfinite(value), name
    correlations = np.asarray(ja.canonical_correlations(more, y))
    assert correlations.shape == (18,)
    assert np.all(correlations[-2:] < 1e-5)


@pytest.mark.slow
def test_undefined_is_nan():
    x, y = X[:, :6].astype(np.float32), Y[:, :7].astype(np.float32)
    bad = x.copy()
    bad[4, 1] = np.nan
    other = y.copy()
    other[4, 1] = np.nan
    for inputs in ((np.ones_like(x), y), (x, np.ones_like(y)), (bad, y), (x, other)):
        for name, value in everything(*inputs, np.ones(64, bool)).items():
            if name != "eigenspace_overlap" or np.isnan(inputs[0]).any() or np.isnan(inputs[1]).any():
                assert np.isnan(value), name
    assert np.isnan(ja.eigenspace_overlap(np.zeros_like(x), y))


DIFFERENTIABLE = [name for name in SCORES if name != "pwcca"]


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences():
    x, y = X[:20, :4], Y[:20, :5]

    def total(x, y):
        return jnp.stack(list(everything(x, y).values()))

    directions = tuple(np.random.default_rng(i).standard_normal(v.shape) for i, v in enumerate((x, y)))
    both = jax.jit(lambda x, y: jax.jvp(total, (x, y), directions))
    _, tangents = both(x, y)
    step = 1e-6
    ahead, behind = (both(x + h * directions[0], y + h * directions[1])[0] for h in (step, -step))
    np.testing.assert_allclose(tangents, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-8)


@jax.jit
def gradients(x, y):
    return {name: jax.grad(lambda x, y, s=SCORES[name][0]: s(x, y), argnums=(0, 1))(x, y) for name in DIFFERENTIABLE}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zero", "repeated singular values", "duplicate columns", "constant", "with itself"])
def test_gradients_are_finite_where_decompositions_are_not_unique(kind):
    g = np.random.default_rng(0)
    square = np.linalg.qr(oracle.centered(g.standard_normal((20, 4))))[0].astype(np.float32)
    x, y = {
        "repeated singular values": (square, square[:, ::-1] + 0),
        "duplicate columns": (square[:, [0, 0, 1, 1]], square[:, [0, 1, 1, 1]]),
        "constant": (np.ones((20, 4), np.float32), square),
        "with itself": (square * np.float32([1, 2, 3, 4]),) * 2,
        "zero": (np.zeros((20, 4), np.float32),) * 2,
    }[kind]

    for name, pair in gradients(x, y).items():
        assert all(np.all(np.isfinite(gradient)) for gradient in pair), name


@pytest.mark.slow
def test_too_few_examples_are_warned_of_and_documented():
    x, y = CASES["B"]  # 40 examples, 64 and 96 features
    x, y = x.astype(np.float32), y.astype(np.float32)
    for score in (ja.cca, ja.pwcca, ja.linear_predictivity, ja.gulp):
        with pytest.warns(UninformativeWarning, match="40 examples of"):
            value = float(score(x, y))
        assert value == pytest.approx(0 if score is ja.gulp else 1, abs=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 0.1 < float(ja.svcca(x, y, rank=5)) < 0.99
        assert 0.1 < float(ja.ridge_cca(x, y, ridge=1.0)) < 0.99
        assert 0.1 < float(ja.linear_predictivity(x, y, ridge=1.0)) < 0.99


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: ja.cca(X, Y, reduce="average"), ValueError, "cca: reduce must be one of"),
        (lambda: ja.svcca(X, Y, variance=99), ValueError, r"svcca: variance must be in \(0, 1\], got 99"),
        (lambda: ja.svcca(X, Y, variance="all"), TypeError, "svcca: variance must be a number"),
        (lambda: ja.svcca(X, Y, rank=0), ValueError, "svcca: rank must be at least 1"),
        (lambda: ja.linear_predictivity(X, Y[:9]), ValueError, "linear_predictivity: x and y must have the same"),
        (lambda: ja.gulp(X.tolist(), Y), TypeError, "gulp: x must be an array"),
        (lambda: ja.ridge_cca(X, Y), TypeError, "ridge"),
    ],
)
def test_mistakes_are_named(call, error, says):
    with pytest.raises(error, match=says):
        call()


@pytest.mark.slow
def test_pwcca_does_not_depend_on_features_that_say_nothing_new():
    """Directions beyond the rank of the second input are arbitrary, and must not weigh."""
    x, y = X[:, :6].astype(np.float32), Y[:, :2].astype(np.float32)
    for more in (np.zeros((64, 4), np.float32), y):
        padded = np.concatenate([y, more], axis=1)
        assert float(ja.pwcca(x, padded)) == pytest.approx(oracle.pwcca(x, y), rel=1e-5)


def test_a_direction_of_small_variance_is_not_dropped_for_having_many_examples():
    g = np.random.default_rng(0)
    z = g.standard_normal((3000, 6))
    x = (z * np.logspace(0, -3.7, 6)) @ np.linalg.qr(g.standard_normal((6, 6)))[0]
    x, last = x.astype(np.float32), z[:, 5:].astype(np.float32)
    assert float(ja.cca(x, last)) == pytest.approx(oracle.correlations(x, last)[0], rel=1e-4)


@pytest.mark.parametrize(
    ("ridge", "error", "says"),
    [(None, TypeError, "must be a number"), (np.ones(2), ValueError, "one number"), (-1, ValueError, "at least 0")],
)
def test_wrong_ridges_are_named(ridge, error, says):
    for call in (ja.gulp, ja.linear_predictivity):
        with pytest.raises(error, match=f"{call.__name__}: ridge must be.*{says.split()[-1]}"):
            call(X, Y, ridge=ridge)
    with pytest.raises(error, match="ridge must be"):
        ja.measures.ridge_cca(ridge=ridge)
