"""Vision models that never saw a word, and language models that never saw an image, of one world of scenes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxalign._core.checks import check_integer
from jaxalign._core.keys import as_key
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.features import Layers
from jaxalign.studies.networks import Block, check_width, halve, windows
from jaxalign.studies.platonic.scenes import (
    LENGTH,
    SIDE,
    STRUCTURE,
    VOCABULARY,
    Scenes,
    captions,
    make_scenes,
    render,
)
from jaxalign.studies.platonic.training import train_together

_BATCH = 64
_LEARNING_RATE = 4e-3
_NOISE = 0.3

#: Widths of the models of either modality.
WIDTHS = (8, 16, 32)
#: Steps that each is trained for; with 0 weights stay random.
STEPS = (0, 50, 200, 800)
TRAIN_SCENES, TEST_SCENES = 4096, 512


class SceneAutoencoder(nnx.Module):
    """Two convolutions, a hidden layer, and a way back to the image: it takes noise out of images.

    Layers: `conv1` and `conv2`, averaged over space, and `hidden`.
    """

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        side = SIDE // 2
        self.conv1 = nnx.Linear(9 * 3, width, rngs=rngs)
        self.conv2 = nnx.Linear(9 * width, width, rngs=rngs)
        self.hidden = nnx.Linear(side * side * width, 4 * width, rngs=rngs)
        self.back = nnx.Linear(4 * width, SIDE * SIDE * 3, rngs=rngs)

    def __call__(self, images: Float[Array, "n 18 18 3"]) -> Float[Array, "n 18 18 3"]:
        """The images, cleaned."""
        return self.back(self._layers(images)["hidden"]).reshape(images.shape)

    def activations(self, images: Float[Array, "n 18 18 3"], _: Any = None) -> OrderedDict[str, Array]:
        """Every layer, `(n, d)`, in order of depth."""
        layers = self._layers(images)
        return OrderedDict((name, z if z.ndim == 2 else jnp.mean(z, axis=(1, 2))) for name, z in layers.items())

    def _layers(self, images: Array) -> OrderedDict[str, Array]:
        layers = OrderedDict()
        x = layers["conv1"] = nnx.relu(self.conv1(windows(images)))
        x = layers["conv2"] = nnx.relu(self.conv2(windows(halve(x))))
        layers["hidden"] = nnx.relu(self.hidden(x.reshape(x.shape[0], -1)))
        return layers


class SceneLanguageModel(nnx.Module):
    """A transformer of two blocks that tells the next word.

    Layers: `embed`, `block1` and `block2`, the residual stream, averaged over the words of a caption.
    """

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.embed = nnx.Embed(len(VOCABULARY), width, rngs=rngs)
        self.position = nnx.Param(nnx.initializers.normal(0.2)(rngs.params(), (LENGTH, width), jnp.float32))
        self.blocks = nnx.List([Block(width, rngs=rngs) for _ in range(2)])
        self.head = nnx.Linear(width, len(VOCABULARY), rngs=rngs)

    def __call__(self, tokens: Int[Array, "n t"]) -> Float[Array, "n t v"]:
        """Logits of the next token at every place."""
        return self.head(list(self._streams(tokens).values())[-1])

    def activations(self, tokens: Int[Array, "n t"], mask: Bool[Array, "n t"]) -> OrderedDict[str, Array]:
        """Every layer, `(n, d)`, in order of depth: means over the words that are no padding."""
        counts = mask.astype(jnp.float32)[:, :, None]
        layers = self._streams(tokens).items()
        return OrderedDict((name, jnp.sum(z * counts, axis=1) / jnp.sum(counts, axis=1)) for name, z in layers)

    def _streams(self, tokens: Array) -> OrderedDict[str, Array]:
        layers = OrderedDict()
        x = layers["embed"] = self.embed(tokens) + self.position[...][None, : tokens.shape[1]]
        causal = jnp.tril(jnp.ones((tokens.shape[1],) * 2, bool))[None, None]
        for depth, block in enumerate(self.blocks, start=1):
            x = layers[f"block{depth}"] = block(x, causal)
        return layers


def vision_models(
    *,
    key: Array | int,
    widths: Sequence[int] = WIDTHS,
    steps: Sequence[int] = STEPS,
    seeds: int = 1,
    scenes: int = TRAIN_SCENES,
    structure: float = STRUCTURE,
) -> dict[str, Layers]:
    """Train networks to take noise out of images, and record their layers on held-out scenes.

    Args:
      key: of the models; scenes are always the same, others than those that language models are trained on.
      widths: channels; four times as many hidden units.
      steps: that each is trained for, with 64 images in each.
      seeds: networks of each kind.
      scenes: to train on.
      structure: of the world, see `make_scenes`.

    Returns:
      Name, as `image-w16-t400-s0`, -> layers `conv1`, `conv2`, `hidden`, `(512, d)`, with ids of scenes, and as facts
      `loss`, the mean squared error on held-out images, `parameters`, `width`, `steps` and `seed`.

    Raises:
      ValueError: for numbers below 1, steps below 0, and lists that are empty or repeat.
      TypeError: likewise.

    Example:
      >>> list(vision_models(key=0, widths=[4], steps=[0]))
      ['image-w4-t0-s0']
    """
    train, test = _scenes("image", scenes, structure)
    images, held_out = render(train, key=2), render(test, key=3)

    data = jnp.asarray(images), jnp.asarray(held_out), None
    what = _What("vision_models", "image", SceneAutoencoder, _noise_loss, *data)
    return _train_all(what, key, widths, steps, seeds)


def language_models(
    *,
    key: Array | int,
    density: int = 4,
    widths: Sequence[int] = WIDTHS,
    steps: Sequence[int] = STEPS,
    seeds: int = 1,
    scenes: int = TRAIN_SCENES,
    structure: float = STRUCTURE,
) -> dict[str, Layers]:
    """Train transformers to tell the next word of captions, and record their layers on held-out scenes.

    Args:
      key: of the models; scenes and captions are always the same, others than those of `vision_models`.
      density: how much captions say, from 1 to 4: see `captions`.
      widths: features of a token; multiples of 4.
      steps: that each is trained for, with 64 captions in each.
      seeds: networks of each kind.
      scenes: to train on.
      structure: of the world, see `make_scenes`.

    Returns:
      Name, as `text-w16-t400-s0`, -> layers `embed`, `block1`, `block2`, `(512, d)`, means over words, with ids of
      scenes, and as facts `loss` in nats and `bits_per_token` on held-out captions, `parameters`, `width`, `steps`,
      `seed` and `density`.

    Raises:
      ValueError: as `vision_models`, for another density, and widths that are no multiples of 4.
      TypeError: likewise.

    Example:
      >>> list(language_models(key=0, widths=[4], steps=[0]))
      ['text-w4-t0-s0']
    """
    name = "language_models"
    for width in widths:
        check_width(name, "widths", width)
    train, test = _scenes("text", scenes, structure)
    tokens, _ = captions(train, density=density, key=4)
    held_out, mask = captions(test, density=density, key=5)

    data = jnp.asarray(tokens), jnp.asarray(held_out), jnp.asarray(mask)
    what = _What(name, "text", SceneLanguageModel, _word_loss, *data)
    models = _train_all(what, key, widths, steps, seeds)
    return {
        name: Layers(
            dict(z),
            ids=z.ids,
            facts={**z.facts, "bits_per_token": z.facts["loss"] / float(np.log(2)), "density": density},
        )
        for name, z in models.items()
    }


def _noise_loss(network: Any, images: Array, _: Array, rows: Array, key: Array) -> Scalar:
    """Of images without the noise that was added to them, mean squares."""
    clean = images[rows]
    noisy = clean + _NOISE * jax.random.normal(key, clean.shape, clean.dtype)
    return jnp.mean((network(noisy) - clean) ** 2)


def _word_loss(network: Any, tokens: Array, _: Array, rows: Array, key: Array) -> Scalar:
    """Of the next word, in nats, mean over words."""
    chosen = tokens[rows]
    following = chosen[:, 1:]
    losses = optax.softmax_cross_entropy_with_integer_labels(network(chosen)[:, :-1], following)
    real = (following > 0).astype(losses.dtype)
    return jnp.sum(losses * real) / jnp.sum(real)


class _What(NamedTuple):
    function: str
    kind: str
    network: Callable[..., Any]
    loss: Callable[..., Scalar]
    train: Array
    held_out: Array
    mask: Array | None


def _scenes(kind: str, scenes: int, structure: float) -> tuple[Scenes, Scenes]:
    """Scenes to train models of a kind on, different ones for the two kinds, and those that all are compared on."""
    own = make_scenes(scenes, key={"image": 0, "text": 2}[kind], structure=structure)
    return own, make_scenes(TEST_SCENES, key=1, structure=structure)


def _train_all(
    what: _What, key: Array | int, widths: Sequence[int], steps: Sequence[int], seeds: int
) -> dict[str, Layers]:
    name = what.function
    check_integer(name, "seeds", seeds, minimum=1)
    for argument, values, least in (("widths", widths, 1), ("steps", steps, 0)):
        for value in values:
            check_integer(name, argument, value, minimum=least)
        if not len(values) or len(set(values)) < len(values):
            raise ValueError(f"{name}: {argument} must be different ones, at least one, got {list(values)}")
    found = {}
    for width, own in zip(widths, jax.random.split(as_key(name, key), len(widths)), strict=True):
        found |= _train_width(what, own, width, steps, seeds)
    return found


def _train_width(what: _What, key: Array, width: int, steps: Sequence[int], seeds: int) -> dict[str, Layers]:
    """All seeds of one width in one program, which runs for as many steps as are wanted each time."""
    found = {}
    for step, one in zip(steps, jax.random.split(key, len(steps)), strict=True):
        keys = jax.random.split(one, seeds)

        def network(own: Array) -> Any:
            return what.network(width, rngs=nnx.Rngs(params=own))

        graphdef = nnx.split(network(keys[0]))[0]
        ways = {"rows": len(what.train), "batch": _BATCH, "peak": _LEARNING_RATE}
        with jax.default_matmul_precision("highest"):
            weights = jax.vmap(lambda own: nnx.split(network(own))[1])(keys)
            lengths, nothing = jnp.full(seeds, step, jnp.int32), jnp.zeros(seeds)
            weights = train_together(graphdef, weights, what.train, nothing, keys, lengths, loss=what.loss, **ways)
            losses, recorded = _record(graphdef, what.loss, weights, what.held_out, what.mask)
        parameters = sum(leaf.size for leaf in jax.tree.leaves(weights)) // seeds
        for seed in range(seeds):
            loss = float(losses[seed])
            facts = {"loss": loss, "parameters": parameters, "width": width, "steps": step, "seed": seed}
            layers = {name: np.asarray(values[seed]) for name, values in recorded.items()}
            found[f"{what.kind}-w{width}-t{step}-s{seed}"] = Layers(layers, ids=range(TEST_SCENES), facts=facts)
    return found


@partial(jax.jit, static_argnums=(0, 1))
def _record(
    graphdef: nnx.GraphDef, loss: Callable[..., Scalar], weights: nnx.State, held_out: Array, mask: Array | None
) -> tuple[Array, Mapping[str, Array]]:
    """Losses on held-out scenes, with the same noise for all, and layers."""
    rows = jnp.arange(held_out.shape[0], dtype=jnp.int32)

    def record_one(weights: nnx.State) -> tuple[Scalar, Any]:
        network = nnx.merge(graphdef, weights)
        return loss(network, held_out, held_out, rows, jax.random.key(0)), network.activations(held_out, mask)

    return jax.vmap(record_one)(weights)
