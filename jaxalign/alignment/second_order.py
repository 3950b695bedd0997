"""Second-order cosine similarity: how alike examples see their neighbors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_choice, check_neighbors, check_pair
from jaxalign._core.jit import jit
from jaxalign._core.numerics import safe_divide, safe_sqrt, take_rows
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.pairs import score_pairs
from jaxalign.signatures.neighborhoods import BLOCK_ROWS, Neighborhoods, NeighborhoodSignature

#: What is compared of an example and each of its neighbors.
ENTRIES = ("similarity", "distance")


@pytree_dataclass
class SecondOrderScore:
    """The cosine between what two representations say about the neighbors of an example in either.

    Attributes:
      entries: one of `ENTRIES`.
    """

    entries: str = field(default="similarity", metadata={"static": True})

    def __call__(self, x: Neighborhoods, y: Neighborhoods) -> Scalar:
        """The score of one pair."""
        ids = jnp.concatenate([x.neighbors.ids, y.neighbors.ids], axis=1)
        n, k = x.neighbors.ids.shape
        # A neighbor in both lists counts once.
        again = jnp.any(ids[:, k:, None] == ids[:, None, :k], axis=2)
        counted = jnp.concatenate([jnp.ones((n, k), bool), ~again], axis=1)
        dtype = x.rows.dtype

        def relations(rows: Float[Array, "n d"], own: Array, others: Array) -> Array:
            there = take_rows(rows, others)
            if self.entries == "distance":  # 1 - cosine, without its rounding near 0
                return 0.5 * jnp.sum((there - own[None, :]) ** 2, axis=1)
            return jnp.einsum("d,md->m", own, there, precision="highest")

        def of(example: tuple[Array, Array, Array, Array]) -> tuple[Scalar, Bool[Array, ""]]:
            own_x, own_y, others, there = example
            a = jnp.where(there, relations(x.rows, own_x, others), 0)
            b = jnp.where(there, relations(y.rows, own_y, others), 0)
            lengths = safe_sqrt(jnp.sum(a * a)) * safe_sqrt(jnp.sum(b * b))
            return safe_divide(jnp.sum(a * b), lengths), ~(lengths <= 0)

        cosines, comparable = lax.map(of, (x.rows, y.rows, ids, counted), batch_size=BLOCK_ROWS)
        mask = x.neighbors.mask
        weights = jnp.ones(n, dtype) if mask is None else mask.astype(dtype)
        count = jnp.sum(weights)
        weights = jnp.where(comparable, weights, 0)
        mean = safe_divide(jnp.sum(cosines * weights), jnp.sum(weights), otherwise=jnp.nan)
        return jnp.where(x.neighbors.defined & y.neighbors.defined & (count > k), mean, jnp.nan)

    def matrix(self, a: Sequence[Neighborhoods], b: Sequence[Neighborhoods] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return score_pairs(self, a, b, symmetric=True)


@jit(static=("k", "entries"))
def second_order_cosine(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    k: int = 10,
    entries: str = "similarity",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Second-order cosine similarity: how alike examples see their neighbors, averaged over examples.

    $s_i(u)$ is the cosine of rows $i$ and $u$ in `x`, $t_i(u)$ in `y`, and
    $U_i = N_k^x(i) \cup N_k^y(i)$ the neighbors in either:

    $$\frac{1}{n}\sum_i \cos\big((s_i(u))_{u \in U_i}, (t_i(u))_{u \in U_i}\big)$$

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      k: number of neighbors by cosine, self excluded, `1 <= k < n`.
      entries: `"similarity"`, as defined, or `"distance"` for $1 - s_i(u)$, as the code of ReSi has it.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[-1, 1]`, close to 1 for any inputs whose rows all point much the same way, so
      compare it with unrelated inputs, or center first. Examples that are related to none of their
      neighbors (a row of zeros; by distance, copies only) are left out. Ties and undefined values are
      those of `mutual_knn`. The
      gradient goes through the cosines and not through the choice of neighbors.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, `k >= n`, unknown entries.
      TypeError: at trace time, on non-floating input or a `k` that is not an integer.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [5., 1.]])
      >>> round(float(second_order_cosine(x, 3 * x, k=2)), 4)
      1.0

    Reference:
      Hamilton et al. (2016), Cultural shift or linguistic drift?, arXiv:1606.02821.
    """
    check_pair("second_order_cosine", x, y, mask)
    check_neighbors("second_order_cosine", k, x.shape[0])
    check_choice("second_order_cosine", "entries", entries, ENTRIES)
    signature = NeighborhoodSignature(k)
    return SecondOrderScore(entries)(signature(x, mask), signature(y, mask))
