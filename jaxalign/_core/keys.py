"""Keys of random numbers, as they may be passed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import describe
from jaxalign._core.typing import Array


def as_key(function: str, key: Any) -> Array:
    """The key that was passed, or made from the integer that was.

    Raises:
      TypeError: for anything else than a key of `jax.random`, of either kind, or an integer.
    """
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        return jax.random.key(key)
    if isinstance(key, (jax.Array, np.ndarray)):
        if key.shape == () and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
            return jnp.asarray(key)
        if key.shape == () and jnp.issubdtype(key.dtype, jnp.integer):
            return jax.random.key(key)
        if key.shape == (2,) and key.dtype == jnp.uint32:
            return jax.random.wrap_key_data(jnp.asarray(key))
    raise TypeError(f"{function}: key must be one key, such as jax.random.key(0), or an integer, got {describe(key)}")
