"""ResNet18 for small images in float64, written from He et al. (2016): convolutions as sums over shifted images."""

import numpy as np

EPSILON = 1e-5  # of batch normalization


def convolution(x, kernel, stride):
    """`(n, h, w, a)` and `(k, k, a, b)`, zeros around."""
    side = kernel.shape[0]
    reach = side // 2
    n, h, w, _ = x.shape
    padded = np.zeros((n, h + 2 * reach, w + 2 * reach, x.shape[3]))
    padded[:, reach : reach + h, reach : reach + w] = x
    full = np.zeros((n, h, w, kernel.shape[3]))
    for i in range(side):
        for j in range(side):
            full += padded[:, i : i + h, j : j + w] @ kernel[i, j]
    return full[:, ::stride, ::stride]


def normalized(x, layer, train):
    """Batch normalization; with `train` by the batch, whose statistics are returned too."""
    mean, variance = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if train else (layer["mean"], layer["var"])
    return (x - mean) / np.sqrt(variance + EPSILON) * layer["scale"] + layer["bias"], (mean, variance)


def conv_norm(x, layer, stride, train):
    return normalized(convolution(x, layer["conv"]["kernel"], stride), layer["norm"], train)[0]


def resnet18(x, weights, train):
    """Outputs `(n, m)`; weights as `nnx.to_pure_dict` has them."""
    x = np.maximum(conv_norm(x, weights["stem"], 1, train), 0)
    for number in range(8):
        block = weights["blocks"][number]
        stride = 2 if number in (2, 4, 6) else 1
        inner = np.maximum(conv_norm(x, block["first"], stride, train), 0)
        inner = conv_norm(inner, block["second"], 1, train)
        around = conv_norm(x, block["around"], stride, train) if number in (2, 4, 6) else x
        x = np.maximum(inner + around, 0)
    return x.mean((1, 2)) @ weights["head"]["kernel"] + weights["head"]["bias"]
