"""Intrinsic dimension: how many coordinates the rows of a representation need near each of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_choice, check_integer, check_rows
from jaxalign._core.jit import jit
from jaxalign._core.numerics import binary_scale, mask_rows, safe_divide, take_rows, widen
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.engines.neighbors import nearest_neighbors

METHODS = ("twonn", "mle")
#: Listed neighbors beyond those that are used. Lists come from rounded products; of a few more, those
#: nearest by exact distance are taken.
SPARE = 8
#: Rows whose neighbors are gathered at a time.
BLOCK_ROWS = 256


def check_intrinsic_dimension(method: str, k: int) -> None:
    """Raise unless the options of `intrinsic_dimension` are what it takes."""
    check_choice("intrinsic_dimension", "method", method, METHODS)
    check_integer("intrinsic_dimension", "k", k, minimum=2)


@jit(static=("method", "k"))
def intrinsic_dimension(
    x: Float[Array, "n d"], *, method: str = "twonn", k: int = 20, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    r"""Intrinsic dimension, from how distances grow from a neighbor to the next.

    $$\hat d = \Big( \frac{1}{n (k - 1)} \sum_i \sum_{j < k} \log \frac{r_k(i)}{r_j(i)} \Big)^{-1}$$

    with the Euclidean distances $r_1 \le \dots \le r_k$ of row $i$ to its nearest others: the maximum of the
    likelihood when rows are spread evenly within the reach of $k$ neighbors.

    `"mle"` takes `k` of them. `"twonn"` takes 2, which asks least of the density and is the noisiest. It is
    the maximum of the likelihood of the two-neighbor model, not the line that its authors fit to its
    distribution without the largest tenth: all rows count, nothing is sorted, and there is a gradient.
    The two differ by a few percent.

    Args:
      x: activations, shape `(n, d)`; row `i` is example `i`.
      method: `"twonn"` or `"mle"`.
      k: number of neighbors for `"mle"`, at least 2; more are less noisy, and see a larger, curved piece.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A positive scalar. A row that has a duplicate does not count; NaN when none is left, when the
      neighbors of every row are at one distance (a lattice), or when no more than `k` rows count.
      High dimensions are underestimated: it takes a number of rows exponential in them. The gradient is that for
      fixed neighbors.

    Raises:
      ValueError: at trace time, when `x` is not an `(n, d)` matrix or has no more than `k` rows (2 for
        `"twonn"`), `mask` is not `(n,)`, for an unknown method or a `k` below 2.
      TypeError: at trace time, on non-floating input, or a `k` that is no integer.

    Example:
      >>> t = jnp.linspace(0., 1., 100) ** 2
      >>> round(float(intrinsic_dimension(jnp.stack([t, t, -t], axis=1), method="mle")))
      1

    Reference:
      Facco et al. (2017), arXiv:1803.06992; Levina and Bickel (2004), Maximum likelihood estimation of
      intrinsic dimension; averages of inverses, not of local dimensions: MacKay and Ghahramani (2005), Comments
      on that paper.
    """
    check_rows("intrinsic_dimension", x, mask)
    check_intrinsic_dimension(method, k)
    used, n = 2 if method == "twonn" else k, x.shape[0]
    if n <= used:
        raise ValueError(
            f"intrinsic_dimension: x must have more than {used} rows for the distances to {used} neighbors, got {n}"
        )
    rows = mask_rows(widen(x), mask)
    rows = rows * binary_scale(rows)
    # None, when there are too few.
    counted = jnp.ones(n, bool) if mask is None else mask & (jnp.sum(mask) > used)
    lists = nearest_neighbors(rows, k=min(used + SPARE, n - 1), metric="euclidean", mask=mask)

    def of_row(example: tuple[Array, Array, Array]) -> tuple[Scalar, Scalar]:
        """The sum of logarithms of one row, and whether it counts."""
        row, ids, counts = example
        differences = take_rows(rows, ids) - row[None, :]
        squares = jnp.sum(differences * differences, axis=1)
        squares = -lax.top_k(-jnp.where(take_rows(counted, ids), squares, jnp.inf), used)[0]
        counts &= ~(squares[0] <= 0)
        logs = jnp.log(jnp.where(counts, squares, 1))
        return 0.5 * jnp.sum(logs[-1] - logs), counts.astype(rows.dtype)

    # Recomputed for the gradient, gathered rows are not kept.
    sums, counts = lax.map(jax.checkpoint(of_row), (rows, lists, counted), batch_size=BLOCK_ROWS)
    return safe_divide((used - 1) * jnp.sum(counts), jnp.sum(sums), otherwise=jnp.nan)
