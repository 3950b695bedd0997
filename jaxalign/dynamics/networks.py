"""The networks on which the theory of learning dynamics was tested."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from jaxalign._core.checks import check_choice, check_integer, describe
from jaxalign._core.numerics import matmul, widen
from jaxalign._core.typing import Array, Float

#: Activations by name; the slope of `leaky_relu` is 0.01.
ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "leaky_relu": jax.nn.leaky_relu,
        "relu": jax.nn.relu,
        "elu": jax.nn.elu,
        "tanh": jnp.tanh,
        "swish": jax.nn.swish,
        "linear": lambda z: z,
    }
)


class Dense(nnx.Module):
    r"""An affine map and what comes after it: $\phi(x K + b)$, or $\phi(x K + b) + a$ with something to add.

    Args:
      d_in: features that come in.
      d_out: features that go out.
      activation: $\phi$.
      gain: of the initialization.
      rngs: its `params` stream draws the kernel.
      param_dtype: of kernel and bias.
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        activation: Callable[[Array], Array],
        gain: Any,
        rngs: nnx.Rngs,
        param_dtype: Any = jnp.float32,
    ):
        self.kernel = nnx.Param(xavier_normal(rngs.params(), (d_in, d_out), gain, dtype=param_dtype))
        self.bias = nnx.Param(jnp.zeros((d_out,), param_dtype))
        self.activation = activation

    def __call__(self, x: Float[Array, "n d_in"], added: Float[Array, "n d_out"] | None = None) -> Array:
        """Activations, shape `(n, d_out)`."""
        z = self.activation(matmul(x, self.kernel[...]) + self.bias[...][None])
        return z if added is None else z + added


