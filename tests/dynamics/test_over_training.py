"""Alignment over training: every entry is the measure of two arrays, and a rotated network is the same one."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxalign import measures
from jaxalign.dynamics import MLP, alignment_trajectory, record

RNG = np.random.default_rng(0)
PATH = RNG.normal(size=(3, 12, 5)).astype(np.float32)
OTHER = RNG.normal(size=(3, 12, 2, 3)).astype(np.float32)


@pytest.mark.parametrize("measure", [measures.cka(), measures.mutual_knn(k=3), measures.linear_predictivity()])
def test_every_moment_is_the_score_of_two_representations(measure):
    flat = OTHER.reshape(3, 12, 6)
    for reference, rows in ((None, [PATH[-1]] * 3), (flat[0], [flat[0]] * 3), (OTHER, flat)):
        scores = alignment_trajectory(PATH, reference, measure=measure)
        expected = [measure(x, y) for x, y in zip(PATH, rows, strict=True)]
        np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_layers_masks_and_the_measure_that_is_default():
    mask = np.arange(12) < 10
    layers = {"a": PATH, "b": PATH[:, :, :2]}
    found = alignment_trajectory(layers, {"b": PATH[0], "a": PATH}, mask=mask)
    assert list(found) == ["a", "b"]
    np.testing.assert_allclose(found["a"], 1.0, rtol=1e-6)
    expected = [measures.cka()(x[:10, :2], PATH[0][:10]) for x in PATH]
    np.testing.assert_allclose(found["b"], expected, rtol=1e-5)


def test_two_seeds_end_alike():
    """The universality claim on 32 points of a line with a step as the target, in its smallest form."""
    x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    y = np.sign(x)
    runs = [
        record(
            MLP(width=30, hidden=2, rngs=nnx.Rngs(seed), gain=0.4),
            x,
            y,
            optimizer=optax.sgd(0.1),
            steps=600,
            pairs=[(0, 31)],
            at=[0, 600],
            kept=[0, 100, 300, 600],
        )
        for seed in (0, 1)
    ]
    own = alignment_trajectory(runs[0].activations)
    beside = alignment_trajectory(runs[0].activations, runs[1].activations)
    assert float(own["hidden.1"][-1]) == pytest.approx(1.0)
    assert (np.diff(own["hidden.1"]) > 0).all()
    assert float(beside["hidden.1"][-1]) > 0.95


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: alignment_trajectory(PATH[0]), ValueError, "path must have shape"),
        (
            lambda: alignment_trajectory(PATH, OTHER[:2]),
            ValueError,
            "reference must have 3 moments and 12 rows like path",
        ),
        (lambda: alignment_trajectory(PATH, PATH[0, :4]), ValueError, "reference must have shape"),
        (lambda: alignment_trajectory({"hidden.0": PATH}, {"hidden.1": PATH}), ValueError, "did you mean 'hidden.1'"),
        (lambda: alignment_trajectory(PATH, measure="cka"), TypeError, "measure must be one of"),
        (lambda: alignment_trajectory(PATH, mask=np.ones(3, bool)), ValueError, "mask must have shape"),
        (lambda: alignment_trajectory({"a": jnp.ones((2, 3, 4), int)}), TypeError, "must be floating point"),
    ],
)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
