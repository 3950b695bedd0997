"""Noise ceilings against those of rsatoolbox."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.inference.noise_ceiling import noise_ceiling

GENERATOR = np.random.default_rng(5)
WORLD = GENERATOR.standard_normal((9, 6))
SUBJECTS = [WORLD + 0.8 * GENERATOR.standard_normal((9, 6)) for _ in range(4)]
#: rsatoolbox 0.3.2: `boot_noise_ceiling(RDMs(np.stack([pdist(s, metric) for s in SUBJECTS])), method=...)` with the
#: methods "corr", "spearman", "cosine" and "rho-a", and SciPy's `pdist`.
GOLDEN = {
    ("sqeuclidean", "pearson"): (0.10955901345921475, 0.5399816602068541),
    ("sqeuclidean", "spearman"): (0.11416843331650223, 0.5405614932847506),
    ("sqeuclidean", "cosine"): (0.8691294688561726, 0.9272027032799269),
    ("sqeuclidean", "rho_a"): (0.11406048906048906, 0.5402831402831403),
    ("correlation", "pearson"): (0.10363135634184246, 0.5433527913605378),
    ("correlation", "spearman"): (0.1077668818596008, 0.5334406455889837),
    ("correlation", "cosine"): (0.9051965836818219, 0.9471307732255432),
    ("correlation", "rho_a"): (0.10772200772200771, 0.5332689832689833),
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=() if c[0] == "sqeuclidean" and c[1] != "rho_a" else pytest.mark.slow) for c in GOLDEN],
)
def test_values_of_rsatoolbox(case):
    metric, comparison = case
    found = noise_ceiling([np.float32(s) for s in SUBJECTS], metric=metric, comparison=comparison)
    np.testing.assert_allclose(found, GOLDEN[case], atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_values_in_float64():
    found = noise_ceiling(SUBJECTS, metric="sqeuclidean", comparison="pearson")
    np.testing.assert_allclose(found, GOLDEN["sqeuclidean", "pearson"], atol=1e-12)


@pytest.mark.slow
def test_masked_examples_do_not_count_and_widths_may_differ():
    subjects = [np.float32(s[:, :width]) for s, width in zip(SUBJECTS[:2], (6, 5), strict=True)]
    mask = np.arange(9) != 4
    expected = noise_ceiling([s[mask] for s in subjects])
    broken = [np.where(mask[:, None], s, np.nan) for s in subjects]
    np.testing.assert_allclose(noise_ceiling(broken, mask=mask), expected, atol=1e-6)


@pytest.mark.slow
def test_subjects_that_agree_reach_the_ceiling_and_undefined_is_nan():
    low, high = noise_ceiling([np.float32(WORLD)] * 3, comparison="pearson")
    assert float(low) == pytest.approx(1, abs=1e-6)
    assert float(high) == pytest.approx(1, abs=1e-6)
    assert np.all(np.isnan(noise_ceiling([np.float32(WORLD), np.ones((9, 2), np.float32)], metric="euclidean")))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (
            lambda s: noise_ceiling(s[:1]),
            ValueError,
            "noise_ceiling: representations must be of at least 2 subjects, got 1",
        ),
        (lambda s: noise_ceiling(s, comparison="kendall"), ValueError, "noise_ceiling: .* got 'kendall', for which"),
        (lambda s: noise_ceiling(s, comparison="rank"), ValueError, "noise_ceiling: comparison must be one of"),
        (lambda s: noise_ceiling(s, metric="crossnobis"), ValueError, "noise_ceiling: metric must be one of"),
        (
            lambda s: noise_ceiling([s[0], s[1][:5]]),
            ValueError,
            r"noise_ceiling: representations\[1\] must have 9 rows",
        ),
        (lambda s: noise_ceiling(s[0]), ValueError, "noise_ceiling: representations must be a list of matrices"),
        (lambda s: noise_ceiling([s[0], jnp.ones((9, 2), int)]), TypeError, r"representations\[1\] must be floating"),
    ],
)
def test_mistakes_are_named(call, error, says):
    with pytest.raises(error, match=says):
        call([np.float32(s) for s in SUBJECTS])
