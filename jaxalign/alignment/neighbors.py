"""Neighbor family: how much the nearest neighbors of examples agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

import jax.numpy as jnp

from jaxalign._core.checks import check_choice, check_neighbors, check_pair
from jaxalign._core.jit import jit
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.neighbor_lists import AGREEMENTS, DIRECTED
from jaxalign.alignment.pairs import score_pairs
from jaxalign.engines.neighbors import METRICS
from jaxalign.signatures.neighbors import Neighbors, NeighborSignature


@pytree_dataclass
class NeighborScore:
    """The agreement of two lists of neighbors, averaged over examples.

    Attributes:
      agreement: one of `neighbor_lists.AGREEMENTS`.
    """

    agreement: str = field(default="overlap", metadata={"static": True})

    def __call__(self, x: Neighbors, y: Neighbors) -> Scalar:
        """The score of one pair."""
        n, k = x.ids.shape
        agreement = AGREEMENTS[self.agreement](x.ids.T, y.ids.T)
        weights = jnp.ones(n, agreement.dtype) if x.mask is None else x.mask.astype(agreement.dtype)
        count = jnp.sum(weights)
        mean = jnp.sum(agreement * weights) / jnp.maximum(count, 1)
        return jnp.where(x.defined & y.defined & (count > k), mean, jnp.nan)

    def matrix(self, a: Sequence[Neighbors], b: Sequence[Neighbors] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself).

        All layers must have the same examples, the same mask and the same `k`.
        """
        return score_pairs(self, a, b, symmetric=self.agreement not in DIRECTED)


def _score(function: str, agreement: str, x: Array, y: Array, k: int, metric: str, mask: Array | None) -> Scalar:
    check_pair(function, x, y, mask)
    check_neighbors(function, k, x.shape[0])
    check_choice(function, "metric", metric, METRICS)
    signature = NeighborSignature(k, metric)
    return NeighborScore(agreement)(signature(x, mask), signature(y, mask))


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
    return _score("mutual_knn", "overlap", x, y, k, metric, mask)


@jit(static=("k", "metric"))
def cycle_knn(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    k: int = 10,
    metric: str = "cosine",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Cycle k-nearest neighbors: the share of examples that a step in `y` and one in `x` lead back to.

    $$\frac{1}{n}\,|\{i : i \in N_k^x(j) \text{ for some } j \in N_k^y(i)\}|$$

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      k: number of neighbors, self excluded, `1 <= k < n`.
      metric: `"cosine"` or `"euclidean"`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, 1]`; not symmetric. Near 1 for any inputs when `k²` is not small next to
      `n`, so take a small `k`.
      Ties, undefined values and the gradient are those of `mutual_knn`.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, `k >= n`, an unknown metric.
      TypeError: at trace time, on non-floating input or a `k` that is not an integer.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [5., 1.]])
      >>> float(cycle_knn(x, 3 * x, k=1))
      0.5

    Reference:
      Huh et al. (2024), arXiv:2405.07987, whose code has `x` and `y` in this order.
    """
    return _score("cycle_knn", "cycle", x, y, k, metric, mask)


@jit(static=("k", "metric", "normalize"))
def lcs_knn(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    k: int = 10,
    metric: str = "cosine",
    normalize: bool = True,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Longest common subsequence of the two lists of nearest neighbors, averaged over examples.

    $$\frac{1}{n k}\sum_i \mathrm{LCS}\big(N_k^x(i), N_k^y(i)\big)$$

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      k: number of neighbors, self excluded, `1 <= k < n`.
      metric: `"cosine"` or `"euclidean"`.
      normalize: divide by `k`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, 1]`, or in `[0, k]` without `normalize`; no larger than `mutual_knn`, which
      it is when common neighbors come in the same order.
      Ties, undefined values and the gradient are those of `mutual_knn`.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, `k >= n`, an unknown metric.
      TypeError: at trace time, on non-floating input or a `k` that is not an integer.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [5., 1.]])
      >>> float(lcs_knn(x, 3 * x, k=2))
      1.0

    Reference:
      Huh et al. (2024), arXiv:2405.07987, whose code does not divide by `k`.
    """
    return _score("lcs_knn", "ordered_overlap" if normalize else "common_subsequence", x, y, k, metric, mask)


@jit(static=("k", "metric"))
def edit_distance_knn(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    k: int = 10,
    metric: str = "cosine",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Edit similarity of the two lists of nearest neighbors, averaged over examples.

    $$1 - \frac{1}{n k}\sum_i \mathrm{lev}\big(N_k^x(i), N_k^y(i)\big)$$

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      k: number of neighbors, self excluded, `1 <= k < n`.
      metric: `"cosine"` or `"euclidean"`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, 1]`, larger is closer; `lev` counts insertions, removals and replacements.
      Ties, undefined values and the gradient are those of `mutual_knn`.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, `k >= n`, an unknown metric.
      TypeError: at trace time, on non-floating input or a `k` that is not an integer.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [5., 1.]])
      >>> float(edit_distance_knn(x, 3 * x, k=2))
      1.0

    Reference:
      Huh et al. (2024), arXiv:2405.07987; Levenshtein (1966).
    """
    return _score("edit_distance_knn", "edit_similarity", x, y, k, metric, mask)


