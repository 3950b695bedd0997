"""A representation and its targets, taken apart: the spectrum of the kernel matrix and what the targets are in it."""

from __future__ import annotations

from dataclasses import field

import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_mask, check_matrix, describe
from jaxalign._core.least_squares import Decomposition, decompose, with_derivative_of
from jaxalign._core.linalg import numerical_rank_mask
from jaxalign._core.numerics import accum_dtype, binary_scale, cross_matmul, mask_rows, matmul, row_count
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.kernels.base import Kernel, check_kernel
from jaxalign.signatures.gram import GramSignature


@pytree_dataclass
class TaskSpectrum:
    """The kernel matrix `K` of the rows that count, and the targets, both brought near 1 by powers of two.

    Of an inner product of features, with more rows than features or not, no matrix of rows by rows is made.

    Attributes:
      rows: features `F (n, d)` with `K = F Fᵀ`, or `K` itself, `(n, n)`; with derivatives.
      targets: `(n, t)`; with derivatives.
      parts: the thin decomposition of `F`, or of a root of `K`; without derivatives.
      mask: which rows count.
      kernel_unit: entries of the kernel over those of `K`.
      target_unit: entries of the targets over those of `targets`.
      definite: `K` has no eigenvalue below 0, up to rounding.
      square: `rows` is `K`.
    """

    rows: Float[Array, "n d"]
    targets: Float[Array, "n t"]
    parts: Decomposition
    mask: Bool[Array, "n"] | None
    kernel_unit: Scalar
    target_unit: Scalar
    definite: Bool[Array, ""]
    square: bool = field(metadata={"static": True})

    @property
    def count(self) -> Scalar:
        """How many rows count."""
        return row_count(self.rows, self.mask)

    @property
    def values(self) -> Float[Array, "r"]:
        """Eigenvalues of `K`, in descending order; 0 beyond the rank."""
        return self.parts.singular * self.parts.singular

    @property
    def eigenvalues(self) -> Float[Array, "r"]:
        """Those of the kernel matrix over the number of rows."""
        return self.values * (self.kernel_unit / self.count)

    @property
    def unknown(self) -> Scalar:
        """How many directions of rows that count the kernel matrix lacks."""
        return self.count - self.parts.rank.astype(self.count.dtype)

    @property
    def zero(self) -> Bool[Array, ""]:
        """The kernel matrix is 0."""
        return jnp.max(self.values) == 0

    def energies(self) -> tuple[Float[Array, "r"], Scalar]:
        """The squared length of the targets along each eigenvector, and outside their span; `K` is a constant."""
        known, beyond = self.parts.apart(self.targets)
        # Of as many directions as rows, nothing lies outside but rounding.
        return jnp.sum(known * known, axis=1), jnp.where(self.unknown > 0, jnp.sum(beyond * beyond), 0)

    def form(self, weights: Float[Array, "r"], slopes: Float[Array, "r r"], edge: Float[Array, "r"]) -> Scalar:
        """`tr(Yᵀ f(K) Y)` for a function of the eigenvalues that is 0 at 0; first derivatives are right at equal ones.

        Args:
          weights: `f` of each eigenvalue.
          slopes: divided differences of `f`, and its derivative on the diagonal.
          edge: divided differences against the eigenvalue 0.
        """
        left = self.parts.left
        known, beyond = self.parts.apart(lax.stop_gradient(self.targets))
        energies = jnp.sum(known * known, axis=1)
        value = jnp.sum(weights * energies)
        constants = lax.stop_gradient((weights, slopes, edge))
        slope = constants[1] * matmul(known, known.T)
        out = matmul(beyond, (constants[2][:, None] * known).T)
        # The derivative of the form with respect to K is M = U slope Uᵀ + out Uᵀ + U outᵀ.
        if self.square:
            across = matmul(out, left.T)
            of_rows = jnp.sum((matmul(matmul(left, slope), left.T) + across + across.T) * self.rows)
        else:
            inside = cross_matmul(left, lax.stop_gradient(self.rows))
            of_rows = 2 * jnp.sum((matmul(left, matmul(slope, inside)) + matmul(out, inside)) * self.rows)
        of_targets = 2 * jnp.sum(matmul(left, constants[0][:, None] * known) * self.targets)
        return with_derivative_of(value, of_rows + of_targets + jnp.sum(energies * weights))


