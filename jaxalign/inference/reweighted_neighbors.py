"""Agreement of lists of neighbors of samples in which examples have weights.

The neighbors of an example are the `k` nearest draws of other examples: an example that is there three times
can fill three places, and the copies of an example are none of its neighbors. As many draws of fewer
examples then reach about as far as `k` neighbors do in the whole sample.
"""

from __future__ import annotations

from dataclasses import field

import jax.numpy as jnp
from jax import lax

from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.alignment.neighbor_lists import AGREEMENTS
from jaxalign.alignment.neighbors import NeighborScore
from jaxalign.engines.neighbors import nearest_neighbors
from jaxalign.signatures.neighbors import Neighbors, NeighborSignature


@pytree_dataclass
class ReweightedNeighbors:
    """The agreement of two lists of neighbors as a function of weights of the examples.

    Attributes:
      x: all neighbors of every example in one representation, nearest first, `(n, n - 1)`.
      y: those in the other.
      defined: both representations have neighbors.
      score: how lists are compared.
      k: length of a list.
    """

    x: Int[Array, "n m"]
    y: Int[Array, "n m"]
    defined: Bool[Array, ""]
    score: NeighborScore
    k: int = field(metadata={"static": True})

    def __call__(self, weights: Float[Array, "n"]) -> Scalar:
        """The score of one weighted sample."""
        w = jnp.round(weights).astype(jnp.int32)
        k, most = self.k, self.x.shape[1]
        # Few places are left empty by examples that were not drawn: most lists end long before the last example.
        near = min(most, 4 * k + 32)

        def lists(depth: int) -> tuple[Array, Array, Array]:
            (a, full_a), (b, full_b) = (self._lists(ids[:, :depth], w) for ids in (self.x, self.y))
            return a, b, jnp.all(full_a | (w == 0)) & jnp.all(full_b | (w == 0))

        a, b, full = lists(near)
        if near < most:
            a, b, full = lax.cond(full, lambda: (a, b, full), lambda: lists(most))
        agreement = AGREEMENTS[self.score.agreement](a, b)
        counts = w.astype(agreement.dtype)
        mean = jnp.sum(agreement * counts) / jnp.maximum(jnp.sum(counts), 1)
        return jnp.where(self.defined & full & jnp.any(w > 0), mean, jnp.nan)

    def many(self, weights: Float[Array, "b n"]) -> Float[Array, "b"]:
        """The scores of several weighted samples."""
        return lax.map(self, weights)

    def _lists(self, ids: Int[Array, "n m"], w: Int[Array, "n"]) -> tuple[Int[Array, "k n"], Bool[Array, "n"]]:
        """The `k` nearest draws of every example, and whether there are as many.

        Draws of one example are told apart by their number, the same in both representations, and lower ones
        come first; not where a draw must be found again among the examples.
        """
        reach, number = jnp.cumsum(jnp.take(w, ids), axis=1), jnp.arange(self.k, dtype=jnp.int32)
        place = jnp.sum(reach[:, :, None] <= number[None, None, :], axis=1, dtype=jnp.int32)
        place = jnp.minimum(place, ids.shape[1] - 1)
        found = jnp.take_along_axis(ids, place, axis=1)
        if self.score.agreement != "cycle":
            before = jnp.take_along_axis(reach, place, axis=1) - jnp.take(w, found)
            found = found + w.shape[0] * (number[None, :] - before)
        return found.T, reach[:, -1] >= self.k


def reweighted_neighbors(
    score: NeighborScore,
    signature: NeighborSignature,
    found: tuple[Neighbors, Neighbors],
    layers: tuple[Float[Array, "n p"], Float[Array, "n q"]],
    mask: Bool[Array, "n"] | None,
) -> ReweightedNeighbors:
    """The score of two lists of neighbors."""
    n = layers[0].shape[0]
    every = [nearest_neighbors(x, k=n - 1, metric=signature.metric, mask=mask) for x in layers]
    return ReweightedNeighbors(every[0], every[1], found[0].defined & found[1].defined, score, signature.k)
