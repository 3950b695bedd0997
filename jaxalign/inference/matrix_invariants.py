"""What permutations of rows and columns leave of a centered kernel matrix: sums of its entries to the third power."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.numerics import matmul, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Scalar
from jaxalign.engines.centered import centered_matrix
from jaxalign.kernels.gram import Gram

#: Into how many blocks of rows a matrix is cut for the trace of its cube, and rows of a block at least.
BLOCKS, BLOCK_ROWS = 5, 96


@pytree_dataclass
class Invariants:
    """A matrix `K = tr K / (n-1) H + scale (K_1 + K_2)`, whose rows sum to 0, and forms of degree 2 and 3 on it.

    Attributes:
      trace: `tr K`.
      scale: the norm of `K` less its multiple of `H`; the parts below are divided by it.
      diagonal: `d`, of `K_1 = n/(n-2) diag(d) - (d 1ᵀ + 1 dᵀ) / (n-2)`, which has the row sums and diagonal of
        `K_1 + K_2`, `(n,)`.
      hollow: `K_2`, whose diagonal and row sums are 0: the U-centered matrix, `(n, n)`.
      squares: `‖K_1‖²` and `‖K_2‖²`, whose sum is 1 (0 where `scale` is).
      cubes: orthogonal forms of degree 3: `Σ d³`, `dᵀ K_2 d`, `Σ d_i (K_2²)_ii`, `q = Σ (K_2)³_ij` and
        `tr K_2³ - r q` with a quotient `r` of polynomials in `n`.
    """

    trace: Scalar
    scale: Scalar
    diagonal: Float[Array, "n"]
    hollow: Float[Array, "n n"]
    squares: Float[Array, "2"]
    cubes: Float[Array, "5"]


def hollow_cubic(n: Scalar) -> Scalar:
    """`n³ - 9 n² + 26 n - 22` over `n³`, positive for 4 examples and more."""
    inverse = 1 / jnp.maximum(n, 4)
    return 1 - inverse * (9 - inverse * (26 - 22 * inverse))


def matrix_invariants(gram: Gram, centering: str) -> Invariants:
    """The invariants of the matrix of which scores take inner products, in the units of its tiles.

    Args:
      gram: of one representation.
      centering: `"biased"` or `"unbiased"`, static.
    """
    centered, n = centered_matrix(gram, centering), gram.count
    trace, diagonal, hollow = _parts(centered, gram, n, centering)
    gain = n / jnp.maximum(n - 2, 1)
    # In units in which no square leaves the range.
    largest = jnp.maximum(jnp.max(jnp.abs(diagonal)), jnp.max(jnp.abs(hollow)))
    unit = safe_divide(jnp.ones_like(largest), largest)
    squares = jnp.stack([gain * jnp.sum((diagonal * unit) ** 2), _total((hollow * unit) ** 2)])
    norm = safe_sqrt(jnp.sum(squares))
    # Of a multiple of H nothing but rounding is left.
    norm = jnp.where(norm * largest <= 8 * jnp.finfo(norm.dtype).eps * jnp.abs(trace), 0, norm)
    factor = unit * safe_divide(jnp.ones_like(norm), norm)
    diagonal, hollow = diagonal * factor, hollow * factor
    across = jnp.sum(hollow * diagonal[None, :], axis=1)
    own = jnp.sum(hollow * hollow, axis=1)
    entries = _total(hollow * hollow * hollow)
    ratio = safe_divide(3 - (15 - 16 / jnp.maximum(n, 1)) / jnp.maximum(n, 1), jnp.maximum(n, 1) * hollow_cubic(n))
    cubes = [
        jnp.sum(diagonal**3),
        jnp.sum(diagonal * across),
        jnp.sum(diagonal * own),
        entries,
        cube_trace(hollow) - ratio * entries,
    ]
    scale = norm * largest
    return Invariants(
        trace, scale, diagonal, hollow, squares * safe_divide(jnp.ones_like(norm), norm * norm), jnp.stack(cubes)
    )


def _parts(
    centered: Float[Array, "n n"], gram: Gram, n: Scalar, centering: str
) -> tuple[Scalar, Float[Array, "n"], Float[Array, "n n"]]:
    """Trace, diagonal less its mean, and the part without a diagonal."""
    own = jnp.diagonal(centered)
    if centering == "unbiased":
        return jnp.zeros((), centered.dtype), jnp.zeros_like(own), centered
    trace = jnp.sum(own)
    mean = trace / jnp.maximum(n, 1)
    diagonal = own - mean if gram.mask is None else jnp.where(gram.mask, own - mean, 0)
    level = diagonal / jnp.maximum(n - 2, 1) + mean / (2 * jnp.maximum(n - 1, 1))
    counted = ~jnp.eye(own.shape[0], dtype=bool)
    if gram.mask is not None:
        counted = counted & gram.mask[:, None] & gram.mask[None, :]
    hollow = jnp.where(counted & (n > 3), centered + (level[:, None] + level[None, :]), 0)
    return trace, diagonal, hollow


def _total(entries: Float[Array, "n n"]) -> Scalar:
    """Row by row, so that no sum is long."""
    return jnp.sum(jnp.sum(entries, axis=1))


def cube_trace(matrix: Float[Array, "n n"]) -> Scalar:
    """`tr A³` of a symmetric matrix, from blocks: of three different ones each product stands for six.

    Cut into 5 blocks of rows that takes 28 % of the multiplications of `A²`.
    """
    n = matrix.shape[0]
    blocks = max(1, min(BLOCKS, n // BLOCK_ROWS))
    starts = [n * i // blocks for i in range(blocks + 1)]
    total = jnp.zeros((), matrix.dtype)
    for i in range(blocks):
        rows = matrix[starts[i] : starts[i + 1]]
        for k in range(i, blocks):
            middle, height = slice(starts[k], starts[k + 1]), starts[k + 1] - starts[k]
            product = matmul(rows[:, middle], matrix[middle, starts[k] :]) * rows[:, starts[k] :]
            sums = jnp.sum(product, axis=0)
            # Blocks (i, k, k) come in three orders, or one when i is k as well; (i, k, j) with j > k in six, or three.
            total = total + (1 if i == k else 3) * jnp.sum(sums[:height])
            total = total + (3 if i == k else 6) * jnp.sum(sums[height:])
    return total
