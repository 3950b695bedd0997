"""Regression family: how well one representation predicts another, and what follows for every linear task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import jax.numpy as jnp

from jaxalign._core.checks import check_integer, check_pair, check_ridge
from jaxalign._core.jit import jit
from jaxalign._core.linalg import nuclear_norm
from jaxalign._core.numerics import (
    accum_dtype,
    binary_scale,
    center_columns,
    cross_matmul,
    matmul,
    safe_divide,
)
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.held_out import HeldOutScore
from jaxalign.alignment.pairs import score_pairs
from jaxalign.alignment.shape import distance_apart
from jaxalign.signatures.correlated import CorrelatedSignature
from jaxalign.signatures.folds import FoldedRegressorSignature, deal_rows
from jaxalign.signatures.whitened import Regressor, RegressorSignature, Whitened, WhitenedSignature


@pytree_dataclass
class PredictivityScore:
    """The share of the variance of the second representation that the first explains."""

    def __call__(self, x: Regressor, y: Regressor) -> Scalar:
        """The score of one pair."""
        basis, target = x.whitened.rows, y.target
        # The residual itself: what is left of a difference of squares has no digits near 1.
        residual = target - matmul(basis, cross_matmul(basis, target))
        share = safe_divide(jnp.sum(residual * residual), jnp.sum(target * target), otherwise=jnp.nan)
        return jnp.where(x.whitened.constant, jnp.nan, 1 - share)

    def matrix(self, a: Sequence[Regressor], b: Sequence[Regressor] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side (from) against every layer of the other (to); None: against itself."""
        return score_pairs(self, a, b, symmetric=False)


