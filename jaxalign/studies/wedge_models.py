"""Pairs of perceptrons that embed points and labels, all seeds of one width trained in one program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxalign._core.checks import check_distinct, check_integer
from jaxalign._core.numerics import matmul
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.studies.wedges import Wedges

HIDDEN_LAYERS = 3
SLOPE = 0.01  # of the leaky rectifier
BATCH = 128
LEARNING_RATE = 1e-4
EPOCHS = 96
#: Seed of the order of batches, which all models share: they differ in their initial weights only.
_ORDER_SEED = 0


class Perceptron(nnx.Module):
    """Three hidden layers of leaky rectified units; no bias in the last layer.

    Weights and biases are drawn uniformly within one over the square root of a layer's inputs.
    """

    def __init__(self, inputs: int, width: int, outputs: int, *, rngs: nnx.Rngs):
        sizes = (inputs, *(width,) * HIDDEN_LAYERS, outputs)
        self.layers = nnx.List(
            [
                nnx.Linear(a, b, use_bias=b_is_hidden, kernel_init=_uniform(a), bias_init=_uniform(a), rngs=rngs)
                for (a, b), b_is_hidden in zip(pairwise(sizes), (*(True,) * HIDDEN_LAYERS, False), strict=True)
            ]
        )

    def __call__(self, x: Float[Array, "n inputs"]) -> Float[Array, "n outputs"]:
        """Outputs of rows."""
        *hidden, last = self.layers
        for layer in hidden:
            x = nnx.leaky_relu(layer(x), SLOPE)
        return last(x)


class WedgeModel(nnx.Module):
    """Embeddings of points and of labels; log-probabilities are their products, normalized.

    A label is read as a unit vector of `classes - 1` numbers, the last label as zeros.
    """

    def __init__(self, classes: int, width: int, dimension: int, *, rngs: nnx.Rngs):
        self.classes = classes
        self.embed = Perceptron(2, width, dimension, rngs=rngs)
        self.unembed = Perceptron(classes - 1, width, dimension, rngs=rngs)

    def embeddings(self, x: Float[Array, "n 2"]) -> Float[Array, "n m"]:
        """f of points."""
        return self.embed(x)

    def unembeddings(self) -> Float[Array, "c m"]:
        """g of all labels."""
        return self.unembed(jnp.eye(self.classes, self.classes - 1, dtype=jnp.float32))

    def __call__(self, x: Float[Array, "n 2"]) -> Float[Array, "n c"]:
        """Logits of points."""
        return matmul(self.embeddings(x), self.unembeddings().T)


@dataclass(frozen=True, eq=False)
class WedgeModels:
    """What models of one width make of the points held out, one after another seed.

    Attributes:
      classes: c, the number of labels.
      width: hidden units of a layer.
      seeds: of initial weights, shape `(s,)`.
      f: embeddings of the points held out, shape `(s, n_test, m)`, float32.
      g: unembeddings of the labels, shape `(s, c, m)`, float32.
      accuracy: share of the points held out whose likeliest label is right, shape `(s,)`.
      nll: mean negative log-likelihood of their labels, in nats, shape `(s,)`.
    """

    classes: int
    width: int
    seeds: np.ndarray
    f: np.ndarray
    g: np.ndarray
    accuracy: np.ndarray
    nll: np.ndarray


def train_wedge_models(
    wedges: Wedges,
    *,
    width: int,
    seeds: Sequence[int],
    dimension: int = 2,
    epochs: int = EPOCHS,
    progress: Callable[[str], None] | None = None,
) -> WedgeModels:
    """Train one model from each seed, all of them as one program.

    Adam with a learning rate of 0.0001 on the negative log-likelihood of batches of 128, in
    96 passes over the points. All models see the same batches in the same order, and differ
    in their initial weights only.

    Args:
      wedges: points and labels, as from `make_wedges`.
      width: hidden units of each of three layers.
      seeds: of the initial weights, integers of at least 0.
      dimension: of embeddings.
      epochs: passes over the points to train on; 0 leaves models untrained.
      progress: called with a line of text after each pass, as with `print`.

    Returns:
      Embeddings, unembeddings, accuracy and likelihood of the points held out.

    Raises:
      ValueError: on no seeds or repeated ones, and on numbers below 1.
      TypeError: for numbers that are not integers.

    Example:
      >>> from jaxalign.studies import make_wedges
      >>> models = train_wedge_models(make_wedges(4, train=256, test=50), width=8, seeds=[0, 1], epochs=1)
      >>> models.f.shape, models.g.shape
      ((2, 50, 2), (2, 4, 2))

    Reference:
      Nielsen et al. (2025), arXiv:2506.03784, appendix on the synthetic data; the authors' code.
    """
    name = "train_wedge_models"
    check_distinct(name, "seeds", seeds, partial(check_integer, minimum=0))
    for argument, value, minimum in (("width", width, 1), ("dimension", dimension, 1), ("epochs", epochs, 0)):
        check_integer(name, argument, value, minimum=minimum)
    # The same models whether or not 64-bit types are on: rounding grows over thousands of steps.
    with jax.enable_x64(False):
        sizes = (wedges.classes, int(width), int(dimension))
        graphdef, _ = nnx.split(WedgeModel(*sizes, rngs=nnx.Rngs(0)))  # the same for all seeds
        x, y, x_test, y_test = (jnp.asarray(z) for z in (wedges.x_train, wedges.y_train, wedges.x_test, wedges.y_test))
        weights, state = _start(jnp.asarray(seeds, jnp.uint32), sizes)
        for epoch in range(epochs):
            weights, state = _train(graphdef, weights, state, x, y, jnp.int32(epoch))
            if progress is not None:
                progress(f"{wedges.classes} classes, width {width}: {epoch + 1} of {epochs} passes")
        f, g, accuracy, nll = (np.asarray(values) for values in _evaluate(graphdef, weights, x_test, y_test))
    return WedgeModels(wedges.classes, int(width), np.asarray(seeds, np.int32), f, g, accuracy, nll)


def _uniform(inputs: int) -> Callable[..., Array]:
    limit = inputs**-0.5

    def draw(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return draw


def _optimizer() -> optax.GradientTransformation:
    return optax.adam(LEARNING_RATE)


@partial(jax.jit, static_argnums=1)
def _start(seeds: Int[Array, "s"], sizes: tuple[int, int, int]) -> tuple[nnx.State, Any]:
    """Initial weights of every seed, and the state of the optimizer."""

    def weights_of(seed: Array) -> nnx.State:
        return nnx.split(WedgeModel(*sizes, rngs=nnx.Rngs(jax.random.key(seed))))[1]

    weights = jax.vmap(weights_of)(seeds)
    return weights, _optimizer().init(weights)  # one count of steps for all seeds


@partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def _train(
    graphdef: nnx.GraphDef,
    weights: nnx.State,
    state: Any,
    x: Float[Array, "n 2"],
    y: Int[Array, "n"],
    epoch: Int[Array, ""],
) -> tuple[nnx.State, Any]:
    """Weights and optimizer after one pass over all points."""
    n = x.shape[0]
    order = jax.random.permutation(jax.random.fold_in(jax.random.key(_ORDER_SEED), epoch), n)
    padded = -n % BATCH  # the last batch is smaller
    rows = jnp.concatenate([order, jnp.zeros(padded, order.dtype)]).reshape(-1, BATCH)
    counts = (jnp.arange(n + padded, dtype=jnp.int32) < n).reshape(-1, BATCH)

    def loss(weights: nnx.State, x: Array, y: Array, counts: Bool[Array, "b"]) -> Array:
        logits = nnx.merge(graphdef, weights)(x)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y), where=counts)

    def step(carry: tuple[nnx.State, Any], batch: tuple[Array, Array]) -> tuple[tuple[nnx.State, Any], None]:
        (weights, state), (rows, counts) = carry, batch
        gradient = jax.vmap(jax.grad(loss), (0, None, None, None))(weights, x[rows], y[rows], counts)
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer step counts
            updates, state = _optimizer().update(gradient, state, weights)
        return (cast(nnx.State, optax.apply_updates(weights, updates)), state), None

    return jax.lax.scan(step, (weights, state), (rows, counts))[0]


@partial(jax.jit, static_argnums=0)
def _evaluate(
    graphdef: nnx.GraphDef, weights: nnx.State, x: Float[Array, "n 2"], y: Int[Array, "n"]
) -> tuple[Array, Array, Array, Array]:
    """Embeddings, unembeddings, accuracy and likelihood of every seed."""

    def of_seed(weights: nnx.State) -> tuple[Array, Array, Array, Array]:
        model = nnx.merge(graphdef, weights)
        logits = model(x)
        right = (jnp.argmax(logits, axis=1) == y).astype(jnp.float32)
        nll = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return model.embeddings(x), model.unembeddings(), jnp.mean(right), jnp.mean(nll)

    return jax.vmap(of_seed)(weights)
