"""Stitches between all layers, beside scikit-learn's loop over pairs, by every order of products."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV

from jaxalign.stitching import matrix, ridge, stitch_matrix
from jaxalign.stitching.matrix_routes import cheapest_route

RNG = np.random.default_rng(0)
ROWS = 40
BASE = RNG.normal(size=(ROWS, 6))
#: Fewer features than rows trained on, more, and a width of which programs have more features than it.
LAYERS = [BASE @ RNG.normal(size=(6, d)) + 0.3 * RNG.normal(size=(ROWS, d)) + 2 for d in (5, 17, 50)]
HELD_OUT = np.arange(ROWS) % 5 == 4
ROUTES = ("features", "rows", "products")


def by_pairs(a, b, model, held_out=HELD_OUT):
    """Held-out misalignment of every pair, and the alpha of each in units of a mean."""
    errors, alphas = np.zeros((len(a), len(b))), np.zeros((len(a), len(b)))
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            fitted = model.fit(x[~held_out], y[~held_out])
            errors[i, j] = ((fitted.predict(x[held_out]) - y[held_out]) ** 2).sum(axis=1).mean()
            alphas[i, j] = getattr(fitted, "alpha_", fitted.get_params().get("alpha", 0)) / (~held_out).sum()
    return errors, alphas


@pytest.fixture
def by_route(monkeypatch):
    def force(route):
        monkeypatch.setattr(matrix, "cheapest_route", lambda *sizes: route)

    return force


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("penalty", [0.1, 1e-6])
@pytest.mark.parametrize("route", ROUTES)
def test_every_order_of_products_is_a_loop_over_pairs(route, penalty, by_route):
    by_route(route)
    scores = stitch_matrix(LAYERS, penalties=penalty)
    expected, _ = by_pairs(LAYERS, LAYERS, Ridge(alpha=penalty * 32, solver="svd"))
    np.testing.assert_allclose(scores.misalignment, expected, rtol=1e-7, atol=1e-9)
    variance = [((y[HELD_OUT] - y[~HELD_OUT].mean(axis=0)) ** 2).sum(axis=1).mean() for y in LAYERS]
    np.testing.assert_allclose(scores.variance, variance, rtol=1e-12)
    np.testing.assert_allclose(scores.r_squared, 1 - expected / variance, rtol=1e-6)
    np.testing.assert_allclose(scores.penalties, penalty)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("route", ROUTES)
def test_without_a_penalty_it_is_the_map_of_least_norm(route, by_route):
    by_route(route)
    layers = [*LAYERS, LAYERS[0] @ RNG.normal(size=(5, 9))]  # the last one is of rank 5
    scores = stitch_matrix(layers, penalties=0.0)
    for i, x in enumerate(layers):
        for j, y in enumerate(layers):
            own, target = (z[~HELD_OUT] - z[~HELD_OUT].mean(axis=0) for z in (x, y))
            kernel = np.linalg.lstsq(own, target, rcond=1e-10)[0]
            left = (x[HELD_OUT] - x[~HELD_OUT].mean(axis=0)) @ kernel - (y[HELD_OUT] - y[~HELD_OUT].mean(axis=0))
            np.testing.assert_allclose(scores.misalignment[i, j], (left**2).sum() / 8, rtol=1e-7, atol=1e-9)


@pytest.mark.usefixtures("float64")
def test_choice_by_leave_one_out_is_that_of_scikit_learn():
    penalties = np.logspace(-4, 2, 12)
    scores = stitch_matrix(LAYERS, LAYERS[:2], penalties=penalties, select="loo")
    expected, alphas = by_pairs(LAYERS, LAYERS[:2], RidgeCV(alphas=penalties * 32))
    np.testing.assert_allclose(scores.penalties, alphas, rtol=1e-12)
    np.testing.assert_allclose(scores.misalignment, expected, rtol=1e-7)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_choice_by_generalized_cross_validation_is_that_of_one_pair():
    from jaxalign.stitching import ridge_path

    penalties = (1e-4, 1e-2, 0.3, 10.0)
    for given in (penalties, None):
        scores = stitch_matrix(LAYERS, LAYERS[1:2], penalties=given)
        for i, x in enumerate(LAYERS):
            for j, y in enumerate(LAYERS[1:2]):
                path = ridge_path(x[~HELD_OUT], y[~HELD_OUT], penalties=given)
                np.testing.assert_allclose(scores.penalties[i, j], path.penalty, rtol=1e-9)
                error = np.mean(np.sum((path.stitch(x[HELD_OUT]) - y[HELD_OUT]) ** 2, axis=1))
                np.testing.assert_allclose(scores.misalignment[i, j], error, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("route", ROUTES)
def test_float32(route, by_route):
    by_route(route)
    layers = [x.astype(np.float32) for x in LAYERS]
    scores = stitch_matrix(layers, penalties=0.05)
    expected, _ = by_pairs(*[[x.astype(float) for x in layers]] * 2, Ridge(alpha=0.05 * 32, solver="svd"))
    assert scores.misalignment.dtype == jnp.float32
    np.testing.assert_allclose(scores.r_squared, 1 - expected / np.asarray(scores.variance), atol=3e-6)


@pytest.mark.slow
@pytest.mark.parametrize("condition", [1e2, 1e4])
@pytest.mark.parametrize(("n", "p"), [(120, 12), (60, 80)])
def test_float32_of_layers_with_small_directions(n, p, condition):
    rng = np.random.default_rng(0)
    rank = min(p, n - 1)
    u = np.linalg.qr(rng.normal(size=(n, rank)) - 0.5)[0]
    v = np.linalg.qr(rng.normal(size=(p, rank)))[0]
    x = ((u * np.logspace(0, -np.log10(condition), rank)) @ v.T).astype(np.float32)
    y = u[:, -3:] @ rng.normal(size=(3, 2)) + 0.01 * rng.normal(size=(n, 2))  # known by the smallest ones
    y = y.astype(np.float32)
    penalties = np.array([1e-13, 1e-12]) / n
    small = stitch_matrix([x], [y], penalties=penalties)
    one = stitch_matrix([x], [y], penalties=penalties[1])
    with jax.enable_x64(True):
        exact = stitch_matrix([x.astype(float)], [y.astype(float)], penalties=penalties)
    for scores in (small, one):
        np.testing.assert_allclose(scores.misalignment, exact.misalignment, rtol=5e-3)


def test_there_are_no_derivatives():
    gradient = jax.grad(lambda x: stitch_matrix([x], LAYERS[:1], penalties=(0.1, 1.0)).r_squared.sum())
    np.testing.assert_array_equal(gradient(jnp.asarray(LAYERS[1])), 0)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_mask_and_held_out_rows():
    mask = np.arange(ROWS) < 35
    padded = [np.where(mask[:, None], x, np.nan) for x in LAYERS]
    own = [x[:35] for x in LAYERS]
    one, other = stitch_matrix(padded, penalties=0.1, mask=mask), stitch_matrix(own, penalties=0.1)
    np.testing.assert_allclose(one.misalignment, other.misalignment, rtol=1e-9)
    held_out = RNG.random(ROWS) < 0.4
    scores = stitch_matrix(LAYERS, penalties=0.1, held_out=held_out)
    trained = int((~held_out).sum())
    expected, _ = by_pairs(LAYERS, LAYERS, Ridge(alpha=0.1 * trained), held_out)
    np.testing.assert_allclose(scores.misalignment, expected, rtol=1e-8)
    every_fourth = stitch_matrix(LAYERS, penalties=0.1, held_out=0.25)
    chosen = stitch_matrix(LAYERS, penalties=0.1, held_out=np.arange(3, ROWS, 4))
    np.testing.assert_array_equal(every_fourth.misalignment, chosen.misalignment)
    drawn = [stitch_matrix(LAYERS, penalties=0.1, held_out=0.25, key=key).misalignment for key in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.allclose(drawn[0], drawn[2])


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_targets_in_parts_are_those_together(monkeypatch):
    together = stitch_matrix(LAYERS, penalties=(0.1, 1.0))
    monkeypatch.setattr(matrix, "CHUNK_BYTES", 1)
    np.testing.assert_allclose(stitch_matrix(LAYERS, penalties=(0.1, 1.0)).misalignment, together.misalignment)


@pytest.mark.slow
def test_small_and_large_units_do_not_matter():
    with jax.enable_x64(True):
        scores = stitch_matrix(LAYERS, penalties=0.1)
        expected = scores.misalignment * np.array([1, 1e-6, 1e4])[None, :]
        scaled = [LAYERS[0], LAYERS[1] * 1e-3, LAYERS[2] * 1e2]
        np.testing.assert_allclose(
            stitch_matrix(LAYERS[:1], scaled, penalties=0.1).misalignment, expected[:1], rtol=1e-9
        )
    large = [(x * 1e15).astype(np.float32) for x in LAYERS]
    assert bool(jnp.all(jnp.isfinite(stitch_matrix(large).r_squared)))


def test_a_broken_layer_breaks_its_own_pairs_only():
    broken = LAYERS[1].copy()
    broken[3, 3] = np.nan
    for penalties in (0.1, None):
        scores = np.isnan(stitch_matrix([LAYERS[0], broken, LAYERS[2]], penalties=penalties).misalignment)
        assert scores.tolist() == [[False, True, False], [True, True, True], [False, True, False]]


def test_a_layer_that_is_constant_explains_nothing():
    flat = np.ones((ROWS, 4))
    for penalties in (0.0, 0.1, None):
        scores = stitch_matrix([flat], LAYERS[:1], penalties=penalties)
        np.testing.assert_allclose(scores.r_squared, 0, atol=1e-6)


def test_the_least_work_is_chosen():
    assert cheapest_route(2000, 500, [256] * 8, [256] * 8) == "features"
    assert cheapest_route(640, 160, [512] * 12, [512] * 12) == "products"
    assert cheapest_route(400, 20, [512] * 2, [512] * 2) == "rows"
    # Products of the rows of a million examples would not fit.
    assert cheapest_route(1_000_000, 1000, [64], [64]) == "features"


def test_layers_by_name():
    by_name = stitch_matrix({"first": LAYERS[0]}, {"second": LAYERS[1], "third": LAYERS[2]}, penalties=0.1)
    assert (by_name.names_a, by_name.names_b) == (("first",), ("second", "third"))
    np.testing.assert_array_equal(
        by_name.misalignment, stitch_matrix(LAYERS[:1], LAYERS[1:], penalties=0.1).misalignment
    )
    assert stitch_matrix({"first": LAYERS[0]}, penalties=0.1).names_b == ("first",)


@pytest.mark.slow
def test_it_is_ridge_on_the_rows_trained_on():
    x, y = (z.astype(np.float32) for z in LAYERS[:2])
    stitch = ridge(x[~HELD_OUT], y[~HELD_OUT], penalty=0.2)
    error = jnp.mean(jnp.sum((stitch(x[HELD_OUT]) - y[HELD_OUT]) ** 2, axis=1))
    np.testing.assert_allclose(stitch_matrix([x], [y], penalties=0.2).misalignment, [[error]], rtol=1e-5)


MISTAKES = [
    (lambda: stitch_matrix([]), ValueError, "at least one representation"),
    (lambda: stitch_matrix(LAYERS, [LAYERS[0][:20]]), ValueError, r"b\[0\] must have 40 rows"),
    (lambda: stitch_matrix(LAYERS, penalties=-1.0), ValueError, "penalties must be at least 0, got -1"),
    (lambda: stitch_matrix(LAYERS, penalties=jnp.array([-1.0])), ValueError, "penalties must be at least 0, got -1"),
    (lambda: jax.jit(lambda m: stitch_matrix(LAYERS, mask=m))(HELD_OUT), TypeError, "mask must be known"),
    (lambda: stitch_matrix(LAYERS, select="cv"), ValueError, "select must be one of"),
    (lambda: stitch_matrix(LAYERS, held_out=1), ValueError, "held_out must be at least 0 and below 1"),
    (lambda: stitch_matrix(LAYERS, held_out=0), ValueError, "held_out must be above 0"),
    (lambda: stitch_matrix(LAYERS, held_out=np.zeros(9, bool)), ValueError, "held_out must be a share, row numbers"),
    (lambda: stitch_matrix(LAYERS, held_out=np.zeros(ROWS, bool)), ValueError, "2 examples on both sides, got 40"),
    (lambda: stitch_matrix([x[:3] for x in LAYERS]), ValueError, "2 examples on both sides, got 2 .* and 1"),
]


@pytest.mark.parametrize(("call", "error", "message"), MISTAKES, ids=[message for _, _, message in MISTAKES])
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
