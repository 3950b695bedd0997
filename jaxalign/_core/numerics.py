"""The arithmetic every result goes through: dtypes, products, centering, safe roots.

Three rules, each of which has made a published library wrong when broken:
results are accumulated in float32 or wider; columns are centered before any
product is formed; roots and quotients have a gradient that is finite everywhere.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.typing import Array, Bool, Float, Int


def accum_dtype(*arrays: Array) -> jnp.dtype:
    """The dtype results are accumulated in: float64 if any input is, else float32."""
    return jnp.dtype(jnp.float64 if any(a.dtype == jnp.float64 for a in arrays) else jnp.float32)


def widen(x: Array) -> Array:
    """`x` in its accumulation dtype: half precision becomes float32."""
    return x.astype(accum_dtype(x))


def matmul(a: Array, b: Array, *, precision: lax.Precision = lax.Precision.HIGHEST) -> Array:
    """`a @ b`, accumulated and returned in `accum_dtype(a, b)`."""
    dtype = accum_dtype(a, b)
    if a.dtype != b.dtype:
        a, b = a.astype(dtype), b.astype(dtype)
    return jnp.matmul(a, b, precision=precision, preferred_element_type=dtype)


def gram_matmul(a: Float[Array, "m d"], b: Float[Array, "n d"]) -> Float[Array, "m n"]:
    """`a @ b.T` without a transposed copy."""
    return contract(a, b, (1, 1))


def cross_matmul(a: Float[Array, "n p"], b: Float[Array, "n q"]) -> Float[Array, "p q"]:
    """`a.T @ b` without a transposed copy."""
    return contract(a, b, (0, 0))


def contract(a: Array, b: Array, axes: tuple[int, int]) -> Array:
    """Sum of products over one axis of each matrix, in `accum_dtype(a, b)`."""
    dtype = accum_dtype(a, b)
    dimensions = (((axes[0],), (axes[1],)), ((), ()))
    return lax.dot_general(
        a.astype(dtype), b.astype(dtype), dimensions, precision=lax.Precision.HIGHEST, preferred_element_type=dtype
    )


#: Columns of a triangular product at a time: half of it need not be computed, narrow products are slow.
BAND_COLUMNS = 256


def lower_self_products(x: Float[Array, "n d"]) -> Float[Array, "d d"]:
    """`XᵀX` on and below the diagonal; above it, the product or 0."""
    width = x.shape[1]
    bands = [
        contract(x[:, i : i + BAND_COLUMNS], x[:, : i + BAND_COLUMNS], (0, 0)) for i in range(0, width, BAND_COLUMNS)
    ]
    return jnp.concatenate([jnp.pad(band, ((0, 0), (0, width - band.shape[1]))) for band in bands])


def self_products(x: Float[Array, "n d"]) -> Float[Array, "d d"]:
    """`XᵀX`, of which half is computed."""
    lower = lower_self_products(x)
    return jnp.tril(lower) + jnp.tril(lower, -1).T


def safe_sqrt(v: Array) -> Array:
    """`sqrt(v)`, and 0 with zero gradient where `v <= 0` (plain `sqrt` gives NaN there); NaN stays NaN."""
    ok = ~(v <= 0)
    return jnp.where(ok, jnp.sqrt(jnp.where(ok, v, 1)), 0)


def safe_arccos(v: Array) -> Array:
    """`arccos(v)` with `v` held within `[-1, 1]`, and zero gradient at the ends; NaN stays NaN."""
    inside = ~(jnp.abs(v) >= 1)
    ends = jnp.where(v > 0, 0, jnp.asarray(jnp.pi, v.dtype))
    return jnp.where(inside, jnp.arccos(jnp.where(inside, v, 0)), ends)


def safe_divide(a: Array, b: Array, *, otherwise: float = 0.0) -> Array:
    """`a / b`, and `otherwise` with zero gradient where `b <= 0`; NaN stays NaN."""
    ok = ~(b <= 0)
    return jnp.where(ok, a / jnp.where(ok, b, 1), otherwise)


def mask_rows(x: Float[Array, "n d"], mask: Bool[Array, "n"] | None) -> Float[Array, "n d"]:
    """`x` with padded rows set to 0; NaN in them does not survive."""
    return x if mask is None else jnp.where(mask[:, None], x, 0)


@jax.jit
def fill_rows(x: Float[Array, "n *axes"], mask: Bool[Array, "n"] | None) -> Float[Array, "n *axes"]:
    """`x` with padded rows made copies of the first one that counts, which any kernel and any network can take."""
    if mask is None:
        return x
    first = jnp.where(jnp.any(mask), lax.stop_gradient(x[jnp.argmax(mask)]), 0)
    return jnp.where(mask.reshape(-1, *(1,) * (x.ndim - 1)), x, first[None])


def row_count(x: Float[Array, "n d"], mask: Bool[Array, "n"] | None) -> Float[Array, ""]:
    """How many rows count, as a floating scalar (integers overflow in `n * n`)."""
    dtype = accum_dtype(x)
    return jnp.asarray(x.shape[0], dtype) if mask is None else jnp.sum(mask, dtype=dtype)


def column_mean(x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Float[Array, "d"]:
    """Mean of the rows that count, as the first of them plus the mean difference from it.

    The difference keeps small variation on a large offset, and makes the mean of a
    constant column that very constant, so that centering leaves exactly 0.
    """
    x = widen(x)
    first = lax.stop_gradient(x[0] if mask is None else mask_rows(x, mask)[jnp.argmax(mask)])
    difference = mask_rows(x - first[None, :], mask)
    # Divided before they are summed, differences cannot leave the range.
    return first + jnp.sum(difference * (1 / jnp.maximum(row_count(x, mask), 1)), axis=0)


def column_centers(
    x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None
) -> tuple[Float[Array, "d"], Float[Array, "d"]]:
    """Two vectors to take off the rows, one after the other, that leave them with mean 0.

    A mean is rounded at the size of the offset. What that leaves is the same in every row: the
    second vector, the mean of the centered rows. All gradient flows through that.
    """
    mean = lax.stop_gradient(column_mean(x, mask))
    centered = mask_rows(widen(x) - mean[None, :], mask)
    return mean, jnp.sum(centered, axis=0) / jnp.maximum(row_count(x, mask), 1)


def center_columns(x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Float[Array, "n d"]:
    """Rows minus their mean, in the accumulation dtype; padded rows become 0."""
    mean, left = column_centers(x, mask)
    return mask_rows(widen(x) - mean[None, :] - left[None, :], mask)


def unit_factors(x: Float[Array, "n d"]) -> Float[Array, "n"]:
    """What rows are multiplied by to have length 1; 0 with zero gradient for a zero row.

    Lengths are taken of rows divided by a power of two near their largest entry, which is
    exact, so that squares neither overflow nor vanish.
    """
    x = widen(x)
    scale = binary_scale(x, axis=1)
    scaled = x * scale
    length = safe_sqrt(jnp.sum(scaled * scaled, axis=1))
    return scale[:, 0] * safe_divide(jnp.ones_like(length), length)


def normalize_rows(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Rows times their `unit_factors`: of Euclidean length 1, or 0."""
    return widen(x) * unit_factors(x)[:, None]


