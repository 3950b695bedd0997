"""Gram matrices for those who will store them: distances that give the bandwidth also give the entries."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import fill_rows, safe_sqrt, widen
from jaxalign._core.quantile import quantile
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.kernels.bandwidth import EXACT_ROWS, MedianDistance
from jaxalign.kernels.gram import Gram, prepare_rows
from jaxalign.kernels.radial import RBF, Laplacian
from jaxalign.kernels.squared_distance import squared_distances
from jaxalign.signatures.gram import GramSignature


def stored_gram(signature: GramSignature, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None) -> Gram:
    """`signature(x, mask)`, of which all entries will be evaluated at once.

    For the median bandwidth, distances are the larger part of the work. They are written here exactly as
    the kernel will write them, so that the compiler finds them to be the same and computes them once.
    """
    kernel = signature.kernel
    if not isinstance(kernel, RBF | Laplacian) or x.shape[0] > EXACT_ROWS:
        return signature(x, mask)
    rule = kernel.bandwidth
    if not isinstance(rule, MedianDistance) or rule.diagonal:
        return signature(x, mask)
    # The rows do not depend on the bandwidth, of which this is any.
    raw = fill_rows(widen(x), mask)
    settled = replace(signature, kernel=type(kernel)(1.0))(x, mask)
    rows = prepare_rows(raw, None, settled.factors, settled.origins)
    sigma = rule.scale * safe_sqrt(_median(squared_distances(rows, rows), mask))
    return replace(signature, kernel=type(kernel)(lax.stop_gradient(sigma)))(x, mask)


def _median(squared: Float[Array, "n n"], mask: Bool[Array, "n"] | None) -> Scalar:
    """Of the entries above the diagonal; 0 where there are none.

    Row `i` of the upper triangle and row `n - 1 - i` of it together fill one row.
    """
    n = squared.shape[0]
    valid = jnp.ones(n, bool) if mask is None else mask
    half, places = (n + 1) // 2, jnp.arange(n, dtype=jnp.int32)
    own = places[:half, None]

    def pairs(order: Array) -> Float[Array, "h n"]:
        counted = valid[order][:half, None] & valid[order][None, :]
        return jnp.where(counted, squared[order[:half]][:, order], jnp.inf)

    folded = jnp.where((places[None, :] < own) & (own != n - 1 - own), pairs(places[::-1]), jnp.inf)
    upper = jnp.where(places[None, :] > own, pairs(places), folded)
    # Distances that overflow are not pairs that do not count.
    rows = jnp.sum(valid, dtype=jnp.int32)
    count = rows * (rows - 1) // 2
    return jnp.where(count > 0, quantile(upper, 0.5, count=count), 0)
