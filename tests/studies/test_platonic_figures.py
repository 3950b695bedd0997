"""Pictures of a study: their numbers, and that these are what is drawn."""

from __future__ import annotations

import numpy as np
import pytest

import jaxalign as ja
from jaxalign.studies.platonic import competence_bins, metric_agreement, model_map, platonic_study, scale_curve
from jaxalign.studies.platonic.figures import agreement_figure, map_figure, scale_figure, trend_figure

MEASURES = (ja.measures.mutual_knn(k=5), ja.measures.procrustes_distance())


def models(count, seed, n=50):
    rng = np.random.default_rng(seed)
    seen = np.random.default_rng(0).normal(size=(n, 4))
    return {
        f"m{i}": {"only": (np.tanh(seen @ rng.normal(size=(4, 8))) + (count - i) * rng.normal(size=(n, 8)) / 4)}
        for i in range(count)
    }


@pytest.fixture(scope="module")
def one():
    facts = {f"m{i}": {"good": i} for i in range(6)}
    return platonic_study(models(6, 1), measures=MEASURES, facts=facts)


@pytest.fixture(scope="module")
def two():
    facts = {f"m{i}": {"good": i} for i in range(4)}
    return platonic_study(models(4, 1), models(3, 2), facts=facts, calibrate=39, key=0)


def lines_of(figure):
    return {line.get_label(): line.get_xydata() for line in figure.axes[0].get_lines()}


def test_trends_of_two_modalities(two):
    arrays, figure = trend_figure(two, "good", key=0)
    np.testing.assert_array_equal(arrays["alignment"], two.table())
    np.testing.assert_array_equal(arrays["threshold"], two.thresholds())
    assert float(arrays["rho"]) == two.trend("good", key=0).rho
    lines = lines_of(figure)
    np.testing.assert_allclose(lines["m1"], np.stack([np.arange(4), two.table()[:, 1]], axis=1))
    assert lines["chance, one pair"][0, 1] == pytest.approx(10 / 49)
    assert lines["threshold, closest of all layers"][0, 1] == pytest.approx(two.thresholds().mean())
    assert f"Spearman {arrays['rho']:.2f}" in figure.axes[0].get_title()
    calibrated, figure = trend_figure(two, "good", key=0, calibrated=True)
    np.testing.assert_array_equal(calibrated["alignment"], two.table(calibrated=True))
    assert not {"chance", "threshold"} & set(calibrated)
    assert figure.axes[0].get_ylabel().startswith("calibrated mutual_knn")


def test_trends_of_one_modality(one):
    arrays, figure = trend_figure(one, "good", key=0, bins=3)
    bins = competence_bins(np.arange(6), np.nan_to_num(one.table()), bins=3)
    np.testing.assert_allclose(arrays["bin_mean"], bins.mean)
    lines = lines_of(figure)
    i, j = np.triu_indices(6, 1)
    np.testing.assert_allclose(lines["two models"], np.stack([np.minimum(i, j), one.table()[i, j]], axis=1))


def test_maps(one):
    arrays, figure = map_figure(one, "good")
    table = np.where(np.eye(6, dtype=bool), 1, one.table())
    expected = model_map(table, floor=5 / 49)
    np.testing.assert_allclose(arrays["points"], expected.points)
    np.testing.assert_allclose(figure.axes[0].collections[0].get_offsets(), expected.points)
    np.testing.assert_array_equal(arrays["competence"], np.arange(6))
    assert "competence" not in map_figure(one).arrays
    with pytest.raises(ValueError, match="measure must be a similarity, got procrustes_distance"):
        map_figure(one, measure="procrustes_distance")


def test_a_map_is_of_one_modality(two):
    with pytest.raises(ValueError, match="study must be of one modality"):
        map_figure(two)


def test_scales():
    x, y = models(1, 1)["m0"]["only"], models(1, 2)["m0"]["only"]
    curves = {"fixed": scale_curve(x, y, [20, 50], key=0, k=5), "shared": scale_curve(x, y, [20, 50], key=0, share=0.2)}
    arrays, figure = scale_figure(curves)
    np.testing.assert_array_equal(arrays["shared/k"], [4, 10])
    np.testing.assert_allclose(lines_of(figure)["fixed"], np.stack([[20, 50], curves["fixed"].mean], axis=1))
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["20", "50"]
    with pytest.raises(ValueError, match="at least one, got none"):
        scale_figure({})


def test_agreements(one):
    agreement = metric_agreement(one)
    arrays, figure = agreement_figure(agreement)
    assert arrays["measures"].tolist() == ["mutual_knn", "procrustes_distance"]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == [f"{value:.2f}" for value in agreement.rho.ravel()]
    assert "15 pairs" in figure.axes[0].get_title()
