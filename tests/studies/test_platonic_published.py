"""Parity with what platonic-rep returns on the inputs of the golden values."""

from __future__ import annotations

import numpy as np
import pytest
from golden.inputs import CASES

import jaxalign as ja
from jaxalign.studies.platonic import Preprocessing, published_alignment, published_score

#: What its `AlignmentMetrics` returns in float64 on rows of length one; case D has ties, of which it keeps others.
VALUES = {
    "mutual_knn": (0.4531250298023224, 0.7124999761581421, None),
    "cycle_knn": (0.984375, 1.0, 0.8333333134651184),
    "lcs_knn": (2.578125, 4.349999904632568, None),
    "edit_distance_knn": (0.07968750000000002, 0.21500000000000008, None),
    "cka": (0.5973870220962411, 0.8696427978028844, 0.1503642052694435),
    "unbiased_cka": (0.5374542208384525, 0.8223781233383886, 0.0933425430444946),
    "cknna": (0.49565907702977385, 0.8160946653092339, None),
    # Exact; it returns 0.62 and 0.79 after one seed, other numbers after others, and an error for D.
    "svcca": (0.6310347754801973, 0.8159812601143364, None),
}
RBF = {
    "cka": (0.6555900125344517, 0.9062276483760702, 0.16566744266785738),
    "unbiased_cka": (0.5362689354507767, 0.8207870790308658, 0.08286191178193014),
}


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("metric", VALUES)
def test_values_of_platonic_rep(metric):
    # Shares of neighbors are means in float32 there.
    tolerance = 1e-7 if metric.endswith("knn") else 1e-9
    for case, value in zip("ABD", VALUES[metric], strict=True):
        if value is not None:
            assert published_score(metric, *CASES[case]) == pytest.approx(value, rel=tolerance)
    for case, value in zip("ABD", RBF.get(metric, ()), strict=False):
        assert published_score(metric, *CASES[case], kernel_metric="rbf") == pytest.approx(value, rel=1e-9)


@pytest.mark.usefixtures("float64")
def test_a_score_with_itself_is_below_one_by_what_is_added():
    x, _ = CASES["A"]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    own = float(ja.hsic(unit, unit, estimator="unbiased"))
    assert published_score("unbiased_cka", x, x) == pytest.approx(own / (own + 1e-6), rel=1e-12)
    assert published_score("unbiased_cka", x, x) < 1 - 5e-6


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"metric": "mutual_nn"}, ValueError, "did you mean 'mutual_knn'"),
        ({"kernel_metric": "linear"}, ValueError, "kernel_metric must be one of 'ip', 'rbf'"),
        ({"topk": 64}, ValueError, "topk|k must be"),
        ({"rbf_sigma": 0.0}, ValueError, "rbf_sigma must be positive"),
        ({"y": np.ones((3, 2))}, ValueError, "same number of rows"),
        ({"x": np.ones((64, 2), int)}, TypeError, "floating"),
    ],
)
def test_mistakes_are_named(change, error, message):
    x, y = (z.astype(np.float32) for z in CASES["A"])
    with pytest.raises(error, match=message):
        published_score(**{"metric": "cka", "x": x, "y": y, **change})


def test_the_closest_layers_from_zero_up():
    rng = np.random.default_rng(0)
    world = rng.normal(size=(40, 4)).astype(np.float32)
    noise = rng.normal(size=(40, 4)).astype(np.float32)
    x, y = {"a": noise, "b": world + 0.1 * noise}, {"c": world, "d": noise[::-1].copy(), "e": world}
    found = published_alignment(x, y, topk=3)
    assert found.indices == (1, 0)  # the first of equals
    assert found.scores.shape == (2, 3)
    assert found.score == found.scores[1, 0] == found.scores.max() > 0.4
    assert found.scores[0, 1] == pytest.approx(float(ja.mutual_knn(noise, y["d"], k=3)), abs=1e-6)
    prepared = Preprocessing()(x), Preprocessing()(y)
    assert published_alignment(*prepared, topk=3).indices == (1, 0)


def test_where_no_score_is_above_zero_there_is_no_pair():
    # Neighbors on a ring of 12, and on the same ring run through in steps of five: none is shared.
    angle = 2 * np.pi * np.arange(12, dtype=np.float32) / 12 + np.float32(1e-3) * np.arange(12, dtype=np.float32)
    ring, other = (np.stack([np.cos(a), np.sin(a)], axis=1) for a in (angle, 5 * angle))
    found = published_alignment({"a": ring}, {"b": other}, topk=1)
    assert (found.score, found.indices) == (0.0, None)
