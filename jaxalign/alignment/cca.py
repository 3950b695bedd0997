"""CCA family: canonical correlations and what is made of them.

With orthonormal bases of the centered columns of two inputs, canonical correlations are the
singular values of the product of the bases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType

import jax.numpy as jnp

from jaxalign._core.checks import check_choice, check_integer, check_pair, describe
from jaxalign._core.jit import jit
from jaxalign._core.linalg import nuclear_norm
from jaxalign._core.numerics import accum_dtype, cross_matmul, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.pairs import score_pairs
from jaxalign.engines.moments import squared_moments
from jaxalign.signatures.whitened import Whitened, WhitenedSignature


def _mean(product: Array, x: Whitened, y: Whitened) -> Scalar:
    return safe_divide(nuclear_norm(product), jnp.minimum(x.rank, y.rank), otherwise=jnp.nan)


def _top(product: Array, x: Whitened, y: Whitened) -> Scalar:
    largest = jnp.linalg.svd(product, compute_uv=False)[0]
    return jnp.where(jnp.minimum(x.rank, y.rank) > 0, largest, jnp.nan)


#: One number from the product of two bases.
OF_PRODUCT: Mapping[str, Callable[[Array, Whitened, Whitened], Scalar]] = MappingProxyType({"mean": _mean, "top": _top})
#: By what the sum of the squares of the correlations is divided, from both ranks. No singular value is needed for it.
OF_SQUARES: Mapping[str, Callable[[Array, Array], Array]] = MappingProxyType(
    {
        "mean_squared": jnp.minimum,
        "yanai": lambda one, other: safe_sqrt(one) * safe_sqrt(other),
        "larger_rank": jnp.maximum,
    }
)
#: What `cca` takes.
REDUCTIONS = ("mean", "mean_squared", "top", "yanai")


@pytree_dataclass
class CorrelationScore:
    """A number made of the canonical correlations of two whitened representations.

    Attributes:
      reduce: one of `OF_PRODUCT` or `OF_SQUARES`.
    """

    reduce: str = field(default="mean", metadata={"static": True})

    def __call__(self, x: Whitened, y: Whitened) -> Scalar:
        """The score of one pair."""
        return self.matrix([x], [y])[0, 0]

    def matrix(self, a: Sequence[Whitened], b: Sequence[Whitened] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        if self.reduce in OF_PRODUCT:
            return score_pairs(self._of_product, a, b, symmetric=True)
        layers = [*a, *(b or ())]
        ranks, constant = (jnp.stack([getattr(layer, name) for layer in layers]) for name in ("rank", "constant"))
        # Of a projector, the squared norm is the rank.
        squares, _ = squared_moments([layer.rows for layer in layers], len(a), b is None, None, own=ranks)
        one, other = slice(len(a)), slice(0 if b is None else len(a), None)
        divisor = OF_SQUARES[self.reduce](ranks[one, None], ranks[None, other])
        undefined = constant[one, None] | constant[None, other]
        return jnp.where(undefined, jnp.nan, safe_divide(squares, divisor, otherwise=jnp.nan))

    def _of_product(self, x: Whitened, y: Whitened) -> Scalar:
        value = OF_PRODUCT[self.reduce](cross_matmul(x.rows, y.rows), x, y)
        return jnp.where(x.constant | y.constant, jnp.nan, value)


def svcca_signature(variance: float, rank: int | None) -> WhitenedSignature:
    """The signature behind `svcca`.

    Raises:
      ValueError, TypeError: for a variance outside (0, 1] or a rank that is no positive integer.
    """
    if isinstance(variance, bool) or not isinstance(variance, (int, float)):
        raise TypeError(f"svcca: variance must be a number, got {describe(variance)}")
    if not 0 < variance <= 1:
        raise ValueError(f"svcca: variance must be in (0, 1], got {variance}")
    if rank is not None:
        check_integer("svcca", "rank", rank, minimum=1)
        variance = 1.0  # the rank says it all
    return WhitenedSignature(variance=float(variance), rank=rank)


def _whitened_pair(
    function: str, signature: WhitenedSignature, x: Array, y: Array, mask: Array | None
) -> tuple[Whitened, Whitened]:
    check_pair(function, x, y, mask)
    dtype = accum_dtype(x, y)
    return signature(x.astype(dtype), mask), signature(y.astype(dtype), mask)


@jit()
def canonical_correlations(
    x: Float[Array, "n p"], y: Float[Array, "n q"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, "r"]:
    r"""Canonical correlations: the cosines of the angles between the centered columns' spans.

    $$\rho = \text{singular values of } (X^\top X)^{-1/2} X^\top Y (Y^\top Y)^{-1/2}$$

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      Shape `(r,)` with `r = min(p, q)`, in `[0, 1]` up to rounding, largest first; 0 beyond the
      numerical rank of an input. At least `p + q - (n - 1)` of them are 1 for any inputs of full
      rank. The gradient is finite where correlations coincide or an input lacks rank.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch.
      TypeError: at trace time, on non-floating input.

    Warns:
      UninformativeWarning: at trace time, with no more than `max(p, q) + 1` examples: all are 1 then.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [3., 1.]])
      >>> [round(float(rho), 4) for rho in canonical_correlations(x, x @ jnp.array([[1., 2.], [0., 1.]]))]
      [1.0, 1.0]

    Reference:
      Hotelling (1936); by orthonormal bases: Björck and Golub (1973).
    """
    one, other = _whitened_pair("canonical_correlations", WhitenedSignature(), x, y, mask)
    return jnp.linalg.svd(cross_matmul(one.rows, other.rows), compute_uv=False)


@jit(static=("reduce",))
def cca(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    reduce: str = "mean",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Canonical correlation analysis as one number.

    With the canonical correlations $\rho_i$ and the numerical ranks $r_x$, $r_y$ of the centered inputs:
    `"mean"` $\sum\rho_i / \min(r_x, r_y)$; `"mean_squared"` $\sum\rho_i^2 / \min(r_x, r_y)$; `"top"`
    $\max\rho_i$; `"yanai"`, the generalised coefficient of determination, $\sum\rho_i^2 / \sqrt{r_x r_y}$,
    which is linear CKA of the whitened inputs.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      reduce: as above.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, 1]`. NaN when an input is constant. Blind to any invertible linear map of the
      features, and so to how much variance a direction has: noise directions count like all others.
      The gradient is finite where correlations coincide or an input lacks rank.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch or an unknown reduction.
      TypeError: at trace time, on non-floating input.

    Warns:
      UninformativeWarning: at trace time, with no more than `max(p, q) + 1` examples: 1 for any
        inputs (yanai: a function of the ranks). See `ridge_cca` and `svcca`.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [3., 1.]])
      >>> round(float(cca(x, x[:, :1])), 4)
      1.0

    Reference:
      Hotelling (1936); Raghu et al. (2017), arXiv:1706.05806; mean squared: Kornblith et al.
      (2019), arXiv:1905.00414; Yanai (1974), Ramsay et al. (1984).
    """
    check_choice("cca", "reduce", reduce, REDUCTIONS)
    return CorrelationScore(reduce)(*_whitened_pair("cca", WhitenedSignature(), x, y, mask))


