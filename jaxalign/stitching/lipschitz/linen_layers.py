"""Constants of layers of Flax Linen, given with their variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
from flax import linen
from jax import lax

from jaxalign.stitching.lipschitz.layers import (
    NAME,
    NORM_NOTE,
    Flow,
    convolution_bound,
    flax_convolution,
    matrix_bound,
    scaling_bound,
    weights,
)
from jaxalign.stitching.lipschitz.result import LayerBound

Bounded = tuple[LayerBound, Flow]


def is_linen_pair(layer: Any) -> TypeGuard[tuple[linen.Module, Any]]:
    """Whether it is a Linen module with its variables."""
    return isinstance(layer, tuple) and len(layer) == 2 and isinstance(layer[0], linen.Module)


def linen_bound(module: linen.Module, variables: Any, flow: Flow) -> Bounded:
    """The constant of one layer.

    Raises:
      TypeError: for modules that are not known, and variables that are none.
      ValueError: for variables that lack what the module needs.
    """
    kind = type(module).__name__
    if not isinstance(variables, Mapping):
        raise TypeError(
            f"{NAME}: layer {flow.where} must be a pair (module, variables), got {type(variables).__name__}"
        )
    variables = linen.meta.unbox(variables)
    known = (linen.Dense, linen.Conv, linen.Dropout, linen.BatchNorm, linen.LayerNorm, linen.RMSNorm, linen.GroupNorm)
    if type(module) not in known:  # a class of the user that extends one of them may call otherwise
        raise TypeError(
            f"{NAME}: layer {flow.where} is a Linen {kind}, whose call is not known; pass a list of its layers, each "
            "as (module, variables) or as a weight matrix"
        )
    if isinstance(module, linen.Dense):
        _plain(module.dot_general, lax.dot_general, module.dot_general_cls, flow)
        return matrix_bound(_weights(variables, "params", "kernel", flow, module.dtype), flow, kind)
    if isinstance(module, linen.Conv):
        _plain(module.conv_general_dilated, lax.conv_general_dilated, module.conv_general_dilated_cls, flow)
        return convolution_bound(flax_convolution(module, _variable(variables, "params", "kernel", flow), flow), flow)
    if isinstance(module, linen.Dropout):
        return LayerBound(1.0, kind, note="as it evaluates"), flow
    if isinstance(module, linen.BatchNorm):
        if module.use_running_average is False:
            raise TypeError(
                f"{NAME}: layer {flow.where} (BatchNorm) uses statistics of the batch; set use_running_average=True"
            )
        variance = _weights(variables, "batch_stats", "var", flow) + module.epsilon
        return scaling_bound(_scale(module, variables, flow), variance, kind), flow
    assert isinstance(module, (linen.LayerNorm, linen.RMSNorm, linen.GroupNorm))
    variance = np.asarray(float(module.epsilon))
    return scaling_bound(_scale(module, variables, flow), variance, kind, note=NORM_NOTE), flow


def linen_layers(module: linen.Sequential, variables: Any) -> list[Any]:
    """The layers of a `linen.Sequential`, modules with their own variables."""
    layers = []
    for index, layer in enumerate(module.layers):
        if not isinstance(layer, linen.Module):
            layers.append(layer)
            continue
        name = layer.name or f"layers_{index}"
        layers.append((layer, {kind: held[name] for kind, held in variables.items() if name in held}))
    return layers


def _variable(variables: Mapping[str, Any], kind: str, name: str, flow: Flow) -> Any:
    try:
        return variables[kind][name]
    except KeyError as error:
        raise ValueError(f"{NAME}: layer {flow.where} lacks {name!r} in {kind!r} of its variables") from error


def _weights(variables: Mapping[str, Any], kind: str, name: str, flow: Flow, dtype: Any = None) -> np.ndarray:
    return weights(_variable(variables, kind, name, flow), flow.where, dtype)


def _scale(module: Any, variables: Mapping[str, Any], flow: Flow) -> np.ndarray:
    return _weights(variables, "params", "scale", flow) if module.use_scale else np.ones(())


def _plain(own: Any, usual: Any, cls: Any, flow: Flow) -> None:
    """Raise `TypeError` when a layer multiplies in its own way."""
    if own not in (None, usual) or cls is not None:
        raise TypeError(f"{NAME}: layer {flow.where} multiplies in a way of its own, of unknown norm")
