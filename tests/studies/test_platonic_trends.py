"""Rank correlations against SciPy, intervals and p-values against what they promise, bins by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from jaxalign.studies.platonic import competence_bins, competence_trend, pair_trend
from jaxalign.studies.platonic.trends import rank_correlation

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("ties", [False, True])
def test_correlations_are_those_of_scipy(ties):
    good, scores = RNG.normal(size=12), RNG.normal(size=(12, 3))
    if ties:
        good, scores = np.round(good), np.round(scores)
    expected = [spearmanr(good, column)[0] for column in scores.T]
    trend = competence_trend(good, scores, key=0, samples=100)
    np.testing.assert_allclose(trend.of_references, expected, rtol=1e-5, atol=1e-6)
    assert trend.rho == pytest.approx(np.mean(expected), abs=1e-6)
    assert trend.models == 12
    one = competence_trend(good, scores[:, 0], key=0, samples=100)
    assert one.rho == pytest.approx(expected[0], abs=1e-6)
    assert rank_correlation(good, scores[:, 0]) == pytest.approx(expected[0], abs=1e-6)


def test_values_that_are_one_in_float32_differ():
    good = 1 + 1e-12 * np.arange(8)
    assert competence_trend(good, np.arange(8), key=0, samples=100).rho == pytest.approx(1)


def test_pairs_are_ranked_by_the_weaker_model():
    good = RNG.normal(size=9)
    scores = RNG.normal(size=(9, 9))
    i, j = np.triu_indices(9, 1)
    expected = spearmanr(np.minimum(good[i], good[j]), (scores + scores.T)[i, j])[0]
    assert pair_trend(good, scores, key=0, samples=100).rho == pytest.approx(expected, abs=1e-6)
    np.fill_diagonal(scores, 100.0)
    assert pair_trend(good, scores, key=0, samples=100).rho == pytest.approx(expected, abs=1e-6)


def within_by_hand(good, scores, strata):
    """Ranks within strata, from 0 to 1, less their means, and the correlation of all of them."""
    ranked = np.zeros((2, len(good)))
    for own, values in zip(ranked, (good, scores), strict=True):
        for stratum in {tuple(s) for s in strata}:
            rows = np.array([tuple(s) == stratum for s in strata])
            own[rows] = (rankdata(values[rows]) - rankdata(values[rows]).mean()) / rows.sum()
    return np.corrcoef(*ranked)[0, 1]


def test_within_labels_ranks_are_of_one_label_or_of_two():
    labels = np.array(list("aaaabbbbbccd"))
    good, scores = RNG.normal(size=12).round(1), RNG.normal(size=(12, 12)).round(1)
    expected = [within_by_hand(good, column, labels[:, None]) for column in scores.T]
    trend = competence_trend(good, scores, key=0, samples=100, within=labels)
    np.testing.assert_allclose(trend.of_references, expected, atol=1e-5)
    i, j = np.triu_indices(12, 1)
    strata = np.sort(np.stack([labels[i], labels[j]], axis=1), axis=1)
    expected = within_by_hand(np.minimum(good[i], good[j]), (scores + scores.T)[i, j], strata)
    assert pair_trend(good, scores, key=0, samples=100, within=labels).rho == pytest.approx(expected, abs=1e-5)
    for trend in (competence_trend, pair_trend):
        plain, one = trend(good, scores, key=0, samples=100), trend(good, scores, key=0, samples=100, within=12 * [3])
        assert plain[:4] == one[:4]


@pytest.mark.parametrize("trend", [competence_trend, pair_trend])
def test_what_differs_between_labels_is_no_trend_within_them(trend):
    size = np.repeat([1, 2, 3], 8)
    good = size + 0.1 * RNG.normal(size=24)  # larger models are better, and more alike whatever they learned
    scores = size[:, None] + size[None] + 0.1 * RNG.normal(size=(24, 24))
    everything = trend(good, scores, key=0, samples=400)
    within = trend(good, scores, key=0, samples=400, within=size)
    assert everything.low > 0.5
    assert everything.pvalue < 0.01
    assert within.low < 0 < within.high
    assert within.pvalue > 0.05
    learned = trend(good, scores + 3 * good[:, None] + 3 * good[None], key=0, samples=400, within=size)
    assert learned.low > 0.5
    assert learned.pvalue < 0.01


@pytest.mark.parametrize(
    ("within", "message"),
    [
        ([1, 2, 3], r"within must hold one label a model, integers or texts, shape \(4,\), got ndarray int64 \(3,\)"),
        ([1.0, 1.0, 2.0, 2.0], "got ndarray float64"),
        ("family", "within must hold one label a model"),
    ],
)
def test_labels_that_are_none(within, message):
    with pytest.raises(ValueError, match=f"competence_trend: .*{message}"):
        competence_trend([1, 2, 3, 4], [1, 2, 3, 4], key=0, within=within)
    many = np.repeat(np.arange(300), 2)
    with pytest.raises(ValueError, match="pair_trend: within must have fewer labels for 600 models"):
        pair_trend(np.arange(600), np.ones((600, 600)), key=0, within=many)


def brute_force(good, scores, samples, seed, pairs):
    """Ends of the interval, by SciPy on models that were drawn."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(samples):
        rows = rng.integers(0, len(good), len(good))
        if pairs:
            i, j = np.triu_indices(len(rows), 1)
            apart = rows[i] != rows[j]
            i, j = rows[i][apart], rows[j][apart]
            found.append(spearmanr(np.minimum(good[i], good[j]), scores[i, j])[0])
        else:
            found.append(spearmanr(good[rows], scores[rows])[0])
    return np.quantile(found, [0.05, 0.95])


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [False, True])
def test_intervals_are_those_of_models_drawn_with_replacement(pairs):
    good = RNG.normal(size=15)
    scores = good + RNG.normal(size=15)
    if pairs:
        scores = np.minimum(good[:, None], good) + RNG.normal(size=(15, 15))
        scores = scores + scores.T
    trend = (pair_trend if pairs else competence_trend)(good, scores, key=1, samples=4000, level=0.9)
    np.testing.assert_allclose([trend.low, trend.high], brute_force(good, scores, 4000, 1, pairs), atol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("trend", [competence_trend, pair_trend])
@pytest.mark.parametrize("labels", [None, [0] * 4 + [1] * 6])
def test_pvalues_of_unrelated_models_are_uniform(trend, labels):
    rng, pvalues = np.random.default_rng(3), []
    level = 3 * np.array(labels or 10 * [0])  # what labels have in common is no part of the trend
    for seed in range(300):
        scores = rng.normal(size=(10, 10)) + (own := level + rng.normal(size=10)) + own[:, None]
        good = level + rng.normal(size=10)
        pvalues.append(trend(good, scores, key=seed, samples=199, within=labels).pvalue)
    share = np.mean(np.array(pvalues) <= 0.1)
    assert abs(share - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 300)
    assert abs(np.mean(pvalues) - 0.5) < 4 * np.sqrt(1 / 12 / 300)


def test_pvalues_count_the_data_among_random_orders():
    trend = competence_trend(np.arange(10), np.arange(10), key=0, samples=999)
    np.testing.assert_allclose([trend.rho, trend.low, trend.high], 1, rtol=1e-6)
    assert trend.pvalue == pytest.approx(1 / 1000)
    assert competence_trend(np.arange(10), -np.arange(10), key=0, samples=999).pvalue == pytest.approx(1 / 1000)


def test_what_is_constant_has_no_correlation():
    alone = competence_trend(np.arange(5), np.arange(5), key=0, samples=50, within=np.arange(5))
    assert np.isnan([alone.rho, alone.low, alone.high, alone.pvalue]).all()
    trend = competence_trend(np.zeros(5), np.arange(5), key=0, samples=50)
    assert np.isnan([trend.rho, trend.low, trend.high, trend.pvalue]).all()
    two = competence_trend(np.arange(5), np.stack([np.arange(5), np.zeros(5)], axis=1), key=0, samples=50)
    assert np.isnan(two.rho)
    assert two.of_references[0] == pytest.approx(1)


def test_bins_hold_equally_many_and_average_pairs():
    good = RNG.permutation(10).astype(float)
    scores = RNG.normal(size=(10, 10))
    scores = scores + scores.T
    bins = competence_bins(good, scores, bins=2)
    np.testing.assert_array_equal(bins.bin, good >= 5)
    np.testing.assert_array_equal(bins.models, [5, 5])
    for b in range(2):
        members = np.flatnonzero((good >= 5) == b)
        pairs = [scores[i, j] for i in members for j in members if i < j]
        assert bins.mean[b] == pytest.approx(np.mean(pairs))
        left = [
            np.mean([scores[i, j] for i in members for j in members if i < j and out not in (i, j)]) for out in members
        ]
        assert bins.standard_error[b] == pytest.approx(np.sqrt(4 / 5 * np.sum((left - np.mean(left)) ** 2)))


def test_bins_of_equal_models_and_of_few():
    bins = competence_bins([1, 1, 1, 1], np.eye(4), bins=3)
    assert (bins.models.tolist(), bins.mean.tolist()) == ([4], [0.0])
    bins = competence_bins([1, 2, 3], np.ones((3, 3)), bins=3)
    assert bins.models.tolist() == [1, 1, 1]
    assert np.isnan(bins.mean).all()


@pytest.mark.parametrize(
    ("good", "scores", "error", "message"),
    [
        ([1, 2], [1, 2], ValueError, "at least 3 models, got 2"),
        ([1, 2, 3], [1, 2], ValueError, r"one row a model, got \(3,\) and \(2, 1\)"),
        ([1, 2, np.nan], [1, 2, 3], ValueError, r"competence must be finite, got nan at \(2,\)"),
        ([1, 2, 3], [1, np.inf, 3], ValueError, r"alignment must be finite, got inf at \(1, 0\)"),
        (["a", "b", "c"], [1, 2, 3], TypeError, "competence must hold real numbers"),
        ([1, 2, 3], np.ones((3, 2, 2)), ValueError, "one row a model"),
    ],
)
def test_mistakes_are_named(good, scores, error, message):
    with pytest.raises(error, match=f"competence_trend: .*{message}"):
        competence_trend(good, scores, key=0)


def test_mistakes_in_pairs_and_settings_are_named():
    with pytest.raises(ValueError, match=r"pair_trend: alignment must have shape \(models, models\), got \(3, 2\)"):
        pair_trend([1, 2, 3], np.ones((3, 2)), key=0)
    with pytest.raises(ValueError, match="level must be between 0 and 1, got 95"):
        competence_trend([1, 2, 3], [1, 2, 3], key=0, level=95)
    with pytest.raises(ValueError, match=r"samples must be at least 2 / \(1 - level\)"):
        competence_trend([1, 2, 3], [1, 2, 3], key=0, samples=10)
    with pytest.raises(ValueError, match="bins must be at least 1"):
        competence_bins([1, 2, 3], np.ones((3, 3)), bins=0)
