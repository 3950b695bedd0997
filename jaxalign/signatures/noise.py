"""Noise of repeated measurements: its covariance, and features in units of it."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.linalg import psd_inverse_sqrt
from jaxalign._core.numerics import cross_matmul, matmul, row_count, safe_divide, safe_sqrt
from jaxalign._core.typing import Array, Bool, Float


def noise_covariance(blocks: Float[Array, "r m d"], mask: Bool[Array, "m"] | None = None) -> Float[Array, "d d"]:
    r"""Covariance of repeated measurements about the mean of each example, shrunk to a multiple of the identity.

    The share of the identity is that of Ledoit and Wolf (2004) for all $r m$ residuals, as if they were
    independent. Their mean has taken one of $r$ degrees of freedom an example: sums of squares are
    divided by $m (r - 1)$.

    Args:
      blocks: measurements, repeat by repeat, of the same examples in the same order; near 1.
      mask: which examples count.
    """
    repeats, _, width = blocks.shape
    changes = blocks - blocks[:1]  # of equal measurements exactly 0
    residuals = changes - jnp.mean(changes, axis=0, keepdims=True)
    if mask is not None:
        residuals = jnp.where(mask[None, :, None], residuals, 0)
    count = jnp.maximum(row_count(blocks[0], mask), 1) * repeats
    rows = residuals.reshape(-1, width)
    sample = cross_matmul(rows, rows) / count
    identity = jnp.eye(width, dtype=sample.dtype) * (jnp.trace(sample) / width)
    # Squared distances of the sample covariance: to the multiple of the identity, and, expected, to the true one.
    distance = jnp.sum((sample - identity) ** 2)
    error = (jnp.sum(jnp.sum(rows * rows, axis=1) ** 2) / count - jnp.sum(sample * sample)) / count
    share = safe_divide(jnp.clip(error, min=0, max=distance), distance)
    return (share * identity + (1 - share) * sample) * (repeats / (repeats - 1))


def in_units_of_noise(rows: Float[Array, "n d"], covariance: Float[Array, "d d"]) -> Float[Array, "n d"]:
    """Rows times the inverse square root of a covariance; NaN where all of it is 0.

    Features are divided by their standard deviations first, so that their units do not matter. What has
    no noise, features and directions of them, counts as 0.
    """
    factors = safe_divide(jnp.ones_like(rows[0]), safe_sqrt(jnp.diagonal(covariance)))
    root = psd_inverse_sqrt(covariance * factors[:, None] * factors[None, :])
    return jnp.where(jnp.any(factors > 0), matmul(rows * factors[None, :], root), jnp.nan)
