"""The zoo: members are named, ordered, reproducible, and have learned what they report."""

import numpy as np
import pytest

from jaxalign.studies import load_digits, train_zoo, zoo
from jaxalign.studies.networks import ARCHITECTURES

pytestmark = pytest.mark.slow  # networks are trained
SHORT = {"widths": (32,), "epochs": 6}


@pytest.fixture(scope="module")
def members():
    return train_zoo(seeds=(0, 1), **SHORT)


@pytest.fixture(scope="module")
def untrained():
    return train_zoo(widths=(32,), seeds=(0, 1, 2, 3), epochs=0)


def test_members_are_named_and_ordered_by_architecture_width_and_seed(members):
    assert [m.name for m in members] == [f"{a}-w32-s{s}" for a in ARCHITECTURES for s in (0, 1)]
    assert [(m.architecture, m.width, m.seed, m.epochs) for m in members] == [
        (a, 32, s, 6) for a in ARCHITECTURES for s in (0, 1)
    ]


def test_every_layer_is_a_float32_matrix_over_the_held_out_images(members):
    for member in members:
        assert len(member.layers) == 5
        for layer in member.layers.values():
            assert isinstance(layer, np.ndarray)
            assert layer.ndim == 2
            assert layer.shape[0] == 596
            assert layer.dtype == np.float32
            assert np.all(np.isfinite(layer))
            assert np.ptp(layer) > 0


def test_layers_stay_in_order_of_depth(members):
    assert list(members[-1].layers) == ["embed", "block1", "block2", "norm", "logits"]


def test_accuracy_is_that_of_the_recorded_logits(members, untrained):
    labels = load_digits().y_test
    for member in members + untrained:
        assert member.accuracy == np.mean(np.argmax(member.layers["logits"], axis=1) == labels)


def test_the_head_makes_logits_of_the_last_hidden_layer(members):
    assert [m.last_hidden_layer for m in members[::2]] == ["hidden4", "hidden", "norm"]
    for member in members:
        assert member.head is not None
        logits = member.head(member.layers[member.last_hidden_layer])
        np.testing.assert_allclose(logits, member.layers["logits"], rtol=1e-4, atol=1e-4)


def test_a_little_training_is_far_above_chance_and_none_is_near_it(members, untrained):
    assert min(m.accuracy for m in members) > 0.7
    assert max(m.accuracy for m in untrained) < 0.3
    assert abs(np.mean([m.accuracy for m in untrained]) - 0.1) < 0.05


def test_the_default_training_reaches_the_accuracy_it_is_meant_to():
    (member,) = train_zoo(architectures=("mlp",), widths=(32,), seeds=(0,))
    assert member.accuracy >= 0.95


def test_untrained_members_cannot_be_taken_for_trained_ones(members, untrained):
    assert untrained[0].name == "mlp-w32-s0-untrained"
    assert not {m.name for m in members} & {m.name for m in untrained}
    assert {m.epochs for m in untrained} == {0}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_seed_gives_the_same_activations_whatever_else_is_trained(members, architecture):
    first, other = (m for m in members if m.architecture == architecture)
    (again,) = train_zoo(architectures=(architecture,), seeds=(0,), **SHORT)
    for name, layer in first.layers.items():
        np.testing.assert_array_equal(again.layers[name], layer)
        assert np.max(np.abs(other.layers[name] - layer)) > 0.01


def test_members_do_not_share_their_initial_weights(untrained):
    logits = [m.layers["logits"] for m in untrained]
    assert len({array.tobytes() for array in logits}) == len(untrained)


def test_batches_hold_every_image_at_most_once_an_epoch_in_a_new_order():
    _, key = zoo._keys("mlp", 16, 0)
    first, second = np.asarray(zoo._batches(key, 1201, 2)).reshape(2, -1)
    assert first.size == 1201 // 64 * 64
    for epoch in (first, second):
        assert np.unique(epoch).size == epoch.size
        assert 0 <= epoch.min() <= epoch.max() < 1201
    assert np.any(first != second)


def test_seeds_share_one_compilation(members):
    before = zoo._train._cache_size()
    train_zoo(architectures=("mlp",), seeds=(5, 6), **SHORT)
    assert zoo._train._cache_size() == before


@pytest.mark.slow
def test_wide_types_leave_the_activations_in_float32_and_the_learning_as_it_was(float64, members, untrained):
    (start,) = train_zoo(architectures=("mlp",), widths=(32,), seeds=(0,), epochs=0)
    (member,) = train_zoo(architectures=("mlp",), seeds=(0,), **SHORT)
    np.testing.assert_allclose(start.layers["logits"], untrained[0].layers["logits"], atol=1e-5)
    assert member.layers["logits"].dtype == np.float32
    assert abs(member.accuracy - members[0].accuracy) < 0.05


def test_progress_gets_one_line_a_member():
    lines = []
    (member,) = train_zoo(architectures=("mlp",), widths=(16,), seeds=(0,), epochs=0, progress=lines.append)
    assert lines == [f"mlp-w16-s0-untrained: held-out accuracy {member.accuracy:.3f}"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"architectures": ["vitt"]}, ValueError, "architectures must be one of .* got 'vitt'; did you mean 'vit'"),
        ({"architectures": "mlp"}, TypeError, "architectures must be a list or a tuple, got str 'mlp'"),
        ({"architectures": []}, ValueError, r"architectures must name at least one, got \[\]"),
        ({"widths": (32, 30)}, ValueError, "widths must be a multiple of 4, got 30"),
        ({"widths": 32}, TypeError, "widths must be a list or a tuple, got int 32"),
        ({"widths": (32.0,)}, TypeError, "widths must be an integer, got float 32.0"),
        ({"seeds": (0, -1)}, ValueError, "seeds must be at least 0, got -1"),
        ({"seeds": (1, 0, 1)}, ValueError, r"seeds must not repeat, got \(1, 0, 1\)"),
        ({"seeds": ()}, ValueError, r"seeds must name at least one, got \(\)"),
        ({"epochs": -1}, ValueError, "epochs must be at least 0, got -1"),
        ({"epochs": 2.5}, TypeError, "epochs must be an integer, got float 2.5"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_trained(arguments, error, message):
    with pytest.raises(error, match=f"train_zoo: {message}"):
        train_zoo(progress=pytest.fail, **arguments)
