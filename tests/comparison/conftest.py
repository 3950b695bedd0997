"""Small ragged layers of the same 40 examples; tests share shapes, so that most of them compile nothing new."""

from __future__ import annotations

import numpy as np
import pytest

import jaxalign as ja

WIDTHS = (3, 17, 3)


def make_layers(seed, widths=WIDTHS, rows=40, dtype=np.float32):
    """Layers with something in common: noisy views of the same latent variables."""
    latent = np.random.default_rng(0).normal(size=(rows, 4))
    g = np.random.default_rng(seed)
    return [(latent @ g.normal(size=(4, w)) + 0.5 * g.normal(size=(rows, w)) + 1).astype(dtype) for w in widths]


@pytest.fixture
def layers():
    return make_layers


@pytest.fixture
def make_result():
    """A comparison by hand, from scores and what they are of."""

    def make(values, a=None, b=None, *, closer=True, bounds=(0.0, 1.0), key="cka", definition="cka[linear,biased]"):
        values = np.asarray(values, np.float32) if not isinstance(values, np.ndarray) else values
        a = a or [("", str(i)) for i in range(values.shape[0])]
        same = b is None
        b = a if b is None else b
        return ja.Comparison(
            values={key: values},
            layers_a=tuple(a),
            layers_b=tuple(b),
            widths_a=(4,) * len(a),
            widths_b=(4,) * len(b),
            definitions={key: definition},
            bounds={key: bounds},
            chance={key: "about 0"},
            larger_is_closer={key: closer},
            symmetric={key: True},
            same=same,
            info={"examples": 40, "examples_used": 39, "seed": None},
        )

    return make
