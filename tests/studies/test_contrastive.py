"""What contrastive losses recover: their optimum in closed form, and training that reaches it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxalign.studies import (
    contrastive_embedding,
    infonce_loss,
    nce_loss,
    pmi_embedding,
    pmi_kernel,
    psd_shift,
)

RNG = np.random.default_rng(3)


def random_joint(size, own=0.5):
    """Symmetric, with much of each event beside itself, so that its PMI is positive semi-definite."""
    half = RNG.uniform(0.5, 1.5, (size, size))
    joint = half + half.T + own * size * np.diag(RNG.uniform(1, 2, size))
    return joint / joint.sum()


def slow_nce(scores, joint, negatives):
    """Entry by entry: the right pair told from noise, and so many noises told from the right pair."""
    p, loss = joint.sum(1), 0.0
    for a in range(len(p)):
        for b in range(len(p)):
            right = 1 / (1 + np.exp(-scores[a, b]))
            loss -= joint[a, b] * np.log(right) + negatives * p[a] * p[b] * np.log(1 - right)
    return loss


def slow_infonce(scores, joint):
    p, loss = joint.sum(1), 0.0
    for a in range(len(p)):
        normalizer = sum(p[b] * np.exp(scores[a, b]) for b in range(len(p)))
        loss -= sum(joint[a, b] * np.log(np.exp(scores[a, b]) / normalizer) for b in range(len(p)))
    return loss


def test_losses_are_their_definitions(x64):
    joint, scores = random_joint(5), RNG.normal(size=(5, 5))
    rtol = 1e-12 if x64 else 2e-6
    np.testing.assert_allclose(nce_loss(scores, joint, negatives=3), slow_nce(scores, joint, 3), rtol=rtol)
    np.testing.assert_allclose(infonce_loss(scores, joint), slow_infonce(scores, joint), rtol=rtol)
    counts = np.round(joint * 1000) + np.round(joint.T * 1000)
    np.testing.assert_allclose(nce_loss(scores, counts), slow_nce(scores, counts / counts.sum(), 1), rtol=10 * rtol)


def test_the_optimum_of_nce_is_pmi_less_the_log_of_negatives(float64):
    joint = random_joint(6)
    best = np.asarray(pmi_kernel(joint)) - np.log(5)
    gradient = jax.grad(lambda s: nce_loss(s, joint, negatives=5))
    np.testing.assert_allclose(gradient(jnp.asarray(best)), 0, atol=1e-15)
    assert np.abs(gradient(jnp.asarray(best + 0.1))).max() > 1e-3
    assert np.linalg.eigvalsh(jax.hessian(lambda s: nce_loss(s.reshape(6, 6), joint))(jnp.asarray(best.ravel())))[0] > 0


def test_the_optimum_of_infonce_is_pmi_up_to_a_function_of_the_row(float64):
    joint = random_joint(6)
    best = np.asarray(pmi_kernel(joint))
    gradient = jax.grad(lambda s: infonce_loss(s, joint))
    for rows in (np.zeros(6), RNG.normal(size=6)):
        np.testing.assert_allclose(gradient(jnp.asarray(best + rows[:, None])), 0, atol=1e-15)
    assert np.abs(gradient(jnp.asarray(best + RNG.normal(size=6)[None, :]))).max() > 1e-3
    mutual_information = np.sum(joint * best)
    assert float(infonce_loss(best, joint)) == pytest.approx(-mutual_information)


@pytest.mark.parametrize("loss", ["nce", "infonce"])
def test_a_learner_with_enough_dimensions_finds_the_pmi_and_a_constant(loss):
    joint = random_joint(6)
    kernel = np.asarray(pmi_kernel(joint), float)
    assert np.isfinite(psd_shift(kernel))
    fit = contrastive_embedding(joint, 6, loss=loss, negatives=2, steps=4000, key=1)
    f = np.asarray(fit.embedding, float)
    rest = f @ f.T - kernel
    np.testing.assert_allclose(rest, rest.mean(), atol=1e-3)
    assert rest.mean() >= float(psd_shift(kernel)) - 1e-3
    if loss == "nce":
        np.testing.assert_allclose(float(fit.bias) + rest.mean(), -np.log(2), atol=1e-3)
        best = float(nce_loss(kernel - np.log(2), joint, negatives=2))
    else:
        assert float(fit.bias) == 0
        best = -np.sum(joint * kernel)
    assert float(fit.loss[-1]) == pytest.approx(best, abs=1e-5)
    assert fit.loss.shape == (4000,)
    assert (fit.loss[0] > fit.loss[-1]).all()


def test_with_a_free_diagonal_a_kernel_that_is_not_positive_is_found_off_it():
    joint = random_joint(5, own=0.0)
    np.fill_diagonal(joint, 0.0)
    joint /= joint.sum()
    off = ~np.eye(5, dtype=bool)
    kernel = np.asarray(pmi_kernel(joint), float)
    fit = contrastive_embedding(joint, 5, diagonal=False, steps=4000, key=0)
    rest = (np.asarray(fit.embedding, float) @ np.asarray(fit.embedding, float).T - kernel)[off]
    np.testing.assert_allclose(rest, rest.mean(), atol=1e-3)
    scores = jnp.asarray(RNG.normal(size=(5, 5)), jnp.float32)
    other = scores + 7 * jnp.eye(5, dtype=scores.dtype)
    assert float(nce_loss(scores, joint, diagonal=False)) == float(nce_loss(other, joint, diagonal=False))
    assert float(nce_loss(scores, joint)) != float(nce_loss(other, joint))


def test_fewer_dimensions_end_where_the_loss_is_higher_and_the_last_state_is_that_of_the_last_step():
    joint = random_joint(8)
    ends = [contrastive_embedding(joint, dim, steps=1500, key=0) for dim in (1, 3, 8)]
    losses = [float(e.loss[-1]) for e in ends]
    assert losses[0] > losses[1] > losses[2]
    short = contrastive_embedding(joint, 3, steps=5, at=(0, 2, 5), key=0)
    assert short.path.shape == (3, 8, 3)
    np.testing.assert_array_equal(short.path[-1], short.embedding)
    f = short.path[0]
    np.testing.assert_allclose(nce_loss(f @ f.T, joint), short.loss[0], rtol=1e-5)  # the bias begins at 0 for k = 1


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["nce", "infonce"])
def test_minibatches_come_close_to_the_population(loss):
    joint = random_joint(6)
    kernel = np.asarray(pmi_kernel(joint), float)
    fit = contrastive_embedding(
        joint, 6, loss=loss, negatives=4, steps=20_000, batch_size=512, optimizer=optax.adam(1e-3), key=2
    )
    f = np.asarray(fit.embedding, float)
    rest = f @ f.T - kernel
    assert np.std(rest) < 0.1 * np.std(kernel)


def test_minibatches_are_drawn_from_the_joint_distribution():
    joint = np.array([[0.5, 0.0, 0.1], [0.0, 0.1, 0.1], [0.1, 0.1, 0.0]])
    from jaxalign.studies.contrastive import draw

    firsts, seconds, noise = draw(jnp.asarray(joint, jnp.float32), 40_000, 2, jax.random.key(0))
    found = np.zeros((3, 3))
    np.add.at(found, (np.asarray(firsts), np.asarray(seconds)), 1 / 40_000)
    np.testing.assert_allclose(found, joint, atol=0.01)
    assert (found[joint == 0] == 0).all()
    assert noise.shape == (40_000, 2)
    np.testing.assert_allclose(np.bincount(np.ravel(noise)) / 80_000, joint.sum(0), atol=0.01)


def test_seeds_and_worlds_are_trained_together():
    joints = np.stack([random_joint(4), random_joint(4)]).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 2)
    together = jax.vmap(lambda j, k: contrastive_embedding(j, 2, steps=50, key=k).embedding)(jnp.asarray(joints), keys)
    alone = contrastive_embedding(joints[1], 2, steps=50, key=keys[1])
    np.testing.assert_allclose(together[1], alone.embedding, atol=1e-4)
    assert not np.allclose(together[0], together[1], atol=0.1)


def test_types_and_single_events(x64):
    fit = contrastive_embedding(np.array([[3]]), 2, steps=20, key=0)
    assert fit.embedding.dtype == (jnp.float64 if x64 else jnp.float32)
    assert np.isfinite(fit.embedding).all()
    assert contrastive_embedding(np.eye(2, dtype=np.float32), 1, steps=1, key=0).loss.dtype == jnp.float32


def test_the_closed_form_is_at_the_optimum_of_its_loss(float64):
    joint = random_joint(5)
    kernel = pmi_kernel(joint)
    shift = psd_shift(kernel)
    f = pmi_embedding(kernel, shift=shift)
    gradient = jax.grad(lambda f: nce_loss(f @ f.T - shift, joint))(f)
    np.testing.assert_allclose(gradient, 0, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"loss": "hinge"}, ValueError, "contrastive_embedding: loss must be one of 'nce', 'infonce', got 'hinge'"),
        ({"negatives": 0}, ValueError, "negatives must be at least 1"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"at": (0, 99)}, ValueError, r"at must be steps in 0 .. 10, rising, got \(0, 99\)"),
        ({"at": (5, 2)}, ValueError, "rising"),
        ({"key": "a"}, TypeError, "key must be one key"),
        ({"optimizer": 0.1}, TypeError, "optimizer must be a transformation of optax, got float 0.1"),
        ({"diagonal": 1}, TypeError, "diagonal must be True or False, got int 1"),
        ({"diagonal": False, "batch_size": 4}, ValueError, "diagonal=False .* without batch_size"),
    ],
)
def test_mistakes_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        contrastive_embedding(np.eye(3), 2, **{"steps": 10, "key": 0, **settings})


def test_mistakes_of_joints_scores_and_dimensions_are_named():
    with pytest.raises(ValueError, match="contrastive_embedding: joint must be symmetric"):
        contrastive_embedding(np.array([[1.0, 2.0], [1.0, 1.0]]), 2, key=0)
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        contrastive_embedding(np.eye(3), 0, key=0)
    with pytest.raises(ValueError, match=r"nce_loss: scores must have shape \(3, 3\) like joint, got"):
        nce_loss(np.zeros((2, 2)), np.eye(3))
    with pytest.raises(ValueError, match=r"infonce_loss: scores must have shape \(3, 3\) like joint, got"):
        infonce_loss(np.zeros((2, 2)), np.eye(3))