@jit(static=("variance", "rank"))
def svcca(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    variance: float = 0.99,
    rank: int | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""SVCCA: mean canonical correlation of the leading principal components.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      variance: keep as few components of each input as hold this share of its variance, in `(0, 1]`.
      rank: keep this many components instead, whatever variance they hold.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, 1]`: the sum of canonical correlations over the smaller number of components.
      NaN when an input is constant. The decomposition is exact. The gradient is that for a fixed
      number of components, finite where singular values coincide.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, a variance outside `(0, 1]`, `rank < 1`.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [3., 1.]])
      >>> round(float(svcca(x, 3 * x[:, ::-1], rank=1)), 4)
      1.0

    Reference:
      Raghu et al. (2017), arXiv:1706.05806: 99 % of the variance. Libraries that take 99 % of the
      sum of singular values, or a randomised decomposition, compute something else.
    """
    signature = svcca_signature(variance, rank)
    return CorrelationScore("mean")(*_whitened_pair("svcca", signature, x, y, mask))


@jit()
def ridge_cca(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    ridge: float | Float[Array, ""],
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Mean regularised canonical correlation.

    $$\rho = \text{singular values of } (C_{xx} + \kappa I)^{-1/2} C_{xy} (C_{yy} + \kappa I)^{-1/2}$$

    with covariances divided by `n`; their sum is divided by the smaller number of features that vary,
    or by `n - 1` where that is less.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      ridge: κ, in the square of the units of both inputs, so bring them to one scale.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, 1)` for a positive ridge; smaller for larger ones, and below 1 for an input with itself.
      NaN when an input is constant or the ridge is negative.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [3., 1.]])
      >>> round(float(ridge_cca(x, x, ridge=0.1)), 4)
      0.8696

    Reference:
      Vinod (1976), Canonical ridge and econometrics of joint production.
    """
    signature = WhitenedSignature(ridge=ridge, shrunk=True)
    return CorrelationScore("mean")(*_whitened_pair("ridge_cca", signature, x, y, mask))


@jit()
def eigenspace_overlap(
    x: Float[Array, "n p"], y: Float[Array, "n q"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    r"""Eigenspace overlap: how much of the larger column space lies in the other.

    $$\|U_x^\top U_y\|_F^2 / \max(r_x, r_y)$$

    with orthonormal bases of the columns as they come, not centered, and their numerical ranks.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, 1]`. NaN when an input is 0.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch.
      TypeError: at trace time, on non-floating input.

    Warns:
      UninformativeWarning: at trace time, with no more than `max(p, q)` examples: the ratio of the
        ranks whatever the inputs.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [3., 1.]])
      >>> round(float(eigenspace_overlap(x, x[:, :1])), 4)
      0.5

    Reference:
      May et al. (2019), On the downstream performance of compressed word embeddings, arXiv:1909.01264.
    """
    signature = WhitenedSignature(centered=False)
    return CorrelationScore("larger_rank")(*_whitened_pair("eigenspace_overlap", signature, x, y, mask))
