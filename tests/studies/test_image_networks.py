"""Networks of images: ResNet18 against its definition, sizes, and what labels are read as."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracles.resnet import convolution, resnet18

from jaxalign.studies.image_networks import NETWORKS, ImageModel, ResNet18, SmallCNN
from jaxalign.studies.wedge_models import Perceptron


def build(network, shape=(8, 8, 3), width=4, dimension=2, classes=5):
    return ImageModel(shape, classes, network=network, width=width, dimension=dimension, rngs=nnx.Rngs(3))


def parameters(make):
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(nnx.state(nnx.eval_shape(make), nnx.Param)))


@pytest.fixture
def images():
    return jax.random.uniform(jax.random.key(4), (6, 8, 8, 3), jnp.float32, -1, 1)


@pytest.mark.parametrize(("dimension", "count"), [(10, 11_173_962), (2, 11_169_858), (5, 11_171_397)])
def test_resnet18_has_the_published_number_of_parameters(dimension, count):
    assert parameters(lambda: ResNet18((32, 32, 3), 64, dimension, rngs=nnx.Rngs(0))) == count


def small_resnet():
    return ResNet18((8, 8, 3), 2, 3, rngs=nnx.Rngs(1))


@pytest.fixture(scope="module")
def resnet():
    """Structure; weights; and weights with no scale 1, and no bias or running mean 0. One program takes less time."""

    @jax.jit
    def weights():
        state = nnx.state(small_resnet())
        ripple = [0.1 * jnp.sin(jnp.arange(x.size, dtype=jnp.float32)).reshape(x.shape) for x in jax.tree.leaves(state)]
        return state, jax.tree.map(jnp.add, state, jax.tree.unflatten(jax.tree.structure(state), ripple))

    return nnx.split(nnx.eval_shape(small_resnet))[0], *weights()


def in_float64(state):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), nnx.to_pure_dict(state))


@pytest.mark.parametrize("train", [True, False])
def test_resnet18_is_its_definition(resnet, images, train):
    graphdef, _, state = resnet

    @jax.jit
    def run(state, x):
        network = nnx.merge(graphdef, state, copy=True)
        return network(x, train=train), nnx.state(network)

    found, after = run(state, images)
    x, weights, after = np.asarray(images, np.float64), in_float64(state), in_float64(after)
    np.testing.assert_allclose(found, resnet18(x, weights, train), rtol=1e-4, atol=1e-4)
    maps = convolution(x, weights["stem"]["conv"]["kernel"], 1)
    for name, value in (("mean", maps.mean((0, 1, 2))), ("var", maps.var((0, 1, 2)))):
        old = weights["stem"]["norm"][name]
        expected = 0.9 * old + 0.1 * value if train else old
        np.testing.assert_allclose(after["stem"]["norm"][name], expected, atol=1e-6)


def test_a_convolution_of_the_small_network_reads_a_neighborhood(images):
    make = partial(SmallCNN, (8, 8, 3), 4, 2)
    weights = jax.jit(lambda: nnx.state(make(rngs=nnx.Rngs(0))))()
    network = nnx.merge(nnx.split(nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0))))[0], weights)
    x = np.asarray(images, np.float64)
    for conv in network.convs:
        kernel = np.asarray(conv.kernel[...], np.float64).reshape(3, 3, x.shape[3], -1)
        x = np.maximum(convolution(x, kernel, 1) + np.asarray(conv.bias[...]), 0)
        if conv is not network.convs[-1]:
            x = (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
    x = np.maximum(x.reshape(6, -1) @ np.asarray(network.hidden.kernel[...]) + np.asarray(network.hidden.bias[...]), 0)
    expected = x @ np.asarray(network.head.kernel[...]) + np.asarray(network.head.bias[...])
    np.testing.assert_allclose(network(images), expected, atol=1e-5)


@pytest.mark.parametrize("network", NETWORKS)
def test_sizes_and_dtypes(network):
    def logits(x, train):
        model = build(network)
        return model.embed(x, train=train), model.unembeddings(), model(x, train=train)

    x = jax.ShapeDtypeStruct((6, 8, 8, 3), jnp.float32)
    f, g, z = jax.eval_shape(lambda x: logits(x, False), x)
    assert [a.shape for a in (f, g, z)] == [(6, 2), (5, 2), (6, 5)]
    assert {a.dtype for a in (f, g, z)} == {jnp.dtype("float32")}


def test_weights_are_drawn_within_the_inverse_root_of_inputs(resnet):
    weights = in_float64(resnet[1])
    for leaf, inputs in (
        (weights["stem"]["conv"]["kernel"], 27),
        (weights["blocks"][0]["first"]["conv"]["kernel"], 18),
        (weights["blocks"][2]["around"]["conv"]["kernel"], 2),
        (weights["head"]["kernel"], 16),
        (weights["head"]["bias"], 16),
    ):
        assert 0.5 * inputs**-0.5 < np.abs(leaf).max() <= inputs**-0.5


def test_the_last_label_is_read_as_zeros():
    model = build("mlp")
    assert isinstance(model.unembed, Perceptron)
    g = model.unembeddings()
    rows = np.vstack([np.eye(4, dtype=np.float32), np.zeros((1, 4), np.float32)])
    np.testing.assert_allclose(g, model.unembed(jnp.asarray(rows)), atol=1e-6)
    assert model.unembed.layers[0].kernel.shape == (4, 128)


def test_logits_are_products(images):
    model = build("mlp")
    f, g = (np.asarray(side, np.float64) for side in (model.embed(images), model.unembeddings()))
    np.testing.assert_allclose(model(images), f @ g.T, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": "resnet"}, "network must be one of 'mlp', 'cnn', 'resnet18', got 'resnet'; did you mean"),
        ({"network": "mlp", "width": 0}, "width must be at least 1, got 0"),
        ({"network": "cnn", "shape": (8, 6, 1)}, "sides of images must be multiples of 4, got 8 and 6"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)
