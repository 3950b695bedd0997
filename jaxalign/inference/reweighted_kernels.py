r"""Scores of kernel matrices of samples in which examples have weights.

A sample drawn with replacement holds some examples several times. An example that is there `w` times counts
`w` times, but its copies are no pairs: a pair of copies says that an example is like itself, and nothing else.

With weights $w$ and $N = \sum_i w_i$ every score is made of sums over pairs of different examples:

- unbiased: the average over all four draws of four different examples, the U-statistic of which HSIC is one
  with equal weights. Its expectation over samples drawn with replacement is the unbiased HSIC itself.
- biased: matrices are centered by the weighted mean; pairs of different examples count by $w_i w_j$, brought to
  the $N (N - 1)$ pairs that a sample without copies has, and every draw is paired with itself, $w_i$.
- hollow: the same without the draws with themselves. none: the same without centering.

All of them are products of $K$, $L$, $K \circ L$, $K \circ K$ and $L \circ L$ with $w$ (and $w^2$), so that many
samples take a few products of matrices. This form was derived for this library.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import matmul
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Scalar
from jaxalign.alignment.kernel import KernelScore
from jaxalign.engines.products import Products, drop_rounding
from jaxalign.kernels.gram import Gram

#: Rows of the matrices made at a time: they are never stored whole.
BLOCK_ROWS = 1024


@pytree_dataclass
class ReweightedKernels:
    """The score of two kernel matrices as a function of weights of the examples.

    Attributes:
      x: kernel matrix of one representation, of the whole sample: a bandwidth that is read off the data
        is that of the whole sample.
      y: that of the other.
      score: their score.
    """

    x: Gram
    y: Gram
    score: KernelScore

    def __call__(self, weights: Float[Array, "n"]) -> Scalar:
        """The score of one weighted sample."""
        return self.many(weights[None])[0]

    def many(self, weights: Float[Array, "b n"]) -> Float[Array, "b"]:
        """The scores of several weighted samples."""
        w = weights.astype(self.x.raw.dtype).T
        unbiased = self.score.centering == "unbiased"
        norms = self.score.scaling == "cosine"
        powers = jnp.concatenate([w, w * w], axis=1) if unbiased else w
        kw, lw, kl, *squares = self._products(powers, norms)
        diagonals = self.x.diagonal, self.y.diagonal

        def inner(one: Array, other: Array, both: Array, own: tuple[Array, Array]) -> Array:
            if unbiased:
                return _unbiased(w, one, other, both)
            return _centered(w, one, other, both, own, self.score.centering)

        cross = inner(kw, lw, kl, diagonals)
        if norms:
            self_x, self_y = (
                drop_rounding(inner(v, v, square, (own, own)), jnp.sum(w * square[:, : w.shape[1]], axis=0))
                for v, square, own in zip((kw, lw), squares, diagonals, strict=True)
            )
        else:
            self_x = self_y = jnp.ones_like(cross)
        return jax.vmap(self._finish)(cross, self_x, self_y, jnp.sum(w, axis=0))

    def _finish(self, cross: Scalar, self_x: Scalar, self_y: Scalar, count: Scalar) -> Scalar:
        products = Products(
            cross[None, None], self_x[None], self_y[None], self.x.units[None], self.y.units[None], count
        )
        return self.score.finish(products)[0, 0]

    def _products(self, w: Float[Array, "n c"], norms: bool) -> tuple[Float[Array, "n c"], ...]:
        """`K`, `L`, `K∘L`, and for norms `K∘K`, `L∘L`, times weights, all without the diagonal."""
        n = w.shape[0]
        size = min(BLOCK_ROWS, n)

        def rows(start: Array) -> tuple[Array, ...]:
            own = (start + jnp.arange(size, dtype=start.dtype))[:, None] == jnp.arange(n, dtype=start.dtype)[None, :]
            k, m = (jnp.where(own, 0, gram.block(start, size).tile(gram)) for gram in (self.x, self.y))
            found = [k, m, k * m] + ([k * k, m * m] if norms else [])
            return tuple(matmul(entries, w) for entries in found)

        blocks = -(-n // size)
        if blocks == 1:
            found = rows(jnp.asarray(0, jnp.int32))
        else:
            # The last block is moved up to fit: of its rows those are kept that the others lack.
            starts = jnp.minimum(jnp.arange(blocks, dtype=jnp.int32) * size, n - size)
            last = n - (blocks - 1) * size
            found = tuple(
                jnp.concatenate([v[:-1].reshape(-1, v.shape[2]), v[-1, size - last :]]) for v in lax.map(rows, starts)
            )
        return found


def _total(values: Array) -> Array:
    return jnp.sum(values, axis=0)


def _unbiased(w: Array, k: Array, m: Array, both: Array) -> Array:
    """`N (N - 3)` times the mean over four different examples of the estimator of HSIC; NaN where there are none.

    Args:
      w: weights `(n, b)`.
      k: one matrix times `w` and `w²`, `(n, 2b)`.
      m: the other.
      both: their product, entry by entry, times the same.
    """
    (k1, k2), (m1, m2), (p1, p2) = (jnp.split(v, 2, axis=1) for v in (k, m, both))
    w2 = w * w
    w3 = w2 * w
    n, n2, n3, n4 = _total(w), _total(w2), _total(w3), _total(w2 * w2)
    s1, s2, s3, s4 = _total(w * p1), _total(w2 * p1), _total(w3 * p1), _total(w2 * p2)
    f1, f2 = _total(w * k1 * m1), _total(w2 * k1 * m1)
    # Sums over four different examples of K_ij L_ij, of K_ij L_iq and of K_ij L_qr: what falls together is taken off.
    same = (n * n - n2) * s1 - 4 * n * s2 + 4 * s3 + 2 * s4
    linked = n * (f1 - s2) - f2 + s4 + 2 * s3 - _total(w * (k2 * m1 + k1 * m2))
    apart = _total(w * k1) * _total(w * m1) - 4 * f2 + 2 * s4
    fours = n**4 - 6 * n * n * n2 + 3 * n2 * n2 + 8 * n * n3 - 6 * n4
    defined = (fours > 0.5) & (n > 3)
    return jnp.where(defined, (same - 2 * linked + apart) / jnp.where(defined, fours, 1) * (n * (n - 3)), jnp.nan)


def _centered(w: Array, k: Array, m: Array, both: Array, diagonals: tuple[Array, Array], centering: str) -> Array:
    """Inner products of matrices centered by the weighted mean, or not, without pairs of copies.

    Args:
      w: weights `(n, b)`.
      k: one matrix times `w`, `(n, b)`, without its diagonal.
      m: the other.
      both: their product, entry by entry, times `w`.
      diagonals: of both.
      centering: `"none"`, `"biased"` or `"hollow"`.
    """
    n, n2 = _total(w), _total(w * w)
    counted = jnp.maximum(n, 1)
    own_k, own_m = (v[:, None] for v in diagonals)
    off = _total(w * both)
    if centering != "none":
        # What the weighted mean takes off each row and column.
        means = [(v + own * w) / counted[None, :] for v, own in ((k, own_k), (m, own_m))]
        a, b = (v - (_total(w * v) / (2 * counted))[None, :] for v in means)
        own_k, own_m = own_k - 2 * a, own_m - 2 * b
        levels = n * _total(w * a * b) - 2 * _total(w * w * a * b) + _total(w * a) * _total(w * b)
        off = off - 2 * (_total(w * b * k) + _total(w * a * m)) + 2 * levels
    pairs = n * n - n2
    off = off * (n * (n - 1)) / jnp.where(pairs > 0, pairs, 1)
    if centering == "hollow":
        return jnp.where((n > 3) & (pairs > 0), off, jnp.nan)
    return jnp.where(pairs > 0, off, 0) + _total(w * own_k * own_m)
