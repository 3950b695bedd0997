"""Models that embed images and labels, trained from several seeds on the same batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxalign._core.checks import check_choice, check_distinct, check_integer, check_positive, describe
from jaxalign._core.typing import Array, Float, Int
from jaxalign.identifiability import log_probs
from jaxalign.studies.image_networks import NETWORKS, WIDTHS, ImageModel

STEPS, BATCH, LEARNING_RATE = 20_000, 32, 1e-4
#: Seed of the order of batches, which all models share: they differ in their initial weights only.
_ORDER_SEED = 0
_REPORTS = 20  # lines of progress
_BLOCK = 256  # held-out images at a time


@dataclass(frozen=True, eq=False)
class ImageModels:
    """What models make of the images held out, one after another seed.

    Attributes:
      network: `"mlp"`, `"cnn"` or `"resnet18"`.
      width: of the network, see `jaxalign.studies.image_networks`.
      steps: of training.
      seeds: of initial weights, shape `(s,)`.
      f: embeddings of the images held out, shape `(s, n_test, m)`, float32.
      g: unembeddings of the labels, shape `(s, c, m)`, float32.
      accuracy: share of the images held out whose likeliest label is right, shape `(s,)`.
      nll: mean negative log-likelihood of their labels, in nats, shape `(s,)`.
    """

    network: str
    width: int
    steps: int
    seeds: np.ndarray
    f: np.ndarray
    g: np.ndarray
    accuracy: np.ndarray
    nll: np.ndarray

    def log_probs(self) -> Float[Array, "s n c"]:
        """Log-probabilities of the images held out, in 64 bits where `jax_enable_x64` is on."""
        dtype = jax.dtypes.canonicalize_dtype(np.float64)
        return jax.vmap(log_probs)(jnp.asarray(self.f, dtype), jnp.asarray(self.g, dtype))


def train_image_models(
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
    *,
    seeds: Sequence[int],
    dimension: int = 2,
    network: str = "resnet18",
    width: int | None = None,
    steps: int = STEPS,
    batch: int = BATCH,
    learning_rate: float = LEARNING_RATE,
    together: bool = True,
    progress: Callable[[str], None] | None = None,
) -> ImageModels:
    r"""Train embeddings f of images and g of labels from each seed, for $p(y|x) \propto e^{f(x) \cdot g(y)}$.

    Adam on the negative log-likelihood, without augmentation, on images scaled to `[-1, 1]`. All models see the same
    batches in the same order and differ in their initial weights only. Every pass over the images is in a new order,
    less the images that do not fill a batch. g is a perceptron of width 128 on unit vectors. Defaults are the paper's
    for CIFAR-10; how its ResNet18 was initialized is not known here: weights are drawn as PyTorch does.

    Args:
      x_train: images to train on, shape `(n, h, w)` or `(n, h, w, channels)`: bytes, or floats in `[0, 1]`.
      y_train: their labels, shape `(n,)`, integers from 0 on; the largest one says how many there are.
      x_test: images held out, likewise.
      y_test: their labels.
      seeds: of the initial weights, integers of at least 0.
      dimension: m, of the embeddings.
      network: `"resnet18"`, `"cnn"` (sides that are multiples of 4) or `"mlp"`.
      width: maps of ResNet18's first stage (64), of the convolutional network's last (32), or units (128).
      steps: batches to train on; 0 leaves models untrained.
      batch: images of a batch.
      learning_rate: of Adam.
      together: True trains all seeds in one program, for which all of them must fit into memory; False one after
        another, with the same results to rounding. Adding one vector to all rows of g changes no probability, so that
        along it nothing but rounding moves them: compare g less its mean over labels.
      progress: called with a line of text about twenty times, as with `print`.

    Returns:
      Embeddings, unembeddings, accuracy and likelihood of the images held out. With ResNet18 these come from the
      running statistics of its normalization, so that they do not depend on what else is in a batch.

    Raises:
      ValueError: on images or labels of wrong shapes or ranges, no seeds or repeated ones, numbers out of range, and
        for a batch of more images than there are.
      TypeError: for seeds or sizes that are not integers, and images that are not numbers.

    Example:
      >>> from jaxalign.studies import load_digits
      >>> d = load_digits()
      >>> models = train_image_models(
      ...     d.x_train, d.y_train, d.x_test, d.y_test, seeds=[0, 1], network="mlp", width=8, steps=3
      ... )
      >>> models.f.shape, models.g.shape
      ((2, 596, 2), (2, 10, 2))

    Reference:
      Nielsen et al. (2025), arXiv:2506.03784, section 5 and appendix F.5; He et al. (2016), arXiv:1512.03385.
    """
    name = "train_image_models"
    check_distinct(name, "seeds", seeds, partial(check_integer, minimum=0))
    check_choice(name, "network", network, NETWORKS)
    width = WIDTHS[network] if width is None else width
    for argument, value, minimum in (("width", width, 1), ("dimension", dimension, 1), ("steps", steps, 0)):
        check_integer(name, argument, value, minimum=minimum)
    check_integer(name, "batch", batch, minimum=1)
    check_positive(name, "learning_rate", learning_rate)
    x_train, y_train = _labelled("x_train", x_train, "y_train", y_train)
    x_test, y_test = _labelled("x_test", x_test, "y_test", y_test)
    classes, shape = int(y_train.max()) + 1, x_train.shape[1:]
    if x_test.shape[1:] != shape:
        raise ValueError(f"{name}: x_test must hold images of shape {shape} as x_train, got {x_test.shape[1:]}")
    if classes < 2 or y_test.max() >= classes:
        raise ValueError(f"{name}: y_train must hold at least two labels, and all of y_test, got at most {classes - 1}")
    if batch > len(x_train):
        raise ValueError(f"{name}: batch must be at most the number of images to train on, {len(x_train)}, got {batch}")

    sizes = _Sizes(shape, classes, network, int(width), int(dimension))
    groups = [list(seeds)] if together else [[seed] for seed in seeds]
    # The same models whether or not 64-bit types are on: rounding grows over thousands of steps.
    with jax.enable_x64(False), jax.default_matmul_precision("highest"):
        x, y, rate = jnp.asarray(x_train), jnp.asarray(y_train), jnp.float32(learning_rate)
        graphdef, _, _ = nnx.split(nnx.eval_shape(partial(_build, sizes, 0)), nnx.Param, ...)  # the same for all seeds
        parts = []
        for group in groups:
            who = f"{network}, {f'seed {group[0]}' if len(group) == 1 else f'{len(group)} seeds'}"
            state = _start(jnp.asarray(group, jnp.uint32), sizes)
            for rows, count, done in _chunks(len(x_train), int(batch), int(steps)):
                state, loss = _train(graphdef, state, x, y, jnp.asarray(rows), jnp.int32(count), rate)
                if progress is not None:
                    progress(f"{who}: {done} of {steps} steps, loss {float(jnp.mean(loss)):.3f}")
            parts.append(_embed_all(graphdef, state[:2], x_test))
        f, g = (np.concatenate(sides) for sides in zip(*parts, strict=True))
        accuracy, nll = (np.asarray(values) for values in _judge(jnp.asarray(f), jnp.asarray(g), jnp.asarray(y_test)))
    return ImageModels(network, int(width), int(steps), np.asarray(seeds, np.int32), f, g, accuracy, nll)


def _labelled(side: str, x: Any, label_side: str, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Images `(n, h, w, channels)`, bytes or float32 in `[0, 1]`, and labels, int32."""
    name = "train_image_models"
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise TypeError(f"{name}: {side} must be bytes (uint8) or floating point, got {describe(x)}")
    x = x[..., None] if x.ndim == 3 else x
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError(f"{name}: {side} must have shape (n, h, w) or (n, h, w, channels), got {describe(x)}")
    if x.dtype != np.uint8:
        if not (x.min() >= 0 and x.max() <= 1):
            raise ValueError(f"{name}: {side} must be bytes, or numbers from 0 to 1, got {x.min()} to {x.max()}")
        x = x.astype(np.float32, copy=False)
    if y.dtype.kind not in "iu" or y.shape != x.shape[:1] or y.min() < 0:
        raise ValueError(f"{name}: {label_side} must be {len(x)} integers of at least 0, got {describe(y)}")
    return x, y.astype(np.int32, copy=False)


