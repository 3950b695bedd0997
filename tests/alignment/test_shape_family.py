"""Shape family: definitions, other libraries, relations, masks, gradients."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from oracles import linear_family
from oracles import shape_family as oracle

import jaxalign as ja

SCORES = {
    "procrustes": (ja.procrustes_distance, oracle.procrustes_distance),
    "procrustes raw": (
        partial(ja.procrustes_distance, scale="raw"),
        partial(oracle.procrustes_distance, scale="raw"),
    ),
    "angle": (ja.angular_procrustes, oracle.angular_procrustes),
    "angle half": (partial(ja.angular_procrustes, alpha=0.5), partial(oracle.angular_procrustes, alpha=0.5)),
    "angle whitened": (partial(ja.angular_procrustes, alpha=0), partial(oracle.angular_procrustes, alpha=0.0)),
    "permutation": (ja.permutation_distance, oracle.permutation_distance),
    "permutation raw": (
        partial(ja.permutation_distance, scale="raw"),
        partial(oracle.permutation_distance, scale="raw"),
    ),
    "match": (ja.correlation_match, oracle.correlation_match),
    "match soft": (partial(ja.correlation_match, kind="soft"), partial(oracle.correlation_match, kind="soft")),
}
X, Y = CASES["A"]


@jax.jit
def everything(x, y, mask=None):
    return {name: function(x, y, mask=mask) for name, (function, _) in SCORES.items()}


@pytest.mark.parametrize("swap", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_values_equal_the_definitions(x64, swap):
    x, y = (Y, X) if swap else (X, Y)
    found = everything(jnp.asarray(x, float), jnp.asarray(y, float))
    for name, (_, definition) in SCORES.items():
        assert float(found[name]) == pytest.approx(definition(x, y), rel=1e-10 if x64 else 5e-6), name


@pytest.mark.usefixtures("float64")
def test_values_of_other_libraries():
    """netrep's angles; ReSi's unit and raw distances and matches; sim_metric squares, anatome halves that."""
    found = {name: float(value) for name, value in everything(X, Y).items()}
    assert found["angle"] == pytest.approx(0.8003808487154225, rel=1e-10)
    assert found["angle half"] == pytest.approx(0.8120681405747858, rel=1e-10)
    assert found["angle whitened"] == pytest.approx(0.9807390266822925, rel=1e-10)
    assert found["procrustes"] == pytest.approx(0.7791874553907046, rel=1e-10)
    assert found["procrustes"] ** 2 == pytest.approx(0.6071330906382406, rel=1e-10)
    assert found["procrustes"] ** 2 / 2 == pytest.approx(0.30356654531911986, rel=1e-10)
    assert found["procrustes raw"] == pytest.approx(26.72734950146473, rel=1e-10)
    assert found["match"] == pytest.approx(0.4800305307296693, rel=1e-10)
    assert found["match soft"] == pytest.approx(0.47997115446474076, rel=1e-10)
    # netrep's permutation metric is the angle of the same matching.
    assert np.arccos(1 - found["permutation"] ** 2 / 2) == pytest.approx(1.1711726731947578, rel=1e-10)


@pytest.mark.usefixtures("float64")
def test_relations():
    found = {name: float(value) for name, value in everything(X, Y).items()}
    assert found["procrustes"] == pytest.approx(2 * np.sin(found["angle"] / 2))
    assert found["procrustes"] < found["permutation"]
    assert np.cos(found["angle"]) == pytest.approx(0.6964334546808796)  # normalized Bures similarity
    rho = linear_family.correlations(X, Y)
    assert np.cos(found["angle whitened"]) == pytest.approx(np.sum(rho) / np.sqrt(16 * 24))


@pytest.mark.slow
def test_a_turned_input_is_at_no_distance_and_has_a_gradient():
    x = X.astype(np.float32)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((16, 16)))[0].astype(np.float32)
    for name in ("procrustes", "procrustes raw", "angle"):
        value, gradient = jax.value_and_grad(SCORES[name][0])(x, x @ turn)
        assert float(value) < 2e-3 * float(SCORES[name][0](x, Y.astype(np.float32))), name
        assert np.all(np.isfinite(gradient)), name
    assert float(ja.permutation_distance(x, x[:, ::-1])) == 0
    assert float(ja.correlation_match(x, x[:, ::-1])) == pytest.approx(1, abs=1e-6)


@pytest.mark.slow
def test_masked_rows_do_not_count():
    mask = np.arange(64) % 4 != 1
    x, y = X[:, :6].astype(np.float32), Y[:, :7].astype(np.float32)
    padded = [np.where(mask[:, None], v, np.float32(np.nan)) for v in (x, y)]
    found, expected = everything(*padded, mask), everything(x[mask], y[mask])
    for name in SCORES:
        assert float(found[name]) == pytest.approx(float(expected[name]), rel=2e-5), name


def test_undefined_is_nan():
    x, y = X[:, :3].astype(np.float32), Y[:, :3].astype(np.float32)
    bad = x.copy()
    bad[4, 1] = np.nan
    for inputs in ((np.ones_like(x), y), (y, np.ones_like(x)), (bad, y), (y, bad)):
        for name, value in everything(*inputs).items():
            assert np.isnan(value), name


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences():
    x, y = X[:20, :4], Y[:20, :5]

    def total(x, y):
        return jnp.stack([everything(x, y)[name] for name in SCORES])

    directions = [np.random.default_rng(i).standard_normal(v.shape) for i, v in enumerate((x, y))]
    _, tangents = jax.jit(lambda x, y: jax.jvp(total, (x, y), tuple(directions)))(x, y)
    step = 1e-6
    ahead, behind = (jax.jit(total)(x + h * directions[0], y + h * directions[1]) for h in (step, -step))
    np.testing.assert_allclose(tangents, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("size", [1e-12, 1e12])
def test_unit_scale_takes_any_units(size):
    x, y = X.astype(np.float32), Y.astype(np.float32)
    for name in ("procrustes", "angle", "permutation", "match"):
        score = SCORES[name][0]
        assert float(score(x * np.float32(size), y)) == pytest.approx(float(score(x, y)), rel=1e-5), name


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: ja.procrustes_distance(X, Y, scale="size"), ValueError, "procrustes_distance: scale must be one of"),
        (lambda: ja.angular_procrustes(X, Y, alpha=2), ValueError, r"alpha must be in \[0, 1\], got 2"),
        (lambda: ja.angular_procrustes(X, Y, alpha="all"), TypeError, "alpha must be a number"),
        (lambda: ja.correlation_match(X, Y, kind="semi"), ValueError, "correlation_match: kind must be one of"),
        (lambda: ja.permutation_distance(X, Y[:9]), ValueError, "permutation_distance: x and y must have the same"),
    ],
)
def test_mistakes_are_named(call, error, says):
    with pytest.raises(error, match=says):
        call()
