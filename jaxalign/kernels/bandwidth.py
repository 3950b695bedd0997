"""Rules that read a bandwidth off the data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import field

import jax
import jax.numpy as jnp

from jaxalign._core.checks import check_choice, check_positive
from jaxalign._core.numerics import center_columns, row_count, safe_sqrt, take_rows
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.quantile import quantile
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.kernels.squared_distance import squared_distances

#: Up to this many rows the median is exact; beyond, it is read off a sample of pairs.
EXACT_ROWS = 4096
#: Number of sampled pairs, at least; 2**18 give the median squared distance to about 1e-3.
SAMPLED_PAIRS = 2**18
#: Distances between a row and others, at least, when pairs are sampled.
SAMPLED_ROUNDS = 16


class BandwidthRule(ABC):
    """A function from rows and mask to a bandwidth σ, in the units of the rows."""

    @property
    @abstractmethod
    def definition(self) -> str:
        """The rule's name and settings."""

    @abstractmethod
    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Scalar:
        """The bandwidth for these rows."""


@pytree_dataclass
class MedianDistance(BandwidthRule):
    """σ = scale · √(median squared distance between examples).

    The median is over unordered pairs of distinct rows; of an even number of pairs it is
    the mean of the middle two. Exact for up to 4096 rows. For more it is read off 2¹⁸ or
    more pairs, the same ones at each call, in which every row takes part: a relative error
    of about 1e-3 in σ².

    Args:
      scale: factor on σ, positive.
      diagonal: count all n² pairs, each row with itself among them, as Kornblith et al.
        (2019, arXiv:1905.00414) do in their code. Without effect on sampled pairs, where it
        would matter less than the sampling.
    """

    scale: float = field(default=1.0, metadata={"static": True})
    diagonal: bool = field(default=False, metadata={"static": True})

    def __post_init__(self):
        check_positive("MedianDistance", "scale", self.scale)

    @property
    def definition(self) -> str:
        """`median` or `kornblith`, with the scale where it is not 1."""
        name = "kornblith" if self.diagonal else "median"
        return name if self.scale == 1 else f"{name},scale={self.scale}"

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Scalar:
        """The bandwidth for these rows."""
        x, n = center_columns(x, mask), x.shape[0]
        if n <= EXACT_ROWS:
            return self._exact(x, jnp.ones(n, bool) if mask is None else mask)
        if mask is None:
            return self.scale * safe_sqrt(quantile(_sampled_pairs(x, n), 0.5))
        # Rows that count first, so that what is exact and which pairs are drawn goes by them alone.
        rows, count = take_rows(x, jnp.argsort(~mask, stable=True)), jnp.sum(mask, dtype=jnp.int32)
        return jax.lax.cond(
            count <= EXACT_ROWS,
            lambda: self._exact(rows[:EXACT_ROWS], jnp.arange(EXACT_ROWS, dtype=jnp.int32) < count),
            lambda: self.scale * safe_sqrt(quantile(_sampled_pairs(rows, count), 0.5)),
        )

    def _exact(self, x: Float[Array, "n d"], valid: Bool[Array, "n"]) -> Scalar:
        squared = _all_pairs(x, valid, self.diagonal)
        count = jnp.sum(jnp.isfinite(squared), dtype=jnp.int32)
        return self.scale * safe_sqrt(jnp.where(count > 0, quantile(squared, 0.5, count=count), 0))


@pytree_dataclass
class MeanDistance(BandwidthRule):
    """σ = scale · √(mean squared distance between distinct examples), exact for any n.

    The mean is `2 · total variance`, with the unbiased variance: one pass over the rows.
    """

    scale: float = field(default=1.0, metadata={"static": True})

    def __post_init__(self):
        check_positive("MeanDistance", "scale", self.scale)

    @property
    def definition(self) -> str:
        """`mean`, with the scale where it is not 1."""
        return "mean" if self.scale == 1 else f"mean,scale={self.scale}"

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Scalar:
        """The bandwidth for these rows."""
        n = row_count(x, mask)
        total = jnp.sum(center_columns(x, mask) ** 2)
        return self.scale * safe_sqrt(2 * total / jnp.maximum(n - 1, 1))


def _all_pairs(x: Float[Array, "n d"], valid: Bool[Array, "n"], diagonal: bool) -> Float[Array, "m"]:
    """Squared distances of all unordered pairs of valid rows, each twice with `diagonal`; infinity elsewhere.

    Row `i` of the upper triangle and row `n - 1 - i` of it together fill one row of `n`, so
    half a matrix holds them all. With `diagonal` the whole matrix is taken.
    """
    n = x.shape[0]
    places = jnp.arange(n)

    def pairs(rows: Array, indices: Array) -> Float[Array, "h n"]:
        counted = valid[indices][: rows.shape[0], None] & valid[indices][None, :]
        return jnp.where(counted, squared_distances(rows, take_rows(x, indices)), jnp.inf)

    if diagonal:
        return jnp.where(jnp.eye(n, dtype=bool) & valid[:, None], 0, pairs(x, places)).ravel()
    half = (n + 1) // 2
    reverse = places[::-1]
    upper, lower = pairs(x[:half], places), pairs(x[::-1][:half], reverse)
    own = places[:half, None]
    # In the middle row of an odd number both are the same pairs.
    folded = jnp.where((places[None, :] < own) & (own != n - 1 - own), lower, jnp.inf)
    return jnp.where(places[None, :] > own, upper, folded).ravel()


def _sampled_pairs(x: Float[Array, "n d"], count: Int[Array, ""] | int) -> Float[Array, "m n"]:
    """Squared distances of each of the first `count` rows to some others of them, alike at each call.

    Args:
      x: rows, those that count first.
      count: how many count, at least 2; a Python integer when it is all of them.
    """
    n = x.shape[0]
    rounds = min(n - 1, max(SAMPLED_ROUNDS, -(-SAMPLED_PAIRS // n)))
    one = jnp.arange(n, dtype=jnp.int32) % count
    rows = x if isinstance(count, int) else take_rows(x, one)

    def distances(key: Array) -> Float[Array, "n"]:
        # One step for all rows would alias with rows that come in periodic order.
        steps = jax.random.randint(key, (n,), 1, count, dtype=jnp.int32)
        return jnp.sum((rows - take_rows(x, (one + steps) % count)) ** 2, axis=1)

    return jax.lax.map(distances, jax.random.split(jax.random.key(0), rounds))


NAMED_RULES: dict[str, BandwidthRule] = {
    "median": MedianDistance(),
    "kornblith": MedianDistance(diagonal=True),
    "mean": MeanDistance(),
}


def as_bandwidth(function: str, name: str) -> BandwidthRule:
    """The rule of that name.

    Raises:
      ValueError: for an unknown name.
    """
    check_choice(function, "bandwidth", name, NAMED_RULES)
    return NAMED_RULES[name]
