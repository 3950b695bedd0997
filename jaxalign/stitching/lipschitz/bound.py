"""A certified upper bound of the Lipschitz constant of a network, layer by layer."""

from __future__ import annotations

import functools
import math
import numbers
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from flax import linen, nnx

from jaxalign._core.checks import check_integer, describe
from jaxalign.stitching.lipschitz.activations import activation_constant
from jaxalign.stitching.lipschitz.blocks import Given, MeanPool, Residual, checked_constant
from jaxalign.stitching.lipschitz.layers import NAME, REFUSED, RULES, Flow, matrix_bound, rule_of, weights
from jaxalign.stitching.lipschitz.linen_layers import is_linen_pair, linen_bound, linen_layers
from jaxalign.stitching.lipschitz.norms import product_up, round_up, sum_up
from jaxalign.stitching.lipschitz.result import LayerBound, LipschitzBound
from jaxalign.stitching.lipschitz.stitch_layers import RULES as STITCH_RULES

Bounded = tuple[LayerBound, Flow]


def lipschitz_bound(head: Any, *, input_shape: Sequence[int] | None = None) -> LipschitzBound:
    r"""An upper bound of the Lipschitz constant of a network, from l2 to l2 on flattened examples.

    $$\|g(a) - g(b)\| \le \kappa \|a - b\| \;\text{for all } a, b, \qquad
    \kappa = \textstyle\prod_l \kappa_l, \quad \kappa_{residual} = 1 + \kappa_{branch}$$

    Of the network in exact arithmetic, as it evaluates, with the weights it has. The constant of a layer is that of
    the whole layer on whole examples: for a convolution the norm of the operator on the grid, and for one matrix on
    every token the norm of that matrix. A product of constants is often far above the constant of the network,
    more so the deeper that is.

    Args:
      head: one of

        - a Flax NNX module: `Sequential`, `Linear`, `LinearGeneral`, `Conv`, `Dropout`, `BatchNorm`, `LayerNorm`,
          `RMSNorm`, `GroupNorm`, `InstanceNorm`, `PReLU`, a stitching module of this package, or a `LinearStitch`;
        - a pair `(module, variables)` of Flax Linen, of `Sequential`, `Dense`, `Conv`, `Dropout` or one of the norms;
        - a list or tuple of layers: those above; weight matrices `(features, outputs)`; activations, as functions of
          `jax.nn` and `jax.numpy`, as names ("relu", "gelu_exact"), or as `functools.partial` of `leaky_relu`, `elu`,
          `gelu`, `max_pool` or `avg_pool`; "flatten"; `residual(...)`; "mean_pool" or `mean_pool(tokens)`;
          `given(function, constant)`; a number, for the constant of a layer that is not passed; or lists;
        - an object with a method `lipschitz_bound(input_shape)` that returns a number, or what this function returns.
          In any place where a layer can be.

        Other modules are refused: the order of layers, and what is between them, is in their `__call__`.
      input_shape: of one example, no axis of examples: `(d,)`, `(tokens, d)` or `(h, w, c)`. Convolutions have a bound
        without it, a looser one; "mean_pool", `log_softmax` and resized feature maps need it.

    Returns:
      A `LipschitzBound`, whose `value` is 0 or more, NaN where weights are not finite, float32 (float64 with 64-bit
      types on), rounded up. `print` shows the layers. Read from concrete weights on the host: it has no gradient.

    Raises:
      TypeError: for a head or a layer that is not known, and for traced weights.
      ValueError: for layers that do not fit one another or `input_shape`, or an activation without a constant.

    Example:
      >>> import jax.numpy as jnp
      >>> bound = lipschitz_bound([jnp.array([[3., 0.], [0., 1.]]), "relu", jnp.eye(2) * 2])
      >>> bool(6 <= float(bound) <= 6.00001)
      True
      >>> print(lipschitz_bound(["relu", "sigmoid"]))
      Lipschitz constant at most 0.25
        0  relu      = 1
        1  sigmoid   = 0.25

    Reference:
      Szegedy et al. (2014), arXiv:1312.6199, for the product (standard); as the constant of a stitching bound: Insulla
      et al. (2025), arXiv:2502.14047, Theorem 1. How norms are certified: `matrix_norm_bound` and
      `convolution_norm_bound`.
    """
    shape = None
    if input_shape is not None:
        if isinstance(input_shape, (str, int)) or not isinstance(input_shape, Sequence) or not len(input_shape):
            raise TypeError(f"{NAME}: input_shape must be a tuple such as (d,) or (h, w, c), got {input_shape!r}")
        for size in input_shape:
            check_integer(NAME, "each size of input_shape", size, minimum=1)
        shape = tuple(int(size) for size in input_shape)
    layers = _layers_of(head)
    if layers is None:
        bound, _ = _layer_bound(head, replace(Flow.of(shape), where="0"))
        parts = (bound,)
    else:
        parts, _ = _sequence(layers, Flow.of(shape), "")
    value = product_up(*(float(part.constant) for part in parts))
    return LipschitzBound(round_up(value), tuple(_rounded(part) for part in parts))


