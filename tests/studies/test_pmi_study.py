"""Worlds of events, and whether learners of their observations agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.studies import event_world, pmi_figure, pmi_study, sample_events
from jaxalign.studies.cooccurrence import kernel_agreement


def test_the_joint_distribution_is_that_of_the_chain_within_the_window(float64):
    world = event_world(3, events=5, window=3)
    p, chain = np.asarray(world.marginal), np.asarray(world.chain)
    np.testing.assert_allclose(chain.sum(axis=1), 1)
    np.testing.assert_allclose(p @ chain, p)
    expected = np.zeros((5, 5))
    for lag in range(-3, 4):
        ahead = p[:, None] * np.linalg.matrix_power(chain, abs(lag))
        expected += (ahead if lag >= 0 else ahead.T) / 7
    np.testing.assert_allclose(world.joint, expected, rtol=1e-10)
    np.testing.assert_allclose(world.joint, world.joint.T)
    distances = np.linalg.norm(np.asarray(world.places)[:, None] - np.asarray(world.places)[None], axis=2)
    ratio = np.log(chain / np.diag(chain)[:, None]) + distances**2 / 2
    np.testing.assert_allclose(ratio + ratio.T, 0, atol=1e-10)  # weights cancel


def test_sequences_are_of_the_world():
    world = event_world(1, events=4)
    seen = np.asarray(sample_events(world, 40_000, key=2))
    np.testing.assert_allclose(np.bincount(seen) / 40_000, world.marginal, atol=0.02)
    steps = np.zeros((4, 4))
    np.add.at(steps, (seen[:-1], seen[1:]), 1)
    np.testing.assert_allclose(steps / steps.sum(axis=1, keepdims=True), world.chain, atol=0.02)
    assert sample_events(world, 1, key=0).shape == (1,)


def test_agreement_of_kernels_is_its_definition(float64):
    rng = np.random.default_rng(0)
    a, b = (m @ m.T for m in rng.normal(size=(2, 6, 3)))
    center = np.eye(6) - 1 / 6
    one, other = center @ a @ center, center @ b @ center
    cosine, correlation = kernel_agreement(jnp.asarray(a), jnp.asarray(b))
    assert float(cosine) == pytest.approx(np.sum(one * other) / np.linalg.norm(one) / np.linalg.norm(other))
    rows = ~np.eye(6, dtype=bool)
    assert float(correlation) == pytest.approx(np.corrcoef(a[rows], b[rows])[0, 1])


@pytest.mark.slow
def test_learners_find_the_kernel_of_their_world_and_each_other():
    study = pmi_study(0, events=6, dims=(1, 6), at=(0, 400), lengths=(50, 3000), seeds=2)
    assert study["by_dim"].shape == study["by_step_nce"].shape == study["learned_lossy"].shape == (2, 2, 2)
    assert study["shift"].shape == (2,)
    for name in ("by_dim", "by_dim_best", "by_step_nce", "by_step_infonce"):
        assert study[name][-1].min() > 0.98
    assert (study["by_dim"][0] < study["by_dim"][-1]).all()
    np.testing.assert_allclose(study["by_dim_best"][-1], 1, atol=1e-4)
    assert study["by_step_nce"][0].max() < 0.95
    for name in ("counted_first", "learned_first", "learned_second", "between_second"):
        assert study[name][-1, :, 1].min() > 0.9
        assert study[name][-1, :, 1].mean() > study[name][0, :, 1].mean()
    assert study["learned_lossy"][-1, :, 1].max() < 0.9
    assert np.abs(study["learned_shuffled"][-1, :, 1]).max() < study["learned_first"][-1, :, 1].min()


def test_worlds_are_drawn_by_the_key():
    one, other = (event_world(key, events=4).joint for key in (0, 1))
    assert not np.allclose(one, other)
    together = jax.vmap(lambda key: event_world(key, events=4).joint)(jax.vmap(jax.random.key)(jnp.arange(2)))
    np.testing.assert_allclose(together, [one, other], rtol=1e-5)


def test_the_figure_is_drawn_from_the_study():
    pytest.importorskip("matplotlib")
    names = ["by_dim", "by_dim_best", "by_step_nce", "by_step_infonce"]
    names += ["learned_first", "between_second", "learned_lossy", "learned_shuffled"]
    rng = np.random.default_rng(0)
    study = {name: rng.uniform(size=(2, 3, 2)) for name in names}
    study |= {"dims": np.array([1, 4]), "at": np.array([0, 30]), "lengths": np.array([10, 1000])}
    drawn = pmi_figure(study)
    assert drawn.arrays.keys() == study.keys()
    left, _, right = drawn.figure.axes
    assert len(right.lines) == 5  # four curves and zero
    np.testing.assert_allclose(left.lines[0].get_ydata(), study["by_dim"][:, :, 1].mean(axis=1))
    np.testing.assert_allclose(right.lines[1].get_ydata(), study["between_second"][:, :, 1].mean(axis=1))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"events": 5}, ValueError, "pmi_study: events must be even, got 5"),
        ({"seeds": 0}, ValueError, "seeds must be at least 1"),
        ({"dims": ()}, ValueError, "dims must name at least one"),
        ({"lengths": (1,)}, ValueError, "lengths must be at least 2"),
        ({"smoothing": 0.0}, ValueError, "smoothing must be positive"),
    ],
)
def test_mistakes_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        pmi_study(0, **settings)
    with pytest.raises(ValueError, match="event_world: spread must be positive"):
        event_world(0, spread=0.0)
    with pytest.raises(ValueError, match="sample_events: length must be at least 1"):
        sample_events(event_world(0, events=2), 0, key=0)