def _scaled(x: Array) -> Float[Array, "n h w d"]:
    """Images in `[-1, 1]`."""
    return x.astype(jnp.float32) * (2 / 255 if x.dtype == jnp.uint8 else 2) - 1


def _chunks(n: int, batch: int, steps: int) -> Iterator[tuple[np.ndarray, int, int]]:
    """Row numbers of some batches, `(chunk, batch)`, how many of them count, and how many have been by then."""
    chunk = -(-steps // _REPORTS)
    per_epoch = n // batch
    order, epoch = np.empty(0, np.int32), -1
    for start in range(0, steps, max(chunk, 1)):
        count = min(chunk, steps - start)
        rows = np.zeros((chunk, batch), np.int32)
        for place, step in enumerate(range(start, start + count)):
            if step // per_epoch != epoch:
                epoch = step // per_epoch
                order = np.random.default_rng([_ORDER_SEED, epoch]).permutation(n).astype(np.int32)
            rows[place] = order[step % per_epoch * batch :][:batch]
        yield rows, count, start + count


class _Sizes(NamedTuple):
    """What a model is made of; hashable."""

    shape: tuple[int, int, int]
    classes: int
    network: str
    width: int
    dimension: int


def _build(sizes: _Sizes, key: Array | int) -> ImageModel:
    shape, classes, network, width, dimension = sizes
    return ImageModel(shape, classes, network=network, width=width, dimension=dimension, rngs=nnx.Rngs(key))


@partial(jax.jit, static_argnums=1)
def _start(seeds: Int[Array, "s"], sizes: _Sizes) -> tuple[nnx.State, nnx.State, Any]:
    """Weights and running statistics of every seed, and the state of the optimizer."""

    def of_seed(seed: Array) -> tuple[nnx.State, nnx.State]:
        _, weights, running = nnx.split(_build(sizes, jax.random.key(seed)), nnx.Param, ...)
        return weights, running

    weights, running = jax.vmap(of_seed)(seeds)
    return weights, running, optax.adam(LEARNING_RATE).init(weights)  # one count of steps for all seeds


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def _train(
    graphdef: nnx.GraphDef,
    state: tuple[nnx.State, nnx.State, Any],
    x: Array,
    y: Int[Array, "n"],
    rows: Int[Array, "steps batch"],
    count: Int[Array, ""],
    rate: Float[Array, ""],
) -> tuple[tuple[nnx.State, nnx.State, Any], Float[Array, "s"]]:
    """State after the first `count` batches, and the mean loss of every seed on them."""

    def loss(weights: nnx.State, running: nnx.State, x: Array, y: Array) -> tuple[Array, nnx.State]:
        model = nnx.merge(graphdef, weights, running, copy=True)  # running statistics of its own, to be changed
        nll = optax.softmax_cross_entropy_with_integer_labels(model(x, train=True), y)
        return jnp.mean(nll), nnx.state(model, nnx.Not(nnx.Param))

    gradient_of = jax.vmap(jax.value_and_grad(loss, has_aux=True), (0, 0, None, None))

    def step(i: Array, carry: Any) -> Any:
        (weights, running, adam), total = carry
        members = rows[i]
        (value, running), gradient = gradient_of(weights, running, _scaled(x[members]), y[members])
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer step counts
            updates, adam = optax.adam(rate).update(gradient, adam, weights)
        return (cast(nnx.State, optax.apply_updates(weights, updates)), running, adam), total + value

    seeds = jax.tree.leaves(state[0])[0].shape[0]
    state, total = jax.lax.fori_loop(0, count, step, (state, jnp.zeros(seeds, jnp.float32)))
    return state, total / count.astype(jnp.float32)


def _embed_all(graphdef: nnx.GraphDef, models: tuple[nnx.State, nnx.State], x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Embeddings `(s, n, m)` and unembeddings `(s, c, m)`, some images at a time."""
    block = min(_BLOCK, len(x))
    f, g = [], None
    for start in range(0, len(x), block):
        images = x[start : start + block]
        padding = np.zeros((block - len(images), *x.shape[1:]), x.dtype)
        found, g = _embed(graphdef, models, jnp.asarray(np.concatenate([images, padding])))
        f.append(np.asarray(found)[:, : len(images)])
    return np.concatenate(f, axis=1), np.asarray(g)


@partial(jax.jit, static_argnums=0)
def _embed(
    graphdef: nnx.GraphDef, models: tuple[nnx.State, nnx.State], x: Array
) -> tuple[Float[Array, "s n m"], Float[Array, "s c m"]]:
    def of_seed(states: tuple[nnx.State, nnx.State]) -> tuple[Array, Array]:
        model = nnx.merge(graphdef, *states)
        return model.embed(_scaled(x), train=False), model.unembeddings()

    return jax.lax.map(of_seed, models)


@jax.jit
def _judge(
    f: Float[Array, "s n m"], g: Float[Array, "s c m"], y: Int[Array, "n"]
) -> tuple[Float[Array, "s"], Float[Array, "s"]]:
    """Accuracy and mean negative log-likelihood."""
    logp = jax.vmap(log_probs)(f, g)
    right = (jnp.argmax(logp, axis=2).astype(jnp.int32) == y[None, :]).astype(jnp.float32)
    of_label = jnp.take_along_axis(logp, jnp.broadcast_to(y[None, :, None], (*logp.shape[:2], 1)), axis=2)
    return jnp.mean(right, axis=1), -jnp.mean(of_label, axis=(1, 2))
