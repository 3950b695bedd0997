"""Networks that embed images in a few dimensions: a perceptron, a convolutional network, and ResNet18.

Each takes images `(n, h, w, channels)` in `[-1, 1]` and gives `(n, dimension)`. With `train=True` batches are
normalized by their own statistics, which moves the running ones; with `train=False` by these. Only ResNet18 has any.
Weights and biases are drawn uniformly within one over the square root of a unit's inputs, as PyTorch does.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxalign._core.checks import check_choice, check_integer
from jaxalign._core.numerics import matmul
from jaxalign._core.typing import Array, Float
from jaxalign.studies.networks import halve, windows
from jaxalign.studies.wedge_models import Perceptron

#: Units of each layer of the perceptron, of the last maps of the convolutional network, of the first ones of ResNet18.
WIDTHS = {"mlp": 128, "cnn": 32, "resnet18": 64}
NETWORKS = tuple(WIDTHS)
LABEL_WIDTH = 128
_STAGES = ((1, 1), (2, 2), (4, 2), (8, 2))  # channels in widths, stride of the first block
_BLOCKS = 2  # of each stage
_MOMENTUM = 0.9  # of running statistics; PyTorch calls it 0.1


def _uniform(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    limit = math.prod(shape[:-1]) ** -0.5
    return jax.random.uniform(key, shape, dtype, -limit, limit)


def _linear(inputs: int, outputs: int, rngs: nnx.Rngs) -> nnx.Linear:
    def bias(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -(inputs**-0.5), inputs**-0.5)

    return nnx.Linear(inputs, outputs, kernel_init=_uniform, bias_init=bias, rngs=rngs)


class ImagePerceptron(nnx.Module):
    """Three hidden layers of leaky rectified units on all pixels; no bias in the last layer."""

    def __init__(self, shape: tuple[int, int, int], width: int, dimension: int, *, rngs: nnx.Rngs):
        self.layers = Perceptron(math.prod(shape), width, dimension, rngs=rngs)

    def __call__(self, x: Float[Array, "n h w d"], *, train: bool = False) -> Float[Array, "n m"]:
        """Embeddings of images."""
        return self.layers(x.reshape(x.shape[0], -1))


class SmallCNN(nnx.Module):
    """Three 3 by 3 convolutions, on whole images, halves and quarters, then one hidden layer.

    They have `width / 2`, `width` and `width` maps; the hidden layer has `2 * width` units. Sides are multiples of 4.
    """

    def __init__(self, shape: tuple[int, int, int], width: int, dimension: int, *, rngs: nnx.Rngs):
        height, across, depth = shape
        if height % 4 or across % 4:
            raise ValueError(f"SmallCNN: sides of images must be multiples of 4, got {height} and {across}")
        channels = (depth, max(1, width // 2), width, width)
        self.convs = nnx.List([_linear(9 * a, b, rngs) for a, b in pairwise(channels)])
        self.hidden = _linear(height * across // 16 * width, 2 * width, rngs)
        self.head = _linear(2 * width, dimension, rngs)

    def __call__(self, x: Float[Array, "n h w d"], *, train: bool = False) -> Float[Array, "n m"]:
        """Embeddings of images."""
        for depth, conv in enumerate(self.convs):
            x = nnx.relu(conv(windows(halve(x) if depth else x)))
        return self.head(nnx.relu(self.hidden(x.reshape(x.shape[0], -1))))


class _NormalizedConv(nnx.Module):
    """A convolution without bias, and batch normalization."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int, *, rngs: nnx.Rngs):
        self.conv = nnx.Conv(
            inputs,
            outputs,
            (side, side),
            stride,
            padding=side // 2,  # on both sides, where "SAME" would shift strided maps by a pixel
            use_bias=False,
            kernel_init=_uniform,
            rngs=rngs,
        )
        self.norm = nnx.BatchNorm(outputs, momentum=_MOMENTUM, use_fast_variance=False, rngs=rngs)

    def __call__(self, x: Float[Array, "n h w d"], *, train: bool) -> Float[Array, "n h2 w2 d2"]:
        return self.norm(self.conv(x), use_running_average=not train)


class _Block(nnx.Module):
    """Two convolutions and a way around them, which is a 1 by 1 convolution where sizes change."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, rngs: nnx.Rngs):
        self.first = _NormalizedConv(inputs, outputs, 3, stride, rngs=rngs)
        self.second = _NormalizedConv(outputs, outputs, 3, 1, rngs=rngs)
        changes = stride > 1 or inputs != outputs
        self.around = _NormalizedConv(inputs, outputs, 1, stride, rngs=rngs) if changes else None

    def __call__(self, x: Float[Array, "n h w d"], *, train: bool) -> Float[Array, "n h2 w2 d2"]:
        inner = self.second(nnx.relu(self.first(x, train=train)), train=train)
        return nnx.relu(inner + (x if self.around is None else self.around(x, train=train)))


class ResNet18(nnx.Module):
    """ResNet18 for small images: a 3 by 3 stem without pooling, four stages of two blocks, a mean over space.

    Stages have `width`, 2, 4 and 8 times as many maps. With 64, color images and ten dimensions it has 11 173 962
    parameters; with two, 11 169 858.
    """

    def __init__(self, shape: tuple[int, int, int], width: int, dimension: int, *, rngs: nnx.Rngs):
        self.stem = _NormalizedConv(shape[2], width, 3, 1, rngs=rngs)
        blocks, inputs = [], width
        for factor, stride in _STAGES:
            for number in range(_BLOCKS):
                blocks.append(_Block(inputs, factor * width, 1 if number else stride, rngs=rngs))
                inputs = factor * width
        self.blocks = nnx.List(blocks)
        self.head = _linear(inputs, dimension, rngs)

    def __call__(self, x: Float[Array, "n h w d"], *, train: bool = False) -> Float[Array, "n m"]:
        """Embeddings of images."""
        x = nnx.relu(self.stem(x, train=train))
        for block in self.blocks:
            x = block(x, train=train)
        return self.head(jnp.mean(x, axis=(1, 2)))


_NETWORKS: dict[str, type[ImagePerceptron | SmallCNN | ResNet18]] = {
    "mlp": ImagePerceptron,
    "cnn": SmallCNN,
    "resnet18": ResNet18,
}


class ImageModel(nnx.Module):
    """Embeddings f of images and g of labels; log-probabilities are their products, normalized.

    g is a perceptron of three hidden layers of 128 leaky rectified units. It reads a label as a unit vector of
    `classes - 1` numbers, the last label as zeros.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        network: str,
        width: int,
        dimension: int,
        rngs: nnx.Rngs,
    ):
        check_choice("ImageModel", "network", network, NETWORKS)
        check_integer("ImageModel", "width", width, minimum=1)
        self.classes = classes
        self.embed = _NETWORKS[network](shape, width, dimension, rngs=rngs)
        self.unembed = Perceptron(classes - 1, LABEL_WIDTH, dimension, rngs=rngs)

    def unembeddings(self) -> Float[Array, "c m"]:
        """g of all labels."""
        return self.unembed(jnp.eye(self.classes, self.classes - 1, dtype=jnp.float32))

    def __call__(self, x: Float[Array, "n h w d"], *, train: bool = False) -> Float[Array, "n c"]:
        """Logits of images."""
        return matmul(self.embed(x, train=train), self.unembeddings().T)
