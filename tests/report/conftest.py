"""A comparison with chosen numbers."""

from __future__ import annotations

import numpy as np
import pytest

from jaxalign.comparison import Comparison

LAYERS = tuple((model, layer) for model in ("red", "blue", "green") for layer in ("first", "last"))


@pytest.fixture
def result():
    """Three models of two layers under a similarity and a distance; entry (i, j) is known."""
    i, j = np.indices((6, 6))
    similarity = 1 - np.abs(i - j) / 10
    return Comparison(
        values={"cka[linear,biased]": similarity.astype(np.float32), "distance": (1 - similarity).astype(np.float32)},
        layers_a=LAYERS,
        layers_b=LAYERS,
        widths_a=(4,) * 6,
        widths_b=(4,) * 6,
        definitions={"cka[linear,biased]": "cka[linear,biased]", "distance": "distance[2]"},
        bounds={"cka[linear,biased]": (0.0, 1.0), "distance": (0.0, float("inf"))},
        chance={"cka[linear,biased]": "little", "distance": "a lot"},
        larger_is_closer={"cka[linear,biased]": True, "distance": False},
        symmetric={"cka[linear,biased]": True, "distance": True},
        same=True,
        info={"examples": 50, "examples_used": 50},
    )
