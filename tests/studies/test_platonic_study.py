"""The study on generated models: tables, chance, competence, trends, scale, agreement and maps."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import spearmanr

import jaxalign as ja
from jaxalign.features import Layers
from jaxalign.studies.platonic import (
    Preprocessing,
    competence_trend,
    metric_agreement,
    model_map,
    platonic_study,
    published_alignment,
    scale_curve,
)

N = 120


def world(seed=0, noises=(4.0, 2.0, 1.0, 0.5), layers=3, n=N):
    """Models that see the same world through less and less noise; the middle layer sees it best."""
    rng = np.random.default_rng(seed)
    seen = np.random.default_rng(100).normal(size=(n, 6))
    return {
        f"m{i}": Layers(
            {
                f"layer{j}": (
                    np.tanh(seen @ rng.normal(size=(6, 16)))
                    + noise * (1 + abs(j - layers // 2)) * rng.normal(size=(n, 16))
                ).astype(np.float32)
                for j in range(layers)
            },
            ids=range(n),
            facts={"parameters": 10 * (i + 1), "loss": noise},
        )
        for i, noise in enumerate(noises)
    }


@pytest.fixture(scope="module")
def study():
    return platonic_study(world(0), world(1, noises=(0.3, 1.0)), calibrate=99, key=0)


def test_tables_hold_the_closest_layers_as_published(study):
    x, y = world(0), world(1, noises=(0.3, 1.0))
    table = study.table()
    assert table.shape == (4, 2)
    assert (study.models_x, study.models_y) == (("m0", "m1", "m2", "m3"), ("m0", "m1"))
    for i, j in ((0, 1), (3, 0)):
        published = published_alignment(Preprocessing()(x[f"m{i}"]), Preprocessing()(y[f"m{j}"]))
        assert table[i, j] == pytest.approx(published.score, abs=1e-6)
        (pair,) = (p for p in study.comparison.best() if (p.model_a, p.model_b) == (f"m{i}", f"m{j}"))
        assert (pair.layer_a, pair.layer_b) == tuple(f"layer{place}" for place in published.indices)
    assert study.preprocessing == Preprocessing().definition


def test_chance_is_that_of_the_closest_of_many_layers(study):
    assert study.chance == {"mutual_knn": 10 / (N - 1)}
    assert (study.thresholds() > study.chance["mutual_knn"]).all()
    assert study.pvalues()[3, 0] == pytest.approx(1 / 100)
    assert study.pvalues()[0, 1] > 0.05
    calibrated = study.table(calibrated=True)
    assert calibrated[0, 1] == 0 < calibrated[3, 0] < study.table()[3, 0]


def test_competence_comes_from_facts(study):
    np.testing.assert_array_equal(study.competence("parameters"), [10, 20, 30, 40])
    np.testing.assert_array_equal(study.competence("-loss", of="y"), [-0.3, -1.0])
    more = platonic_study(world(0), facts={name: {"loss": 7, "accuracy": i} for i, name in enumerate(world(0))})
    np.testing.assert_array_equal(more.competence("accuracy"), range(4))
    np.testing.assert_array_equal(more.competence("loss"), [7] * 4)
    with pytest.raises(ValueError, match="model 'm0' has no fact 'los'; did you mean 'loss'"):
        study.competence("los")
    text = platonic_study({"a": world(0)["m0"]}, {"b": world(0)["m1"]}, facts={"a": {"loss": "low"}})
    with pytest.raises(ValueError, match="loss of model 'a' must be a number, got 'low'"):
        text.competence("loss")


def test_trends_are_of_tables(study):
    trend = study.trend("-loss", key=0, samples=100)
    expected = [spearmanr([0, 1, 2, 3], column)[0] for column in study.table().T]
    assert trend.rho == pytest.approx(np.mean(expected), abs=1e-6)
    assert trend.rho > 0.7
    of_calibrated = study.trend("-loss", key=0, samples=100, calibrated=True)
    np.testing.assert_allclose(
        of_calibrated.of_references, [spearmanr([0, 1, 2, 3], z)[0] for z in study.table(calibrated=True).T], atol=1e-6
    )
    with pytest.raises(ValueError, match="at least 3 models, got 2"):
        study.trend("loss", of="y", key=0)


def test_one_modality_is_all_pairs_of_different_models():
    models = world(0, noises=(4.0, 2.0, 1.0, 0.5, 0.3))
    study = platonic_study(models, measures=[ja.measures.cka(), ja.measures.procrustes_distance()])
    table = study.table("cka")
    assert np.isnan(np.diag(table)).all()
    np.testing.assert_array_equal(table, table.T)
    trend = study.trend("-loss", key=0, samples=100)
    i, j = np.triu_indices(5, 1)
    assert trend.rho == pytest.approx(spearmanr(np.minimum(i, j), table[i, j])[0], abs=1e-6)
    distance = study.trend("-loss", key=0, samples=100, measure="procrustes_distance")
    assert distance.rho > 0.5  # closer, not farther
    agreement = metric_agreement(study)
    distances = study.table("procrustes_distance")[i, j]
    assert agreement.measures == ("cka", "procrustes_distance")
    assert agreement.rho[0, 1] == pytest.approx(spearmanr(table[i, j], -distances)[0], abs=1e-6)
    np.testing.assert_allclose(np.diag(agreement.rho), 1, rtol=1e-6)
    assert agreement.pairs == 10


@pytest.mark.parametrize("exact", [True, False])
def test_masked_examples_do_not_count_and_may_hold_anything(exact):
    prepare, mask = Preprocessing(exact=exact), np.arange(N) % 4 != 1
    whole = {side: world(seed, noises=(1.0, 0.5), layers=2) for side, seed in (("x", 0), ("y", 1))}
    spoiled, part = {}, {}
    for side, models in whole.items():
        spoiled[side], part[side] = {}, {}
        for name, layers in models.items():
            part[side][name] = {layer: z[mask] for layer, z in layers.items()}
            spoiled[side][name] = {layer: np.where(mask[:, None], z, np.nan) for layer, z in layers.items()}
    found = platonic_study(*spoiled.values(), preprocessing=prepare, mask=mask, calibrate=19, key=0)
    expected = platonic_study(*part.values(), preprocessing=prepare)
    np.testing.assert_allclose(found.table(), expected.table(), atol=1e-6)
    assert found.chance == {"mutual_knn": 10 / (mask.sum() - 1)}
    assert np.isfinite(found.pvalues()).all()
    with pytest.raises(
        ValueError, match=r"platonic_study: model 'm0': NaN or infinity in layer 'layer0', 30 rows: 1 \("
    ):
        platonic_study(*spoiled.values())
    with pytest.raises(ValueError, match="model 'm0': NaN or infinity"):
        platonic_study(*spoiled.values(), mask=np.arange(N) > 0)
    with pytest.raises(ValueError, match=r"platonic_study: mask must have shape \(120,\)"):
        platonic_study(*spoiled.values(), mask=mask[1:])
    with pytest.raises(TypeError, match="platonic_study: mask must be boolean"):
        platonic_study(*spoiled.values(), mask=mask.astype(int))


def test_a_model_that_collapsed_has_no_score_and_no_trend():
    models = world(0)
    models["m1"] = {name: np.zeros_like(z) for name, z in models["m1"].items()}
    facts = {"m1": models["m2"].facts}
    found = platonic_study(models, facts=facts)
    assert found.pairs_without_score() == [("m0", "m1"), ("m1", "m2"), ("m1", "m3")]
    with pytest.raises(ValueError, match="trend: mutual_knn is not defined for 3 pairs of models, 'm0' and 'm1' the"):
        found.trend("loss", key=0)


def test_trends_within_models_that_agree_on_a_fact(study):
    facts = {f"m{i}": {"family": "ab"[i % 2], "depth": 2.5} for i in range(4)}
    found = platonic_study(world(0), world(1, noises=(0.3, 1.0)), facts={name: facts[name] for name in facts})
    trend = found.trend("-loss", key=0, within="family")
    assert trend.rho == pytest.approx(
        competence_trend([-4, -2, -1, -0.5], found.table(), key=0, within=list("abab")).rho
    )
    with pytest.raises(ValueError, match=r"famili of model 'm0' must be a text or an .* None; did you mean 'family'"):
        found.trend("loss", key=0, within="famili")
    with pytest.raises(ValueError, match=r"depth of model 'm0' must be a text or an integer to be within, got 2\.5"):
        found.trend("loss", key=0, within="depth")


def test_facts_may_be_numbers_of_any_kind():
    models = world(0)
    kinds = {"m0": 4, "m1": np.float32(2), "m2": np.array(1.0), "m3": jnp.asarray(0.5)}
    found = platonic_study(models, facts={name: {"noise": value} for name, value in kinds.items()})
    assert found.competence("-noise").tolist() == [-4, -2, -1, -0.5]
    assert found.trend("-noise", key=0).rho == found.trend("-loss", key=0).rho
    for value in (True, "one", np.ones(1), None, np.nan):
        with pytest.raises(ValueError, match="noise of model 'm0' must be a number, got"):
            platonic_study(models, facts={name: {"noise": value} for name in models}).competence("noise")
    with pytest.raises(ValueError, match="competence: of must be one of 'x', 'y', got 'z'"):
        found.competence("noise", of="z")


def test_studies_say_what_is_wrong(study):
    with pytest.raises(TypeError, match="x must map models to their layers"):
        platonic_study([world(0)])
    with pytest.raises(TypeError, match="model 'a' of x must map layers to arrays, got ndarray float64"):
        platonic_study({"a": np.ones((4, 2))})
    with pytest.raises(TypeError, match="preprocessing must be a Preprocessing, got str 'exact'"):
        platonic_study(world(0), preprocessing="exact")
    with pytest.raises(TypeError, match="x must map models to their layers, at least one"):
        platonic_study({})
    with pytest.raises(ValueError, match="facts are of models, and there is none named 'm9'"):
        platonic_study(world(0), facts={"m9": {}})
    shuffled = {name: Layers(dict(z), ids=np.arange(N)[::-1]) for name, z in world(1).items()}
    with pytest.raises(ValueError, match="both hold the same examples in different order"):
        platonic_study(world(0), shuffled)
    with pytest.raises(ValueError, match="mutual_knn was not calibrated: pass calibrate=1000"):
        platonic_study(world(0), world(1)).thresholds()
    with pytest.raises(ValueError, match="at least two measures, got mutual_knn"):
        metric_agreement(study)
    with pytest.raises(ValueError, match="did you mean 'mutual_knn'"):
        study.table("mutual_nn")


def test_alignment_falls_with_examples_and_stays_with_a_share_of_them():
    x, y = (models["m0"] for models in (world(0, (1.0,), 1, 1600), world(1, (1.0,), 1, 1600)))
    fixed = scale_curve(x, y, [100, 400, 1600], key=0, repeats=3)
    shared = scale_curve(x, y, [100, 400, 1600], key=0, share=0.1, repeats=3)
    np.testing.assert_array_equal(fixed.k, [10, 10, 10])
    np.testing.assert_array_equal(shared.k, [10, 40, 160])
    np.testing.assert_allclose(fixed.chance, 10 / np.array([99, 399, 1599]))
    assert fixed.mean[0] > 2 * fixed.mean[1] > 3 * fixed.mean[2]
    assert np.ptp(shared.mean) < 0.2 * shared.mean[0]
    np.testing.assert_array_equal(fixed.scores[0], shared.scores[0])
    whole = float(ja.mutual_knn(x["layer0"], y["layer0"], k=10))
    np.testing.assert_allclose(fixed.scores[2], whole, rtol=1e-6)
    assert (fixed.beyond_chance < fixed.mean).all()


def test_scale_takes_the_closest_layers():
    x, y = (models["m0"] for models in (world(0, (0.5,)), world(1, (0.5,))))
    best = max(float(ja.mutual_knn(a, b, k=5)) for a in x.values() for b in y.values())
    assert scale_curve(x, y, [N], k=5, key=0).mean[0] == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": [121]}, "at most 120, got 121"),
        ({"sizes": [10]}, "sizes must be above k = 10"),
        ({"sizes": []}, "at least one, got none"),
        ({"share": 1.0}, "share must be between 0 and 1"),
        ({"repeats": 0}, "repeats must be at least 1"),
        ({"y": np.ones((3, 2), np.float32)}, "same number of rows, got 120 and 3"),
        ({"y": np.full((120, 2), np.nan)}, "scale_curve: y: NaN or infinity in layer 'layer'"),
        ({"y": Layers({"one": np.ones((120, 2))}, ids=range(1, 121))}, "rows must be the same examples"),
    ],
)
def test_scales_that_are_none(change, message):
    x = world(0, (1.0,), 1)["m0"]
    arguments = {"x": x, "y": x, "sizes": [50], "key": 0, **change}
    with pytest.raises(ValueError, match=message):
        scale_curve(arguments.pop("x"), arguments.pop("y"), arguments.pop("sizes"), **arguments)


def test_maps_have_the_distances_that_a_plane_can_have():
    points = np.random.default_rng(0).normal(size=(7, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    found = model_map(np.exp(-distances))
    np.testing.assert_allclose(
        np.linalg.norm(found.points[:, None] - found.points[None], axis=-1), distances, atol=1e-9
    )
    assert found.stress < 1e-9
    assert found.explained.sum() == pytest.approx(1)
    assert found.explained[0] > found.explained[1]
    line = model_map(np.exp(-distances), dim=1)
    on_line = np.abs(line.points - line.points.T)
    assert line.stress == pytest.approx(np.linalg.norm(on_line - distances) / np.linalg.norm(distances))


def test_maps_of_models_without_alignment_need_a_floor():
    scores = np.array([[1, 0.5, 0.0], [0.5, 1, 0.1], [0.0, 0.1, 1]])
    with pytest.raises(ValueError, match=r"above 0 and at most 1, got 0.0 at \(0, 2\); floor="):
        model_map(scores)
    assert np.isfinite(model_map(scores, floor=0.05).points).all()
    with pytest.raises(ValueError, match=r"got nan"):
        model_map(np.where(scores == 0.1, np.nan, scores), floor=0.05)
    with pytest.raises(ValueError, match="dim must be less than the number of models, 3, got 3"):
        model_map(scores, dim=3)
    with pytest.raises(ValueError, match=r"shape \(models, models\), got \(2, 3\)"):
        model_map(scores[:2])
    same = model_map(np.ones((3, 3)))
    assert (same.points == 0).all()
    assert same.stress == 0
