"""Calibrated comparisons: what `calibrate_layers` says of each two models, kept, shown and resumed."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import jaxalign as ja
from jaxalign.comparison import nulls
from jaxalign.inference import Within, calibrate_layers

MEASURES = [ja.measures.mutual_knn(k=3), ja.measures.cka()]
NAMES = ("calibrated", "pvalues", "adjusted", "thresholds")


@pytest.fixture
def models(layers):
    noise = np.random.default_rng(3).normal(size=(2, 40, 3)).astype(np.float32)
    return {"one": layers(1), "two": layers(2), "noise": list(noise)}


@pytest.mark.slow
def test_each_pair_of_models_is_calibrated_like_its_layers(models):
    a, b = {"one": models["one"]}, {"two": models["two"], "noise": models["noise"]}
    result = ja.compare(a, b, measures=MEASURES, calibrate=39, key=7)
    for measure in MEASURES:
        whole = calibrate_layers(measure, models["one"], [*models["two"], *models["noise"]], permutations=39, key=7)
        expected = (whole.score, whole.pvalue, whole.adjusted, whole.threshold)
        for name, values in zip(NAMES, expected, strict=True):
            np.testing.assert_allclose(getattr(result, name)[measure.name], values, rtol=1e-4, atol=1e-5)
        for pair, model in zip(result.best(measure.name), ("two", "noise"), strict=True):
            best = calibrate_layers(measure, models["one"], models[model], permutations=39, key=7).best
            found = (pair.value, pair.calibrated, pair.pvalue, pair.threshold)
            np.testing.assert_allclose(found, (best.statistic, best.score, best.pvalue, best.threshold), rtol=1e-4)
    assert result.info["permutations"] == 39
    assert (result.info["alpha"], result.info["seed"]) == (0.05, 7)
    alike, unlike = result.best("cka")
    assert alike.pvalue == pytest.approx(1 / 40) and alike.calibrated > 0  # noqa: PT018
    assert unlike.calibrated == 0


@pytest.mark.slow
def test_one_side_is_mirrored_and_its_diagonal_is_never_the_best(models):
    result = ja.compare(models, measures=MEASURES, calibrate=19, key=0)
    for name in NAMES:
        matrix = getattr(result, name)["cka"]
        np.testing.assert_array_equal(matrix, matrix.T)
    alone = ja.compare(models["one"], measures=ja.measures.cka(), calibrate=19, key=0)
    (pair,) = alone.best()
    assert pair.layer_a != pair.layer_b
    # Both layers are those of the first model: among all models the best pair is not of one with itself.
    assert [(p.model_a, p.model_b) for p in result.best()] == [("one", "two"), ("one", "noise"), ("two", "noise")]


@pytest.mark.slow
def test_blocks_of_layers_see_the_same_orders(models, monkeypatch):
    measure = ja.measures.cka(kernel=ja.RBF())
    whole = ja.compare(models, measures=measure, calibrate=23, key=1)
    monkeypatch.setattr(nulls, "ORDERS", 10)
    pieces = ja.compare(models, measures=measure, calibrate=23, key=jax.random.key(1), max_memory=40 * 4 * 3 * 60)
    for name in NAMES:
        np.testing.assert_allclose(getattr(whole, name)["cka"], getattr(pieces, name)["cka"], rtol=1e-4, atol=1e-5)
    assert pieces.info["seed"] == [0, 1]


@pytest.mark.slow
def test_finished_orders_are_kept(models, tmp_path, monkeypatch):
    monkeypatch.setattr(nulls, "ORDERS", 7)
    settings = {"measures": MEASURES, "resume": tmp_path / "kept"}
    drawn = []
    draw = nulls.draw_scores
    monkeypatch.setattr(nulls, "draw_scores", lambda *a, **k: drawn.append(int(a[3])) or draw(*a, **k))
    ja.compare(models, **settings)  # not calibrated yet: its pieces serve all the same
    first = ja.compare(models, **settings, calibrate=20, key=0)
    assert drawn == [0, 1, 2] * 2
    for path in (tmp_path / "kept").glob("*-null-*-1.npz"):
        path.unlink()
    second = ja.compare(models, **settings, calibrate=20, key=0)
    assert drawn[6:] == [1, 1]
    for name in NAMES:
        np.testing.assert_array_equal(getattr(first, name)["cka"], getattr(second, name)["cka"])
    ja.compare(models, **settings, calibrate=20, key=1)
    ja.compare(models, **settings, calibrate=20, key=0, scheme=Within(np.arange(40) % 2))
    assert len(drawn) == 8 + 6 + 6  # other orders


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_files_hold_all_of_it(models, tmp_path, suffix):
    result = ja.compare(models, measures=[*MEASURES, ja.measures.hsic()], calibrate=19, key=0)
    result.save(tmp_path / f"result{suffix}")
    again = ja.load_comparison(tmp_path / f"result{suffix}")
    for key in result.values:
        for name in NAMES:
            np.testing.assert_array_equal(getattr(again, name)[key], getattr(result, name)[key])
        np.testing.assert_equal(again.best(key), result.best(key))
    assert np.isnan(again.calibrated["hsic"]).all()  # without a largest score there is no scale


def test_tables_and_pictures_show_it(models):
    result = ja.compare(models, measures=MEASURES, calibrate=19, key=0)
    frame = result.to_dataframe()
    for column, name in (("calibrated", NAMES[0]), ("pvalue", NAMES[1]), ("adjusted_pvalue", NAMES[2])):
        np.testing.assert_array_equal(frame[frame.measure == "cka"][column], getattr(result, name)["cka"].ravel())
    assert float(result.to_xarray()["cka_threshold"].sel(a="one/0", b="two/1")) == result.thresholds["cka"][0, 4]
    assert [column.header for column in result.to_table().columns][-3:] == ["score", "calibrated", "p"]
    for by in ("layer", "model"):
        figure = result.plot("cka", by=by)
        axes, bar = figure.axes[0], figure.axes[1]
        which = {"layer": "adjusted p", "model": "p of two models"}[by]
        assert f"crossed out: no more than chance, {which} > 0.05" in bar.get_ylabel()
        (crosses,) = (c for c in axes.collections if len(c.get_offsets()))
        marked = {(int(y), int(x)) for x, y in crosses.get_offsets()}
        if by == "layer":
            assert marked == set(zip(*map(np.ndarray.tolist, np.nonzero(result.adjusted["cka"] > 0.05)), strict=True))
        else:
            chance = {(p.model_a, p.model_b) for p in result.best("cka") if p.pvalue > 0.05}
            names = result.models_a
            assert marked == {(names.index(a), names.index(b)) for pair in chance for a, b in (pair, pair[::-1])}
        assert marked
    plain = ja.compare(models, measures=MEASURES).plot("cka")
    assert "crossed" not in plain.axes[1].get_ylabel()
    assert ja.compare(models, measures=MEASURES).pvalues == {}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"key": None}, ValueError, "compare: calibrate needs a key, such as jax.random.key"),
        ({"key": "0"}, TypeError, "compare: key must be one key"),
        ({"calibrate": 10}, ValueError, "compare: calibrate must be at least 19 for alpha=0.05"),
        ({"calibrate": -1}, ValueError, "compare: calibrate must be at least 0"),
        ({"calibrate": True}, TypeError, "compare: calibrate must be an integer"),
        ({"alpha": 2.0}, ValueError, "compare: alpha must be between 0 and 1"),
        ({"scheme": None}, TypeError, "compare: scheme must be one of jaxalign.inference"),
        ({"scheme": Within(np.zeros(3, int))}, ValueError, "compare: labels of Within must be integers of shape"),
        ({"measures": ja.measures.imd()}, ValueError, "compare: imd compares clouds of points"),
    ],
)
def test_mistakes_are_named_before_anything_is_computed(models, monkeypatch, arguments, error, message):
    monkeypatch.setattr(nulls.NullScores, "run", lambda *_: pytest.fail("computed"))
    with pytest.raises(error, match=message):
        ja.compare(models, **{"measures": MEASURES, "calibrate": 19, "key": 0, **arguments})