def task_spectrum(
    function: str, z: Float[Array, "n d"], y: Float[Array, "n t"], kernel: Kernel, mask: Bool[Array, "n"] | None
) -> TaskSpectrum:
    """The spectrum behind a function of a representation and targets.

    Raises:
      ValueError, TypeError: for inputs that do not fit, or labels that are no numbers.
    """
    y = checked_targets(function, z, y, mask)
    check_kernel(function, kernel)
    dtype = accum_dtype(z, y)
    targets = mask_rows(y.astype(dtype), mask)
    scale = binary_scale(targets)
    if kernel.dot_product:
        rows = features(kernel, z.astype(dtype), mask)
        unit = binary_scale(rows)
        rows = rows * unit
        return TaskSpectrum(
            rows,
            targets * scale,
            decompose(rows),
            mask,
            1 / (unit * unit),
            1 / scale,
            jnp.ones((), bool),
            square=False,
        )
    matrix = GramSignature(kernel, centering="none")(z.astype(dtype), mask).matrix()
    unit = binary_scale(matrix)
    matrix = matrix * unit
    parts, definite = root_parts(matrix)
    return TaskSpectrum(matrix, targets * scale, parts, mask, 1 / unit, 1 / scale, definite, square=True)


def features(kernel: Kernel, z: Float[Array, "n d"], mask: Bool[Array, "n"] | None) -> Float[Array, "n d"]:
    """The rows whose inner products are the entries of a kernel that is one; 0 where they do not count."""
    rows = mask_rows(z, mask)
    return rows * kernel.row_factors(rows)[:, None]


def checked_targets(function: str, z: Array, y: Array, mask: Array | None) -> Float[Array, "n t"]:
    """The targets as a matrix; a vector is one column.

    Raises:
      ValueError, TypeError: for inputs that do not fit, or labels that are no numbers.
    """
    check_matrix(function, "z", z)
    check_mask(function, mask, z.shape[0])
    if not jnp.issubdtype(y.dtype, jnp.floating):
        raise TypeError(
            f"{function}: y must be floating point targets, got {describe(y)}; "
            "for labels pass jax.nn.one_hot(y, classes), which has a column for each class"
        )
    if y.ndim not in (1, 2) or 0 in y.shape:
        raise ValueError(f"{function}: y must have shape (examples, outputs) or (examples,), got {describe(y)}")
    if y.shape[0] != z.shape[0]:
        raise ValueError(
            f"{function}: z and y must have the same number of rows, one per example, got {z.shape[0]} and {y.shape[0]}"
        )
    return y[:, None] if y.ndim == 1 else y


def root_parts(matrix: Float[Array, "n n"]) -> tuple[Decomposition, Bool[Array, ""]]:
    """The decomposition of a root of a symmetric matrix, and whether it has one."""
    values, vectors = jnp.linalg.eigh(lax.stop_gradient(matrix))
    values, vectors = values[::-1], vectors[:, ::-1]
    magnitudes = jnp.abs(values)
    counted = numerical_rank_mask(magnitudes, (matrix.shape[0], matrix.shape[0]), values.dtype)
    kept = counted & ~(values < 0)
    roots = jnp.where(kept, jnp.sqrt(jnp.where(kept, values, 1)), 0)
    vectors = jnp.where(kept[None, :], vectors, 0)
    return Decomposition(vectors, roots, vectors.T), jnp.all(~counted | ~(values < 0))
