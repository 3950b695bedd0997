"""Small networks trained on the digits, with every layer's activations on held-out images.

The zoo is what the examples, the studies and the end-to-end tests compare: real
networks on real data, of known architecture, width, seed and accuracy, ready in
well under a minute on two cores.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxalign._core.checks import check_distinct, check_integer
from jaxalign._core.numerics import matmul
from jaxalign._core.typing import Array, Float, Int
from jaxalign.stitching.lipschitz import matrix_norm_bound
from jaxalign.studies.digits import Digits, load_digits
from jaxalign.studies.networks import ARCHITECTURES, build_network, check_architecture, check_width

_BATCH = 64
_PEAK_LEARNING_RATE = 7e-3


class LinearHead(NamedTuple):
    """The last layer of a network: `head(z)` is `z @ kernel + bias`.

    Attributes:
      kernel: `(d, 10)`, float32.
      bias: `(10,)`, float32.
    """

    kernel: np.ndarray
    bias: np.ndarray

    def __call__(self, z: Float[Array, "n d"]) -> Float[Array, "n 10"]:
        """Logits of activations."""
        return matmul(z, jnp.asarray(self.kernel)) + jnp.asarray(self.bias)[None, :]

    def lipschitz_bound(self, input_shape: tuple[int, ...] | None = None) -> float:
        """The greatest factor by which it stretches distances, rounded up; `jaxalign.stitching` asks for it."""
        return float(matrix_norm_bound(jnp.asarray(self.kernel)))


@dataclass(frozen=True, eq=False)
class ZooModel:
    """One member of the zoo and what it computes on the held-out images.

    Attributes:
      name: `"cnn-w64-s1"` for architecture, width and seed; `"cnn-w64-s1-untrained"` after 0 epochs.
      architecture: `"mlp"`, `"cnn"` or `"vit"`.
      width: hidden units, channels of the last convolution, or features of a token.
      seed: the seed of its initial weights and of its batches.
      epochs: passes over the training images; 0 for initial weights.
      accuracy: share of the held-out images whose largest logit is right, in `[0, 1]`.
      layers: activations by layer name in order of depth, `logits` last, each `(n_test, d)` float32;
        row `i` is row `test_ids[i]` of the data set (`load_digits`).
      head: what makes logits of the last hidden layer; None for members that were put together without it.
    """

    name: str
    architecture: str
    width: int
    seed: int
    epochs: int
    accuracy: float
    layers: dict[str, np.ndarray]
    head: LinearHead | None = None

    @property
    def last_hidden_layer(self) -> str:
        """The name of the layer that the head reads."""
        return [layer for layer in self.layers if layer != "logits"][-1]


def train_zoo(
    *,
    architectures: Sequence[str] = ARCHITECTURES,
    widths: Sequence[int] = (32, 64),
    seeds: Sequence[int] = (0, 1),
    epochs: int = 25,
    progress: Callable[[str], None] | None = None,
) -> list[ZooModel]:
    """Train every architecture at every width from every seed, and record all layers.

    Training is Adam on the cross-entropy of batches of 64; the learning rate rises to 0.007
    over the first tenth of the steps and falls to 0 along a cosine. Activations are recorded
    on the 596 held-out images: convolutional maps are averaged over space and tokens over
    tokens, so that each layer is a matrix with one row an image (`jaxalign.studies.networks`
    lists the layers).
    No two members share initial weights or the order of their batches.

    Args:
      architectures: any of `"mlp"`, `"cnn"` and `"vit"`.
      widths: hidden units, channels of the last convolution, or features of a token; multiples of 4.
      seeds: integers of at least 0. The same seed gives the same activations on the same hardware.
      epochs: passes over the 1201 training images; 0 leaves the networks untrained, a baseline
        for alignment that comes from architecture and data alone.
      progress: called with one line of text after each member, as with `print`.

    Returns:
      The members, by architecture, then width, then seed, in the order given.

    Raises:
      ValueError: for an unknown architecture, a bad width, or an empty or repeating list.
      TypeError: for widths, seeds or epochs that are not integers.
      ImportError: when scikit-learn is not installed.

    Example:
      >>> (model,) = train_zoo(architectures=["mlp"], widths=[8], seeds=[0], epochs=0)
      >>> model.name, list(model.layers), model.layers["hidden1"].shape
      ('mlp-w8-s0-untrained', ['hidden1', 'hidden2', 'hidden3', 'hidden4', 'logits'], (596, 8))
    """
    for argument, values, check in (
        ("architectures", architectures, check_architecture),
        ("widths", widths, check_width),
        ("seeds", seeds, partial(check_integer, minimum=0)),
    ):
        check_distinct("train_zoo", argument, values, check)
    check_integer("train_zoo", "epochs", epochs, minimum=0)
    digits = load_digits()
    members = []
    for architecture, width, seed in product(architectures, widths, seeds):
        members.append(_train_member(architecture, int(width), int(seed), int(epochs), digits))
        if progress is not None:
            progress(f"{members[-1].name}: held-out accuracy {members[-1].accuracy:.3f}")
    return members


def _train_member(architecture: str, width: int, seed: int, epochs: int, digits: Digits) -> ZooModel:
    """One member, trained from its seed."""
    init_key, batch_key = _keys(architecture, width, seed)
    # The graph definition is equal for all seeds, so that only the first of them compiles.
    graphdef, weights = nnx.split(build_network(architecture, width, rngs=nnx.Rngs(params=init_key)))
    with jax.default_matmul_precision("highest"):  # else accelerators round activations to fewer bits
        if epochs:
            batches = _batches(batch_key, len(digits.x_train), epochs)
            weights = _train(graphdef, weights, jnp.asarray(digits.x_train), jnp.asarray(digits.y_train), batches)
        recorded = _record(graphdef, weights, jnp.asarray(digits.x_test))
    layers = {name: np.asarray(layer) for name, layer in recorded.items()}
    accuracy = float(np.mean(layers["logits"].argmax(axis=1) == digits.y_test))
    name = f"{architecture}-w{width}-s{seed}" + ("" if epochs else "-untrained")
    state = cast(dict[str, Any], nnx.to_pure_dict(weights))["head"]
    head = LinearHead(np.asarray(state["kernel"]), np.asarray(state["bias"]))
    return ZooModel(name, architecture, width, seed, epochs, accuracy, layers, head)


def _keys(architecture: str, width: int, seed: int) -> tuple[Array, Array]:
    """Keys for the initial weights and for the batches of one member."""
    key = jax.random.fold_in(jax.random.key(seed), ARCHITECTURES.index(architecture))
    init_key, batch_key = jax.random.split(jax.random.fold_in(key, width))
    return init_key, batch_key


@partial(jax.jit, static_argnums=(1, 2))
def _batches(key: Array, rows: int, epochs: int) -> Int[Array, "steps batch"]:
    """Row numbers of every batch; each epoch is a new order, less the rows that do not fill a batch."""
    per_epoch = rows // _BATCH
    orders = jax.vmap(lambda k: jax.random.permutation(k, rows))(jax.random.split(key, epochs))
    return orders[:, : per_epoch * _BATCH].reshape(epochs * per_epoch, _BATCH)


@partial(jax.jit, static_argnums=0)
def _train(
    graphdef: nnx.GraphDef,
    weights: nnx.State,
    images: Float[Array, "n 8 8"],
    labels: Int[Array, "n"],
    batches: Int[Array, "steps batch"],
) -> nnx.State:
    """Weights after one Adam step per batch."""
    steps = batches.shape[0]
    optimizer = optax.adam(optax.warmup_cosine_decay_schedule(0.0, _PEAK_LEARNING_RATE, steps // 10, steps))

    def loss(weights, rows):
        logits = nnx.merge(graphdef, weights)(images[rows])
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels[rows]))

    def step(carry, rows):
        weights, state = carry
        gradient = jax.grad(loss)(weights, rows)
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer step counts
            updates, state = optimizer.update(gradient, state, weights)
        return (cast(nnx.State, optax.apply_updates(weights, updates)), state), None

    (weights, _), _ = jax.lax.scan(step, (weights, optimizer.init(weights)), batches)
    return weights


@partial(jax.jit, static_argnums=0)
def _record(graphdef: nnx.GraphDef, weights: nnx.State, images: Float[Array, "n 8 8"]) -> OrderedDict[str, Array]:
    """Activations of every layer; an `OrderedDict` because `jit` sorts the keys of a plain one."""
    return nnx.merge(graphdef, weights).activations(images)
