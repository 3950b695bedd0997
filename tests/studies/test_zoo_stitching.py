"""Networks of the zoo stitched into one another."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.stitching import evaluate_stitch
from jaxalign.studies import load_digits, stitch_zoo, train_zoo

pytestmark = pytest.mark.slow  # networks are trained


@pytest.fixture(scope="module")
def members():
    trained = train_zoo(architectures=("mlp", "cnn"), widths=(16,), seeds=(0, 1), epochs=6)
    return [*trained, *train_zoo(architectures=("mlp",), widths=(16,), seeds=(2,), epochs=0)]


@pytest.fixture(scope="module")
def stitched(members):
    return stitch_zoo(members, key=0)


def test_errors_are_those_that_evaluate_stitch_finds(members, stitched):
    assert stitched.sources == tuple(member.name for member in members)
    assert stitched.targets == stitched.sources[:-1]
    assert stitched.images == 298
    source, target = members[4], members[2]
    half = np.setdiff1d(np.arange(596), _fitted(members))
    result = evaluate_stitch(
        jnp.asarray(source.layers[source.last_hidden_layer]),
        jnp.asarray(target.layers[target.last_hidden_layer]),
        target.head,
        load_digits().y_test,
        key=0,
        held_out=half,
    )
    np.testing.assert_allclose(stitched.errors[4, 2], 1 - result.stitched.accuracy)
    np.testing.assert_allclose(stitched.intact[2], 1 - result.intact.accuracy)
    np.testing.assert_allclose(stitched.probes[4], 1 - result.probe.accuracy)


def _fitted(members):
    """The half that maps are fitted on: the study draws it from the first of two keys."""
    import jax

    from jaxalign.stitching.row_split import two_sides

    return two_sides("test", 596, 0.5, None, jax.random.split(jax.random.key(0))[0])[0]


def test_trained_networks_go_into_one_another_and_chance_does_not(stitched):
    trained = stitched.errors[:4]
    np.testing.assert_allclose(np.diag(trained), stitched.intact, atol=0.03)
    assert trained.mean() < stitched.intact.mean() + 0.15
    assert stitched.shuffled.min() > 0.6


def test_mistakes_are_named(members):
    with pytest.raises(ValueError, match="stitch_zoo: models must hold at least one trained network"):
        stitch_zoo(members[-1:], key=0)
    with pytest.raises(ValueError, match="stitch_zoo: models must have heads, mlp-w16-s0 has none"):
        stitch_zoo([dataclasses.replace(members[0], head=None)], key=0)
