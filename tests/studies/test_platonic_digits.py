"""Networks on the digits, and whether the better are more alike: with few and small ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.studies import load_digits
from jaxalign.studies.platonic import Shape, Training, digit_convergence, digit_models, digit_networks, pair_trend
from jaxalign.studies.platonic.training import learning_rate

SMALL = Shape("mlp", 8, 1)


def test_networks_bring_their_facts():
    seen = []
    models = digit_networks(
        key=0, seeds=2, shapes=[SMALL], trainings=[Training(0), Training(8), Training(8, 1.0)], each=seen.append
    )
    assert seen == ["mlp-w8-d1"]
    assert list(models) == [f"mlp-w8-d1-{how}-s{seed}" for how in ("e0-n0", "e8-n0", "e8-n1") for seed in (0, 1)]
    digits = load_digits()
    for name, layers in models.items():
        assert {layer: z.shape for layer, z in layers.items()} == {"hidden1": (596, 8)}
        np.testing.assert_array_equal(layers.ids, digits.test_ids)
        np.testing.assert_array_equal(layers.labels, digits.y_test)
        facts = layers.facts
        assert (facts["architecture"], facts["width"], facts["depth"], facts["seed"]) == ("mlp", 8, 1, int(name[-1]))
        assert facts["parameters"] == 64 * 8 + 8 + 8 * 10 + 10
    accuracy = {name: z.facts["accuracy"] for name, z in models.items()}
    assert min(accuracy["mlp-w8-d1-e8-n0-s0"], accuracy["mlp-w8-d1-e8-n0-s1"]) > 0.4
    assert max(accuracy["mlp-w8-d1-e8-n1-s0"], accuracy["mlp-w8-d1-e0-n0-s0"]) < 0.3
    assert models["mlp-w8-d1-e8-n0-s0"].facts["loss"] < np.log(10) < models["mlp-w8-d1-e0-n0-s0"].facts["loss"]
    layers = [z["hidden1"] for z in models.values()]
    assert all(not np.array_equal(a, b) for i, a in enumerate(layers) for b in layers[:i])


def test_a_network_stops_at_its_own_end():
    """Trained beside one that learns twice as long, it is the same as alone."""
    alone = digit_networks(key=0, shapes=[SMALL], trainings=[Training(1)])
    beside = digit_networks(key=0, shapes=[SMALL], trainings=[Training(1), Training(2)])
    name = "mlp-w8-d1-e1-n0-s0"
    np.testing.assert_allclose(beside[name]["hidden1"], alone[name]["hidden1"], atol=1e-4)


def test_the_learning_rate_rises_and_falls_to_nothing():
    rates = [float(learning_rate(jnp.int32(step), jnp.int32(100))) for step in (0, 5, 10, 55, 99, 100, 300)]
    end = 0.5 * (1 + np.cos(np.pi * 0.89 / 0.9))
    np.testing.assert_allclose(rates, [0, 0.5, 1, 0.5, end, 0, 0], rtol=1e-3, atol=1e-7)
    assert float(learning_rate(jnp.int32(0), jnp.int32(0))) == 0


def test_labels_are_noisy_by_the_share_that_was_asked_for():
    labels = np.zeros(20000, np.int32)
    noisy = np.asarray(digit_models._noisy(jax.random.key(0), labels, 0.5))
    assert np.mean(noisy != 0) == pytest.approx(0.45, abs=0.02)  # a tenth of those that were drawn are right
    np.testing.assert_array_equal(digit_models._noisy(jax.random.key(0), labels, 0.0), labels)


@pytest.mark.slow
def test_good_networks_are_more_alike_than_random_ones():
    shapes = [SMALL, Shape("mlp", 32, 2), Shape("cnn", 16, 2)]
    found = digit_convergence(key=0, shapes=shapes, trainings=[Training(0), Training(2), Training(12)], bins=3)
    assert len(found.study.models_x) == 18
    assert found.trained > found.untrained + 0.1
    assert found.bins.mean[-1] > found.bins.mean[0] + 0.1
    assert found.trend.low > 0
    assert len(found.trend_of_seeds) == 2
    shapes = [name.partition("-e")[0] for name in found.study.models_x]
    within = pair_trend(found.study.competence("accuracy"), np.nan_to_num(found.study.table()), key=0, within=shapes)
    assert found.trend_within_shapes.rho == pytest.approx(within.rho)
    assert found.trend_within_shapes.low > 0
    chance = found.study.chance["mutual_knn"]
    assert abs(found.shuffled - chance) < 0.3 * chance
    table = found.study.table()
    epochs = found.study.competence("epochs")
    i, j = np.triu_indices(18, 1)
    both = (epochs[i] == 0) & (epochs[j] == 0)
    assert found.untrained == pytest.approx(table[i, j][both].mean())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"shapes": []}, ValueError, "shapes must be different ones, at least one"),
        ({"shapes": [SMALL, SMALL]}, ValueError, "shapes must be different ones"),
        ({"shapes": [("rnn", 8, 1)]}, ValueError, "'mlp', 'cnn', 'vit', got 'rnn'"),
        ({"shapes": [("mlp", 10, 1)]}, ValueError, "multiple of 4, got 10"),
        ({"trainings": [Training(1, 2.0)]}, ValueError, "noise from 0 to 1, got 2.0"),
        ({"trainings": [Training(-1)]}, ValueError, "at least 0, got -1"),
        ({"seeds": 0}, ValueError, "seeds must be at least 1"),
        ({"key": "0"}, TypeError, "key must be one key"),
    ],
)
def test_mistakes_are_named(change, error, message):
    with pytest.raises(error, match=f"digit_networks: .*{message}"):
        digit_networks(**{"key": 0, "shapes": [SMALL], "trainings": [Training(0)], **change})