def _rounded(layer: LayerBound) -> LayerBound:
    return replace(layer, constant=round_up(float(layer.constant)), parts=tuple(_rounded(p) for p in layer.parts))


def _layers_of(head: Any) -> list[Any] | None:
    """The layers that are called one after the other, or None when it is one layer."""
    if _has_method(head):
        return None
    if isinstance(head, nnx.Sequential) and type(head).__call__ is nnx.Sequential.__call__:
        head = head.layers
    if is_linen_pair(head):
        module, variables = head
        if type(module) is linen.Sequential and hasattr(variables, "items"):
            return linen_layers(module, linen.meta.unbox(variables))
        return None
    if isinstance(head, nnx.List):
        return [head[index] for index in range(len(head))]
    return list(head) if isinstance(head, (list, tuple)) else None


def _sequence(layers: Sequence[Any], flow: Flow, prefix: str) -> tuple[tuple[LayerBound, ...], Flow]:
    parts = []
    for index, layer in enumerate(layers):
        bound, flow = _layer_bound(layer, replace(flow, where=f"{prefix}{index}"))
        parts.append(bound)
    return tuple(parts), flow


def _layer_bound(layer: Any, flow: Flow) -> Bounded:
    """The constant of whatever may stand in a list of layers, and what is known behind it."""
    layers = _layers_of(layer)
    if layers and all(isinstance(one, (numbers.Real, list, tuple)) for one in layers) and not _is_known(layers):
        raise TypeError(
            f"{NAME}: layer {flow.where} is a list of numbers; a weight matrix must be an array, by jnp.asarray"
        )
    if layers is not None:
        parts, after = _sequence(layers, flow, f"{flow.where}.")
        value = product_up(*(float(part.constant) for part in parts))
        exact = sum(float(part.constant) != 1 for part in parts) < 2 and all(part.exact for part in parts)
        return LayerBound(value, "Sequential", exact, parts=parts), after
    if _has_method(layer):
        return _of_method(layer, flow)
    if isinstance(layer, Residual):
        parts, after = _sequence(layer.branch, flow, f"{flow.where}.")
        if flow.shape is not None and after.shape is not None and flow.shape != after.shape:
            raise ValueError(
                f"{NAME}: layer {flow.where} (residual) must keep the shape {flow.shape}, its branch gives "
                f"{after.shape}"
            )
        value = sum_up(1.0, product_up(*(float(part.constant) for part in parts)))
        return LayerBound(value, "residual", False, "1 + the product of its parts", parts), flow
    if isinstance(layer, Given):
        return LayerBound(layer.constant, "given"), flow.through(layer.function, "given")
    if isinstance(layer, MeanPool) or (isinstance(layer, str) and layer == "mean_pool"):
        return _mean_pool(layer.tokens if isinstance(layer, MeanPool) else None, flow)
    if isinstance(layer, str) and layer == "flatten":
        return LayerBound(1.0, "flatten"), Flow.of(None if flow.shape is None else (math.prod(flow.shape),))
    if isinstance(layer, numbers.Real) or getattr(layer, "shape", None) == ():
        return LayerBound(checked_constant(NAME, f"layer {flow.where}", layer), "constant"), Flow(None, None)
    if is_linen_pair(layer):
        return linen_bound(layer[0], layer[1], flow)
    rule = rule_of(layer, RULES) or rule_of(layer, STITCH_RULES)
    if rule is not None:
        return rule(layer, flow)
    if not isinstance(layer, (nnx.Module, str)) and hasattr(layer, "shape") and hasattr(layer, "dtype"):
        return _matrix(layer, flow)
    return _activation(layer, flow)


