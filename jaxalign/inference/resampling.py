"""The score of two representations as a function of weights of the examples, for samples drawn from a sample.

A weight says how often an example is there. Examples that are there several times have copies; what this means
depends on the measure:

- where pairs of different examples are compared, copies are no pairs, and nobody is his own neighbor;
- where examples are only summed over, rows are repeated.

Kernel matrices, dissimilarities and orders of neighbors are made once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import take_rows
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.alignment.cca import CorrelationScore
from jaxalign.alignment.divergences import DivergenceScore
from jaxalign.alignment.feature_matching import MatchScore
from jaxalign.alignment.gaussian import GaussianScore
from jaxalign.alignment.kernel import KernelScore
from jaxalign.alignment.neighbors import NeighborScore
from jaxalign.alignment.outputs import PredictionScore
from jaxalign.alignment.pwcca import ProjectionWeightedScore
from jaxalign.alignment.rdm_comparisons import RDMScore
from jaxalign.alignment.regression import GULPScore, PLSScore, PredictivityScore
from jaxalign.alignment.shape import ShapeScore
from jaxalign.alignment.soft_matching import SoftMatchingScore
from jaxalign.inference.reweighted_dissimilarities import reweighted_rdms
from jaxalign.inference.reweighted_kernels import ReweightedKernels
from jaxalign.inference.reweighted_neighbors import reweighted_neighbors
from jaxalign.measures.measure import Measure
from jaxalign.signatures.dissimilarities import NOISE_METRICS
from jaxalign.signatures.gram import GramSignature
from jaxalign.signatures.neighbors import NeighborSignature
from jaxalign.signatures.rdm import RDMSignature

#: Scores that never look at pairs of examples.
OF_ROWS = (
    CorrelationScore,
    GaussianScore,
    ProjectionWeightedScore,
    PredictivityScore,
    GULPScore,
    PLSScore,
    ShapeScore,
    MatchScore,
    SoftMatchingScore,
    PredictionScore,
    DivergenceScore,
)


@runtime_checkable
class Reweighted(Protocol):
    """A score as a function of weights."""

    def __call__(self, weights: Float[Array, "n"]) -> Scalar:
        """The score of one weighted sample; weights are 0, 1, 2, ... as floating numbers."""
        ...

    def many(self, weights: Float[Array, "b n"]) -> Float[Array, "b"]:
        """The scores of several weighted samples."""
        ...


@pytree_dataclass
class RepeatedRows:
    """The score of rows, each repeated as often as its weight says.

    Attributes:
      measure: the measure.
      x: one representation.
      y: the other.
    """

    measure: Measure
    x: Float[Array, "n p"]
    y: Float[Array, "n q"]

    def __call__(self, weights: Float[Array, "n"]) -> Scalar:
        """The score of one weighted sample, of no more than `n` rows."""
        n = self.x.shape[0]
        counts = jnp.round(weights).astype(jnp.int32)
        rows = jnp.repeat(jnp.arange(n, dtype=jnp.int32), counts, total_repeat_length=n)
        return self.measure(
            take_rows(self.x, rows),
            take_rows(self.y, rows),
            mask=jnp.arange(n, dtype=jnp.int32) < jnp.sum(counts),
        )

    def many(self, weights: Float[Array, "b n"]) -> Float[Array, "b"]:
        """The scores of several weighted samples."""
        return lax.map(self, weights)


@pytree_dataclass
class MaskedRows:
    """The score of the rows whose weight is not 0: for samples without copies, of any measure.

    Attributes:
      measure: the measure.
      x: one representation.
      y: the other.
    """

    measure: Measure
    x: Float[Array, "n p"]
    y: Float[Array, "n q"]

    def __call__(self, weights: Float[Array, "n"]) -> Scalar:
        """The score of one sample."""
        return self.measure(self.x, self.y, mask=weights > 0)

    def many(self, weights: Float[Array, "b n"]) -> Float[Array, "b"]:
        """The scores of several samples."""
        return lax.map(self, weights)


def takes_weights(measure: Measure) -> bool:
    """Whether `reweighted` can be made of this measure."""
    score, signature = measure.score, measure.signature
    if isinstance(score, KernelScore):
        return isinstance(signature, GramSignature)
    if isinstance(score, NeighborScore):
        return isinstance(signature, NeighborSignature)
    if isinstance(score, RDMScore):
        if not isinstance(signature, RDMSignature) or signature.scale == "order":
            return False
        dissimilarity = signature.dissimilarity
        # Others change with the sample from which the noise is taken, or have several rows an example.
        return dissimilarity.repeats == 1 and dissimilarity.metric not in NOISE_METRICS
    return isinstance(score, OF_ROWS)


def check_takes_weights(function: str, measure: Measure) -> None:
    """Raise `ValueError` for a measure of which samples with copies have no meaning yet."""
    if not takes_weights(measure):
        raise ValueError(
            f"{function}: samples with repeated examples are not supported for {measure.definition}: they would find "
            'themselves among the others; use standard_error(measure, x, y, method="jackknife"), which leaves examples '
            "out instead"
        )


def reweighted(
    measure: Measure, x: Float[Array, "n p"], y: Float[Array, "n q"], mask: Bool[Array, "n"] | None
) -> Reweighted:
    """The score as a function of weights; those of rows that do not count must be 0.

    With weights of 0 and 1 it is the measure of the rows that have 1; only a bandwidth that is read off the data
    stays that of all rows.

    Args:
      measure: one for which `takes_weights`.
      x: one representation.
      y: the other, of the same dtype.
      mask: which rows count.
    """
    score, signature = measure.score, measure.signature
    if isinstance(score, OF_ROWS):
        return RepeatedRows(measure, x, y)
    found = signature(x, mask), (measure.signature_y or signature)(y, mask)
    if isinstance(score, KernelScore):
        return ReweightedKernels(*found, score)
    if isinstance(score, RDMScore):
        return reweighted_rdms(score, *found)
    assert isinstance(signature, NeighborSignature)
    return reweighted_neighbors(score, signature, found, (x, y), mask)  # pyright: ignore[reportArgumentType]


def draw(key: Array, index: Int[Array, ""], mask: Bool[Array, "n"]) -> Float[Array, "n"]:
    """How often each row that counts is in the `index`-th sample of as many rows, drawn with replacement."""
    n = mask.shape[0]
    count = jnp.sum(mask, dtype=jnp.int32)
    chosen = jax.random.randint(jax.random.fold_in(key, index), (n,), 0, jnp.maximum(count, 1), dtype=jnp.int32)
    rows = take_rows(jnp.argsort(~mask, stable=True), chosen)
    # Of a sample with a mask the first draws: the same as without the rows that do not count.
    drawn = (jnp.arange(n, dtype=jnp.int32) < count).astype(jnp.float32)
    return jnp.zeros(n, jnp.float32).at[rows].add(drawn)


def in_batches(work: Callable[[Int[Array, "b"]], Any], count: int, batch_size: int) -> Any:
    """`work` of the numbers from 0 to `count - 1`, some at a time: arrays with an axis of `count` in front."""
    size = min(batch_size, count)
    batches = -(-count // size)
    indices = jnp.minimum(jnp.arange(batches * size, dtype=jnp.int32), count - 1).reshape(batches, size)
    if batches == 1:
        return work(indices[0])
    found = lax.map(work, indices)
    return jax.tree.map(lambda v: v.reshape(-1, *v.shape[2:])[:count], found)
