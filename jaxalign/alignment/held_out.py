"""Linear regression from one representation to another, scored on rows that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import cross_matmul, matmul, safe_divide
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.alignment.pairs import score_pairs
from jaxalign.signatures.folds import Factor, FoldedRegressor, split_rows, training_part


@pytree_dataclass
class HeldOutScore:
    """The share of the variance of held-out rows that regressions on the other rows predict."""

    def __call__(self, x: FoldedRegressor, y: FoldedRegressor) -> Scalar:
        """The score of one pair."""

        def of_fold(fold: Int[Array, ""]) -> tuple[Scalar, Scalar]:
            factor = jax.tree.map(lambda leaf: leaf[fold], x.factors)
            train, test = split_rows(x.rows * x.units[None, :, :], x.counts, fold)
            target, held_out = split_rows(y.rows, x.counts, fold)
            penalties = x.penalties[fold]
            if penalties.shape[0] > 1:
                errors = leave_one_out_errors(factor, target, training_part(x.counts, fold), penalties)
                penalties = penalties[jnp.argmin(errors)][None]
            missed = held_out - _predictions(train, test, target, penalties[0], factor)
            return jnp.sum(missed * missed), jnp.sum(held_out * held_out)

        missed, total = lax.map(of_fold, jnp.arange(x.rows.shape[0]))
        share = safe_divide(jnp.sum(missed), jnp.sum(total), otherwise=jnp.nan)
        return jnp.where(x.constant, jnp.nan, 1 - share)

    def matrix(self, a: Sequence[FoldedRegressor], b: Sequence[FoldedRegressor] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side (from) against every layer of the other (to); None: against itself."""
        return score_pairs(self, a, b, symmetric=False)


def leave_one_out_errors(
    factor: Factor, target: Float[Array, "t q"], counts: Bool[Array, "t"], penalties: Float[Array, "l"]
) -> Float[Array, "l"]:
    """For each penalty, the sum of squared errors when every row is predicted from all others.

    A residual of the fit to all rows, divided by 1 minus the leverage of its row, is the error without it.
    """
    known = cross_matmul(factor.left, target)
    beyond = target - matmul(factor.left, known)
    squares = factor.left * factor.left
    slack_beyond = 1 - 1 / jnp.sum(counts, dtype=target.dtype) - jnp.sum(squares, axis=1)

    def of_penalty(penalty: Scalar) -> Scalar:
        lost = penalty / (factor.singular**2 + penalty)
        residual = beyond + matmul(factor.left, lost[:, None] * known)
        slack = jnp.maximum(slack_beyond, 0) + matmul(squares, lost[:, None])[:, 0]
        errors = residual / jnp.where(counts, slack, 1)[:, None]
        return jnp.sum(errors * errors)

    return lax.map(of_penalty, penalties)


@jax.custom_jvp
def _predictions(
    train: Float[Array, "t d"],
    test: Float[Array, "m d"],
    target: Float[Array, "t q"],
    penalty: Scalar,
    factor: Factor,
) -> Float[Array, "m q"]:
    """`test (trainᵀ train + penalty I)⁻¹ trainᵀ target`, from the factor of the rows.

    Singular vectors have no derivative where singular values coincide; the predictions have. The factor is
    taken for a constant, so first derivatives are right, and second ones are not.
    """
    s = factor.singular
    weights = safe_divide(s, s * s + penalty)
    return matmul(factor.held_out, weights[:, None] * cross_matmul(factor.left, target))


@_predictions.defjvp
def _predictions_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """That of the normal equations, solved with the factor, within and beyond the span of the rows."""
    train, test, target, penalty, factor = primals
    d_train, d_test, d_target, d_penalty, _ = tangents
    s, left = factor.singular, factor.left
    inverse = safe_divide(jnp.ones_like(s), s * s + penalty)
    directions = left * safe_divide(jnp.ones_like(s), s)[None, :]  # Vᵀ = directionsᵀ train

    known = cross_matmul(left, target)
    dual = matmul(left, inverse[:, None] * known)
    coefficients = cross_matmul(train, dual)
    beyond = target - matmul(left, known)
    residual = beyond + matmul(left, (penalty * inverse)[:, None] * known)

    seen = cross_matmul(directions, matmul(train, cross_matmul(d_train, residual)))
    seen += s[:, None] * cross_matmul(left, d_target - matmul(d_train, coefficients))
    seen -= (s * inverse * d_penalty)[:, None] * known
    # A feature that comes into being takes up what no other could explain; without a penalty it is none yet.
    unseen = cross_matmul(d_train, dual + safe_divide(beyond, penalty))
    within = cross_matmul(directions, matmul(train, unseen))
    tangent = (
        matmul(d_test, coefficients) + matmul(factor.held_out, inverse[:, None] * seen - within) + matmul(test, unseen)
    )
    return _predictions(*primals), tangent
