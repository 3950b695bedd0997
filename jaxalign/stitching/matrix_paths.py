"""Ridge regressions from one source layer to many targets, the penalty of each chosen from a path."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.linalg import numerical_rank_mask
from jaxalign._core.numerics import cross_matmul, gram_matmul, matmul, safe_divide, self_products
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Scalar
from jaxalign.stitching.matrix_routes import SplitRows, Targets
from jaxalign.stitching.ridge_path import SHARES, generalized_cross_validation


@pytree_dataclass
class Spectrum:
    """A source and targets along the directions in which the source varies.

    Attributes:
      squares: squared singular values of the rows trained on, `(r,)`; 0 beyond the numerical rank.
      scores: rows trained on along the right singular vectors, `(t, r)`.
      test: held-out rows along these, `(m, r)`.
      known: targets along the scores, `scoresᵀ y`, `(r, q)`.
    """

    squares: Float[Array, "r"]
    scores: Float[Array, "t r"]
    test: Float[Array, "m r"]
    known: Float[Array, "r q"]

    @classmethod
    def of(cls, source: SplitRows, targets: Targets) -> Spectrum:
        """By the eigenvectors of the smaller of the products of features and of rows."""
        train, test = source.train, source.test
        t, p = train.shape
        if p <= t:
            squares, vectors = _eigen(self_products(train))
            known = cross_matmul(vectors, cross_matmul(train, targets.train))
            return cls(squares, matmul(train, vectors), matmul(test, vectors), known)
        squares, vectors = _eigen(self_products(train.T))
        s = jnp.sqrt(squares)
        along = safe_divide(jnp.ones_like(s), s)
        return cls(
            squares,
            vectors * s[None, :],
            matmul(gram_matmul(test, train), vectors * along[None, :]),
            s[:, None] * cross_matmul(vectors, targets.train),
        )

    def shrunk(self, penalty: Float[Array, "*k"]) -> Float[Array, "r *k"]:
        """What `known` is multiplied by for coefficients along the scores."""
        squares = self.squares.reshape((-1,) + (1,) * penalty.ndim)
        return safe_divide((squares > 0).astype(squares.dtype), squares + penalty[None])


def _eigen(products: Float[Array, "k k"]) -> tuple[Float[Array, "k"], Float[Array, "k k"]]:
    """Eigenvalues, 0 beyond the numerical rank, and eigenvectors, 0 there too."""
    values, vectors = jnp.linalg.eigh(products, symmetrize_input=False)
    kept = numerical_rank_mask(values, (values.shape[0], values.shape[0]), values.dtype)
    return jnp.where(kept, values, 0), jnp.where(kept[None, :], vectors, 0)


@partial(jax.jit, static_argnames=("select",))
def chosen_errors(
    source: SplitRows, targets: Targets, penalties: Float[Array, "k"] | None, *, select: str
) -> tuple[Float[Array, "l"], Float[Array, "l"]]:
    """The mean squared error on held-out rows for each target, in its units, and the penalty that was chosen for it."""
    spectrum = Spectrum.of(source, targets)
    dtype, square = source.train.dtype, source.unit * source.unit * source.train.shape[0]
    if penalties is None:
        ridges = jnp.asarray(SHARES, dtype) * jnp.max(spectrum.squares)
    else:
        ridges = penalties.astype(dtype) * square
    criterion = _gcv_errors if select == "gcv" else _loo_errors
    chosen = ridges[jnp.argmin(criterion(spectrum, targets, ridges), axis=0)]
    # Each feature of a target is shrunk with the penalty of that target.
    shrunk = targets.spread(spectrum.shrunk(chosen))
    return targets.errors(matmul(spectrum.test, shrunk * spectrum.known)), chosen / square


def _gcv_errors(spectrum: Spectrum, targets: Targets, ridges: Float[Array, "k"]) -> Float[Array, "k l"]:
    """Generalized cross-validation, from what the targets hold along each direction."""
    t = spectrum.scores.shape[0]
    energies = targets.sums(spectrum.known**2) * spectrum.shrunk(jnp.zeros_like(ridges[0]))[:, None]
    total = targets.sums(jnp.sum(targets.train**2, axis=0)[None, :])[0]
    outside = jnp.maximum(total - jnp.sum(energies, axis=0), 0)
    taken = spectrum.squares[:, None] * spectrum.shrunk(ridges)
    errors = outside[None, :] + matmul((1 - taken).T ** 2, energies)
    freedom = 1 + jnp.sum(taken, axis=0)
    return generalized_cross_validation(errors, freedom[:, None], jnp.asarray(t, errors.dtype))


def _loo_errors(spectrum: Spectrum, targets: Targets, ridges: Float[Array, "k"]) -> Float[Array, "k l"]:
    """Errors of rows left out of the fit, one at a time."""
    t = spectrum.scores.shape[0]

    def of_ridge(ridge: Scalar) -> Float[Array, "l"]:
        shrunk = spectrum.shrunk(ridge)
        slack = 1 - 1 / t - matmul(spectrum.scores**2, shrunk[:, None])[:, 0]
        missed = targets.train - matmul(spectrum.scores, shrunk[:, None] * spectrum.known)
        squares = jnp.sum((missed * safe_divide(jnp.ones_like(slack), slack, otherwise=jnp.inf)[:, None]) ** 2, axis=0)
        return targets.sums(squares[None, :])[0]

    return lax.map(of_ridge, ridges)
