"""The networks of the zoo: a perceptron, a convolutional network and a vision transformer.

Each takes images `(n, 8, 8)` and has two faces: `network(x)` gives the logits and
`network.activations(x)` what every layer computes, in order of depth, the logits last.
Every activation is a matrix `(n, d)`: convolutional maps `(n, h, w, d)` are averaged
over space and tokens `(n, t, d)` over tokens. The layer before `logits` is exactly what
the linear head reads, so that logits are an affine function of it. A matrix can have
lower rank than columns: some rectified units are 0 on every image, and `norm` lies in a
hyperplane.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
from flax import nnx

from jaxalign._core.checks import check_choice, check_integer
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.studies.digits import CLASSES, SIDE

_HEADS = 4
_PATCH = 2  # pixels
_TOKENS = (SIDE // _PATCH) ** 2
_MOST_CONVOLUTIONS = 4


class MLP(nnx.Module):
    """Hidden layers of `width` rectified units on the 64 pixels, four unless said.

    Layers: `hidden1` to `hidden4` `(n, width)`, after the rectifier, and `logits` `(n, 10)`.
    """

    def __init__(self, width: int, depth: int = 4, *, rngs: nnx.Rngs):
        sizes = (SIDE * SIDE, *[width] * depth)
        self.hidden = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(sizes)])
        self.head = nnx.Linear(width, CLASSES, rngs=rngs)

    def __call__(self, x: Float[Array, "n 8 8"]) -> Float[Array, "n 10"]:
        """Logits of the ten digits."""
        return self.activations(x)["logits"]

    def activations(self, x: Float[Array, "n 8 8"]) -> OrderedDict[str, Array]:
        """Every layer's activations `(n, d)` by name, in order of depth."""
        layers = OrderedDict()
        x = x.reshape(x.shape[0], -1)
        for depth, hidden in enumerate(self.hidden, start=1):
            x = layers[f"hidden{depth}"] = nnx.relu(hidden(x))
        layers["logits"] = self.head(x)
        return layers


