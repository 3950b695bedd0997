"""Neighbor family: mutual k-nearest neighbors."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import check_choice, check_neighbors, check_pair
from jaxalign._core.jit import jit
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.engines.neighbors import METRICS
from jaxalign.signatures.neighbors import Neighbors, NeighborSignature


@pytree_dataclass
class OverlapScore:
    """The share of neighbors that two lists have in common, averaged over examples."""

    def __call__(self, x: Neighbors, y: Neighbors) -> Scalar:
        """The score of one pair."""
        return self.matrix([x], [y])[0, 0]

    def matrix(self, a: Sequence[Neighbors], b: Sequence[Neighbors] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself).

        All layers must have the same examples, the same mask and the same `k`.
        """
        other = a if b is None else b
        if b is None:
            rows, columns = np.triu_indices(len(a))
        else:
            rows, columns = (i.ravel() for i in np.indices((len(a), len(b))))
        mask, (n, k) = a[0].mask, a[0].ids.shape
        dtype = jnp.result_type(float)
        weights = jnp.ones(n, dtype) if mask is None else mask.astype(dtype)
        count = jnp.sum(weights)
        # Examples on the minor axis, where comparisons vectorize.
        ids_a, ids_b = (jnp.stack([layer.ids.T for layer in side]) for side in (a, other))

        def shared(pair: tuple[Array, Array]) -> Scalar:
            return jnp.sum(_common(ids_a[pair[0]], ids_b[pair[1]]).astype(dtype) * weights)

        shares = jax.lax.map(shared, (jnp.asarray(rows), jnp.asarray(columns))) / (k * jnp.maximum(count, 1))
        matrix = jnp.zeros((len(a), len(other)), shares.dtype).at[rows, columns].set(shares)
        if b is None:
            matrix = matrix + jnp.triu(matrix, 1).T
        defined_a, defined_b = (jnp.stack([layer.defined for layer in side]) for side in (a, other))
        return jnp.where(defined_a[:, None] & defined_b[None, :] & (count > k), matrix, jnp.nan)


def _common(a: Int[Array, "k n"], b: Int[Array, "k n"]) -> Int[Array, "n"]:
    """How many members two lists share, for each example; members of a list are distinct."""
    return jnp.sum(a[:, None, :] == b[None, :, :], axis=(0, 1), dtype=jnp.int32)


@jit(static=("k", "metric"))
def mutual_knn(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    k: int = 10,
    metric: str = "cosine",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Mutual k-nearest neighbors: the mean share of neighbors in common.

    $$\frac{1}{n k}\sum_i |N_k^x(i) \cap N_k^y(i)|$$

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      k: number of neighbors, self excluded, `1 <= k < n`.
      metric: `"cosine"`, as in the Platonic Representation Hypothesis, or `"euclidean"`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, 1]`; `k / (n - 1)` is expected of independent inputs, so quote
      `n` and `k` with it. Ties are broken by lowest row. NaN when all rows of an input are
      equal, when one holds NaN or infinity, and when no more than `k` rows count. Piecewise
      constant: its gradient is 0.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, `k >= n`, an unknown metric.
      TypeError: at trace time, on non-floating input or a `k` that is not an integer.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [5., 1.]])
      >>> float(mutual_knn(x, 3 * x, k=2))
      1.0

    Reference:
      Huh et al. (2024), arXiv:2405.07987, whose code takes `k` neighbors after scaling rows to
      unit length.
    """
    check_pair("mutual_knn", x, y, mask)
    check_neighbors("mutual_knn", k, x.shape[0])
    check_choice("mutual_knn", "metric", metric, METRICS)
    signature = NeighborSignature(k, metric)
    return OverlapScore()(signature(x, mask), signature(y, mask))
