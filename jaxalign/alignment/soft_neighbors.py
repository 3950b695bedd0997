"""Soft nearest neighbors: a mutual kNN score that has a gradient."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxalign._core.checks import check_neighbors, check_pair
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype, contract, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.alignment.pairs import by_shape, stack
from jaxalign.signatures.soft_neighbors import SoftNeighbors, SoftNeighborSignature

#: Degrees that are held at a time: `layers · rows · n`.
BLOCK_DEGREES = 2**23


@pytree_dataclass
class SoftNeighborScore:
    """The cosine between degrees of neighborhood, summed over rows."""

    def __call__(self, x: SoftNeighbors, y: SoftNeighbors) -> Scalar:
        """The score of one pair."""
        return self.matrix([x], [y])[0, 0]

    def matrix(self, a: Sequence[SoftNeighbors], b: Sequence[SoftNeighbors] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        other = a if b is None else b
        n, mask = a[0].rows.shape[0], a[0].mask
        size = max(1, min(n, BLOCK_DEGREES // (max(len(a), len(other)) * n)))

        # Degrees are made anew in the backward pass: kept, they would be n × n matrices.
        @jax.checkpoint
        def products(places: Int[Array, "m"], fresh: Bool[Array, "m"]) -> tuple[Array, Array, Array]:
            counted = fresh if mask is None else fresh & mask[places]
            one = _degrees(a, places, counted)
            two = one if b is None else _degrees(b, places, counted)
            return contract(one, two, (1, 1)), jnp.sum(one * one, axis=1), jnp.sum(two * two, axis=1)

        def add(block: Array, total: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            # The last block is moved up to fit; rows that the block before it had count once.
            start = jnp.minimum(block * size, n - size)
            places = start + jnp.arange(size, dtype=jnp.int32)
            return jax.tree.map(jnp.add, total, products(places, places >= block * size))

        zeros = tuple(jnp.zeros(shape, a[0].rows.dtype) for shape in ((len(a), len(other)), len(a), len(other)))
        cross, own_a, own_b = lax.fori_loop(0, -(-n // size), add, zeros)
        norms = safe_sqrt(own_a)[:, None] * safe_sqrt(own_b)[None, :]
        defined_a, defined_b = (jnp.stack([layer.defined for layer in side]) for side in (a, other))
        scores = safe_divide(cross, norms, otherwise=jnp.nan)
        return jnp.where(defined_a[:, None] & defined_b[None, :], scores, jnp.nan)


def _degrees(
    layers: Sequence[SoftNeighbors], places: Int[Array, "m"], counted: Bool[Array, "m"]
) -> Float[Array, "L e"]:
    """The degrees of some rows in all layers, those of each layer in one vector: `(L, m n)`."""
    groups = by_shape(layers)
    degrees = [lax.map(lambda layer: layer.degrees(places), stack(layers, members)) for members in groups]
    order = np.argsort(np.concatenate(groups))
    flat = jnp.where(counted[None, :, None], jnp.concatenate(degrees), 0).reshape(len(layers), -1)
    return flat if len(groups) == 1 else flat[order]


def soft_knn_parts(k: int, temperature: float | Scalar, metric: str) -> tuple[SoftNeighborSignature, SoftNeighborScore]:
    """Signature and score behind `soft_knn`."""
    return SoftNeighborSignature(k, temperature, metric), SoftNeighborScore()


@jit(static=("k", "metric"))
def soft_knn(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    k: int = 10,
    temperature: float | Scalar = 0.05,
    metric: str = "cosine",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Soft mutual kNN: `mutual_knn` with degrees of neighborhood, so that it has a gradient.

    $$\frac{\sum_{ij} m^x_{ij} m^y_{ij}}{\sqrt{\sum_{ij} (m^x_{ij})^2 \sum_{ij} (m^y_{ij})^2}}, \qquad
      m_{ij} = \sigma\Big(\frac{s_{ij} - t_i}{\tau}\Big), \quad t_i \text{ such that } \sum_{j \ne i} m_{ij} = k$$

    As the temperature goes to 0, degrees become 1 for the `k` nearest and 0 for others, and the score
    becomes that of `mutual_knn`.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      k: number of neighbors, self excluded, `1 <= k < n`.
      temperature: τ, positive, in units of the similarity.
      metric: `"cosine"`, with $s$ the cosine of two rows; or `"euclidean"`, with $s$ minus their squared
        distance over the mean squared distance.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, 1]`, 1 for inputs with the same degrees. Unrelated inputs score about `k / (n - 1)` at a low
      temperature, and more at a higher one, up to 1 when all degrees are equal. NaN when all rows of
      an input are alike, when no more than `k` rows count, or for a temperature that is not positive. A time
      of order `n² d`, and no matrix of `n × n`.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, `k >= n`, `k < 1`, an unknown metric.
      TypeError: at trace time, on non-floating input or a `k` that is not an integer.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [5., 1.]])
      >>> round(float(soft_knn(x, 3 * x, k=2)), 4)
      1.0

    Reference:
      Ours, after Huh et al. (2024), arXiv:2405.07987.
    """
    check_pair("soft_knn", x, y, mask)
    check_neighbors("soft_knn", k, x.shape[0])
    signature, score = soft_knn_parts(k, temperature, metric)
    dtype = accum_dtype(x, y)
    return score(signature(x.astype(dtype), mask), signature(y.astype(dtype), mask))
