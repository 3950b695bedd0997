"""Influence values: how much each example moves a score."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxalign._core.numerics import cross_matmul, gram_matmul, matmul, row_count, safe_divide, safe_sqrt, take_rows
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.alignment.kernel import KernelScore
from jaxalign.alignment.regression import PredictivityScore
from jaxalign.engines.centered import centered_matrix
from jaxalign.engines.heavy import heaviest_rows, row_lengths
from jaxalign.engines.products import WITHOUT_DIAGONAL
from jaxalign.inference.arguments import checked_pair
from jaxalign.kernels.gram import Gram
from jaxalign.measures.measure import Measure
from jaxalign.signatures.gram import GramSignature
from jaxalign.signatures.whitened import RegressorSignature

#: The derivative of what `KernelScore` returns of a value.
SLOPES = {
    "value": jnp.ones_like,
    "root": lambda value: safe_divide(jnp.ones_like(value), 2 * safe_sqrt(value), otherwise=jnp.nan),
    "angle": lambda value: -safe_divide(jnp.ones_like(value), safe_sqrt(1 - value * value), otherwise=jnp.nan),
}


def influence_values(
    measure: Measure, x: Float[Array, "n p"], y: Float[Array, "n q"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, "n"]:
    r"""How much each example moves a score: to first order, $n$ times what a weight larger by $1/n$ changes.

    For scores of kernels, with $c_i^{12} = \frac1n \sum_j K_{ij} L_{ij}$ of matrices centered as the score centers
    them, their mean $h_{12}$, and $h_{11}$, $h_{22}$ likewise, $A = h_{12} / \sqrt{h_{11} h_{22}}$ has

    $$\psi_i = A \Big( \frac{2 c_i^{12}}{h_{12}} - \frac{c_i^{11}}{h_{11}} - \frac{c_i^{22}}{h_{22}} \Big)$$

    and HSIC $2 (c_i^{12} - h_{12})$. For linear predictivity with residuals $e_i$ and centered targets $t_i$, by the
    envelope theorem,

    $$\psi_i = \big( (1 - R^2) \|t_i\|^2 - \|e_i\|^2 \big) / \tfrac1n \textstyle\sum_j \|t_j\|^2$$

    Args:
      measure: `kernel_alignment`, `cka`, `angular_cka`, `hsic`, `distance_correlation`, `distance_covariance` with any
        kernel and estimator, except minibatch and feature_corrected; or `linear_predictivity` without ridge or folds.
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      Shape `(n,)`, float32 or wider, with mean 0; 0 for rows that do not count, NaN where the score is. A bandwidth
      that is read off the data is taken as given. It takes `n × n` matrices, except with kernels that are inner
      products of fewer features than examples.

    Raises:
      ValueError: on rank or row-count mismatch, or for another measure.
      TypeError: on non-floating input, or for a measure that is none.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxalign import measures
      >>> x = jnp.array([[0.], [1.], [2.], [4.]])
      >>> [round(v, 3) for v in influence_values(measures.cka(), x, x**2).tolist()]
      [-0.046, 0.002, -0.125, 0.169]

    Reference:
      Hampel (1974), The influence curve; for kernel alignment and predictivity derived for this project.
    """
    x, y, mask = checked_pair("influence_values", measure, x, y, mask)
    check_has_influence("influence_values", measure)
    return influence(measure, x, y, mask)


def has_influence(measure: Measure) -> bool:
    """Whether influence values are known for a measure."""
    score, signature = measure.score, measure.signature
    if isinstance(score, KernelScore):
        return isinstance(signature, GramSignature)
    return isinstance(score, PredictivityScore) and isinstance(signature, RegressorSignature) and not signature.shrunk


def check_has_influence(function: str, measure: Measure) -> None:
    """Raise `ValueError` for a measure whose influence values are not known."""
    if not has_influence(measure):
        raise ValueError(
            f"{function}: influence values are known for scores of kernels and linear_predictivity without ridge, got "
            f'{measure.definition}; standard_error(measure, x, y, method="jackknife") works for any measure'
        )


@jax.jit
def influence(
    measure: Measure, x: Float[Array, "n p"], y: Float[Array, "n q"], mask: Bool[Array, "n"] | None
) -> Float[Array, "n"]:
    """Influence values of checked inputs."""
    score, signature = measure.score, measure.signature
    one, other = signature(x, mask), (measure.signature_y or signature)(y, mask)
    if isinstance(score, KernelScore):
        values = _of_kernels(score, one, other)
    else:
        basis, target = one.whitened.rows, other.target
        residual = target - matmul(basis, cross_matmul(basis, target))
        own, left = jnp.sum(target * target, axis=1), jnp.sum(residual * residual, axis=1)
        unexplained = safe_divide(jnp.sum(left), jnp.sum(own), otherwise=jnp.nan)
        mean = jnp.sum(own) / jnp.maximum(row_count(x, mask), 1)
        values = safe_divide(unexplained * own - left, mean, otherwise=jnp.nan)
        values = jnp.where(one.whitened.constant, jnp.nan, values)
    return values if mask is None else jnp.where(mask, values, 0)


def _of_kernels(score: KernelScore, x: Gram, y: Gram) -> Float[Array, "n"]:
    count = jnp.maximum(x.count, 1)
    cross, own_x, own_y = _row_products(x, y, score.centering, score.scaling == "cosine")
    total = jnp.sum(cross)
    if score.scaling == "cosine":
        sizes = jnp.sum(own_x), jnp.sum(own_y)
        norms = safe_sqrt(sizes[0]) * safe_sqrt(sizes[1])
        value = safe_divide(total, norms, otherwise=jnp.nan)
        # Not divided by the cross term, which may be 0.
        values = 2 * safe_divide(cross, norms, otherwise=jnp.nan)
        values = values - value * (safe_divide(own_x, sizes[0]) + safe_divide(own_y, sizes[1]))
        return SLOPES[score.form](value) * count * values
    scale = (
        x.units
        * y.units
        / {"n2": count * count, "nm1": (count - 1) ** 2, "u": count * (count - 3), "none": 1.0}[score.scaling]
    )
    if score.centering in WITHOUT_DIAGONAL:
        scale = jnp.where(count > 3, scale, jnp.nan)
    # The sum itself, divided by nothing, is the mean times a known number.
    return SLOPES[score.form](total * scale) * 2 * scale * (count * cross - total)


def _row_products(
    x: Gram, y: Gram, centering: str, norms: bool
) -> tuple[Float[Array, "n"], Float[Array, "n"], Float[Array, "n"]]:
    """`Σ_j K_ij L_ij` for every `i`, and with `K_ij²`, `L_ij²` where norms are needed, of centered matrices."""
    n = x.raw.shape[0]
    if x.kernel.dot_product and y.kernel.dot_product and max(x.raw.shape[1], y.raw.shape[1]) < n:
        return _row_products_of_features(x, y, centering, norms)
    k, m = (centered_matrix(gram, centering) for gram in (x, y))
    cross = jnp.sum(k * m, axis=1)
    return (cross, jnp.sum(k * k, axis=1), jnp.sum(m * m, axis=1)) if norms else (cross, cross, cross)


def _row_products_of_features(
    x: Gram, y: Gram, centering: str, norms: bool
) -> tuple[Float[Array, "n"], Float[Array, "n"], Float[Array, "n"]]:
    """The same through moments of the features."""
    hollow = centering in WITHOUT_DIAGONAL
    ones = jnp.ones(x.raw.shape[0], x.raw.dtype) if x.mask is None else x.mask.astype(x.raw.dtype)
    count = x.count
    sides = [(gram.rows, gram.diagonal if hollow else jnp.zeros_like(ones)) for gram in (x, y)]
    # Of the longest rows the diagonal is nearly all: instead of taking it off, what is left is summed.
    heavy = heaviest_rows(row_lengths([rows for rows, _ in sides]))
    apart = heavy[:, None] != jnp.arange(x.raw.shape[0], dtype=heavy.dtype)[None, :]

    def few(rows: Float[Array, "n d"]) -> Float[Array, "h n"]:
        """Rows of the matrix."""
        return jnp.where(apart, gram_matmul(take_rows(rows, heavy), rows), 0)

    def replaced(found: Float[Array, "n"], sums: Callable[[], Float[Array, "h"]]) -> Float[Array, "n"]:
        return found.at[heavy].set(sums()) if hollow else found

    def times(side: tuple[Array, Array], v: Float[Array, "n"]) -> Float[Array, "n"]:
        """The matrix times a vector."""
        rows, own = side
        found = matmul(rows, matmul(v[None], rows)[0]) - own * v
        return replaced(found, lambda: matmul(few(rows), v[:, None])[:, 0])

    def levels(gram: Gram, side: tuple[Array, Array]) -> Float[Array, "n"]:
        """What centering takes off each row and column."""
        if centering == "none":
            return jnp.zeros_like(ones)
        sums = times(side, ones) * ones
        if centering == "unbiased":
            found = sums / jnp.maximum(count - 2, 1) - jnp.sum(sums) / (2 * jnp.maximum((count - 1) * (count - 2), 1))
        else:
            means = (sums + (gram.diagonal if hollow else 0)) / jnp.maximum(count, 1)
            found = means - jnp.sum(means) / (2 * jnp.maximum(count, 1))
        return found * ones

    a, b = (levels(gram, side) for gram, side in zip((x, y), sides, strict=True))

    def inner(one: tuple[Array, Array], other: tuple[Array, Array], a: Array, b: Array) -> Float[Array, "n"]:
        raw = jnp.sum(matmul(one[0], cross_matmul(one[0], other[0])) * other[0], axis=1) - one[1] * other[1]
        raw = replaced(raw, lambda: jnp.sum(few(one[0]) * few(other[0]), axis=1))

        def others(v: Array) -> Array:
            return jnp.sum(v) - (v if hollow else 0)

        found = raw - b * times(one, ones) - times(one, b) - a * times(other, ones) - times(other, a)
        return (found + a * b * others(ones) + a * others(b) + b * others(a) + others(a * b)) * ones

    cross = inner(sides[0], sides[1], a, b)
    if not norms:
        return cross, cross, cross
    return cross, inner(sides[0], sides[0], a, a), inner(sides[1], sides[1], b, b)
