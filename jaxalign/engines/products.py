"""What a sweep over kernel matrices yields: their inner products after centering."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp

from jaxalign._core.numerics import contract, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar

#: How matrices are centered before their inner product is taken.
#: `none`: as they are. `biased`: `HKH`. `unbiased`: U-centering of Székely and Rizzo, which
#: leaves the diagonal out; divided by `n (n - 3)` it is the estimator of Song et al. (2012).
#: `hollow`: `HKH`, whose diagonal is then left out, the estimator of Lange et al. (2022).
CENTERINGS = ("none", "biased", "unbiased", "hollow")
#: Those for which inner products are taken without the diagonal of the matrices.
WITHOUT_DIAGONAL = ("unbiased", "hollow")


@pytree_dataclass
class Products:
    """Inner products of centered kernel matrices, in units of their own.

    Attributes:
      cross: `⟨K_a, K_b⟩`, shape `(La, Lb)`.
      self_a: `⟨K_a, K_a⟩`, `(La,)`.
      self_b: `⟨K_b, K_b⟩`, `(Lb,)`.
      units_a: what to multiply the entries of each `K_a` by to have the user's units, `(La,)`.
      units_b: the same for each `K_b`, `(Lb,)`.
      count: number of examples, a scalar.
    """

    cross: Float[Array, "La Lb"]
    self_a: Float[Array, "La"]
    self_b: Float[Array, "Lb"]
    units_a: Float[Array, "La"]
    units_b: Float[Array, "Lb"]
    count: Scalar

    def only_of(self, sound_a: Bool[Array, "La"], sound_b: Bool[Array, "Lb"]) -> Products:
        """The same, and NaN for the layers that are not sound: one of them does not spoil the others."""

        def keep(values: Array, sound: Array) -> Array:
            return jnp.where(sound, values, jnp.nan)

        return replace(
            self,
            cross=keep(self.cross, sound_a[:, None] & sound_b[None, :]),
            self_a=keep(self.self_a, sound_a),
            self_b=keep(self.self_b, sound_b),
        )

    def cosine(self) -> Float[Array, "La Lb"]:
        """`⟨K_a, K_b⟩ / (‖K_a‖ ‖K_b‖)`; NaN where a norm is 0."""
        # NaN in one layer's norm would reach the gradients of all others through the product.
        one, other = (safe_sqrt(jnp.where(jnp.isnan(own), 0, own)) for own in (self.self_a, self.self_b))
        norms = one[:, None] * other[None, :]
        return safe_divide(self.cross, norms, otherwise=jnp.nan)

    def inner(self) -> Float[Array, "La Lb"]:
        """`⟨K_a, K_b⟩` in the user's units."""
        return self.cross * self.units_a[:, None] * self.units_b[None, :]


def finish_cross(
    raw: Float[Array, "La Lb"],
    sums_a: Float[Array, "La n"],
    sums_b: Float[Array, "Lb n"],
    count: Scalar,
    centering: str,
    levels: tuple[Float[Array, "La n"], Float[Array, "Lb n"]] | None = None,
) -> Float[Array, "La Lb"]:
    """Centered inner products from raw ones and row sums.

    Args:
      raw: `Σ_ij K_a,ij K_b,ij`, without the diagonal when `centering` is one of `WITHOUT_DIAGONAL`.
      sums_a: row sums of each `K_a`, `(La, n)`, likewise without the diagonal.
      sums_b: row sums of each `K_b`, `(Lb, n)`.
      count: number of examples `n`.
      centering: one of `CENTERINGS`.
      levels: what `hollow_levels` says of both sides, for `"hollow"`.
    """
    if centering == "none":
        return raw
    if levels is not None:
        return combine_hollow(raw, (sums_a, sums_b), levels, count)
    rows = contract(sums_a, sums_b, (1, 1))
    totals = jnp.sum(sums_a, axis=1)[:, None] * jnp.sum(sums_b, axis=1)[None, :]
    return combine(raw, rows, totals, count, centering)


def finish_self(
    raw: Float[Array, "L"],
    sums: Float[Array, "L n"],
    count: Scalar,
    centering: str,
    levels: Float[Array, "L n"] | None = None,
) -> Float[Array, "L"]:
    """The diagonal of `finish_cross(sums_a=sums, sums_b=sums)`, and 0 where only rounding is left."""
    if centering == "none":
        return raw
    if levels is not None:
        return drop_rounding(jnp.diagonal(combine_hollow(jnp.diag(raw), (sums, sums), (levels, levels), count)), raw)
    total = jnp.sum(sums, axis=1)
    # A product sums in many accumulators; one alone loses all others to a far outlier.
    rows = jnp.diagonal(contract(sums, sums, (1, 1)))
    centered = combine(raw, rows, total * total, count, centering)
    return drop_rounding(centered, raw)


def combine(raw: Array, rows: Array, totals: Array, count: Scalar, centering: str) -> Array:
    """Centering as algebra on `Σ K K'`, `Σ_i r_i r'_i` and `(Σ r)(Σ r')`; NaN where n is too small.

    `biased` needs one example, `unbiased` four.
    """
    if centering == "biased":
        n = jnp.maximum(count, 1)
        return raw - 2 / n * rows + totals / (n * n)
    n = jnp.maximum(count, 4)
    value = raw + totals / ((n - 1) * (n - 2)) - 2 / (n - 2) * rows
    return jnp.where(count > 3, value, jnp.nan)


def hollow_levels(
    sums: Float[Array, "L n"], diagonals: Float[Array, "L n"], count: Scalar, mask: Bool[Array, "n"] | None
) -> Float[Array, "L n"]:
    """What `HKH` takes off each row and column, `HKH_ij = K_ij - level_i - level_j`; 0 for rows that do not count.

    Args:
      sums: row sums without the diagonal.
      diagonals: the diagonal.
      count: number of examples.
      mask: which rows count.
    """
    means = (sums + diagonals) / jnp.maximum(count, 1)
    levels = means - jnp.sum(means, axis=1, keepdims=True) / (2 * jnp.maximum(count, 1))
    return levels if mask is None else jnp.where(mask[None, :], levels, 0)


def combine_hollow(
    raw: Float[Array, "La Lb"],
    sums: tuple[Float[Array, "La n"], Float[Array, "Lb n"]],
    levels: tuple[Float[Array, "La n"], Float[Array, "Lb n"]],
    count: Scalar,
) -> Float[Array, "La Lb"]:
    """`Σ_{i≠j} (K_ij - a_i - a_j)(L_ij - b_i - b_j)` for levels `a`, `b`; NaN with fewer than four examples.

    Args:
      raw: `Σ_{i≠j} K_ij L_ij`.
      sums: row sums of both without the diagonal.
      levels: `a` and `b`.
      count: number of examples.
    """
    (sums_a, sums_b), (a, b) = sums, levels
    across = contract(sums_a, b, (1, 1)) + contract(a, sums_b, (1, 1))
    totals = jnp.sum(a, axis=1)[:, None] * jnp.sum(b, axis=1)[None, :]
    value = raw - 2 * across + 2 * ((count - 2) * contract(a, b, (1, 1)) + totals)
    return jnp.where(count > 3, value, jnp.nan)


def drop_rounding(centered: Array, raw: Array) -> Array:
    """`centered`, and exactly 0 where it is no larger than the rounding of what was subtracted."""
    return jnp.where(centered <= 8 * jnp.finfo(raw.dtype).eps * jnp.abs(raw), 0, centered)
