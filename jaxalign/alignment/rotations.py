"""Rotations and reflections that bring the features of one input nearest to those of another."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from jaxalign._core.linalg import thin_svd
from jaxalign._core.numerics import matmul
from jaxalign._core.typing import Array, Float


def nearest_rotation(products: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The orthogonal matrix with the largest inner product with another one: `Q` nearest to `X Q = Y` for `Xᵀ Y`.

    Where that is singular, one of several: unlike `polar_factor` it is always orthogonal. No gradient.
    """
    u, _, vt = thin_svd(lax.stop_gradient(products))
    return matmul(u, vt)


def pad_last(x: Float[Array, "*rows d"], width: int) -> Float[Array, "*rows w"]:
    """`x` with zero features up to `width`."""
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, width - x.shape[-1])])
