"""A comparison as a folder of files."""

from __future__ import annotations

import csv
import dataclasses

import matplotlib.image
import numpy as np
import pytest

from jaxalign.comparison import load_comparison
from jaxalign.report.files import file_stem, write_comparison


def test_all_files_and_what_is_in_them(result, tmp_path):
    paths = write_comparison(result, tmp_path)
    assert [path.name for path in paths] == [
        "comparison.npz",
        "comparison.json",
        "scores.csv",
        "best-pairs.csv",
        "cka-linear-biased-layers.png",
        "cka-linear-biased-models.png",
        "distance-layers.png",
        "distance-models.png",
    ]
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}
    for path in paths[:2]:
        np.testing.assert_array_equal(load_comparison(path).values["distance"], result.values["distance"])
    with paths[2].open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 36
    assert float(rows[1]["value"]) == pytest.approx(0.9)
    with paths[3].open() as stream:
        best = list(csv.DictReader(stream))
    assert best[0] == {
        "measure": "cka[linear,biased]", "model_a": "red", "model_b": "blue", "layer_a": "last", "layer_b": "first",
        "value": best[0]["value"],
    }  # fmt: skip
    assert [round(float(row["value"]), 3) for row in best] == [0.9, 0.7, 0.9, 0.1, 0.3, 0.1]
    for path in paths[4:]:
        assert min(matplotlib.image.imread(path).shape[:2]) > 200


def test_one_model_has_no_picture_of_models(result, tmp_path):
    alone = dataclasses.replace(
        result,
        layers_a=tuple(("red", f"layer{i}") for i in range(6)),
        layers_b=tuple(("red", f"layer{i}") for i in range(6)),
    )
    assert not [path for path in write_comparison(alone, tmp_path) if path.name.endswith("models.png")]


@pytest.mark.slow
def test_pictures_of_an_earlier_comparison_do_not_stay(result, tmp_path):
    (tmp_path / "mine-layers.png").touch()
    before = {path.name for path in write_comparison(result, tmp_path)}
    fewer = dataclasses.replace(result, values={"distance": result.values["distance"]})
    after = {path.name for path in write_comparison(fewer, tmp_path)}
    assert before - after == {"cka-linear-biased-layers.png", "cka-linear-biased-models.png"}
    assert {path.name for path in tmp_path.iterdir()} == after | {"mine-layers.png"}


def test_two_settings_of_a_measure_have_files_of_their_own():
    keys = [
        "cka[linear,biased]",
        "cka[rbf(sigma=0.5),biased]",
        "cka[rbf(sigma=1e-05)]",
        "cka[rbf(sigma=1e+05)]",
        "hsic",
    ]
    stems = [file_stem(key) for key in keys]
    assert stems[:2] == ["cka-linear-biased", "cka-rbf-sigma=0.5-biased"]
    assert len(set(stems)) == len(keys)
    assert not any(set(stem) & set("[]()/\\, ") for stem in stems)
