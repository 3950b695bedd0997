"""Nearest neighbors by degree: how much each row belongs to the neighbors of each other one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_choice, check_integer, check_neighbors, check_positive
from jaxalign._core.numerics import (
    binary_scale,
    center_columns,
    mask_rows,
    matmul,
    normalize_rows,
    row_count,
    safe_divide,
    safe_sqrt,
    take_mask,
    take_rows,
    widen,
)
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.engines.neighbors import METRICS
from jaxalign.signatures.batching import map_layers

#: Halvings of the interval in which a threshold lies; a step of Newton's method follows.
HALVINGS = 24
#: Rows whose thresholds are sought at a time.
BLOCK_ROWS = 128


@pytree_dataclass
class SoftNeighbors:
    """Degrees of neighborhood, `sigmoid((s_ij - threshold_i) / temperature)`, kept as what they are made of.

    Attributes:
      rows: `(n, d)`: similarities are `s_ij = rows_i · rows_j - lengths_i - lengths_j`.
      lengths: `(n,)`: half the squared lengths of the rows, or 0 for cosines.
      thresholds: `(n,)`: with them the degrees of each row sum to `k`.
      temperature: as it was given.
      mask: which rows count, or None for all.
      defined: some rows differ, and more than `k` count.
    """

    rows: Float[Array, "n d"]
    lengths: Float[Array, "n"]
    thresholds: Float[Array, "n"]
    temperature: Scalar
    mask: Bool[Array, "n"] | None
    defined: Bool[Array, ""]

    def permute(self, indices: Int[Array, "n"]) -> SoftNeighbors:
        """Example `i` of the result is example `indices[i]`."""
        return replace(
            self,
            rows=take_rows(self.rows, indices),
            lengths=take_rows(self.lengths, indices),
            thresholds=take_rows(self.thresholds, indices),
            mask=take_mask(self.mask, indices),
        )

    def degrees(self, places: Int[Array, "b"]) -> Float[Array, "b n"]:
        """The degrees of some rows; 0 for a row with itself, and for rows that do not count."""
        scores = similarities(self.rows, self.lengths, places) - self.thresholds[places][:, None]
        return jnp.where(
            neighbors_of(places, self.rows.shape[0], self.mask), jax.nn.sigmoid(scores / self.temperature), 0
        )


@pytree_dataclass
class SoftNeighborSignature:
    """Makes the `SoftNeighbors` of a representation.

    Args:
      k: the sum of the degrees of a row.
      temperature: how soft: in units of the cosine, or of the mean squared distance.
      metric: `"cosine"` or `"euclidean"`.
    """

    k: int = field(default=10, metadata={"static": True})
    temperature: float | Scalar = 0.05
    metric: str = field(default="cosine", metadata={"static": True})

    #: As large as the representation.
    compact: ClassVar[bool] = False

    def __post_init__(self):
        check_integer("soft_knn", "k", self.k, minimum=1)
        check_choice("soft_knn", "metric", self.metric, METRICS)
        check_positive("soft_knn", "temperature", self.temperature)

    @property
    def ignores_zero_features(self) -> bool:
        """True: they change no angle and no distance."""
        return True

    @property
    def definition(self) -> str:
        """`k`, temperature and metric."""
        return f"k={self.k},temperature={self.temperature},metric={self.metric}"

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> SoftNeighbors:
        """The signature of one representation, `(n, d)`."""
        check_neighbors("soft_knn", self.k, x.shape[0])
        rows = mask_rows(widen(x), mask)
        count = row_count(rows, mask)
        if self.metric == "cosine":
            rows = normalize_rows(rows)
            lengths = jnp.zeros(rows.shape[0], rows.dtype)
            differ = jnp.any(mask_rows(rows - rows[jnp.argmax(jnp.any(rows != 0, axis=1))][None, :], mask) != 0)
        else:
            rows = center_columns(x, mask)
            rows = rows * binary_scale(rows)
            # With squared distances of mean 2: half of one is their similarity, with the sign changed.
            mean = jnp.sum(rows * rows) / jnp.maximum(count - 1, 1)
            rows = rows * safe_divide(jnp.ones_like(mean), safe_sqrt(mean))
            lengths = 0.5 * jnp.sum(rows * rows, axis=1)
            differ = mean > 0
        temperature = jnp.asarray(self.temperature, rows.dtype)
        temperature = jnp.where(temperature > 0, temperature, jnp.nan)
        thresholds = self._thresholds(rows, lengths, temperature, count, mask)
        return SoftNeighbors(rows, lengths, thresholds, temperature, mask, differ & (count > self.k))

    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> list[SoftNeighbors]:
        """The signatures of several representations of the same examples."""
        return map_layers(lambda x: self(x, mask), layers)

    def _thresholds(self, rows: Array, lengths: Array, temperature: Array, count: Scalar, mask: Any) -> Array:
        n = rows.shape[0]

        @jax.checkpoint
        def threshold(place: Int[Array, ""]) -> Scalar:
            scores = similarities(rows, lengths, place[None])[0]
            counted = neighbors_of(place[None], n, mask)[0]

            def degrees(t: Scalar) -> Array:
                return jnp.where(counted, jax.nn.sigmoid((scores - t) / temperature), 0)

            def halve(_: Array, ends: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
                middle = 0.5 * (ends[0] + ends[1])
                enough = jnp.sum(degrees(middle)) > self.k
                return jnp.where(enough, middle, ends[0]), jnp.where(enough, ends[1], middle)

            # Where all degrees are k / (n - 1), for the smallest and the largest similarity.
            share = jnp.clip(self.k / jnp.maximum(count - 1, 1), 1e-6, 1 - 1e-6)
            offset = temperature * jnp.log(share / (1 - share))
            low = jnp.min(jnp.where(counted, scores, jnp.inf)) - offset
            high = jnp.max(jnp.where(counted, scores, -jnp.inf)) - offset
            ends = lax.stop_gradient((low, high))
            found = lax.stop_gradient(jnp.mean(jnp.stack(lax.fori_loop(0, HALVINGS, halve, ends))))
            # One step of Newton's method: it hardly moves the threshold, and has its derivative.
            own = degrees(found)
            slope = lax.stop_gradient(jnp.sum(own * (1 - own)) / temperature)
            return found + safe_divide(jnp.sum(own) - self.k, slope)

        return lax.map(threshold, jnp.arange(n, dtype=jnp.int32), batch_size=BLOCK_ROWS)


def similarities(rows: Float[Array, "n d"], lengths: Float[Array, "n"], places: Int[Array, "b"]) -> Float[Array, "b n"]:
    """Of some rows with all: their products, less half the squared lengths of both."""
    return matmul(rows[places], rows.T) - (lengths[places][:, None] + lengths[None, :])


def neighbors_of(places: Int[Array, "b"], n: int, mask: Bool[Array, "n"] | None) -> Bool[Array, "b n"]:
    """Which rows may be neighbors of some rows: all that count but themselves."""
    others = places[:, None] != jnp.arange(n, dtype=places.dtype)[None, :]
    return others if mask is None else others & mask[None, :]
