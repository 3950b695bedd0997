"""Dissimilarities: a number for every two examples, as a matrix; of repeated measurements as well."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_choice, check_integer
from jaxalign._core.linalg import polar_factor
from jaxalign._core.numerics import (
    binary_scale,
    center_columns,
    column_mean,
    gram_matmul,
    mask_rows,
    normalize_rows,
    row_count,
    safe_sqrt,
    widen,
)
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.kernels.squared_distance import squared_distances
from jaxalign.signatures.batching import map_layers
from jaxalign.signatures.noise import in_units_of_noise, noise_covariance
from jaxalign.signatures.whitened import warn_if_spanning

#: How two rows are compared.
DISSIMILARITIES = ("correlation", "cosine", "euclidean", "sqeuclidean", "mahalanobis", "crossnobis", "poisson")
#: Those that measure in units of a noise.
NOISE_METRICS = ("mahalanobis", "crossnobis")
#: A Poisson rate is the mean of the count, with weight 1, and of this rate, with this weight.
PRIOR_RATE, PRIOR_WEIGHT = 1.0, 0.1

Result = TypeVar("Result")


@pytree_dataclass
class Dissimilarity:
    """How two examples are compared.

    Args:
      metric: one of `DISSIMILARITIES`.
      repeats: how often every example was measured. Rows come in so many blocks of the same examples
        in the same order.
    """

    metric: str = field(default="correlation", metadata={"static": True})
    repeats: int = field(default=1, metadata={"static": True})

    def __post_init__(self):
        check_dissimilarity("rsa", self.metric, self.repeats)

    @property
    def ignores_zero_features(self) -> bool:
        """Whether zero features change nothing: not where a mean over features is taken."""
        return self.metric not in ("correlation", "crossnobis")

    @property
    def definition(self) -> str:
        """The metric and the repeats."""
        return self.metric if self.repeats == 1 else f"{self.metric},repeats={self.repeats}"

    def map(
        self,
        work: Callable[[Float[Array, "m m"], Bool[Array, "m"] | None], Result],
        layers: Sequence[Float[Array, "n _d"]],
        mask: Bool[Array, "n"] | None,
        *,
        rescaled: bool = False,
    ) -> list[Result]:
        """`work` of the matrix of each layer and the mask of its examples; `rescaled` where units do not matter."""
        for x in layers:
            check_divides("rsa", self.repeats, x.shape[0])
            if self.metric == "mahalanobis":
                warn_if_spanning(x[: x.shape[0] // self.repeats])
        examples = examples_that_count(mask, self.repeats)

        def of_layer(x: Float[Array, "n d"]) -> Result:
            if rescaled and self.metric == "sqeuclidean":
                # Squares leave the range of numbers long before their inputs do.
                x = x * binary_scale(mask_rows(x, mask))
            return work(dissimilarities(x, self.metric, examples, repeats=self.repeats), examples)

        if self.ignores_zero_features and len(layers) > 1:
            return map_layers(of_layer, layers)
        return [of_layer(x) for x in layers]


class OfDissimilarities(ABC):
    """Makes something of the dissimilarities of a representation: what its signatures have in common."""

    dissimilarity: Dissimilarity

    #: A number or two for every two examples.
    compact: ClassVar[bool] = False

    @property
    def ignores_zero_features(self) -> bool:
        """As said by the dissimilarity."""
        return self.dissimilarity.ignores_zero_features

    @property
    def repeats(self) -> int:
        """How often every example was measured."""
        return self.dissimilarity.repeats

    @property
    def definition(self) -> str:
        """The dissimilarity."""
        return self.dissimilarity.definition

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Any:
        """The signature of one representation, `(n, d)`."""
        return self.many([x], mask)[0]

    @abstractmethod
    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> list[Any]:
        """The signatures of several representations of the same examples."""


def check_dissimilarity(function: str, metric: str, repeats: int) -> None:
    """Raise unless there is such a metric, and enough repeats for it."""
    check_choice(function, "metric", metric, DISSIMILARITIES)
    check_integer(function, "repeats", repeats, minimum=1)
    if metric == "crossnobis" and repeats < 2:
        raise ValueError(f"{function}: crossnobis needs every example measured repeats >= 2 times, got repeats=1")


def check_divides(function: str, repeats: int, rows: int) -> None:
    """Raise unless rows can be so many blocks of the same examples."""
    if rows % repeats:
        raise ValueError(f"{function}: repeats must divide the number of rows ({rows}), got {repeats}")


def examples_that_count(mask: Bool[Array, "n"] | None, repeats: int) -> Bool[Array, "m"] | None:
    """The examples of which all measurements count."""
    return mask if mask is None or repeats == 1 else jnp.all(mask.reshape(repeats, -1), axis=0)


def counted_entries(
    matrix: Float[Array, "m m"], mask: Bool[Array, "m"] | None
) -> tuple[Float[Array, "m m"], Bool[Array, ""]]:
    """A matrix with 0 for entries that do not count, and whether no other is NaN; all of it 0 if one is.

    What does not count must not reach sums or gradients.
    """
    both = jnp.ones_like(matrix, bool) if mask is None else mask[:, None] & mask[None, :]
    defined = ~jnp.any(jnp.isnan(matrix) & both)
    return jnp.where(both & defined, matrix, 0), defined


def double_center(matrix: Float[Array, "m m"], mask: Bool[Array, "m"] | None) -> Float[Array, "m m"]:
    """A symmetric matrix, 0 for examples that do not count, less the mean of every row and column."""
    means = column_mean(matrix, mask)
    levels = means - jnp.sum(means) / (2 * jnp.maximum(row_count(matrix, mask), 1))
    return counted_entries(matrix - levels[:, None] - levels[None, :], mask)[0]


def dissimilarities(
    x: Float[Array, "n d"],
    metric: str,
    mask: Bool[Array, "m"] | None = None,
    *,
    repeats: int = 1,
    noise: Float[Array, "d d"] | None = None,
) -> Float[Array, "m m"]:
    """The matrix of dissimilarities; NaN against an example for which the metric is not defined.

    Args:
      x: rows, in `repeats` blocks of the same `m` examples. Blocks are averaged, except by crossnobis.
      metric: one of `DISSIMILARITIES`.
      mask: which examples count; entries of others may be anything.
      repeats: number of blocks.
      noise: covariance of the noise for `NOISE_METRICS`; None for one of their own.
    """
    blocks = widen(x).reshape(repeats, -1, x.shape[1])
    if metric == "crossnobis":
        return _crossnobis(blocks, mask, noise)
    rows = mask_rows(jnp.mean(blocks, axis=0), mask)
    if metric == "poisson":
        return _poisson(rows, mask)
    if metric in ("correlation", "cosine"):
        return _between_directions(_without_row_means(rows) if metric == "correlation" else rows, mask)
    rows = center_columns(rows, mask)
    if metric == "mahalanobis":
        rows = _in_own_spread(rows, mask) if noise is None else in_units_of_noise(rows, noise)
    scale = binary_scale(rows)
    squares = squared_distances(rows * scale, rows * scale)
    return squares / (scale * scale) if metric == "sqeuclidean" else safe_sqrt(squares) / scale


def _without_row_means(rows: Float[Array, "m d"]) -> Float[Array, "m d"]:
    rows = rows * binary_scale(rows, axis=1)
    rows = rows - lax.stop_gradient(rows[:, :1])  # a constant row then has no spread at all
    return rows - jnp.mean(rows, axis=1, keepdims=True)


def _between_directions(rows: Float[Array, "m d"], mask: Bool[Array, "m"] | None) -> Float[Array, "m m"]:
    """1 - cosine of two rows; NaN against a row of zeros."""
    directed = jnp.any(rows != 0, axis=1)
    # Half the squared distance of unit rows is 1 - cosine, without its rounding near 0; centered, also where
    # all rows point about the same way.
    rows = center_columns(normalize_rows(rows), mask)
    found = 0.5 * squared_distances(rows, rows)
    return jnp.where(directed[:, None] & directed[None, :], found, jnp.nan)


def _in_own_spread(centered: Float[Array, "m d"], mask: Bool[Array, "m"] | None) -> Float[Array, "m d"]:
    """Centered rows in units of their own covariance, which is not formed: that would take half of the digits."""
    freedom = jnp.maximum(row_count(centered, mask) - 1, 1)
    # The distances do not depend on the units of a feature, the rounding does.
    return jnp.sqrt(freedom) * polar_factor(centered * binary_scale(centered, axis=0))


def _crossnobis(
    blocks: Float[Array, "r m d"], mask: Bool[Array, "m"] | None, noise: Float[Array, "d d"] | None
) -> Float[Array, "m m"]:
    """Products of the differences of two examples in one block, and in another, over all pairs of blocks.

    Each block against the sum of the others holds every pair of blocks once in either order.
    """
    repeats, _, width = blocks.shape
    centered = jax.vmap(center_columns, in_axes=(0, None))(blocks, mask)
    if noise is None:
        scale = binary_scale(centered)  # which the noise has as well
        centered, noise = centered * scale, noise_covariance(blocks * scale, mask)
    whitened = in_units_of_noise(centered.reshape(-1, width), noise).reshape(blocks.shape)
    others = jnp.sum(whitened, axis=0, keepdims=True) - whitened
    one, other = (jnp.moveaxis(v, 0, 1).reshape(v.shape[1], -1) for v in (whitened, others))
    return _products_of_differences(one, other) / (repeats * (repeats - 1))


def _poisson(rows: Float[Array, "m d"], mask: Bool[Array, "m"] | None) -> Float[Array, "m m"]:
    """Divergence of Poisson rates, both ways; NaN against a row with a negative entry."""
    possible = ~jnp.any(rows < 0, axis=1)
    usable = possible if mask is None else possible & mask
    rates = (mask_rows(rows, usable) + PRIOR_RATE * PRIOR_WEIGHT) / (1 + PRIOR_WEIGHT)
    one, other = center_columns(rates, usable), center_columns(jnp.log(rates), usable)
    found = _products_of_differences(one, other)
    lengths = safe_sqrt(jnp.sum(one * one, axis=1)) * safe_sqrt(jnp.sum(other * other, axis=1))
    # Rates and their logarithms have the same order: what is not above 0 is rounding.
    resolution = 16 * jnp.finfo(found.dtype).eps * lax.stop_gradient(lengths[:, None] + lengths[None, :])
    found = jnp.where(found <= resolution, 0, found)
    return jnp.where(possible[:, None] & possible[None, :], found, jnp.nan)


def _products_of_differences(a: Float[Array, "m k"], b: Float[Array, "m k"]) -> Float[Array, "m m"]:
    """`(a_i - a_j) · (b_i - b_j)` for every i and j; center columns first."""
    scales: tuple[Scalar, Scalar] = (binary_scale(a), binary_scale(b))
    products = gram_matmul(a * scales[0], b * scales[1])
    own = jnp.diagonal(products)
    return (own[:, None] + own[None, :] - (products + products.T)) / scales[0] / scales[1]
