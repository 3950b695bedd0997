"""The authors' networks: what they compute, what they start from, and which layers they show."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxalign.dynamics.networks import ACTIVATIONS, CNN, MLP
from jaxalign.dynamics.settings import SETTINGS, Setting, two_points
from jaxalign.features.intermediates import intermediates, layer_names

X = np.random.default_rng(0).standard_normal((4, 3))

FORMULAS = {
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "relu": lambda z: np.maximum(z, 0),
    "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    "tanh": np.tanh,
    "swish": lambda z: z / (1 + np.exp(-z)),
    "linear": lambda z: z,
}


def numpy_mlp(net, x, activation, skip=False):
    """Hidden activations and outputs, in float64."""
    hidden, z = [], x
    for n, layer in enumerate(net.hidden):
        z = FORMULAS[activation](z @ np.asarray(layer.kernel[...], np.float64) + np.asarray(layer.bias[...]))
        if skip and n >= 2:
            z = z + hidden[n - 2]
        hidden.append(z)
    return hidden, z @ np.asarray(net.output.kernel[...], np.float64) + np.asarray(net.output.bias[...])


def with_biases(net):
    """So that they count."""
    for n, layer in enumerate([*net.hidden, net.output]):
        layer.bias[...] = jnp.linspace(-1, 1, layer.bias.shape[0]) + n / 10
    return net


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("activation", list(FORMULAS))
def test_the_perceptron_is_its_formula(activation, skip):
    net = MLP(7, 5, rngs=nnx.Rngs(0), activation=activation, skip=skip, inputs=3, outputs=2, gain=1.3)
    outputs, found = intermediates(with_biases(net), jnp.asarray(X, jnp.float32), layers="hidden.*")
    hidden, expected = numpy_mlp(net, X, activation, skip)
    assert list(found) == [f"hidden.{n}" for n in range(5)]
    for n in range(5):
        np.testing.assert_allclose(found[f"hidden.{n}"], hidden[n], rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(outputs, expected, rtol=2e-5, atol=2e-5)
    assert set(ACTIVATIONS) == set(FORMULAS)


def test_the_convolutions_are_their_formula():
    net = CNN(30, 2, rngs=nnx.Rngs(0), inputs=3, outputs=2, size=11, channels=4)
    net.first.bias[...] = jnp.linspace(-1, 1, 30)
    outputs, found = intermediates(with_biases(net), jnp.asarray(X, jnp.float32), layers=["first", "hidden.*"])
    assert [h.shape for h in found.values()] == [(4, 30), (4, 20, 4), (4, 10, 4)]
    phi = FORMULAS["leaky_relu"]
    z = phi(X @ np.asarray(net.first.kernel[...], np.float64) + np.asarray(net.first.bias[...]))[..., None]
    for n in range(2):
        kernel = np.asarray(net.hidden[n].kernel[...], np.float64)
        windows = np.stack([z[:, i : i + 11] for i in range(z.shape[1] - 10)], 1)
        z = phi(np.einsum("nlsi,sio->nlo", windows, kernel) + np.asarray(net.hidden[n].bias[...]))
        np.testing.assert_allclose(found[f"hidden.{n}"], z, rtol=2e-5, atol=1e-5)
    kernel, bias = (np.asarray(p[...], np.float64) for p in (net.output.kernel, net.output.bias))
    np.testing.assert_allclose(outputs, z.reshape(4, -1) @ kernel + bias, rtol=2e-5, atol=2e-5)


def test_kernels_start_normal_with_the_gain_and_biases_at_zero():
    mlp = MLP(300, 2, rngs=nnx.Rngs(0), gain=1.7, inputs=100, outputs=200)
    cnn = CNN(300, 2, rngs=nnx.Rngs(0), gain=0.4, size=11, channels=60, inputs=100, outputs=7)
    expected = [
        (mlp.hidden[0], 1.7 * np.sqrt(2 / 400)),
        (mlp.hidden[1], 1.7 * np.sqrt(2 / 600)),
        (mlp.output, 1.7 * np.sqrt(2 / 500)),
        (cnn.first, 0.4 * np.sqrt(2 / 400)),
        (cnn.hidden[0], 0.4 * np.sqrt(2 / (11 * 61))),
        (cnn.hidden[1], 0.4 * np.sqrt(2 / (11 * 120))),
        (cnn.output, 0.4 * np.sqrt(2 / (280 * 60 + 7))),
    ]
    for layer, deviation in expected:
        kernel = np.asarray(layer.kernel[...]) / deviation
        n = kernel.size
        assert abs(kernel.std() - 1) < 4 / np.sqrt(2 * n)
        assert abs(kernel.mean()) < 4 / np.sqrt(n)
        # Of a normal distribution 4.55 % lie beyond two standard deviations, of a truncated one none.
        assert abs(np.mean(np.abs(kernel) > 2) - 0.0455) < 4 * np.sqrt(0.0455 / n)
        assert not np.any(layer.bias[...])
        assert isinstance(layer.bias, nnx.Param)


def test_gains_are_vmapped():
    def outputs(gain):
        return MLP(6, 2, rngs=nnx.Rngs(3), gain=gain, activation="linear")(jnp.ones((1, 1)))[0, 0]

    gains = jnp.asarray([0.5, 1.0, 2.0])
    values = jax.jit(jax.vmap(outputs))(gains)
    np.testing.assert_allclose(values, values[1] * gains**3, rtol=1e-5)


def test_dropout_comes_before_every_affine_map():
    net = MLP(1000, 2, rngs=nnx.Rngs(0), activation="linear", dropout=0.25, inputs=2000, outputs=3)
    assert len(net.dropouts) == 3
    assert layer_names(net, jnp.ones((1, 2000)), layers="hidden.*") == ["hidden.0", "hidden.1"]
    x = jnp.ones((1, 2000))
    dropped = [np.mean(np.asarray(z) == 0) for z in intermediates(net, x, layers="dropouts.*")[1].values()]
    np.testing.assert_allclose(dropped, 0.25, atol=0.05)
    assert np.any(np.asarray(net(x)) != np.asarray(net(x)))
    net.eval()
    np.testing.assert_array_equal(net(x), net(x))
    np.testing.assert_allclose(net(x), numpy_mlp(net, np.ones((1, 2000)), "linear")[1], rtol=1e-4, atol=1e-4)


def test_the_two_points_are_where_the_authors_put_them():
    x, y = two_points()
    np.testing.assert_allclose(x, [[-1], [0]], atol=1e-7)
    np.testing.assert_allclose(y, [[0.6], [0.6 + np.sqrt(0.5)]], rtol=1e-6)
    for centered in (False, True):
        x, y = two_points(2.0, 0.3, inputs=5, outputs=4, centered=centered)
        assert (x.shape, y.shape) == ((2, 5), (2, 4))
        np.testing.assert_allclose(jnp.sum((x[1] - x[0]) ** 2), 2.0, rtol=1e-6)
        np.testing.assert_allclose(jnp.sum((y[1] - y[0]) ** 2), 0.3, rtol=1e-6)
        np.testing.assert_allclose(x[0], -np.sqrt(0.5 / 5) if centered else -1 / np.sqrt(5), rtol=1e-6)
        np.testing.assert_allclose(y[0], -np.sqrt(0.3 / 16) if centered else 0.3, rtol=1e-6)
    grids = jax.vmap(lambda d: two_points(d, d)[0])(jnp.asarray([1.0, 4.0]))
    np.testing.assert_allclose(grids[:, 1, 0], [0, 1], atol=1e-7)


NOTEBOOKS = """
default leaky_relu 1.0 .01 500x20 3000 10 | shallow leaky_relu .35 .02 500x2 3000 1
narrow leaky_relu 1.05 .01 50x20 3000 10
linear linear .85 .0025 500x20 3000 10 | elu elu .95 .0009 500x20 3000 10 | tanh tanh .85 .0025 500x20 3000 10
relu relu 1.0 .01 500x20 3000 10 | swish swish 1.7 .005 500x20 3000 10 | skip leaky_relu .1 .02 500x20 3000 10
cnn leaky_relu .95 .004 500x10 3000 5 | dropout leaky_relu 1.0 .01 500x10 3000 2
adam leaky_relu 1.0 1e-6 500x20 3000 10
gain_0.9 leaky_relu .9 .03 500x20 3000 10 | gain_1.1 leaky_relu 1.1 .005 500x20 3000 10
gain_1.2 leaky_relu 1.2 .0025 500x20 3000 10 | gain_1.3 leaky_relu 1.3 .0015 500x20 3000 10
gain_1.4 leaky_relu 1.4 .0005 500x20 3000 10 | gain_1.6 leaky_relu 1.6 3e-6 500x20 3000 10
two_layer linear .1 .01 500x1 3000 0 | xor_rich relu .85 .015 500x20 3000 10
xor_intermediate relu 1.25 .002 500x20 3000 10
xor_lazy relu 2.0 3e-9 500x20 3000 10 | xor_shallow relu .0015 .03 500x1 3000 0
orthogonal_high leaky_relu 2.0 .0015 100x4 750 2 | orthogonal_low leaky_relu .5 .015 100x4 1500 2
orthogonal_very_low leaky_relu .275 .05 100x4 2000 2
mnist_structure leaky_relu .5 .005 200x4 200 2 | mnist_trajectory leaky_relu .5 .003 200x4 200 2
"""


def test_settings_are_those_of_the_notebooks():
    rows = [row.split() for row in NOTEBOOKS.replace("|", "\n").strip().splitlines()]
    assert sorted(SETTINGS) == sorted(row[0] for row in rows)
    for name, activation, gain, lr, sizes, epochs, layer in rows:
        s = SETTINGS[name]
        assert (s.activation, s.gain, s.lr, f"{s.width}x{s.hidden}") == (activation, float(gain), float(lr), sizes), (
            name
        )
        assert (s.epochs, s.layer_index, s.layer_name) == (int(epochs), int(layer), f"hidden.{layer}"), name
    special = {name: (s.architecture, s.skip, s.dropout, s.optimizer, s.batch_size) for name, s in SETTINGS.items()}
    assert {name: s for name, s in special.items() if s != special["default"]} == {
        "skip": ("mlp", True, 0.0, "sgd", None),
        "cnn": ("cnn", False, 0.0, "sgd", None),
        "dropout": ("mlp", False, 0.1, "sgd", None),
        "adam": ("mlp", False, 0.0, "adam", None),
        "mnist_structure": ("mlp", False, 0.0, "adam", 64),
        "mnist_trajectory": ("mlp", False, 0.0, "sgd", 64),
    }


def test_the_layer_looked_at_is_the_middle_one_unless_named():
    assert [replace(SETTINGS["narrow"], hidden=hidden).layer_index for hidden in (1, 2, 3, 8)] == [0, 1, 1, 4]
    assert Setting(hidden=8, layer=7).layer_name == "hidden.7"
    for layer in (8, -1):
        with pytest.raises(ValueError, match=f"layer must be one of the 8 hidden layers, counted from 0, got {layer}"):
            Setting(hidden=8, layer=layer)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SETTINGS))
def test_every_setting_makes_a_network_with_the_layer(name):
    setting = SETTINGS[name]
    net = nnx.eval_shape(lambda: setting.network(rngs=nnx.Rngs(0), inputs=2, outputs=3))
    names = layer_names(net, jax.ShapeDtypeStruct((4, 2), jnp.float32), layers="hidden.*")
    assert len(names) == setting.hidden
    assert setting.layer_name in names
    kernel = net.hidden[-1].kernel.shape
    assert kernel[-1] == (20 if setting.architecture == "cnn" else setting.width)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MLP(0, 2, rngs=nnx.Rngs(0)), ValueError, "MLP: width must be at least 1, got 0"),
        (lambda: MLP(3, 2.0, rngs=nnx.Rngs(0)), TypeError, "MLP: hidden must be an integer, got float 2.0"),
        (lambda: MLP(3, 2, rngs=nnx.Rngs(0), dropout=1.0), ValueError, "dropout must be at least 0 and less than 1"),
        (lambda: MLP(3, 2, rngs=nnx.Rngs(0), activation="leaky"), ValueError, "did you mean 'leaky_relu'"),
        (lambda: MLP(3, 2, rngs=nnx.Rngs(0))(jnp.ones((4, 2))), ValueError, r"x must have shape \(examples, 1\)"),
        (lambda: CNN(100, 10, rngs=nnx.Rngs(0)), ValueError, "CNN: width must be at least 101 for 10 convolutions"),
        (lambda: two_points(-1.0), ValueError, "two_points: dx2 must be finite and at least 0, got -1.0"),
        (lambda: two_points(dy2=np.nan), ValueError, "two_points: dy2 must be finite and at least 0, got nan"),
        (lambda: two_points(inputs=0), ValueError, "two_points: inputs must be at least 1"),
    ],
)
def test_mistakes_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
