"""Lipschitz constants of activation functions, each rounded up in its last digit."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen

from jaxalign._core.checks import nearest
from jaxalign.stitching.lipschitz.norms import root_up

#: The largest slope of a function, or for functions of a vector the largest norm of the Jacobian.
CONSTANTS: dict[str, float] = {
    "identity": 1.0,
    "relu": 1.0,
    "relu6": 1.0,
    "leaky_relu": 1.0,
    "elu": 1.0,
    "celu": 1.0,
    "selu": 1.758099341,  # the product of its two constants, at 0 from below
    "gelu": 1.128993069,  # of the tanh form, the default of jax.nn.gelu; near 1.4185
    "gelu_tanh": 1.128993069,
    "gelu_exact": 1.128904146,  # at the root of 2
    "silu": 1.099839321,  # near 2.3994
    "swish": 1.099839321,
    "mish": 1.088498162,  # near 1.4906
    "softplus": 1.0,
    "squareplus": 1.0,
    "sparse_plus": 1.0,
    "soft_sign": 1.0,
    "log_sigmoid": 1.0,
    "tanh": 1.0,
    "hard_tanh": 1.0,
    "sigmoid": 0.25,
    "hard_sigmoid": 0.16666666666666669,
    "sparse_sigmoid": 0.5,
    "hard_silu": 1.5,  # at 3 from below
    "hard_swish": 1.5,
    "abs": 1.0,
    "sin": 1.0,
    "cos": 1.0,
    "logsumexp": 1.0,
    "softmax": 0.5,  # p and 1 - p of two classes, at 1/2
}
#: Of `n` classes the root of `n`: the Jacobian `I - 1 p^T` at its steepest, `p` a vertex (derived for this project).
LOG_SOFTMAX = "log_softmax"

#: Activations of which the same name is not all: what they are in JAX.
_FUNCTIONS: dict[Any, str] = {
    **{getattr(jax.nn, name): name for name in (*CONSTANTS, LOG_SOFTMAX) if hasattr(jax.nn, name)},
    **{jnp.tanh: "tanh", jnp.abs: "abs", jnp.absolute: "abs", jnp.sin: "sin", jnp.cos: "cos"},
    **{jax.lax.tanh: "tanh", jax.lax.abs: "abs", jax.lax.sin: "sin", jax.lax.cos: "cos"},
    **{jax.lax.logistic: "sigmoid", jax.scipy.special.expit: "sigmoid", jax.scipy.special.logsumexp: "logsumexp"},
}
_NOT_LIPSCHITZ = {getattr(jax.nn, "glu", None): "glu", jnp.square: "square", jnp.exp: "exp", jnp.log: "log"}


def activation_constant(function: str, activation: Any, features: int | None) -> tuple[str, float] | None:
    """The name and the constant of an activation; None for what is none, or is not known.

    Args:
      function: for the message.
      activation: a name, a function of `jax.nn` or `jax.numpy`, or a `functools.partial` of one.
      features: how many come in, for `log_softmax`.

    Raises:
      ValueError: for a name that is not known, for functions that have no constant, and for `log_softmax` of an unknown
        number of classes.
    """
    if isinstance(activation, str):
        if activation not in CONSTANTS and activation != LOG_SOFTMAX:
            hint = nearest(activation, [*CONSTANTS, LOG_SOFTMAX])
            raise ValueError(f"{function}: no activation {activation!r} is known{hint}")
        return _named(function, activation, features)
    if isinstance(activation, functools.partial):
        return _of_partial(function, activation, features)
    try:
        name = _FUNCTIONS.get(activation)
        bad = _NOT_LIPSCHITZ.get(activation)
    except TypeError:  # not hashable
        return None
    if bad is not None:
        raise ValueError(f"{function}: {bad} has no Lipschitz constant: its slope grows without end")
    return None if name is None else _named(function, name, features)


def _named(function: str, name: str, features: int | None) -> tuple[str, float]:
    if name != LOG_SOFTMAX:
        return name, CONSTANTS[name]
    if features is None:
        raise ValueError(f"{function}: the constant of log_softmax grows with the classes; pass input_shape")
    return name, root_up(features)


def _of_partial(function: str, partial: functools.partial, features: int | None) -> tuple[str, float] | None:
    """Settings by keyword that change the slope, and those that do not."""
    settings = dict(partial.keywords)
    if partial.args:
        return None
    if partial.func is linen.max_pool or partial.func is linen.avg_pool:
        return pooling_constant(partial)
    name = _FUNCTIONS.get(partial.func)
    if name == "gelu" and set(settings) == {"approximate"}:
        name = "gelu_tanh" if settings["approximate"] else "gelu_exact"
        return name, CONSTANTS[name]
    slope = {"leaky_relu": "negative_slope", "elu": "alpha"}.get(name or "")
    if slope is not None and set(settings) == {slope}:
        return f"{name} {settings[slope]:g}", max(1.0, abs(float(settings[slope])))
    if name == "celu" and set(settings) == {"alpha"} and settings["alpha"] > 0:
        return "celu", 1.0
    if name is not None and (not settings or (name in ("softmax", LOG_SOFTMAX) and settings == {"axis": -1})):
        return _named(function, name, features)
    return None


def pooling_constant(partial: functools.partial) -> tuple[str, float] | None:
    """Of a `functools.partial` of Flax's `max_pool` or `avg_pool`: windows that overlap count an entry often."""
    settings = dict(partial.keywords)
    if "window_shape" not in settings:
        return None
    window = tuple(settings["window_shape"])
    strides = tuple(settings.get("strides") or (1,) * len(window))
    if len(strides) != len(window):
        return None
    overlap = math.prod(-(-w // s) for w, s in zip(window, strides, strict=True))
    text = "x".join(map(str, window))
    if partial.func is linen.max_pool:
        return f"max_pool {text}", root_up(overlap)
    whole = settings.get("count_include_pad", True) or settings.get("padding", "VALID") == "VALID"
    # Each output is at most the root mean square of its window.
    return f"avg_pool {text}", root_up(overlap / math.prod(window) if whole else overlap)
