"""Soft mutual kNN: the definition with thresholds found by SciPy, its limit, masks, gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from scipy.optimize import brentq
from scipy.special import expit

from jaxalign import measures, mutual_knn, soft_knn
from jaxalign.alignment import soft_neighbors

MASK = np.arange(64) % 5 != 2
SETTINGS = [(7, 0.05, "cosine"), (7, 0.3, "euclidean"), (2, 0.01, "euclidean")]


def degrees(x, k, temperature, metric):
    if metric == "cosine":
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        scores = unit @ unit.T
    else:
        squares = np.sum((x[:, None] - x[None]) ** 2, axis=2)
        scores = -squares / (np.sum(squares) / (len(x) * (len(x) - 1)))
    found = np.zeros_like(scores)
    for i in range(len(x)):
        row = scores[i, np.arange(len(x)) != i]
        threshold = brentq(lambda t, row=row: np.sum(expit((row - t) / temperature)) - k, -50, 50, xtol=1e-14)
        found[i, np.arange(len(x)) != i] = expit((row - threshold) / temperature)
    return found


def expected(x, y, *setting):
    a, b = degrees(x, *setting), degrees(y, *setting)
    return np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))


@jax.jit
def everything(x, y, mask=None):
    return [soft_knn(x, y, k=k, temperature=t, metric=metric, mask=mask) for k, t, metric in SETTINGS]


def test_values_equal_the_definition(x64):
    x, y = CASES["A"]
    found = everything(jnp.asarray(x, float), jnp.asarray(y, float))
    for value, setting in zip(found, SETTINGS, strict=True):
        assert float(value) == pytest.approx(expected(x, y, *setting), rel=1e-9 if x64 else 2e-5)


def test_masked_rows_do_not_count(monkeypatch):
    """In blocks of rows that do not divide their number, too."""
    monkeypatch.setattr(soft_neighbors, "BLOCK_DEGREES", 64 * 10)
    x, y = CASES["A"]
    padded = [np.where(MASK[:, None], v, np.nan).astype(np.float32) for v in (x, y)]

    @jax.jit
    def with_gradient(x, y):
        return jax.vjp(lambda x: jnp.stack(everything(x, y, MASK)), x)

    found, back = with_gradient(*padded)
    for value, setting in zip(found, SETTINGS, strict=True):
        assert float(value) == pytest.approx(expected(x[MASK], y[MASK], *setting), rel=2e-5)
    gradient = np.asarray(back(jnp.ones(len(SETTINGS), jnp.float32))[0])
    assert np.all(gradient[~MASK] == 0)
    assert np.all(np.isfinite(gradient))


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_at_a_low_temperature_it_is_mutual_knn():
    x, y = CASES["B"]
    for metric in ("cosine", "euclidean"):
        soft = float(soft_knn(x, y, k=5, temperature=1e-7, metric=metric))
        assert soft == pytest.approx(float(mutual_knn(x, y, k=5, metric=metric)), rel=1e-6)


@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences():
    """Through the thresholds, and with respect to the temperature."""
    x, y = (v[:20] for v in CASES["A"])

    def score(x, temperature):
        cosine = soft_knn(x, y, k=4, temperature=temperature)
        return cosine + 2 * soft_knn(x, y, k=4, temperature=temperature, metric="euclidean")

    compiled = jax.jit(jax.value_and_grad(score, argnums=(0, 1)))
    _, (gradient, slope) = compiled(x, 0.1)
    direction = np.random.default_rng(0).standard_normal(x.shape)
    up, down = (compiled(x + s * direction, 0.1)[0] for s in (1e-6, -1e-6))
    assert float(np.sum(gradient * direction)) == pytest.approx(float(up - down) / 2e-6, rel=1e-6)
    up, down = (compiled(x, 0.1 + s)[0] for s in (1e-6, -1e-6))
    assert float(slope) == pytest.approx(float(up - down) / 2e-6, rel=1e-6)


@pytest.mark.slow
def test_duplicates_and_zero_rows_have_finite_gradients():
    x, y = (v[:20].astype(np.float32) for v in CASES["A"])
    x = x.copy()
    x[3:9] = x[3]
    x[12] = 0
    for metric in ("cosine", "euclidean"):
        value, gradient = jax.value_and_grad(lambda x, m=metric: soft_knn(x, y, k=4, temperature=1e-4, metric=m))(x)
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))


@pytest.mark.slow
def test_what_is_not_defined_is_nan():
    x, y = (v[:20].astype(np.float32) for v in CASES["A"])
    assert np.isnan(soft_knn(np.ones_like(x), y, k=4))
    assert np.isnan(soft_knn(np.ones_like(x), y, k=4, metric="euclidean"))
    assert np.isnan(soft_knn(x, y, k=4, mask=np.arange(20) < 4))
    assert np.isnan(soft_knn(x, y, k=4, temperature=-1.0))
    assert np.isfinite(soft_knn(x, y, k=19))


@pytest.mark.slow
def test_all_layers_at_once():
    """Of two widths, so that layers are not in the order of their stacks; of any size."""
    x, y = (v[:20].astype(np.float32) for v in CASES["A"])
    layers = [x, y, 1e9 * x[:, ::-1] + y[:, :16], y * 1e-9]
    measure = measures.soft_knn(k=4, metric="euclidean")
    found = measure.matrix(layers, layers[::2])
    for i, j in ((1, 0), (1, 1), (2, 1), (3, 0)):
        alone = soft_knn(layers[i], layers[::2][j], k=4, metric="euclidean")
        assert float(found[i, j]) == pytest.approx(float(alone), rel=1e-5)
    np.testing.assert_allclose(np.diag(measure.matrix(layers)), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x: soft_knn(x, x, k=64), ValueError, "soft_knn: k must be smaller than the number of rows (64)"),
        (lambda x: soft_knn(x, x, metric="l1"), ValueError, "soft_knn: metric must be one of"),
        (lambda x: measures.soft_knn(temperature=0.0), ValueError, "soft_knn: temperature must be positive, got 0.0"),
        (lambda x: measures.soft_knn(temperature="1"), TypeError, "soft_knn: temperature must be a number"),
        (lambda x: measures.soft_knn(k=0), ValueError, "soft_knn: k must be at least 1"),
    ],
)
def test_mistakes_are_named(call, error, says):
    with pytest.raises(error) as caught:
        call(CASES["A"][0].astype(np.float32))
    assert says in str(caught.value)
