"""Linear least squares with a ridge, from one thin decomposition of the inputs.

Coefficients, residuals and leverages are put together from singular vectors, which keeps digits that normal equations
lose. Their derivatives are those of the normal equations instead, solved with the same decomposition: singular
vectors have none where singular values coincide, the results have.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.linalg import numerical_rank_mask, thin_svd
from jaxalign._core.numerics import cross_matmul, matmul, safe_divide
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Int, Scalar


@pytree_dataclass
class Decomposition:
    """`U diag(s) Vᵀ` of a matrix, 0 beyond its numerical rank; a constant for derivatives.

    Attributes:
      left: `U`, `(n, r)` with `r = min(n, d)`.
      singular: `s`, `(r,)`, in descending order.
      right: `Vᵀ`, `(r, d)`.
    """

    left: Float[Array, "n r"]
    singular: Float[Array, "r"]
    right: Float[Array, "r d"]

    @property
    def rank(self) -> Int[Array, ""]:
        """How many singular values differ from 0."""
        return jnp.sum(self.singular > 0, dtype=jnp.int32)

    @property
    def condition(self) -> Scalar:
        """The largest singular value over the smallest that differs from 0; NaN without one."""
        smallest = jnp.min(jnp.where(self.singular > 0, self.singular, jnp.inf))
        return jnp.where(self.rank > 0, self.singular[0] / smallest, jnp.nan)

    def shrinkage(self, ridge: Scalar) -> Float[Array, "r"]:
        """`s² / (s² + ridge)`: the share that a fit takes of what the targets hold along each left vector."""
        squares = self.singular * self.singular
        return safe_divide(squares, squares + ridge)

    def lost(self, ridge: Scalar) -> Float[Array, "r"]:
        """`ridge / (s² + ridge)`: the share that a fit leaves."""
        squares = self.singular * self.singular
        return jnp.where(self.singular > 0, safe_divide(ridge, squares + ridge), 0)

    def apart(self, y: Float[Array, "n q"]) -> tuple[Float[Array, "r q"], Float[Array, "n q"]]:
        """`Uᵀ y`, and what of `y` lies outside the span of the columns; taken off twice, it has digits when small."""
        known = cross_matmul(self.left, y)
        beyond = y - matmul(self.left, known)
        return known, beyond - matmul(self.left, cross_matmul(self.left, beyond))


def decompose(x: Float[Array, "n d"]) -> Decomposition:
    """The thin singular value decomposition of a matrix, its numerical rank kept."""
    u, s, vt = thin_svd(lax.stop_gradient(x))
    kept = numerical_rank_mask(s, (x.shape[0], x.shape[1]), s.dtype)
    return Decomposition(jnp.where(kept[None, :], u, 0), jnp.where(kept, s, 0), jnp.where(kept[:, None], vt, 0))


@jax.custom_jvp
def with_derivative_of(value: Array, carrier: Array) -> Array:
    """`value`, with the derivative of `carrier`; what only the carrier needs is not computed without a derivative."""
    return value


@with_derivative_of.defjvp
def _with_derivative_of_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return with_derivative_of(*primals), tangents[1]


def ridge_coefficients(
    x: Float[Array, "n d"], y: Float[Array, "n q"], ridge: Scalar, parts: Decomposition
) -> Float[Array, "d q"]:
    """`(XᵀX + ridge I)⁻¹ Xᵀ y`; without a ridge, of several solutions the one of least norm.

    Derivatives of any order are right with a ridge, and where the rank is that of the smaller side. Elsewhere first
    ones are, among inputs of the same rank.
    """
    s = parts.singular
    inverse = safe_divide(jnp.ones_like(s), s * s + lax.stop_gradient(ridge))
    known = cross_matmul(parts.left, lax.stop_gradient(y))
    value = cross_matmul(parts.right, (s * inverse)[:, None] * known)
    dual = matmul(parts.left, inverse[:, None] * known)

    # One step towards the solution of the normal equations arrives there from anywhere, as they are linear. From the
    # solution it is 0, and has the derivatives of the solution.
    if x.shape[0] <= x.shape[1]:
        dual += with_ridge(lax.stop_gradient(y) - matmul(parts.left, known), lax.stop_gradient(ridge))
        missing = y - matmul(x, cross_matmul(x, dual)) - ridge * dual
        carrier = cross_matmul(x, dual + gram_solve(x.T, missing, ridge, parts.left.T, s))
    else:
        missing = cross_matmul(x, y - matmul(x, value)) - ridge * value
        # Without a ridge, what grows outside the span of the rows takes its share, to keep the norm least.
        grown = cross_matmul(x, dual)
        grown = jnp.where(ridge > 0, 0, grown - cross_matmul(parts.right, matmul(parts.right, grown)))
        carrier = grown + gram_solve(x, missing, ridge, parts.right, s)
    return with_derivative_of(value, carrier)


def ridge_residuals(
    x: Float[Array, "n d"],
    y: Float[Array, "n q"],
    ridge: Scalar,
    parts: Decomposition,
    coefficients: Float[Array, "d q"],
) -> Float[Array, "n q"]:
    """`y - x coefficients` for the `ridge_coefficients`, with digits where next to nothing is left."""
    known, beyond = parts.apart(lax.stop_gradient(y))
    value = beyond + matmul(parts.left, parts.lost(ridge)[:, None] * known)
    return with_derivative_of(value, y - matmul(x, coefficients))


def ridge_leverages(x: Float[Array, "n d"], ridge: Scalar, parts: Decomposition) -> Float[Array, "n"]:
    """The diagonal of `X (XᵀX + ridge I)⁻¹ Xᵀ`: how far a row decides its own prediction."""
    value = jnp.sum(parts.left * parts.left * parts.shrinkage(ridge)[None, :], axis=1)
    solved = gram_solve(x, x.T, ridge, parts.right, parts.singular)
    return with_derivative_of(value, jnp.sum(x * solved.T, axis=1))


def gram_solve(
    x: Float[Array, "n d"], target: Float[Array, "d q"], ridge: Scalar, right: Float[Array, "r d"], s: Float[Array, "r"]
) -> Float[Array, "d q"]:
    """`(XᵀX + ridge I)⁺ target`, from the right singular vectors; with derivatives of any order."""

    def product(b: Array) -> Array:
        return cross_matmul(x, matmul(x, b)) + ridge * b

    def solve(_: object, target: Array) -> Array:
        known = matmul(right, target)
        inside = cross_matmul(right, safe_divide(jnp.ones_like(s), s * s + ridge)[:, None] * known)
        return inside + with_ridge(target - cross_matmul(right, known), ridge)

    return lax.custom_linear_solve(product, target, solve, symmetric=True)


def with_ridge(outside: Array, ridge: Scalar) -> Array:
    """What is outside the numerical range over the ridge; without one it has no part."""
    return safe_divide(outside, ridge * jnp.ones_like(outside))