@pytree_dataclass
class GULPScore:
    """The Frobenius distance between the smoothing matrices of two representations."""

    def __call__(self, x: Whitened, y: Whitened) -> Scalar:
        """The score of one pair."""
        own_x, own_y, cross = (
            jnp.sum(product * product)
            for product in (cross_matmul(x.rows, x.rows), cross_matmul(y.rows, y.rows), cross_matmul(x.rows, y.rows))
        )
        return jnp.where(x.constant | y.constant, jnp.nan, distance_apart(own_x + own_y, cross))

    def matrix(self, a: Sequence[Whitened], b: Sequence[Whitened] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return score_pairs(self, a, b, symmetric=True)


@pytree_dataclass
class PLSScore:
    """The mean singular value of the matrix of correlations between features."""

    def __call__(self, x: Float[Array, "n p"], y: Float[Array, "n q"]) -> Scalar:
        """The score of one pair."""
        constant = jnp.all(x == 0) | jnp.all(y == 0)
        mean = nuclear_norm(cross_matmul(x, y)) / min(x.shape[1], y.shape[1])
        return jnp.where(constant, jnp.nan, mean)

    def matrix(self, a: Sequence[Array], b: Sequence[Array] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return score_pairs(self, a, b, symmetric=True)


def uses_ridge(function: str, ridge: float | Array) -> bool:
    """Whether a ridge has to be reckoned with: not when it is the Python number 0.

    Raises:
      TypeError, ValueError: when it is no number, several, or negative.
    """
    check_ridge(function, ridge)
    return not (isinstance(ridge, (int, float)) and ridge == 0)


def predictivity_parts(
    ridge: float | Array | tuple[float | Array, ...], folds: int | None
) -> tuple[RegressorSignature | FoldedRegressorSignature, PredictivityScore | HeldOutScore]:
    """Signature and score behind `linear_predictivity`.

    Raises:
      TypeError, ValueError: for a ridge or a number of folds that cannot be.
    """
    function = "linear_predictivity"
    if folds is not None:
        check_integer(function, "folds", folds, minimum=2)
    if isinstance(ridge, tuple):
        if not ridge:
            raise ValueError(f"{function}: ridge must hold at least one number, got ()")
        for one in ridge:
            check_ridge(function, one)
            if isinstance(one, (int, float)) and one == 0:
                raise ValueError(f"{function}: ridges to choose from must be positive, got {ridge}")
    elif folds is None:
        return RegressorSignature(ridge, uses_ridge(function, ridge)), PredictivityScore()
    else:
        check_ridge(function, ridge)
    ridges = ridge if isinstance(ridge, tuple) else (ridge,)
    return FoldedRegressorSignature(ridges, folds or 1), HeldOutScore()


def linear_predictivity(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    ridge: float | Float[Array, ""] | tuple[float | Float[Array, ""], ...] = 0.0,
    folds: int | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Linear predictivity: the share of the variance of `y` that a linear map of `x` explains, in or out of sample.

    $$R^2 = 1 - \|\bar Y - \bar X \hat B\|_F^2 \,/\, \|\bar Y\|_F^2, \qquad
      \hat B = (\bar X^\top \bar X + n \kappa I)^{-1} \bar X^\top \bar Y$$

    With `folds=k`, row `i` is held out in fold `i % k`, and predicted by the fit to the other folds. $\bar Y$ is then
    `y` less the mean of the rows trained on, and both sums go over all folds and features: the mean of what one
    trains on predicts with 0. Of rows with a mask, those that count are numbered.

    Args:
      x: what predicts, activations of shape `(n, p)`; row `i` is example `i`.
      y: what is predicted, shape `(n, q)`, same examples in the same order.
      ridge: κ, added to the variances of `x`, in the square of its units: the `alpha` of scikit-learn over the number
        of rows trained on. Of a tuple the one with the least leave-one-out error is taken, one for all features
        of `y`; anew in every fold, from the rows trained on.
      folds: how many, at least 2; None scores the rows that the fit was made for.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar; not symmetric. Directions of `y` count by their variance. In sample in `[0, 1]`: independent inputs have
      about `p / (n - 1)`. With folds at most 1, and negative where the mean would have been better: about
      `-p / (m - p - 1)` for independent inputs, without a ridge, of which `m` rows are trained on. Where these are
      no more than the features, the least-norm fit is taken. NaN when either input is constant. The
      gradient is finite where singular values coincide or vanish, and that for the ridge that is taken; with folds,
      or several ridges, second derivatives are not right.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch; for a ridge that is negative or an array of
        several, one of 0 among several, fewer than 2 folds or more than rows.
      TypeError: at trace time, on non-floating input, or folds that are no integer.

    Warns:
      UninformativeWarning: at trace time, in sample, without a ridge, and with no more than `p + 1` examples:
        anything is then predicted exactly.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [3., 1.], [5., 4.], [1., 3.]])
      >>> round(float(linear_predictivity(x, x[:, :1])), 4)
      1.0
      >>> round(float(linear_predictivity(x[:, 1:], x[:, :1], folds=3)), 4)
      -0.4772

    Reference:
      The coefficient of determination; Kornblith et al. (2019), arXiv:1905.00414, compare it with CKA.
      Out of sample it is what the literature on vision and the brain calls neural predictivity, where it is often a
      correlation for each feature instead; Schrimpf et al. (2018), Brain-Score.
    """
    return _linear_predictivity(x, y, signature=predictivity_parts(ridge, folds)[0], mask=mask)


@jit()
def _linear_predictivity(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    signature: RegressorSignature | FoldedRegressorSignature,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    check_pair("linear_predictivity", x, y, mask)
    dtype = accum_dtype(x, y)
    x, y = x.astype(dtype), y.astype(dtype)
    # Only the rows of what is predicted are needed: nothing of it is taken apart.
    if isinstance(signature, FoldedRegressorSignature):
        predictor = signature(x, mask)
        return HeldOutScore()(predictor, replace(predictor, rows=deal_rows(y, mask, signature.folds)[0]))
    basis = WhitenedSignature(ridge=signature.ridge, shrunk=signature.shrunk)(x, mask)
    target = center_columns(y, mask)
    return PredictivityScore()(Regressor(basis, basis.rows), Regressor(basis, target * binary_scale(target)))


def gulp(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    ridge: float | Float[Array, ""] = 0.0,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""GULP: how far ridge regressions on two representations differ, over all targets.

    $$d_\kappa^2 = \|S_x\|_F^2 + \|S_y\|_F^2 - 2 \langle S_x, S_y\rangle, \qquad
      S_x = \bar X (\bar X^\top \bar X + n \kappa I)^{-1} \bar X^\top$$

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      ridge: κ, in the square of the units of both inputs, so bring them to one scale. Without one,
        $d^2 = r_x + r_y - 2\sum\rho_i^2$ with the ranks and canonical correlations.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, at least 0 and at most `sqrt(r_x + r_y)`, a metric up to linear maps of the features
      (orthogonal ones, with a ridge). Below about 1e-3 of that, float32 makes it 0. NaN when an input
      is constant.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch; for a negative ridge, or several.
      TypeError: at trace time, on non-floating input.

    Warns:
      UninformativeWarning: at trace time, without a ridge and with no more than `max(p, q) + 1` examples.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [3., 1.]])
      >>> float(gulp(x, x[:, ::-1]))
      0.0

    Reference:
      Boix-Adsera et al. (2022), arXiv:2210.06545. Its square is what some libraries return.
    """
    return _gulp(x, y, ridge=ridge, shrunk=uses_ridge("gulp", ridge), mask=mask)


@jit(static=("shrunk",))
def _gulp(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    ridge: float | Float[Array, ""],
    shrunk: bool,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    check_pair("gulp", x, y, mask)
    dtype = accum_dtype(x, y)
    signature = WhitenedSignature(ridge=ridge, shrunk=shrunk)
    return GULPScore()(signature(x.astype(dtype), mask), signature(y.astype(dtype), mask))


@jit()
def pls_svd(
    x: Float[Array, "n p"], y: Float[Array, "n q"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    r"""PLS-SVD similarity: the mean singular value of the matrix of correlations between features.

    $$m = \frac{1}{\min(p, q)} \|\hat X^\top \hat Y\|_*$$

    with centered columns of length 1; a constant column is 0.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, at least 0 and at most `sqrt(max(p, q) / min(p, q))`; 1 for an input with itself, unless
      a column of it is constant. NaN when an input is constant. The gradient is finite where singular values coincide.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [3., 1.]])
      >>> round(float(pls_svd(x, 2 * x[:, ::-1])), 4)
      1.0

    Reference:
      Partial least squares by one singular value decomposition (Wold 1985); as a measure: Nielsen
      et al. (2025), arXiv:2506.03784.
    """
    check_pair("pls_svd", x, y, mask)
    dtype = accum_dtype(x, y)
    signature = CorrelatedSignature()
    return PLSScore()(signature(x.astype(dtype), mask), signature(y.astype(dtype), mask))