@jit(static=("k", "metric"))
def jaccard_knn(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    k: int = 10,
    metric: str = "cosine",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Jaccard similarity of the two sets of nearest neighbors, averaged over examples.

    $$\frac{1}{n}\sum_i \frac{|N_k^x(i) \cap N_k^y(i)|}{|N_k^x(i) \cup N_k^y(i)|}$$

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      k: number of neighbors, self excluded, `1 <= k < n`.
      metric: `"cosine"` or `"euclidean"`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, 1]`, no larger than `mutual_knn`.
      Ties, undefined values and the gradient are those of `mutual_knn`.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, `k >= n`, an unknown metric.
      TypeError: at trace time, on non-floating input or a `k` that is not an integer.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [5., 1.]])
      >>> float(jaccard_knn(x, 3 * x, k=2))
      1.0

    Reference:
      Wang et al. (2020), Towards understanding the instability of network embedding; Schumacher
      et al. (2021), arXiv:2005.10039.
    """
    return _score("jaccard_knn", "jaccard", x, y, k, metric, mask)


@jit(static=("k", "metric"))
def rank_similarity_knn(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    k: int = 10,
    metric: str = "cosine",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Rank similarity of neighbors in common, averaged over examples.

    With the ranks $r_v$ and $s_v$ of a common neighbor $v$ in the two lists, and $m_i$ of them,

    $$\frac{1}{n}\sum_i \frac{1}{H_{m_i}} \sum_{v \in N_k^x(i) \cap N_k^y(i)} \frac{2}{(1 + |r_v - s_v|)(r_v + s_v)},
    \qquad H_m = 1 + \tfrac12 + \dots + \tfrac1m$$

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      k: number of neighbors, self excluded, `1 <= k < n`.
      metric: `"cosine"` or `"euclidean"`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, 1]`: 1 when the first `m` neighbors are the same in the same order, 0 when
      none is common. How many are common hardly matters, see `joint_rank_jaccard_knn`.
      Ties, undefined values and the gradient are those of `mutual_knn`.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, `k >= n`, an unknown metric.
      TypeError: at trace time, on non-floating input or a `k` that is not an integer.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [5., 1.]])
      >>> float(rank_similarity_knn(x, 3 * x, k=2))
      1.0

    Reference:
      Wang et al. (2020), Towards understanding the instability of network embedding.
    """
    return _score("rank_similarity_knn", "rank_similarity", x, y, k, metric, mask)


@jit(static=("k", "metric"))
def joint_rank_jaccard_knn(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    k: int = 10,
    metric: str = "cosine",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Jaccard similarity times rank similarity of nearest neighbors, averaged over examples.

    $$\frac{1}{n}\sum_i \mathrm{jaccard}_i \cdot \mathrm{rank\ similarity}_i$$

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      k: number of neighbors, self excluded, `1 <= k < n`.
      metric: `"cosine"` or `"euclidean"`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, 1]`, no larger than `jaccard_knn` and `rank_similarity_knn`.
      Ties, undefined values and the gradient are those of `mutual_knn`.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, `k >= n`, an unknown metric.
      TypeError: at trace time, on non-floating input or a `k` that is not an integer.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [5., 1.]])
      >>> float(joint_rank_jaccard_knn(x, 3 * x, k=2))
      1.0

    Reference:
      Wang et al. (2020), Towards understanding the instability of network embedding.
    """
    return _score("joint_rank_jaccard_knn", "joint_rank_jaccard", x, y, k, metric, mask)