class Convolution(nnx.Module):
    r"""A 1-d convolution without padding and what comes after it: $\phi(x * K + b)$.

    Args:
      d_in: channels that come in.
      d_out: channels that go out.
      size: of the kernel; the length shrinks by `size - 1`.
      activation: $\phi$.
      gain: of the initialization.
      rngs: its `params` stream draws the kernel.
      param_dtype: of kernel and bias.
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        size: int,
        activation: Callable[[Array], Array],
        gain: Any,
        rngs: nnx.Rngs,
        param_dtype: Any = jnp.float32,
    ):
        self.kernel = nnx.Param(xavier_normal(rngs.params(), (size, d_in, d_out), gain, dtype=param_dtype))
        self.bias = nnx.Param(jnp.zeros((d_out,), param_dtype))
        self.activation = activation

    def __call__(self, x: Float[Array, "n length d_in"]) -> Array:
        """Activations, shape `(n, length - size + 1, d_out)`."""
        z = lax.conv_general_dilated(
            widen(x),
            widen(self.kernel[...]),
            window_strides=(1,),
            padding="VALID",
            dimension_numbers=("NWC", "WIO", "NWC"),
            precision=lax.Precision.HIGHEST,
        )
        return self.activation(z + self.bias[...][None, None])


class MLP(nnx.Module):
    r"""A perceptron of equally wide hidden layers.

    $$h_0 = \phi(x K_0 + b_0),\quad h_n = \phi(h_{n-1} K_n + b_n)\; [+\; h_{n-2}],\quad \hat y = h_{L-1} K_L + b_L$$

    Hidden layer `n` is the submodule `hidden.n`; its output is $h_n$, after the nonlinearity and what is added.

    Args:
      width: units of each hidden layer.
      hidden: how many hidden layers there are, at least 1.
      rngs: its `params` stream draws the kernels, `dropout` what is dropped.
      activation: `"leaky_relu"` (slope 0.01), `"relu"`, `"elu"`, `"tanh"`, `"swish"`, `"linear"`, or any function.
      gain: kernels are normal, not truncated, with standard deviation `gain * sqrt(2 / (fan in + fan out))`; may be a
        traced number, so that networks of several gains can be made by `vmap`. Biases start at 0 and are trained.
      skip: add the activation of layer `n - 2` from `n = 2` on.
      dropout: the share of features that is dropped before every affine map, the first and the last included.
      inputs: features of the input.
      outputs: features of the output.
      param_dtype: of kernels and biases.

    Raises:
      ValueError: for sizes below 1, an unknown activation, or a dropout that is no share; when called, for anything
        but `(n, inputs)`.
      TypeError: for sizes that are not integers.

    Example:
      >>> net = MLP(width=8, hidden=3, rngs=nnx.Rngs(0), activation="tanh")
      >>> net(jnp.ones((2, 1))).shape
      (2, 1)

    Reference:
      van Rossem and Saxe (2024), arXiv:2402.09142, and their published notebooks.
    """

    def __init__(
        self,
        width: int = 500,
        hidden: int = 20,
        *,
        rngs: nnx.Rngs,
        activation: str | Callable[[Array], Array] = "leaky_relu",
        gain: Any = 1.0,
        skip: bool = False,
        dropout: float = 0.0,
        inputs: int = 1,
        outputs: int = 1,
        param_dtype: Any = jnp.float32,
    ):
        for name, size in (("width", width), ("hidden", hidden), ("inputs", inputs), ("outputs", outputs)):
            check_integer("MLP", name, size, minimum=1)
        if not 0 <= dropout < 1:
            raise ValueError(f"MLP: dropout must be at least 0 and less than 1, got {dropout}")
        phi = _activation("MLP", activation)
        made: dict[str, Any] = {"gain": gain, "rngs": rngs, "param_dtype": param_dtype}
        sizes = [inputs, *[width] * (hidden - 1)]
        self.hidden = nnx.List([Dense(size, width, activation=phi, **made) for size in sizes])
        self.output = Dense(width, outputs, activation=ACTIVATIONS["linear"], **made)
        drops = [nnx.Dropout(dropout, rngs=rngs) for _ in range(hidden + 1)] if dropout else []
        self.dropouts = nnx.List(drops)
        self.skip = skip

    def __call__(self, x: Float[Array, "n inputs"]) -> Float[Array, "n outputs"]:
        """The outputs."""
        _check_input("MLP", x, self.hidden[0].kernel.shape[0])
        layers = [*self.hidden, self.output]
        activations = [x]
        for n, layer in enumerate(layers):
            z = self.dropouts[n](activations[-1]) if self.dropouts else activations[-1]
            added = activations[n - 1] if self.skip and 2 <= n < len(self.hidden) else None
            activations.append(layer(z) if added is None else layer(z, added))
        return activations[-1]


class CNN(nnx.Module):
    """An affine layer, 1-d convolutions without padding along its units, and an affine map to the outputs.

    Convolution `n` is the submodule `hidden.n`, with an output of shape `(rows, length, channels)`; the affine layer
    before them, which has the nonlinearity too, is `first`. How the authors number these layers is not known.

    Args:
      width: units of the first layer, the length of what is convolved.
      hidden: how many convolutions there are, at least 1.
      rngs: its `params` stream draws the kernels.
      activation: as of an `MLP`.
      gain: as of an `MLP`; the fans of a convolution count the size of its kernel.
      size: of the kernels.
      channels: of each convolution.
      inputs: features of the input.
      outputs: features of the output.
      param_dtype: of kernels and biases.

    Raises:
      ValueError: for sizes below 1, an unknown activation, or a width that the convolutions use up; when called, for
        anything but `(n, inputs)`.
      TypeError: for sizes that are not integers.

    Example:
      >>> CNN(width=40, hidden=2, rngs=nnx.Rngs(0))(jnp.ones((2, 1))).shape
      (2, 1)

    Reference:
      van Rossem and Saxe (2024), arXiv:2402.09142, and their published notebooks.
    """

    def __init__(
        self,
        width: int = 500,
        hidden: int = 10,
        *,
        rngs: nnx.Rngs,
        activation: str | Callable[[Array], Array] = "leaky_relu",
        gain: Any = 1.0,
        size: int = 11,
        channels: int = 20,
        inputs: int = 1,
        outputs: int = 1,
        param_dtype: Any = jnp.float32,
    ):
        sizes = {"width": width, "hidden": hidden, "size": size, "channels": channels}
        for name, value in {**sizes, "inputs": inputs, "outputs": outputs}.items():
            check_integer("CNN", name, value, minimum=1)
        length = width - hidden * (size - 1)
        if length < 1:
            raise ValueError(
                f"CNN: width must be at least {hidden * (size - 1) + 1} for {hidden} convolutions of size {size}, "
                f"got {width}"
            )
        phi = _activation("CNN", activation)
        made: dict[str, Any] = {"gain": gain, "rngs": rngs, "param_dtype": param_dtype}
        self.first = Dense(inputs, width, activation=phi, **made)
        self.hidden = nnx.List(
            [Convolution(channels if n else 1, channels, size=size, activation=phi, **made) for n in range(hidden)]
        )
        self.output = Dense(length * channels, outputs, activation=ACTIVATIONS["linear"], **made)

    def __call__(self, x: Float[Array, "n inputs"]) -> Float[Array, "n outputs"]:
        """The outputs."""
        _check_input("CNN", x, self.first.kernel.shape[0])
        z = self.first(x)[..., None]
        for layer in self.hidden:
            z = layer(z)
        return self.output(z.reshape(z.shape[0], -1))


def xavier_normal(key: Array, shape: tuple[int, ...], gain: Any, *, dtype: Any = jnp.float32) -> Array:
    """Normal numbers, not truncated, of standard deviation `gain * sqrt(2 / (fan in + fan out))`.

    `jax.nn.initializers.glorot_normal` is truncated at two standard deviations and has no gain.

    Args:
      key: a PRNG key.
      shape: of the kernel; the last two axes are inputs and outputs, and fans count the others too.
      gain: a number, which may be traced.
      dtype: of the result.
    """
    deviation = float(np.sqrt(2 / (np.prod(shape[:-2]) * (shape[-2] + shape[-1]))))
    return jnp.asarray(gain, dtype) * deviation * jax.random.normal(key, shape, dtype)


def _activation(function: str, activation: str | Callable[[Array], Array]) -> Callable[[Array], Array]:
    if not isinstance(activation, str) and callable(activation):
        return activation
    check_choice(function, "activation", activation, ACTIVATIONS)
    return ACTIVATIONS[activation]


def _check_input(function: str, x: Any, inputs: int) -> None:
    if x.ndim != 2 or x.shape[1] != inputs:
        raise ValueError(f"{function}: x must have shape (examples, {inputs}), got {describe(x)}")
