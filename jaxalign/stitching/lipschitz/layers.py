"""Constants of single layers of Flax NNX, and what is known of activations between layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from jaxalign._core.checks import describe
from jaxalign.stitching.lipschitz.convolution import Convolution, convolution, norm_of_convolution
from jaxalign.stitching.lipschitz.norms import host_array, norm_of
from jaxalign.stitching.lipschitz.result import LayerBound

NAME = "lipschitz_bound"
NORM_NOTE = "at inputs without variance; says little in a product, see local_lipschitz"


@dataclass(frozen=True)
class Flow:
    """What is known of one example at a place between layers.

    Attributes:
      shape: features last, no axis of examples; None for not known.
      features: the last of them, which may be known without the others.
      where: the layer, for messages.
    """

    shape: tuple[int, ...] | None
    features: int | None
    where: str = ""

    @classmethod
    def of(cls, shape: tuple[int, ...] | None) -> Flow:
        """A shape, or nothing."""
        return cls(shape, shape[-1] if shape else None)

    def check(self, kind: str, features: int) -> None:
        """Raise `ValueError` unless that many features may come."""
        if self.features is not None and self.features != features:
            raise ValueError(f"{NAME}: layer {self.where} ({kind}) takes {features} features, got {self.features}")

    def widened(self, features: int) -> Flow:
        """The same with other features."""
        return Flow(None if self.shape is None else (*self.shape[:-1], features), features)

    def through(self, call: Callable[[Any], Any], kind: str) -> Flow:
        """What a function makes of it, as far as shapes tell; nothing is computed.

        Raises:
          ValueError: when it does not take the shape.
        """
        if self.shape is None:
            return Flow(None, None)
        try:
            with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # only shapes matter
                out = jax.eval_shape(call, jax.ShapeDtypeStruct((1, *self.shape), jnp.float32))
            return Flow.of(tuple(out.shape[1:]))
        except Exception as error:  # whatever a user's layer raises
            reason = str(error).strip().split("\n")[0]
            raise ValueError(
                f"{NAME}: layer {self.where} ({kind}) must take examples of shape {self.shape}; it failed with "
                f"{type(error).__name__}: {reason}"
            ) from error


def weights(value: Any, where: str, dtype: Any = None) -> np.ndarray:
    """Weights as the layer uses them: rounded to its type first, if it has one."""
    value = value[...] if isinstance(value, nnx.Variable) else value
    if dtype is not None and hasattr(value, "astype"):
        value = value.astype(dtype)
    return host_array(NAME, f"the weights of layer {where}", value)


def matrix_bound(kernel: np.ndarray, flow: Flow, kind: str) -> tuple[LayerBound, Flow]:
    """Rows times a matrix `(features, outputs)`."""
    rows, columns = kernel.shape
    kind = f"{kind} {rows} -> {columns}"
    flow.check(kind, rows)
    return LayerBound(norm_of(kernel), kind), flow.widened(columns)


def convolution_bound(conv: Convolution, flow: Flow) -> tuple[LayerBound, Flow]:
    """A convolution on the grid of the activations, or on any where that is not known."""
    axes, (channels, outputs) = conv.kernel.ndim - 2, conv.kernel.shape[-2:]
    size = "x".join(map(str, conv.kernel.shape[:-2]))
    kind = f"Conv {size}: {channels * conv.groups} -> {outputs}"
    flow.check(kind, channels * conv.groups)
    grid = None
    after = Flow(None, outputs)
    if flow.shape is not None:
        if len(flow.shape) < axes + 1:
            raise ValueError(f"{NAME}: layer {flow.where} ({kind}) takes a grid of {axes} axes, got {flow.shape}")
        grid = flow.shape[-axes - 1 : -1]
        after = Flow.of((*flow.shape[: -axes - 1], *conv.output_grid(grid), outputs))
    value, exact, note = norm_of_convolution(NAME, conv, grid)
    return LayerBound(value, kind, exact, note), after


def scaling_bound(scale: np.ndarray, variance: np.ndarray, kind: str, *, note: str = "") -> LayerBound:
    """The largest of `|scale| / sqrt(variance)`, rounded up."""
    with np.errstate(all="ignore"):
        value = float(np.max(np.abs(scale) / np.sqrt(variance))) * (1 + 2.0**-50)
    return LayerBound(value, kind, not note, note)


def _linear(module: Any, flow: Flow) -> tuple[LayerBound, Flow]:
    _plain(module, flow, "dot_general", lax.dot_general)
    return matrix_bound(weights(module.kernel, flow.where, module.dtype), flow, "Linear")


def _linear_general(module: Any, flow: Flow) -> tuple[LayerBound, Flow]:
    if module.dot_general is not None or module.dot_general_cls is not None:
        _plain(module, flow, "dot_general", lax.dot_general)
    kernel = weights(module.kernel, flow.where, module.dtype)
    inputs, outputs = math.prod(module.in_features), math.prod(module.out_features)
    kind = f"LinearGeneral {inputs} -> {outputs}"
    bound = LayerBound(norm_of(kernel.reshape(-1, inputs, outputs)), kind)
    return bound, flow.through(_pure(module), kind)


def _conv(module: Any, flow: Flow) -> tuple[LayerBound, Flow]:
    _plain(module, flow, "conv_general_dilated", lax.conv_general_dilated)
    return convolution_bound(flax_convolution(module, module.kernel, flow), flow)


def flax_convolution(module: Any, kernel: Any, flow: Flow) -> Convolution:
    """The settings of a convolution of Flax, NNX or Linen.

    Raises:
      TypeError: for dilated inputs.
    """
    dilated = module.input_dilation
    if dilated is not None and np.any(np.asarray(dilated) != 1):
        raise TypeError(f"{NAME}: layer {flow.where} is a convolution of a dilated input, which has no bound here")
    host = weights(kernel, flow.where, module.dtype)
    if module.mask is not None:
        host = host * np.asarray(module.mask).astype(np.float64)
    return convolution(
        NAME,
        host,
        strides=module.strides,
        padding=module.padding,
        dilation=module.kernel_dilation,
        groups=module.feature_group_count,
    )


def _batch_norm(module: Any, flow: Flow) -> tuple[LayerBound, Flow]:
    scale = np.ones(()) if module.scale is None else weights(module.scale, flow.where)
    variance = weights(module.var, flow.where) + module.epsilon
    return scaling_bound(scale, variance, "BatchNorm"), flow


def _normalization(module: Any, flow: Flow) -> tuple[LayerBound, Flow]:
    scale = np.ones(()) if module.scale is None else weights(module.scale, flow.where)
    return scaling_bound(scale, np.asarray(float(module.epsilon)), type(module).__name__, note=NORM_NOTE), flow


def _dropout(module: Any, flow: Flow) -> tuple[LayerBound, Flow]:
    return LayerBound(1.0, "Dropout", note="as it evaluates"), flow


def _prelu(module: Any, flow: Flow) -> tuple[LayerBound, Flow]:
    slope = float(weights(module.negative_slope, flow.where))
    return LayerBound(max(1.0, abs(slope)), "PReLU"), flow


#: Classes, and what makes the constant of one of them.
RULES: dict[type, Callable[[Any, Flow], tuple[LayerBound, Flow]]] = {
    nnx.Linear: _linear,
    nnx.LinearGeneral: _linear_general,
    nnx.Conv: _conv,
    nnx.BatchNorm: _batch_norm,
    nnx.LayerNorm: _normalization,
    nnx.RMSNorm: _normalization,
    nnx.GroupNorm: _normalization,
    nnx.InstanceNorm: _normalization,
    nnx.Dropout: _dropout,
    nnx.PReLU: _prelu,
}
#: Classes that have no constant, and why.
REFUSED: dict[type, str] = {
    nnx.Embed: "it takes whole numbers; start behind it",
    nnx.MultiHeadAttention: "attention has no Lipschitz constant on all inputs (Kim et al., 2021, arXiv:2006.04710); "
    "use local_lipschitz",
}


def rule_of(layer: Any, rules: dict[type, Any]) -> Any:
    """What `rules` have for a layer whose class does not call otherwise than the class they name; or None."""
    for cls, rule in rules.items():
        if isinstance(layer, cls) and type(layer).__call__ is cls.__call__:
            return rule
    return None


def _plain(module: Any, flow: Flow, attribute: str, usual: Any) -> None:
    """Raise `TypeError` when a layer multiplies in its own way."""
    own = getattr(module, attribute)
    if own is not usual:
        raise TypeError(f"{NAME}: layer {flow.where} has a {attribute} of its own, {describe(own)}, of unknown norm")


def _pure(module: nnx.Module) -> Callable[[Any], Any]:
    graphdef, state = nnx.split(module)
    return lambda x: nnx.merge(graphdef, state)(x)