def binary_scale(x: Array, *, axis: int | None = None) -> Array:
    """A power of two that brings the largest magnitude of `x` near 1 (between 1/2 and 1).

    Multiplying by it rounds nothing, so results do not change; without it the fourth
    powers in a norm of moments leave float32 at entries of about 1e9 and 1e-10.
    """
    largest = lax.stop_gradient(jnp.max(jnp.abs(x), axis=axis, keepdims=axis is not None))
    _, exponent = jnp.frexp(jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1))
    limit = jnp.finfo(x.dtype).maxexp - 2
    return jnp.ldexp(jnp.ones_like(largest), jnp.clip(-exponent, min=-limit, max=limit))


def take_rows(x: Array, indices: Array) -> Array:
    """Rows of `x` by index; indices must be in range."""
    return jnp.take(x, indices, axis=0, mode="clip")


def take_pairs(x: Float[Array, "n n"], indices: Int[Array, "m"]) -> Float[Array, "m m"]:
    """Rows and columns of a matrix by index."""
    return jnp.take(take_rows(x, indices), indices, axis=1, mode="clip")


def take_mask(mask: Bool[Array, "n"] | None, indices: Int[Array, "m"]) -> Bool[Array, "m"] | None:
    """Which of the rows `indices` count; None when all rows do."""
    return None if mask is None else take_rows(mask, indices)


def inverse_permutation(indices: Int[Array, "n"]) -> Int[Array, "n"]:
    """Where each row has gone when row `i` is what was row `indices[i]`."""
    places = jnp.arange(indices.shape[0], dtype=indices.dtype)
    return jnp.zeros_like(indices).at[indices].set(places, unique_indices=True)
