"""From one vector per token or pixel to one row per example, or one row per token."""

from __future__ import annotations

import math
from typing import overload

import jax.numpy as jnp

from jaxalign._core.checks import check_choice, check_floating, describe
from jaxalign._core.jit import jit
from jaxalign._core.numerics import widen
from jaxalign._core.typing import Array, Bool, Float

POOLINGS = ("mean", "max", "first", "last", "cls")


@jit(static=("how",))
def pool_tokens(
    x: Float[Array, "n t d"], mask: Bool[Array, "n t"] | None = None, *, how: str = "mean"
) -> Float[Array, "n d"]:
    r"""One vector for each example out of one for each of its tokens.

    $$\bar x_i = \textstyle\sum_{t \in T_i} x_{it} / |T_i|, \qquad T_i = \{t : \mathrm{mask}_{it}\}$$

    for `how="mean"`; the others take the largest value of each feature, or one token.

    Args:
      x: activations, shape `(n, t, d)`.
      mask: shape `(n, t)`, `True` for real tokens; the others are padding, on either side,
        and may hold any value. All tokens are real by default.
      how: `"mean"`; `"max"`; `"first"` or `"last"` real token (with padding on the left or on
        the right); `"cls"`, the token at position 0 whatever the mask says.

    Returns:
      Shape `(n, d)`, float32 or wider. A row without a real token is NaN, with zero
      gradient (except for `"cls"`).

    Raises:
      ValueError: at trace time, on an unknown `how` or a shape that does not fit.
      TypeError: at trace time, when `x` is not floating point or `mask` is not boolean.

    Example:
      >>> x = jnp.array([[[1., 0.], [3., 2.], [jnp.nan, jnp.nan]]])
      >>> pool_tokens(x, jnp.array([[True, True, False]])).tolist()
      [[2.0, 1.0]]
    """
    check_choice("pool_tokens", "how", how, POOLINGS)
    check_floating("pool_tokens", "x", x)
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"pool_tokens: x must have shape (examples, tokens, features), none 0, got {describe(x)}")
    if mask is not None:
        _check_token_mask("pool_tokens", x, mask)
    x = widen(x)
    if how == "cls":
        return x[:, 0]
    if mask is None:
        mask = jnp.ones(x.shape[:2], bool)
    if how == "mean":
        count = jnp.maximum(jnp.sum(mask, axis=1, dtype=x.dtype), 1)
        pooled = jnp.sum(jnp.where(mask[:, :, None], x, 0), axis=1) / count[:, None]
    elif how == "max":
        pooled = jnp.max(jnp.where(mask[:, :, None], x, -jnp.inf), axis=1)
    else:
        chosen = jnp.argmax(mask, axis=1) if how == "first" else x.shape[1] - 1 - jnp.argmax(mask[:, ::-1], axis=1)
        pooled = jnp.take_along_axis(x, chosen[:, None, None], axis=1, mode="clip")[:, 0]
    return jnp.where(jnp.any(mask, axis=1)[:, None], pooled, jnp.nan)


@overload
def flatten_spatial(x: Float[Array, "b *space d"], mask: None = None) -> Float[Array, "n d"]: ...
@overload
def flatten_spatial(
    x: Float[Array, "b *space d"], mask: Bool[Array, "b *space"]
) -> tuple[Float[Array, "n d"], Bool[Array, "n"]]: ...
@jit()
def flatten_spatial(
    x: Float[Array, "b *space d"], mask: Bool[Array, "b *space"] | None = None
) -> Float[Array, "n d"] | tuple[Float[Array, "n d"], Bool[Array, "n"]]:
    r"""Make every token or pixel an example of its own.

    $$(b, h, w, c) \mapsto (b h w, c)$$

    Row `(i h + j) w + k` of the result is pixel `(j, k)` of image `i`. Rows of one image are
    not independent: tests of significance should permute images, not rows.

    Args:
      x: activations with features last: `(b, h, w, c)`, `(b, t, d)` or more axes between.
        Features-first arrays (`b, c, h, w`) are to be transposed before.
      mask: the shape of `x` without its last axis, `True` for real tokens.

    Returns:
      Shape `(b · h · w, c)`, values and dtype as they came; with a mask also the mask, of
      shape `(b · h · w,)`, as every score takes it.

    Raises:
      ValueError: at trace time, when `x` has fewer than three axes or `mask` does not fit.
      TypeError: at trace time, when `x` is not floating point or `mask` is not boolean.

    Example:
      >>> flatten_spatial(jnp.zeros((2, 4, 4, 3))).shape
      (32, 3)
    """
    check_floating("flatten_spatial", "x", x)
    if x.ndim < 3 or 0 in x.shape:
        raise ValueError(
            "flatten_spatial: x must have shape (batch, height, width, channels) or (batch, tokens, features), "
            f"none 0, got {describe(x)}"
        )
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    if mask is None:
        return rows
    _check_token_mask("flatten_spatial", x, mask)
    return rows, mask.ravel()


def _check_token_mask(function: str, x: Array, mask: Array) -> None:
    if mask.dtype != jnp.bool_:
        raise TypeError(f"{function}: mask must be boolean, got {describe(mask)}; convert it with .astype(bool)")
    if mask.shape != x.shape[:-1]:
        raise ValueError(f"{function}: mask must have shape {x.shape[:-1]}, one entry a token, got {tuple(mask.shape)}")
