"""Networks on the digits from random weights to well trained: different shapes, trainings and noise of labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxalign._core.checks import check_integer
from jaxalign._core.keys import as_key
from jaxalign._core.typing import Array, Float, Int, Scalar
from jaxalign.features import Layers
from jaxalign.studies.digits import CLASSES, Digits, load_digits
from jaxalign.studies.networks import build_network, check_architecture, check_width
from jaxalign.studies.platonic.training import train_together

_BATCH = 64
_LEARNING_RATE = 5e-3


class Shape(NamedTuple):
    """What a network is.

    Attributes:
      architecture: `"mlp"`, `"cnn"` or `"vit"`.
      width: a multiple of 4.
      depth: hidden layers, convolutions or blocks.
    """

    architecture: str
    width: int
    depth: int


class Training(NamedTuple):
    """How a network is trained.

    Attributes:
      epochs: passes over the training images; 0 leaves weights random.
      noise: the share of training images whose label is drawn at random.
    """

    epochs: int
    noise: float = 0.0


#: Eight shapes.
SHAPES = (
    Shape("mlp", 16, 1),
    Shape("mlp", 64, 1),
    Shape("mlp", 16, 4),
    Shape("mlp", 64, 4),
    Shape("cnn", 8, 2),
    Shape("cnn", 32, 3),
    Shape("vit", 8, 1),
    Shape("vit", 16, 2),
)
#: Six ways to train each of them.
TRAININGS = (
    Training(0),
    Training(1),
    Training(4),
    Training(16),
    Training(16, 0.5),
    Training(16, 0.9),
)


def digit_networks(
    *,
    key: Array | int,
    seeds: int = 1,
    shapes: Sequence[Shape] = SHAPES,
    trainings: Sequence[Training] = TRAININGS,
    each: Callable[[str], None] = lambda name: None,
) -> dict[str, Layers]:
    """Train networks of all shapes in all ways, and record their hidden layers on held-out images.

    All networks of one shape, whatever their training and seed, learn in one program. Adam on batches of 64; the
    learning rate rises to 0.005 over the first tenth of the steps of a network, and falls to 0 along a cosine.

    Args:
      key: for weights, batches and noise; no two networks share any.
      seeds: networks of each shape and training.
      shapes: of networks.
      trainings: of each.
      each: called with the name of each shape before it is trained.

    Returns:
      Model, as `mlp-w16-d1-e4-n0.5-s0`, -> its hidden layers on the 596 held-out images, each `(596, d)`, with ids,
      labels, and as facts `accuracy` on held-out images, `loss` there in nats, `parameters`, `architecture`, `width`,
      `depth`, `epochs`, `noise` and `seed`.

    Raises:
      ValueError: for shapes and trainings that are none, or repeat.
      TypeError: likewise.
      ImportError: without scikit-learn.

    Example:
      >>> models = digit_networks(key=0, shapes=[Shape("mlp", 8, 1)], trainings=[Training(0)])
      >>> list(models), models["mlp-w8-d1-e0-n0-s0"]["hidden1"].shape
      (['mlp-w8-d1-e0-n0-s0'], (596, 8))
    """
    name = "digit_networks"
    key = as_key(name, key)
    check_integer(name, "seeds", seeds, minimum=1)
    shapes, trainings = [Shape(*shape) for shape in shapes], [Training(*training) for training in trainings]
    for argument, values in (("shapes", shapes), ("trainings", trainings)):
        if not values or len(set(values)) < len(values):
            raise ValueError(f"{name}: {argument} must be different ones, at least one, got {values}")
    for shape in shapes:
        check_architecture(name, "shapes", shape.architecture)
        check_width(name, "shapes", shape.width)
        check_integer(name, "shapes", shape.depth, minimum=1)
    for training in trainings:
        check_integer(name, "trainings", training.epochs, minimum=0)
        if not 0 <= training.noise <= 1:
            raise ValueError(f"{name}: trainings must have noise from 0 to 1, got {training.noise}")
    digits, models = load_digits(), {}
    for shape, own in zip(shapes, jax.random.split(key, len(shapes)), strict=True):
        each(f"{shape.architecture}-w{shape.width}-d{shape.depth}")
        models |= _networks_of(shape, own, seeds, trainings, digits)
    return models


def _networks_of(
    shape: Shape, key: Array, seeds: int, trainings: Sequence[Training], digits: Digits
) -> dict[str, Layers]:
    members = [(training, seed) for training in trainings for seed in range(seeds)]
    keys = jax.random.split(key, len(members))
    graphdef = nnx.split(_network(shape, keys[0]))[0]
    per_epoch = len(digits.x_train) // _BATCH
    steps = jnp.array([training.epochs * per_epoch for training, _ in members], jnp.int32)
    labels = jnp.stack(
        [_noisy(key, digits.y_train, training.noise) for key, (training, _) in zip(keys, members, strict=True)]
    )
    with jax.default_matmul_precision("highest"):
        weights = jax.vmap(lambda own: nnx.split(_network(shape, own))[1])(keys)
        images = jnp.asarray(digits.x_train)
        ways = {"rows": len(images), "batch": _BATCH, "peak": _LEARNING_RATE}
        weights = train_together(graphdef, weights, images, labels, keys, steps, loss=_loss, **ways)
        recorded = _record(graphdef, weights, jnp.asarray(digits.x_test))
    logits = recorded.pop("logits")
    targets = jnp.broadcast_to(jnp.asarray(digits.y_test), logits.shape[:2])
    losses = np.asarray(optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean(axis=1))
    accuracies = np.mean(np.asarray(logits).argmax(axis=2) == digits.y_test, axis=1)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(weights)) // len(members)
    found = {}
    for i, (training, seed) in enumerate(members):
        facts = {
            "accuracy": float(accuracies[i]),
            "loss": float(losses[i]),
            "parameters": parameters,
            **shape._asdict(),
            **training._asdict(),
            "seed": seed,
        }
        name = f"{shape.architecture}-w{shape.width}-d{shape.depth}-e{training.epochs}-n{training.noise:g}-s{seed}"
        layers = {layer: np.asarray(values[i]) for layer, values in recorded.items()}
        found[name] = Layers(layers, ids=digits.test_ids, labels=digits.y_test, facts=facts)
    return found


def _network(shape: Shape, key: Array) -> Any:
    return build_network(shape.architecture, shape.width, depth=shape.depth, rngs=nnx.Rngs(params=key))


def _noisy(key: Array, labels: np.ndarray, noise: float) -> Int[Array, "n"]:
    """Labels of which a share is drawn at random; some of these are right."""
    which, drawn = jax.random.split(jax.random.fold_in(key, 1))
    others = jax.random.randint(drawn, labels.shape, 0, CLASSES, jnp.int32)
    return jnp.where(jax.random.uniform(which, labels.shape) < noise, others, jnp.asarray(labels))


def _loss(
    network: Any, images: Float[Array, "n 8 8"], labels: Int[Array, "n"], rows: Int[Array, "b"], key: Array
) -> Scalar:
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(network(images[rows]), labels[rows]))


@partial(jax.jit, static_argnums=0)
def _record(graphdef: nnx.GraphDef, weights: nnx.State, images: Float[Array, "n 8 8"]) -> dict[str, Array]:
    def record_one(weights: nnx.State) -> Any:
        return nnx.merge(graphdef, weights).activations(images)

    return cast(dict[str, Array], jax.vmap(record_one)(weights))
