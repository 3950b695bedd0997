"""Linear algebra whose gradients exist: thin SVD, rank masks, PSD roots, polar factor, nuclear norm.

Derivatives of single singular vectors blow up where singular values coincide; those of
the sums, roots and factors used by alignment scores do not. Each such function has its
derivative in closed form (Daleckii–Krein divided differences), so it is finite for
repeated and for zero singular values. Numerical rank is a mask, never a slice: what
lies below it is exactly 0, and derivatives are those within the set of matrices of that
rank.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from jaxalign._core.numerics import (
    BAND_COLUMNS,
    binary_scale,
    contract,
    lower_self_products,
    matmul,
    safe_sqrt,
    widen,
)
from jaxalign._core.typing import Array, Bool, Float


def thin_svd(x: Float[Array, "n d"]) -> tuple[Float[Array, "n r"], Float[Array, "r"], Float[Array, "r d"]]:
    """`u, s, vt` with `x = u @ diag(s) @ vt` and `r = min(n, d)`, in float32 or wider.

    `x` is scaled by a power of two first, which rounds nothing. The derivative is JAX's
    own, infinite at repeated singular values: differentiate `nuclear_norm`,
    `polar_factor` or another function below instead.
    """
    x = widen(x)
    scale = binary_scale(x)
    u, s, vt = jnp.linalg.svd(x * scale, full_matrices=False)
    return u, s / scale, vt


def numerical_rank_mask(s: Float[Array, "r"], shape: tuple[int, int], dtype: jnp.dtype) -> Bool[Array, "r"]:
    """Which singular values differ from 0: those above `min(m, 8 √m) · eps(dtype) · max(s)` with `m = max(shape)`.

    The usual `m · eps` is a bound; rounding adds up like a root, and with many rows the bound would
    drop directions that are well resolved. NaN counts as different, so that it reaches the result.
    """
    largest = max(shape)
    tolerance = min(largest, 8 * largest**0.5) * float(jnp.finfo(dtype).eps) * jnp.max(s, initial=0)
    return ~(s <= tolerance)


def nuclear_norm(matrix: Float[Array, "n d"]) -> Float[Array, ""]:
    """Sum of the singular values; its derivative is the polar factor, 0 at the zero matrix.

    The second derivative is finite as well.
    """
    x = widen(matrix)
    scale = binary_scale(x)
    return _nuclear_norm(x * scale) / scale


def polar_factor(matrix: Float[Array, "n d"], *, ridge: float | Float[Array, ""] = 0.0) -> Float[Array, "n d"]:
    r"""`X (XᵀX + ridge I)^(-1/2)`: singular values `s` become `s / sqrt(s² + ridge)`.

    Without a ridge, they become 1 on the numerical range and 0 outside it: the nearest
    matrix with orthonormal columns (or rows), up to rank.
    """
    x = widen(matrix)
    ridge = jnp.asarray(ridge, x.dtype)
    scale = binary_scale(jnp.maximum(jnp.max(jnp.abs(x)), jnp.sqrt(ridge)))
    return _polar(x * scale, ridge * scale * scale)[0]


def leading_polar_factor(
    matrix: Float[Array, "n d"], *, variance: float = 1.0, rank: int | None = None
) -> tuple[Float[Array, "n d"], Float[Array, ""]]:
    """The polar factor of the part of a matrix that its largest singular values make, and how many they are.

    Args:
      matrix: shape `(n, d)`.
      variance: keep as few singular values as hold this share of the sum of their squares.
      rank: keep at most this many.

    The derivative is that of the factor for a fixed number of them; a direction that is kept
    and one that is not, with equal singular values, do not turn into one another.
    """
    x = widen(matrix)
    return _leading_polar(x * binary_scale(x), variance, rank)


def orthonormal_basis(matrix: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """A basis `Q` of the span of the columns: `QᵀQ` is a projector, onto all of the columns that are not 0 as a rule.

    For functions of the span only: which basis it is depends on the conditioning of the matrix, and
    the derivative is right up to rotations of the basis within itself. A matrix that two passes of Cholesky
    factors make orthonormal takes a quarter of the time of a decomposition; the others get their
    `polar_factor`.
    """
    x = widen(matrix)

    def decomposed() -> Array:
        # The span does not depend on the units of a column, the rounding does.
        return polar_factor(x * jax.lax.stop_gradient(binary_scale(x, axis=0)))

    if x.shape[0] <= x.shape[1]:
        return decomposed()
    basis, trusted = _cholesky_basis(x)
    return jax.lax.cond(trusted > 0, lambda: basis, decomposed)


def ridge_basis(matrix: Float[Array, "n d"], ridge: float | Float[Array, ""]) -> Float[Array, "n d"]:
    """`X (XᵀX + ridge I)^(-1/2)` up to a rotation of its columns, of which functions of it must not depend."""
    x = widen(matrix)
    n, d = x.shape
    if n <= d:
        return polar_factor(x, ridge=ridge)
    # The upper part of an orthonormal basis of the matrix with the root of the ridge below it.
    corner = safe_sqrt(jnp.asarray(ridge, x.dtype)) * jnp.eye(d, dtype=x.dtype)
    return orthonormal_basis(jnp.concatenate([x, corner]))[:n]


def psd_sqrt(matrix: Float[Array, "n n"], *, ridge: float | Float[Array, ""] = 0.0) -> Float[Array, "n n"]:
    """Symmetric square root of `matrix + ridge I`, for a symmetric positive semidefinite `matrix`.

    Only the symmetric part is read; eigenvalues that are negative or numerically 0 count as 0.
    """
    x, ridge, half = _scaled_psd(matrix, ridge)
    return _psd_root(x, ridge, False) / half


def psd_inverse_sqrt(matrix: Float[Array, "n n"], *, ridge: float | Float[Array, ""] = 0.0) -> Float[Array, "n n"]:
    """Symmetric inverse square root of `matrix + ridge I`; directions where that is 0 stay 0 (pseudo-inverse)."""
    x, ridge, half = _scaled_psd(matrix, ridge)
    return _psd_root(x, ridge, True) * half


@jax.custom_jvp
def _nuclear_norm(x: Array) -> Array:
    return jnp.sum(jnp.linalg.svd(x, compute_uv=False))


@_nuclear_norm.defjvp
def _nuclear_norm_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    polar, norm = _polar(x, jnp.zeros((), x.dtype))  # itself differentiable, for second derivatives
    return norm, jnp.sum(polar * dx)


@jax.custom_jvp
def _polar(x: Array, ridge: Array) -> tuple[Array, Array]:
    """The polar factor and the nuclear norm, from one decomposition."""
    u, s, vt = thin_svd(x)
    _, kept, inverse = _kept(s, x.shape, ridge)
    return matmul(u * (kept * inverse)[None, :], vt), jnp.sum(s)


@_polar.defjvp
def _polar_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[tuple, tuple]:
    """Divided differences of `h(s) = s / r(s)`, `r² = s² + ridge`, on the two parts of `uᵀ dx v`.

    The symmetric part is multiplied by `(hᵢ − hⱼ) / (sᵢ − sⱼ)`, the skew part by
    `(hᵢ + hⱼ) / (sᵢ + sⱼ)`, and what lies outside the span of `u` or `v` by `hᵢ / sᵢ`.
    With `g² = 1 − h²` the first is a ratio of sums, so equal singular values are no exception.
    """
    (x, ridge), (dx, dridge) = primals, tangents
    u, s, vt = thin_svd(x)
    inside, kept, inverse = _kept(s, x.shape, ridge)
    h, g = kept * inverse, jnp.sqrt(ridge) * inverse
    both = inside[:, None] & inside[None, :]
    one = jnp.where(inside, inverse, 0)
    edge = jnp.where(inside[:, None] | inside[None, :], one[:, None] + one[None, :], inverse[:, None])
    h_sum = h[:, None] + h[None, :]
    sums = h[:, None] * inverse[None, :] + inverse[:, None] * h[None, :]  # (sᵢ + sⱼ) / (rᵢ rⱼ)
    even = jnp.where(both, g[:, None] * g[None, :] * sums / jnp.where(both, h_sum, 1), edge)
    odd = jnp.where(both, h_sum / jnp.where(both, kept[:, None] + kept[None, :], 1), edge)

    left = contract(u, dx, (0, 0))
    inner = matmul(left, vt.T)
    change = 0.5 * (even * (inner + inner.T) + odd * (inner - inner.T)) - jnp.diag(0.5 * h * inverse * inverse * dridge)
    tangent = matmul(matmul(u, change), vt)
    if x.shape[0] > x.shape[1]:
        tangent += matmul(matmul(dx - matmul(u, left), vt.T) * inverse[None, :], vt)
    elif x.shape[0] < x.shape[1]:
        tangent += matmul(u * inverse[None, :], left - matmul(inner, vt))
    norm_tangent = jnp.sum(jnp.where(inside, jnp.diagonal(inner), 0))
    return (matmul(u * h[None, :], vt), jnp.sum(s)), (tangent, norm_tangent)


@jax.custom_jvp
def _cholesky_basis(x: Array) -> tuple[Array, Array]:
    """`X R⁻¹` with `RᵀR = XᵀX`, in two passes; and 1 where it is orthonormal but for columns of 0, else 0 and 0.

    The first pass loses digits by the square of the condition, which the second finds and mends.
    """
    present = jnp.any(x != 0, axis=0)
    eye = jnp.eye(x.shape[1], dtype=x.dtype)

    def improved(q: Array) -> tuple[Array, Array]:
        """Nearer to orthonormal, and how far it was, but for the lengths of the columns."""
        gram = jnp.where(present[:, None] & present[None, :], lower_self_products(q), eye)
        units = 1 / jnp.sqrt(jnp.diagonal(gram))
        gram = gram * units[:, None] * units[None, :]
        factor = jax.lax.linalg.cholesky(gram, symmetrize_input=False)
        inverse = jax.lax.linalg.triangular_solve(factor, jnp.diag(units), left_side=True, lower=True)
        return _times_upper(q, inverse.T), 2 * jnp.sum(jnp.tril(gram, -1) ** 2)

    q, _ = improved(x)
    q, error = improved(q)
    # What the second pass was given: near enough for one to be exact.
    trusted = error < 0.01
    return jnp.where(trusted, q, 0), trusted.astype(x.dtype)


def _times_upper(q: Array, upper: Array) -> Array:
    """The product with an upper triangular matrix."""
    bands = [(slice(i + BAND_COLUMNS), slice(i, i + BAND_COLUMNS)) for i in range(0, q.shape[1], BAND_COLUMNS)]
    return jnp.concatenate([matmul(q[:, before], upper[before, own]) for before, own in bands], axis=1)


@_cholesky_basis.defjvp
def _cholesky_basis_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[tuple, tuple]:
    """The part of the change that leaves the span: `(I - QQᵀ) dX (QᵀX)⁻¹`."""
    (x,), (dx,) = primals, tangents
    q, trusted = _cholesky_basis(x)
    present = jnp.any(q != 0, axis=0)
    factor = jnp.where(present[:, None] & present[None, :], contract(q, x, (0, 0)), 0)
    factor = factor + jnp.diag(jnp.where(present, 0, 1).astype(x.dtype))
    outside = jnp.where(present[None, :], dx - matmul(q, contract(q, dx, (0, 0))), 0)
    return (q, trusted), (jnp.linalg.solve(factor.T, outside.T).T, jnp.zeros_like(trusted))


def _leading(s: Array, shape: tuple[int, ...], variance: float, rank: int | None) -> Array:
    """1 for the singular values that are kept, 0 for others."""
    squares = s * s
    before = jnp.cumsum(squares) - squares
    # At 1 all of the numerical range: rounding of the sums has no say.
    enough = jnp.ones_like(s, bool) if variance >= 1 else ~(before >= variance * jnp.sum(squares))
    first = jnp.arange(s.shape[0]) < (s.shape[0] if rank is None else rank)
    return (enough & first & numerical_rank_mask(s, (shape[0], shape[1]), s.dtype)).astype(s.dtype)


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _leading_polar(x: Array, variance: float, rank: int | None) -> tuple[Array, Array]:
    u, s, vt = thin_svd(x)
    h = _leading(s, x.shape, variance, rank)
    return matmul(u * h[None, :], vt), jnp.sum(h)


@_leading_polar.defjvp
def _leading_polar_jvp(
    variance: float, rank: int | None, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple, tuple]:
    """The divided differences of `_polar_jvp` for `h(s)` = 1 where kept, 0 where not."""
    (x,), (dx,) = primals, tangents
    u, s, vt = thin_svd(x)
    h = _leading(s, x.shape, variance, rank)
    even = (h[:, None] - h[None, :]) * _reciprocal(s[:, None] - s[None, :])
    odd = (h[:, None] + h[None, :]) * _reciprocal(s[:, None] + s[None, :])
    left = contract(u, dx, (0, 0))
    inner = matmul(left, vt.T)
    change = 0.5 * (even * (inner + inner.T) + odd * (inner - inner.T))
    tangent = matmul(matmul(u, change), vt)
    inverse = h * _reciprocal(s)
    if x.shape[0] > x.shape[1]:
        tangent += matmul(matmul(dx - matmul(u, left), vt.T) * inverse[None, :], vt)
    elif x.shape[0] < x.shape[1]:
        tangent += matmul(u * inverse[None, :], left - matmul(inner, vt))
    return (matmul(u * h[None, :], vt), jnp.sum(h)), (tangent, jnp.zeros_like(s[0]))


def _kept(s: Array, shape: tuple[int, ...], ridge: Array) -> tuple[Array, Array, Array]:
    """The numerical range, `s` on it, and `1 / sqrt(s² + ridge)` (0 where that is infinite)."""
    inside = numerical_rank_mask(s, (shape[0], shape[1]), s.dtype)
    kept = jnp.where(inside, s, 0)
    return inside, kept, _reciprocal(jnp.hypot(kept, jnp.sqrt(ridge)))


def _reciprocal(r: Array) -> Array:
    return jnp.where(r == 0, 0, 1 / jnp.where(r == 0, 1, r))


def _scaled_psd(matrix: Array, ridge: float | Array) -> tuple[Array, Array, Array]:
    """The symmetric part and the ridge times a power of four, and the root of that power."""
    x = widen(matrix)
    x, ridge = 0.5 * (x + x.T), jnp.asarray(ridge, x.dtype)
    half = binary_scale(jnp.sqrt(jnp.maximum(jnp.max(jnp.abs(x)), ridge)))
    return x * half * half, ridge * half * half, half


def _eigen_roots(x: Array, ridge: Array) -> tuple[Array, Array, Array]:
    """Eigenvectors, the roots of the eigenvalues plus `ridge`, and their reciprocals."""
    values, vectors = jnp.linalg.eigh(x, symmetrize_input=False)
    kept = jnp.where(numerical_rank_mask(values, (x.shape[0], x.shape[0]), x.dtype), values, 0)
    roots = jnp.sqrt(kept + ridge)
    return vectors, roots, _reciprocal(roots)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _psd_root(x: Array, ridge: Array, invert: bool) -> Array:
    """Of an exactly symmetric `x`, with symmetric tangents."""
    vectors, roots, inverses = _eigen_roots(x, ridge)
    return matmul(vectors * (inverses if invert else roots)[None, :], vectors.T)


@_psd_root.defjvp
def _psd_root_jvp(invert: bool, primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """Divided differences of the root: `1 / (rᵢ + rⱼ)`, and `−1 / (rᵢ rⱼ (rᵢ + rⱼ))` for the inverse."""
    (x, ridge), (dx, dridge) = primals, tangents
    vectors, roots, inverses = _eigen_roots(x, ridge)
    factor = _reciprocal(roots[:, None] + roots[None, :])
    if invert:
        product = inverses[:, None] * inverses[None, :]
        cube = inverses**3  # against a direction that is 0: (1/rᵢ − 0) / (rᵢ² − 0)
        factor = jnp.where(product > 0, -product * factor, cube[:, None] + cube[None, :])
    inner = matmul(vectors.T, matmul(dx, vectors)) + dridge * jnp.eye(x.shape[0], dtype=x.dtype)
    values = matmul(vectors * (inverses if invert else roots)[None, :], vectors.T)
    return values, matmul(matmul(vectors, factor * inner), vectors.T)
