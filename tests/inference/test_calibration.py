"""Calibrated similarity against its definition, and how often chance passes for alignment."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxalign as ja
from jaxalign import measures
from jaxalign.inference import Blocks, calibrate, calibrate_layers, permutation_test
from jaxalign.inference.calibration import adjusted_pvalues, calibrated, calibrated_best

G = np.random.default_rng(8)
SHARED = G.normal(size=(20, 2))


def layer(d, strength):
    return (strength * SHARED @ G.normal(size=(2, d)) + G.normal(size=(20, d))).astype(np.float32)


A, B = [layer(3, 0.5), layer(4, 1.0)], [layer(5, 0.3), layer(4, 2.0), layer(6, 0.0)]


#: As one program: operation by operation, all but the null is some sixty small ones.
all_pairs = jax.jit(calibrate_layers, static_argnums=0, static_argnames=("permutations", "key"))


def by_definition(statistic, null, alpha, closest, sign):
    """Score, p-value and threshold, of one score and its null as lists."""
    null, statistic = sorted(sign * v for v in null), sign * statistic
    threshold = null[math.ceil(round((1 - alpha) * (len(null) + 1), 9)) - 1]
    score = max(0.0, (statistic - threshold) / (sign * closest - threshold))
    return score, (1 + sum(v >= statistic for v in null)) / (1 + len(null)), sign * threshold


@pytest.mark.parametrize(
    ("measure", "closest", "sign"),
    [(measures.cka(), 1.0, 1), (measures.mutual_knn(k=3), 1.0, 1), (measures.procrustes_distance(), 0.0, -1)],
    ids=["cka", "knn", "procrustes"],
)
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_one_pair(measure, closest, sign, alpha):
    result = calibrate(measure, A[1], B[1], permutations=99, alpha=alpha, key=1)
    test = permutation_test(measure, A[1], B[1], permutations=99, key=1)
    score, pvalue, threshold = by_definition(float(test.statistic), test.null.tolist(), alpha, closest, sign)
    assert float(result.statistic) == float(test.statistic)
    assert float(result.pvalue) == pytest.approx(pvalue)
    assert float(result.threshold) == pytest.approx(threshold, rel=1e-6)
    assert float(result.score) == pytest.approx(score, rel=1e-5, abs=1e-6)


def test_above_the_threshold_is_significant_and_only_that(float64):
    null = jnp.asarray(G.normal(size=(999, 400)))
    statistic = jnp.concatenate([jnp.linspace(1, 2.5, 200), null[5, 200:]])  # ties as well
    for alpha in (0.001, 0.05, 0.3):
        found = calibrated(measures.cka(estimator="unbiased"), statistic * 0.2, null * 0.2, alpha)
        np.testing.assert_array_equal(np.asarray(found.score) > 0, np.asarray(found.pvalue) <= alpha + 1e-12)


@pytest.mark.slow
def test_all_pairs_and_the_best():
    measure = measures.cka()
    result = calibrate_layers(measure, A, B, permutations=99, key=1)
    assert result.score.shape == (2, 3)
    nulls = {}
    for i, x in enumerate(A):
        for j, y in enumerate(B):
            alone = permutation_test(measure, x, y, permutations=99, key=1)
            nulls[i, j] = np.asarray(alone.null)
            statistic = float(alone.statistic)
            expected = (statistic, *by_definition(statistic, alone.null.tolist(), 0.05, 1.0, 1))
            for name, value in zip(("statistic", "score", "pvalue", "threshold"), expected, strict=True):
                assert float(getattr(result, name)[i, j]) == pytest.approx(value, rel=1e-4, abs=1e-5), name
    best = max(nulls, key=lambda place: float(result.statistic[place]))
    assert (int(result.row), int(result.column)) == best
    by_chance = np.max(list(nulls.values()), axis=0)
    score, pvalue, threshold = by_definition(float(result.statistic[best]), by_chance.tolist(), 0.05, 1.0, 1)
    assert float(result.best.pvalue) == pytest.approx(pvalue)
    assert float(result.best.threshold) == pytest.approx(threshold, rel=1e-4)
    assert float(result.best.score) == pytest.approx(score, abs=1e-4)
    assert float(result.best.threshold) > float(result.threshold[best])  # the best of six by chance is higher


def test_adjusted_pvalues_by_definition(float64):
    null, statistic = (
        G.normal(size=(199, 2, 3)) * [[1, 5, 0.1]] + [[3, -2, 0]],
        np.array([[3.5, 12, 0.2], [6, -2, 0.5]]),
    )
    everything = np.concatenate([statistic[None], null])
    deviation = (everything - everything.mean(0)) / everything.std(0)
    largest = deviation.max(axis=(1, 2))
    measure = measures.cka(estimator="unbiased")
    found = adjusted_pvalues(measure, jnp.asarray(statistic), jnp.asarray(null))
    count = (largest[1:, None, None] >= deviation[0] - 1e-12).sum(axis=0)
    np.testing.assert_allclose(found, (1 + count) / 200)
    assert (
        np.asarray(found) >= np.asarray(calibrated(measure, jnp.asarray(statistic), jnp.asarray(null), 0.05).pvalue)
    ).all()


@pytest.mark.slow
def test_undefined_scores_do_not_take_part():
    constant = np.ones((20, 2), np.float32)
    result = all_pairs(measures.cka(), [A[1], constant], [B[1]], permutations=39, key=0)
    assert np.isnan(np.asarray(result.score)[1, 0])
    assert np.isnan(np.asarray(result.adjusted)[1, 0])
    assert int(result.row) == 0
    alone = all_pairs(measures.cka(), [A[1]], [B[1]], permutations=39, key=0)
    assert float(result.best.pvalue) == float(alone.best.pvalue)
    np.testing.assert_allclose(result.adjusted[0, 0], alone.adjusted[0, 0])
    nothing, _ = calibrated_best(measures.cka(), jnp.full((1, 1), jnp.nan), jnp.zeros((19, 1, 1)), 0.05)
    assert np.isnan(float(nothing.score))
    assert np.isnan(float(nothing.pvalue))


def test_without_a_largest_score_there_is_no_scale():
    result = calibrate(measures.hsic(), A[1], B[1], permutations=39, key=0)
    assert np.isnan(float(result.score))
    assert float(result.pvalue) == pytest.approx(0.025)
    assert 0 < float(result.threshold) < float(result.statistic)


@pytest.mark.slow
def test_chance_passes_as_often_as_the_level_says():
    """Biased CKA of noise is near 0.3 here; calibrated it is 0 in 19 of 20 data sets, the best of six pairs too."""

    @jax.jit
    @jax.vmap
    def one(key):
        data, orders = jax.random.split(key)
        rows = jax.random.normal(data, (2, 20, 10))
        a, b = [rows[0, :, :6], rows[0, :, 4:]], [rows[1, :, :3], rows[1, :, 2:], rows[1]]
        found = calibrate_layers(measures.cka(), a, b, permutations=19, alpha=0.05, key=orders)
        return found.pvalue[0, 0], found.best.pvalue, jnp.min(found.adjusted), found.statistic[1, 2]

    single, best, adjusted, raw = one(jax.random.split(jax.random.key(2), 2000))
    assert float(raw.mean()) > 0.25
    for pvalues in (single, best, adjusted):
        assert np.mean(np.asarray(pvalues) <= 0.05 + 1e-6) == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"permutations": 18}, ValueError, "calibrate: permutations must be at least 19 for alpha=0.05"),
        ({"alpha": 0.001}, ValueError, "calibrate: permutations must be at least 999 for alpha=0.001"),
        ({"alpha": 0}, ValueError, "calibrate: alpha must be between 0 and 1, got 0"),
        ({"alpha": "5%"}, TypeError, "calibrate: alpha must be a number between 0 and 1"),
        ({"scheme": Blocks(10)}, ValueError, "calibrate: there are only 2 orders of these examples"),
        ({"measure": measures.imd()}, ValueError, "calibrate: imd compares clouds of points"),
    ],
)
def test_mistakes_are_named(arguments, error, message):
    passed = {"measure": measures.cka(), "permutations": 99, "key": 0, **arguments}
    measure = passed.pop("measure")
    with pytest.raises(error, match=message):
        calibrate(measure, A[0], B[0], **passed)


def test_layers_are_checked():
    with pytest.raises(ValueError, match="calibrate_layers: b must hold at least one representation"):
        calibrate_layers(measures.cka(), A, [], permutations=19, key=0)
    with pytest.raises(ValueError, match=r"calibrate_layers: b\[0\] must have 20 rows like a\[0\], got 5"):
        calibrate_layers(ja.measures.cka(), A, [B[0][:5]], permutations=19, key=0)


@pytest.mark.slow
def test_scores_that_no_order_changes_are_not_significant():
    """All rows are as far from one another: every order scores the same, but for rounding."""
    alike = 1.7 * np.eye(20, dtype=np.float32)
    result = calibrate_layers(measures.cka(), [alike, A[1]], [B[1]], permutations=39, key=0)
    assert float(result.pvalue[0, 0]) == float(result.adjusted[0, 0]) == 1
    assert float(result.adjusted[1, 0]) == pytest.approx(0.025)


@pytest.mark.slow
@pytest.mark.parametrize(
    "measure",
    [
        measures.cka(),
        pytest.param(measures.hsic(), marks=pytest.mark.slow),
        pytest.param(measures.mutual_knn(k=3), marks=pytest.mark.slow),
    ],
    ids=lambda m: m.name,
)
def test_a_layer_that_is_not_finite_spoils_no_other(measure):
    broken = A[0].copy()
    broken[3, 1] = np.nan
    whole = all_pairs(measure, [A[1], broken], [B[1], broken], permutations=39, key=0)
    alone = all_pairs(measure, [A[1]], [B[1]], permutations=39, key=0)
    for name in ("pvalue", "adjusted", "threshold", "statistic"):
        matrix = np.asarray(getattr(whole, name))
        np.testing.assert_allclose(matrix[0, 0], np.asarray(getattr(alone, name))[0, 0], rtol=1e-5)
        if name != "threshold":
            assert np.isnan(matrix[1]).all()
            assert np.isnan(matrix[0, 1])
    assert float(whole.best.pvalue) == float(alone.best.pvalue)


def test_an_order_without_a_score_counts_as_close():
    statistic, null = jnp.array([[2.0, 2.0]]), jnp.asarray(G.normal(size=(99, 1, 2)).astype(np.float32) * 0.1)
    null = null.at[7, 0, 0].set(jnp.nan)
    measure = measures.cka(estimator="unbiased")
    np.testing.assert_allclose(calibrated(measure, statistic, null, 0.05).pvalue, [[0.02, 0.01]], rtol=1e-5)
    np.testing.assert_allclose(adjusted_pvalues(measure, statistic, null), [[0.02, 0.02]], rtol=1e-5)


@pytest.mark.slow
def test_a_calibrated_score_is_at_most_one():
    wide = np.random.default_rng(0).normal(size=(10, 5000)).astype(np.float32)
    assert float(calibrate(measures.cka(), wide, wide, permutations=39, key=0).score) == 1
