"""Ridge regressions from one source layer to many targets, the penalty of each chosen from a path."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.least_squares import Decomposition, decompose
from jaxalign._core.linalg import orthonormal_basis
from jaxalign._core.numerics import cross_matmul, gram_matmul, matmul, safe_divide, self_products
from jaxalign._core.penalties import SHARES
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.stitching.matrix_routes import SplitRows, Targets
from jaxalign.stitching.ridge_path import generalized_cross_validation


@pytree_dataclass
class Spectrum:
    """A source along the directions in which it varies.

    Attributes:
      parts: the rows trained on, taken apart.
      test: held-out rows along the right singular vectors, `(m, r)`.
    """

    parts: Decomposition
    test: Float[Array, "m r"]

    def shrunk(self, penalty: Float[Array, "*k"]) -> Float[Array, "r *k"]:
        """What targets along the left singular vectors are multiplied by, for coefficients along the right ones."""
        s = self.parts.singular.reshape((-1,) + (1,) * penalty.ndim)
        return safe_divide(s * jnp.ones_like(penalty)[None], s * s + penalty[None])


@jax.jit
def spectrum_of(source: SplitRows) -> Spectrum:
    """A source taken apart, once for all targets."""
    parts = _taken_apart(source.train)
    return Spectrum(parts, gram_matmul(source.test, parts.right))


#: The least ratio of squared singular values of which products still have digits enough.
RESOLVED = 1e-3


def _taken_apart(rows: Float[Array, "t p"]) -> Decomposition:
    """`decompose`, in less time where that loses nothing: by the eigenvectors of the smaller products."""
    t, p = rows.shape
    tall = p < t
    values, vectors = jnp.linalg.eigh(self_products(rows if tall else rows.T), symmetrize_input=False)
    # Features of 0 have no direction, and centered rows have one less than they are.
    empty = jnp.sum(jnp.all(rows == 0, axis=0), dtype=jnp.int32) if tall else jnp.int32(1)
    kept = jnp.arange(values.shape[0], dtype=jnp.int32) >= empty

    def by_products() -> Decomposition:
        own = jnp.where(kept[None, :], vectors, 0)
        singular = jnp.sqrt(jnp.where(kept, values, 0))
        inverse = safe_divide(jnp.ones_like(singular), singular)
        if tall:
            return Decomposition(matmul(rows, own) * inverse[None, :], singular, own.T)
        return Decomposition(own, singular, cross_matmul(own, rows) * inverse[:, None])

    def by_values() -> Decomposition:
        if not tall:
            return decompose(rows)
        basis = orthonormal_basis(rows)
        inner = decompose(cross_matmul(basis, rows))
        return replace(inner, left=matmul(basis, inner.left))

    least = jnp.min(jnp.where(kept, values, jnp.inf))
    return lax.cond(least > RESOLVED * values[-1], by_products, by_values)


@partial(jax.jit, static_argnames=("select",))
def chosen_errors(
    source: SplitRows, spectrum: Spectrum, targets: Targets, penalties: Float[Array, "k"] | None, *, select: str
) -> tuple[Float[Array, "l"], Float[Array, "l"]]:
    """The mean squared error on held-out rows for each target, in its units, and the penalty that was chosen for it."""
    dtype, square = source.train.dtype, source.unit * source.unit * source.train.shape[0]
    if penalties is None:
        ridges = jnp.asarray(SHARES, dtype) * jnp.max(spectrum.parts.singular) ** 2
    else:
        ridges = penalties.astype(dtype) * square
    known = cross_matmul(spectrum.parts.left, targets.train)
    criterion = _gcv_errors if select == "gcv" else _loo_errors
    chosen = ridges[jnp.argmin(criterion(spectrum.parts, known, targets, ridges), axis=0)]
    # Each feature of a target is shrunk with the penalty of that target.
    shrunk = targets.spread(spectrum.shrunk(chosen))
    return targets.errors(matmul(spectrum.test, shrunk * known)), chosen / square


def _gcv_errors(
    parts: Decomposition, known: Float[Array, "r q"], targets: Targets, ridges: Float[Array, "k"]
) -> Float[Array, "k l"]:
    """Generalized cross-validation, from what the targets hold along each direction."""
    t = jnp.asarray(parts.left.shape[0], known.dtype)
    energies = targets.sums(known**2)
    total = targets.sums(jnp.sum(targets.train**2, axis=0)[None, :])[0]
    beyond = jnp.where(_all_known(parts), 0, jnp.maximum(total - jnp.sum(energies, axis=0), 0))
    lost = jax.vmap(parts.lost)(ridges)
    left = t - 1 - parts.rank.astype(t.dtype) + jnp.sum(lost, axis=1)
    return generalized_cross_validation(beyond[None, :] + matmul(lost**2, energies), left[:, None], t)


def _loo_errors(
    parts: Decomposition, known: Float[Array, "r q"], targets: Targets, ridges: Float[Array, "k"]
) -> Float[Array, "k l"]:
    """Errors of rows left out of the fit, one at a time."""
    t = parts.left.shape[0]
    directions = parts.left * parts.left
    unknown = jnp.where(_all_known(parts), 0, jnp.maximum(1 - 1 / t - jnp.sum(directions, axis=1), 0))
    beyond = targets.train - matmul(parts.left, known)

    def of_ridge(ridge: Scalar) -> Float[Array, "l"]:
        lost = parts.lost(ridge)[:, None]
        slack = unknown + matmul(directions, lost)[:, 0]
        missed = beyond + matmul(parts.left, lost * known)
        squares = jnp.sum((missed * safe_divide(jnp.ones_like(slack), slack, otherwise=jnp.inf)[:, None]) ** 2, axis=0)
        return targets.sums(squares[None, :])[0]

    return lax.map(of_ridge, ridges)


def _all_known(parts: Decomposition) -> Bool[Array, ""]:
    """Whether the directions and the mean are as many as the rows, so that nothing lies outside."""
    return parts.rank + 1 >= parts.left.shape[0]
