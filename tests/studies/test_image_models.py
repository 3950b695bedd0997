"""Training of models of images: the loss and its steps, batches, seeds together and alone, and what is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxalign.studies import image_models as training
from jaxalign.studies import load_digits
from jaxalign.studies.image_models import train_image_models

RNG = np.random.default_rng(5)
SHORT = {"network": "mlp", "width": 8, "steps": 7, "seeds": [0, 3]}


@pytest.fixture(scope="module")
def digits():
    d = load_digits()
    return d.x_train, d.y_train, d.x_test, d.y_test


@pytest.fixture(scope="module")
def short(digits):
    return train_image_models(*digits, **SHORT)


def test_models_learn(digits):
    models = train_image_models(*digits, seeds=[0, 1], network="mlp", width=32, steps=600, learning_rate=3e-3)
    assert models.accuracy.min() > 0.6
    assert models.nll.max() < 1.2


def test_accuracy_and_likelihood_are_those_of_embeddings(short, digits):
    labels = digits[3]
    for i in range(2):
        logits = short.f[i].astype(np.float64) @ short.g[i].astype(np.float64).T
        logp = logits - np.log(np.exp(logits).sum(axis=1))[:, None]
        np.testing.assert_allclose(short.log_probs()[i], logp, atol=1e-6)
        np.testing.assert_allclose(short.accuracy[i], (logp.argmax(axis=1) == labels).mean(), atol=1e-6)
        np.testing.assert_allclose(short.nll[i], -logp[np.arange(len(labels)), labels].mean(), rtol=1e-6)


def test_all_seeds_in_one_program_are_the_seeds_alone(short, digits):
    one_by_one = train_image_models(*digits, **SHORT, together=False)
    alone = train_image_models(*digits, **SHORT | {"seeds": [3]})
    np.testing.assert_allclose(one_by_one.f, short.f, atol=1e-6)
    # No gradient moves all labels alike, only rounding, which Adam makes as large as any gradient.
    np.testing.assert_allclose(*(m.g - m.g.mean(axis=1, keepdims=True) for m in (one_by_one, short)), atol=1e-6)
    np.testing.assert_array_equal(alone.f[0], one_by_one.f[1])
    np.testing.assert_array_equal(alone.g[0], one_by_one.g[1])
    assert np.abs(short.f[0] - short.f[1]).max() > 0.01


def test_wide_types_change_nothing(short, digits, float64):
    again = train_image_models(*digits, **SHORT)
    assert again.f.dtype == again.g.dtype == again.nll.dtype == np.float32
    np.testing.assert_array_equal(again.f, short.f)
    assert again.log_probs().dtype == jnp.float64


@pytest.mark.parametrize("as_bytes", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_one_step_is_that_of_adam_on_the_mean_of_the_first_batch(as_bytes):
    pixels = RNG.integers(0, 256, (20, 4, 4, 3))
    y = np.arange(20, dtype=np.int32) % 3
    x = pixels.astype(np.uint8) if as_bytes else (pixels / 255).astype(np.float32)
    sizes = training._Sizes((4, 4, 3), 3, "mlp", 8, 2)
    state = training._start(jnp.asarray([3], jnp.uint32), sizes)
    graphdef = nnx.split(nnx.eval_shape(lambda: training._build(sizes, 0)), nnx.Param, ...)[0]
    rows, count, _ = next(training._chunks(20, 8, 1))
    assert (rows.shape, count) == ((1, 8), 1)
    scaled = jnp.asarray(2 * pixels[rows[0]] / 255 - 1, jnp.float32)

    def loss(weights):
        logp = jax.nn.log_softmax(nnx.merge(graphdef, weights, {})(scaled))
        return -jnp.mean(jnp.take_along_axis(logp, jnp.asarray(y[rows[0]])[:, None], axis=1))

    one = jax.tree.map(lambda leaf: np.asarray(leaf)[0], state[0])
    value, gradient = jax.jit(jax.value_and_grad(loss))(one)
    # The first step of Adam: the learning rate times the sign, but for gradients near its epsilon.
    gradient = [np.asarray(leaf) for leaf in jax.tree.leaves(gradient)]
    expected = [w - 1e-3 * g / (np.abs(g) + 1e-8) for w, g in zip(jax.tree.leaves(one), gradient, strict=True)]
    arrays = (jnp.asarray(x), jnp.asarray(y), jnp.asarray(rows), jnp.int32(1), jnp.float32(1e-3))
    (after, _, _), mean = training._train(graphdef, state, *arrays)
    np.testing.assert_allclose(mean, [value], rtol=1e-5)
    for found, leaf, slope in zip(jax.tree.leaves(after), expected, gradient, strict=True):
        clear = np.abs(slope) > 1e-5
        np.testing.assert_allclose(np.asarray(found)[0][clear], leaf[clear], atol=5e-6)


@pytest.mark.parametrize("steps", [1, 19, 47, 200])
def test_batches_pass_over_all_images_in_new_orders_whatever_the_chunks(steps):
    chunks = list(training._chunks(70, 16, steps))
    rows = np.concatenate([rows[:count] for rows, count, _ in chunks])
    assert len(rows) == steps
    assert [done for *_, done in chunks][-1] == steps
    assert len(chunks) <= 20
    assert len({rows.shape for rows, *_ in chunks}) == 1  # one program for all
    for epoch in range(steps // 4):  # of 4 batches, 6 images left over
        seen = rows[4 * epoch : 4 * epoch + 4].ravel()
        assert len(set(seen)) == 64
        assert 0 <= seen.min() <= seen.max() < 70
    if steps >= 8:
        assert set(rows[:4].ravel()) != set(rows[4:8].ravel())
    longer = np.concatenate([rows[:count] for rows, count, _ in training._chunks(70, 16, 500)])
    np.testing.assert_array_equal(longer[:steps], rows)


def test_no_steps_leave_the_weights_that_seeds_draw(digits):
    x, y, x_test, y_test = digits
    models = train_image_models(x, y, x_test, y_test, **SHORT | {"steps": 0})

    @jax.jit
    def drawn(x):
        model = training._build(training._Sizes((8, 8, 1), 10, "mlp", 8, 2), jax.random.key(3))
        return model.embed(2 * x - 1), model.unembeddings()

    f, g = drawn(jnp.asarray(x_test[..., None]))
    np.testing.assert_allclose(models.f[1], f, atol=1e-6)
    np.testing.assert_allclose(models.g[1], g, atol=1e-6)
    # Held-out images go through in blocks, the last one padded.
    few = train_image_models(x, y, x_test[:5], y_test[:5], **SHORT | {"steps": 0})
    np.testing.assert_allclose(few.f, models.f[:, :5], atol=1e-6)


def test_progress_comes_in_lines(digits):
    lines = []
    train_image_models(*digits, **SHORT | {"steps": 25}, progress=lines.append)
    assert [line.split(",")[1] for line in lines] == [f" 2 seeds: {n} of 25 steps" for n in (*range(2, 26, 2), 25)]
    assert all(line.split()[-2] == "loss" and line.split()[-1].startswith("2.3") for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["cnn", "resnet18"])
def test_other_networks_learn_and_seeds_do_not_meddle(network):
    """Two kinds of images, told apart by their color."""
    y = np.arange(64, dtype=np.int32) % 3
    x = np.clip(RNG.random((64, 8, 8, 3)) * 0.4 + 0.6 * np.eye(3)[y][:, None, None, :], 0, 1).astype(np.float32)
    settings = {"network": network, "width": 16 if network == "cnn" else 4, "batch": 16}
    models = train_image_models(x, y, x[:40], y[:40], seeds=[0, 3], steps=60, learning_rate=3e-3, **settings)
    assert models.accuracy.min() > 0.9
    short = {**settings, "steps": 5, "learning_rate": 1e-4}  # Adam magnifies rounding where gradients vanish
    both, alone = (train_image_models(x, y, x[:40], y[:40], seeds=seeds, **short) for seeds in ([0, 3], [3]))
    np.testing.assert_allclose(alone.f[0], both.f[1], atol=1e-5 * np.abs(both.f[1]).max())
    # Running statistics: an embedding does not depend on what else is in its batch.
    few = train_image_models(x, y, x[:3], y[:3], seeds=[3], **short)
    np.testing.assert_allclose(few.f[0], alone.f[0, :3], atol=1e-5 * np.abs(alone.f).max())


X, Y = np.zeros((8, 4, 4), np.float32), np.arange(8) % 2


@pytest.mark.parametrize(
    ("images", "settings", "error", "message"),
    [
        ({}, {"seeds": []}, ValueError, "seeds must name at least one"),
        ({}, {"seeds": [1, 1]}, ValueError, "seeds must not repeat"),
        ({}, {"network": "vgg"}, ValueError, "network must be one of"),
        ({}, {"width": 0}, ValueError, "width must be at least 1, got 0"),
        ({}, {"dimension": 0}, ValueError, "dimension must be at least 1, got 0"),
        ({}, {"steps": -1}, ValueError, "steps must be at least 0, got -1"),
        ({}, {"steps": 1.5}, TypeError, "steps must be an integer"),
        ({}, {"batch": 9}, ValueError, "batch must be at most the number of images to train on, 8, got 9"),
        ({}, {"learning_rate": 0.0}, ValueError, "learning_rate must be positive"),
        ({"x_train": X + 2}, {}, ValueError, "x_train must be bytes, or numbers from 0 to 1, got 2.0 to 2.0"),
        ({"x_train": X - 1}, {}, ValueError, "x_train must be bytes, or numbers from 0 to 1, got -1.0 to -1.0"),
        ({"x_train": X * np.nan}, {}, ValueError, "x_train must be bytes, or numbers from 0 to 1, got nan"),
        ({"x_train": X[0]}, {}, ValueError, r"x_train must have shape \(n, h, w\) or"),
        ({"x_test": X.astype(int)}, {}, TypeError, r"x_test must be bytes \(uint8\) or floating point"),
        ({"x_test": X[:, :2]}, {}, ValueError, r"x_test must hold images of shape \(4, 4, 1\) as x_train"),
        ({"y_train": Y[:5]}, {}, ValueError, "y_train must be 8 integers of at least 0"),
        ({"y_train": Y - 1}, {}, ValueError, "y_train must be 8 integers of at least 0"),
        ({"y_test": Y + 1}, {}, ValueError, "y_train must hold at least two labels, and all of y_test"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_trained(images, settings, error, message):
    arrays = {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y} | images
    quick = {"seeds": [0], "network": "mlp", "width": 2, "batch": 4, "steps": 1, "progress": pytest.fail}
    with pytest.raises(error, match=f"train_image_models: {message}"):
        train_image_models(*arrays.values(), **quick | settings)