def _is_known(layers: Sequence[Any]) -> bool:
    """Whether there is something else than numbers in nested lists."""
    return any(
        _is_known(one) if isinstance(one, (list, tuple)) else not isinstance(one, numbers.Real) for one in layers
    )


def _has_method(layer: Any) -> bool:
    return not isinstance(layer, type) and callable(getattr(layer, "lipschitz_bound", None))


def _of_method(layer: Any, flow: Flow) -> Bounded:
    """What a layer says of itself."""
    kind = type(layer).__name__
    said = layer.lipschitz_bound(flow.shape)
    parts = said.layers if isinstance(said, LipschitzBound) else ()
    value = checked_constant(NAME, f"the result of lipschitz_bound of layer {flow.where} ({kind})", said)
    after = flow.through(layer, kind) if callable(layer) else Flow(None, None)
    return LayerBound(value, kind, False, "by its own method", parts), after


def _mean_pool(tokens: int | None, flow: Flow) -> Bounded:
    known = None if flow.shape is None else math.prod(flow.shape[:-1])
    if tokens is None and known is None:
        raise ValueError(f"{NAME}: layer {flow.where} (mean_pool) needs input_shape, or mean_pool(tokens)")
    if tokens is not None and known is not None and tokens != known:
        raise ValueError(f"{NAME}: layer {flow.where} (mean_pool) is over {tokens} tokens, got {known}")
    count = tokens or known or 1
    value = 1 / math.sqrt(count)
    while Fraction(value) ** 2 * count < 1:
        value = math.nextafter(value, 1)
    return LayerBound(value, f"mean_pool {count}"), Flow(None if flow.shape is None else flow.shape[-1:], flow.features)


def _matrix(layer: Any, flow: Flow) -> Bounded:
    if len(layer.shape) != 2:
        hint = "; pass nnx.Conv, or the number convolution_norm_bound gives" if len(layer.shape) > 2 else ""
        raise ValueError(
            f"{NAME}: layer {flow.where} must be a weight matrix (features, outputs), got {describe(layer)}{hint}"
        )
    return matrix_bound(weights(layer, flow.where), flow, "matrix")


def _activation(layer: Any, flow: Flow) -> Bounded:
    found = activation_constant(NAME, layer, flow.features)
    if found is not None:
        pools = isinstance(layer, functools.partial) and "pool" in found[0]
        bound = LayerBound(found[1], found[0], not pools, "windows overlap or not" if pools else "")
        return bound, flow.through(layer, found[0]) if pools else flow
    why = rule_of(layer, REFUSED)
    if why is not None:
        raise TypeError(f"{NAME}: layer {flow.where} is a {type(layer).__name__}: {why}")
    if isinstance(layer, linen.Module):
        raise TypeError(f"{NAME}: layer {flow.where} is a Linen module without variables; pass (module, variables)")
    what = describe(layer)
    if isinstance(layer, nnx.Module):
        raise TypeError(
            f"{NAME}: layer {flow.where} is a module {what}, whose __call__ is not known; pass a list of its layers in "
            "the order it calls them, such as [module.layer1, 'relu', residual(module.layer2)], or give its class a "
            "method lipschitz_bound(input_shape)"
        )
    if callable(layer) and not isinstance(layer, type):
        raise TypeError(
            f"{NAME}: layer {flow.where} is a function whose constant is not known, {layer!r}; pass the name of an "
            "activation, such as 'relu', or given(function, constant)"
        )
    raise TypeError(f"{NAME}: layer {flow.where} must be a layer, a weight matrix or an activation, got {what}")
