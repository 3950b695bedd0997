"""The networks: what they compute, against plain definitions, and the shapes they record."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxalign.studies.networks import ARCHITECTURES, build_network

WIDTH = 16
LAYERS = {
    "mlp": {"hidden1": 16, "hidden2": 16, "hidden3": 16, "hidden4": 16, "logits": 10},
    "cnn": {"conv1": 8, "conv2": 16, "conv3": 16, "hidden": 16, "logits": 10},
    "vit": {"embed": 16, "block1": 16, "block2": 16, "norm": 16, "logits": 10},
}


def network(architecture):
    return build_network(architecture, WIDTH, rngs=nnx.Rngs(params=jax.random.key(3)))


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(4), (64, 8, 8), jnp.float32)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_come_in_order_of_depth_with_their_documented_sizes(architecture, images):
    layers = network(architecture).activations(images)
    assert [(name, layer.shape[1]) for name, layer in layers.items()] == list(LAYERS[architecture].items())
    assert all(layer.shape[0] == 64 and layer.dtype == jnp.float32 for layer in layers.values())


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_networks_of_another_depth(architecture, depth, images):
    model = build_network(architecture, WIDTH, depth=depth, rngs=nnx.Rngs(params=jax.random.key(3)))
    names = {
        "mlp": [f"hidden{i + 1}" for i in range(depth)],
        "cnn": [*(f"conv{i + 1}" for i in range(depth)), "hidden"],
        "vit": ["embed", *(f"block{i + 1}" for i in range(depth)), "norm"],
    }
    layers = model.activations(images)
    assert list(layers) == [*names[architecture], "logits"]
    np.testing.assert_array_equal(model(images), layers["logits"])
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        build_network(architecture, WIDTH, depth=0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="depth of a cnn must be at most 4, got 5"):
        build_network("cnn", WIDTH, depth=5, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_calling_gives_the_recorded_logits_an_affine_map_of_the_layer_before(architecture, images):
    model = network(architecture)
    layers = list(model.activations(images).values())
    np.testing.assert_array_equal(model(images), layers[-1])
    by_hand = np.asarray(layers[-2]) @ np.asarray(model.head.kernel[...]) + np.asarray(model.head.bias[...])
    np.testing.assert_allclose(layers[-1], by_hand, atol=1e-5)


def test_the_convolutional_layer_is_a_zero_padded_three_by_three_convolution(images):
    model = network("cnn")
    kernel = model.convs[0].kernel[...].reshape(3, 3, 1, WIDTH // 2)
    maps = jax.lax.conv_general_dilated(
        images[:, :, :, None], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    pooled = jnp.mean(nnx.relu(maps), axis=(1, 2))  # biases start at 0
    np.testing.assert_allclose(model.activations(images)["conv1"], pooled, atol=1e-5)


def test_the_transformer_tells_images_with_the_same_patches_apart(images):
    moved = jnp.roll(images, 2, axis=1)  # the same 16 patches, each one place down
    model = network("vit")
    here, there = model.activations(images), model.activations(moved)
    np.testing.assert_allclose(here["embed"], there["embed"], atol=1e-5)
    assert float(jnp.max(jnp.abs(here["block1"] - there["block1"]))) > 1e-3


def test_the_pooled_embedding_is_of_higher_rank_than_a_patch(images):
    embed = np.asarray(network("vit").activations(images)["embed"], np.float64)
    values = np.linalg.svd(embed - embed.mean(axis=0), compute_uv=False)
    assert np.sum(values > 1e-3 * values[0]) > 4


@pytest.mark.parametrize(
    ("architecture", "width", "error", "message"),
    [
        ("cnnn", 16, ValueError, r"build_network: architecture must be one of 'mlp', 'cnn', 'vit', got 'cnnn'.*'cnn'"),
        ("vit", 18, ValueError, "build_network: width must be a multiple of 4, got 18"),
        ("mlp", 0, ValueError, "build_network: width must be at least 4, got 0"),
        ("mlp", 16.0, TypeError, "build_network: width must be an integer, got float 16.0"),
    ],
)
def test_bad_arguments_are_named(architecture, width, error, message):
    with pytest.raises(error, match=message):
        build_network(architecture, width, rngs=nnx.Rngs(params=jax.random.key(0)))