class CNN(nnx.Module):
    """Three 3 by 3 convolutions at 8 by 8, 4 by 4 and 2 by 2 pixels, or as many as said, then one hidden layer.

    Layers: `conv1` `(n, width / 2)`, `conv2` and `conv3` `(n, width)`, after the rectifier
    and averaged over space; `hidden` `(n, width)`, after the rectifier; `logits` `(n, 10)`.
    """

    def __init__(self, width: int, depth: int = 3, *, rngs: nnx.Rngs):
        channels = (1, width // 2, *[width] * (depth - 1))
        side = SIDE // 2 ** (depth - 1)
        self.convs = nnx.List([nnx.Linear(9 * a, b, rngs=rngs) for a, b in pairwise(channels)])
        self.hidden = nnx.Linear(side * side * channels[-1], width, rngs=rngs)
        self.head = nnx.Linear(width, CLASSES, rngs=rngs)

    def __call__(self, x: Float[Array, "n 8 8"]) -> Float[Array, "n 10"]:
        """Logits of the ten digits."""
        return self.activations(x)["logits"]

    def activations(self, x: Float[Array, "n 8 8"]) -> OrderedDict[str, Array]:
        """Every layer's activations `(n, d)` by name, in order of depth."""
        layers = OrderedDict()
        x = x[:, :, :, None]
        for depth, conv in enumerate(self.convs, start=1):
            if depth > 1:
                x = halve(x)
            x = nnx.relu(conv(windows(x)))
            layers[f"conv{depth}"] = jnp.mean(x, axis=(1, 2))
        x = layers["hidden"] = nnx.relu(self.hidden(x.reshape(x.shape[0], -1)))
        layers["logits"] = self.head(x)
        return layers


class Block(nnx.Module):
    """Self-attention over tokens and a two-layer perceptron, each on a normalized residual stream."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.norm1 = nnx.LayerNorm(width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(_HEADS, width, decode=False, rngs=rngs)
        self.norm2 = nnx.LayerNorm(width, rngs=rngs)
        self.up = nnx.Linear(width, 2 * width, rngs=rngs)
        self.down = nnx.Linear(2 * width, width, rngs=rngs)

    def __call__(self, x: Float[Array, "n t d"], mask: Bool[Array, "1 1 t t"] | None = None) -> Float[Array, "n t d"]:
        """The residual stream after the block; with a mask tokens (rows) see only some others (columns)."""
        x = x + self.attention(self.norm1(x), mask=mask)
        return x + self.down(nnx.gelu(self.up(self.norm2(x))))


class ViT(nnx.Module):
    """A transformer on the 16 patches of 2 by 2 pixels: two blocks of four heads, or as many as said.

    Layers, all averaged over tokens: `embed`, `block1` and `block2` (the residual stream) and
    `norm` (the last normalization) `(n, width)`; `logits` `(n, 10)`.
    """

    def __init__(self, width: int, depth: int = 2, *, rngs: nnx.Rngs):
        self.embed = nnx.Linear(_PATCH * _PATCH, width, rngs=rngs)
        self.position = nnx.Param(nnx.initializers.normal(0.2)(rngs.params(), (_TOKENS, width), jnp.float32))
        self.blocks = nnx.List([Block(width, rngs=rngs) for _ in range(depth)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, CLASSES, rngs=rngs)

    def __call__(self, x: Float[Array, "n 8 8"]) -> Float[Array, "n 10"]:
        """Logits of the ten digits."""
        return self.activations(x)["logits"]

    def activations(self, x: Float[Array, "n 8 8"]) -> OrderedDict[str, Array]:
        """Every layer's activations `(n, d)` by name, in order of depth."""
        layers = OrderedDict()
        # The mean over tokens of a linear embedding would have rank 4, that of the mean patch.
        x = nnx.gelu(self.embed(_patches(x))) + self.position[...][None, :, :]
        layers["embed"] = jnp.mean(x, axis=1)
        for depth, block in enumerate(self.blocks, start=1):
            x = block(x)
            layers[f"block{depth}"] = jnp.mean(x, axis=1)
        x = layers["norm"] = jnp.mean(self.norm(x), axis=1)
        layers["logits"] = self.head(x)
        return layers


Network = MLP | CNN | ViT

_NETWORKS: dict[str, type[Network]] = {"mlp": MLP, "cnn": CNN, "vit": ViT}

ARCHITECTURES = tuple(_NETWORKS)


def check_architecture(function: str, argument: str, architecture: Any) -> None:
    """Raise `ValueError` unless the zoo has `architecture`."""
    check_choice(function, argument, architecture, ARCHITECTURES)


def check_width(function: str, argument: str, width: Any) -> None:
    """Raise unless `width` is a positive multiple of 4, so that it divides into attention heads."""
    check_integer(function, argument, width, minimum=_HEADS)
    if width % _HEADS:
        raise ValueError(f"{function}: {argument} must be a multiple of {_HEADS}, got {width}")


def build_network(architecture: str, width: int, *, depth: int | None = None, rngs: nnx.Rngs) -> Network:
    """One network of the zoo with its initial weights.

    Args:
      architecture: `"mlp"`, `"cnn"` or `"vit"`.
      width: hidden units, channels of the last convolution, or features of a token; a multiple of 4.
      depth: hidden layers, convolutions (at most 4, at the last of which one pixel is left) or blocks; by default
        4, 3 and 2.
      rngs: its `params` stream draws the weights.

    Raises:
      ValueError: for another architecture, a width that is not a positive multiple of 4, or such a depth.
      TypeError: for a width or depth that is not an integer.
    """
    check_architecture("build_network", "architecture", architecture)
    check_width("build_network", "width", width)
    if depth is None:
        return _NETWORKS[architecture](width, rngs=rngs)
    check_integer("build_network", "depth", depth, minimum=1)
    if architecture == "cnn" and depth > _MOST_CONVOLUTIONS:
        raise ValueError(f"build_network: depth of a cnn must be at most {_MOST_CONVOLUTIONS}, got {depth}")
    return _NETWORKS[architecture](width, depth, rngs=rngs)


def windows(x: Float[Array, "n h w d"]) -> Float[Array, "n h w 9*d"]:
    """The 3 by 3 neighborhood of every position, zero outside the image.

    A convolution is a linear layer on these. On CPUs that is several times faster than
    `nnx.Conv`, whose gradient is slow inside `lax.scan`.
    """
    _, h, w, _ = x.shape
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return jnp.concatenate([x[:, i : i + h, j : j + w] for i in range(3) for j in range(3)], axis=-1)


def halve(x: Float[Array, "n h w d"]) -> Float[Array, "n h/2 w/2 d"]:
    """Means of squares of 2 by 2 positions (`nnx.avg_pool` fails under strict promotion)."""
    n, h, w, d = x.shape
    return jnp.mean(x.reshape(n, h // 2, 2, w // 2, 2, d), axis=(2, 4))


def _patches(x: Float[Array, "n 8 8"]) -> Float[Array, "n 16 4"]:
    """Images cut into squares of 2 by 2 pixels, row by row."""
    n, per_side = x.shape[0], SIDE // _PATCH
    x = x.reshape(n, per_side, _PATCH, per_side, _PATCH)
    return x.transpose(0, 1, 3, 2, 4).reshape(n, _TOKENS, _PATCH * _PATCH)
