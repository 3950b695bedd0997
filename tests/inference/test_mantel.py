"""Mantel's test against all orders of six examples, in NumPy and SciPy."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr, spearmanr

from jaxalign import measures
from jaxalign.inference.mantel import mantel_test
from jaxalign.inference.permutation import permutation_test
from jaxalign.inference.schemes import Within

N = 6
GENERATOR = np.random.default_rng(3)
X = GENERATOR.standard_normal((N, 3))
Y = X + GENERATOR.standard_normal((N, 3))
D1, D2 = (np.float32(squareform(pdist(np.round(v, 1)))) for v in (X, Y))
CORRELATIONS = {"pearson": pearsonr, "spearman": spearmanr}


def all_orders(comparison):
    upper = np.triu_indices(N, 1)
    return np.asarray(
        [
            CORRELATIONS[comparison](D1[upper], D2[np.ix_(order, order)][upper])[0]
            for order in map(list, permutations(range(N)))
        ]
    )


@pytest.mark.parametrize("comparison", CORRELATIONS)
def test_all_orders(comparison):
    values = all_orders(comparison)  # the first is that of the data
    count = 4000
    found = mantel_test(D1, D2, comparison=comparison, permutations=count, key=0)
    assert float(found.statistic) == pytest.approx(values[0], abs=1e-6)
    # Every order has a value of the list, and each comes up as often.
    distinct = np.unique(np.round(values, 5))
    near = np.abs(np.asarray(found.null)[:, None] - distinct[None, :])
    assert near.min(axis=1).max() < 2e-5
    counts = np.bincount(near.argmin(axis=1), minlength=len(distinct))
    expected = np.bincount(np.abs(values[:, None] - distinct).argmin(axis=1), minlength=len(distinct)) * count / 720
    assert np.sum((counts - expected) ** 2 / expected) < len(distinct) + 5 * np.sqrt(2 * len(distinct))
    for alternative, share in {
        "greater": np.mean(values >= values[0] - 1e-9),
        "less": np.mean(values <= values[0] + 1e-9),
    }.items():
        pvalue = float(
            mantel_test(D1, D2, comparison=comparison, permutations=count, key=0, alternative=alternative).pvalue
        )
        assert pvalue == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / count) + 1e-3)


@pytest.mark.slow
def test_the_p_value_counts_the_data():
    found = mantel_test(D1, D2, permutations=99, key=1, alternative="two_sided")
    null, statistic = np.asarray(found.null), float(found.statistic)
    sides = [(1 + np.sum(sign * null >= sign * statistic - 1e-6)) / 100 for sign in (1, -1)]
    assert float(found.pvalue) == pytest.approx(min(1, 2 * min(sides)))
    assert float(mantel_test(-D1, D2, permutations=99, key=1).statistic) == pytest.approx(-statistic, abs=1e-6)


@pytest.mark.slow
def test_it_is_the_permutation_test_of_rsa():
    x, y = np.float32(X), np.float32(Y)
    one, other = (np.float32(squareform(pdist(v))) for v in (x, y))
    measure = measures.rsa(metric="euclidean", comparison="pearson")
    expected = permutation_test(measure, x, y, permutations=50, key=4)
    found = mantel_test(one, other, permutations=50, key=4)
    np.testing.assert_allclose(found.null, expected.null, atol=1e-5)
    assert float(found.pvalue) == pytest.approx(float(expected.pvalue))


@pytest.mark.slow
def test_masks_schemes_and_undefined_matrices():
    place = [0, 1, 2, 4, 5, 7]
    mask = np.isin(np.arange(9), place)
    broken = np.full((2, 9, 9), np.nan, np.float32)
    for big, small in zip(broken, (D1, D2), strict=True):
        big[np.ix_(place, place)] = small
    found = mantel_test(*broken, permutations=300, key=0, mask=mask)
    assert float(found.statistic) == pytest.approx(all_orders("pearson")[0], abs=1e-6)
    apart = np.abs(np.asarray(found.null)[:, None] - all_orders("pearson")[None, :])
    assert apart.min(axis=1).max() < 1e-5
    pairs = mantel_test(D1, D2, permutations=100, key=0, scheme=Within(np.arange(N) // 2))
    assert len(np.unique(np.round(pairs.null, 4))) <= 8
    everything = np.ones(9, bool)
    assert np.isnan(mantel_test(*broken, permutations=300, key=0, mask=everything).pvalue)
    assert np.isnan(mantel_test(np.ones_like(broken[0]), broken[1], permutations=300, key=0, mask=mask).pvalue)


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"d1": D1[:, :4]}, ValueError, r"mantel_test: d1 must have shape \(6, 6\), got \(6, 4\)"),
        ({"d2": D1[:4, :4]}, ValueError, r"mantel_test: d2 must have shape \(6, 6\), got \(4, 4\)"),
        ({"d2": np.triu(D2)}, ValueError, "mantel_test: d2 must be symmetric"),
        ({"comparison": "kendall"}, ValueError, "mantel_test: comparison must be one of"),
        ({"alternative": "closer"}, ValueError, "mantel_test: alternative must be one of"),
        ({"permutations": 0}, ValueError, "mantel_test: permutations must be at least 1"),
        ({"key": 0.5}, TypeError, "mantel_test: key must be"),
        ({"scheme": "free"}, TypeError, "mantel_test: scheme must be one of"),
        ({"d1": D1.astype(int)}, TypeError, "mantel_test: d1 must be floating"),
    ],
)
def test_mistakes_are_named(settings, error, says):
    with pytest.raises(error, match=says):
        mantel_test(**{"d1": D1, "d2": D2, "key": 0, "permutations": 9} | settings)
