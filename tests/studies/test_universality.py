"""Alignment over training."""

import numpy as np
import pytest

import jaxalign
from jaxalign.studies import alignment_over_training


@pytest.mark.slow
def test_networks_of_other_seeds_and_architectures_grow_alike():
    found = alignment_over_training(("relu", "tanh"), key=0, width=32, steps=200)
    moments, networks = len(found["steps"]), 4
    assert found["between"].shape == (moments, networks, networks)
    assert list(found["names"]) == ["relu", "relu", "tanh", "tanh"]
    assert list(found["seeds"]) == [0, 1, 0, 1]
    np.testing.assert_array_equal(found["between"], np.swapaxes(found["between"], 1, 2))
    np.testing.assert_allclose(found["own_end"][:, -1], 1, rtol=1e-5)
    assert (found["accuracy"] > 0.85).all()
    same = found["between"][:, [0, 2], [1, 3]].mean(axis=1)
    other = found["between"][:, :2, 2:].mean(axis=(1, 2))
    assert same[-1] > same[0] + 0.1
    assert other[-1] > other[0] + 0.1
    by_neighbors = alignment_over_training(
        ("relu",), key=0, width=8, steps=3, measure=jaxalign.measures.mutual_knn(k=5)
    )
    assert by_neighbors["between"][0, 0, 1] == pytest.approx(by_neighbors["between"][0, 1, 0])
    assert 0 < by_neighbors["between"][-1, 0, 1] < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architectures": ("relo",)}, "did you mean 'relu'"),
        ({"architectures": ()}, "architectures must name at least one"),
        ({"seeds": 1}, "seeds must be at least 2"),
        ({"lr": -1.0}, "lr must be positive"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        alignment_over_training(**{"key": 0, **options})
