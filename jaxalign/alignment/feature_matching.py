"""Features matched one to one by their correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

import jax.numpy as jnp

from jaxalign._core.checks import check_choice, check_pair
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype, cross_matmul
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.pairs import score_pairs
from jaxalign.alignment.shape import best_matching
from jaxalign.signatures.correlated import CorrelatedSignature

KINDS = ("hard", "soft")


@pytree_dataclass
class MatchScore:
    """The mean correlation of matched features.

    Attributes:
      kind: `"hard"`, each feature once; or `"soft"`, each with the one it correlates most with.
    """

    kind: str = field(default="hard", metadata={"static": True})

    def __call__(self, x: Float[Array, "n p"], y: Float[Array, "n q"]) -> Scalar:
        """The score of one pair."""
        correlations = cross_matmul(x, y)
        if self.kind == "hard":
            value = best_matching(correlations) / min(correlations.shape)
        else:
            value = (jnp.mean(jnp.max(correlations, axis=1)) + jnp.mean(jnp.max(correlations, axis=0))) / 2
        return jnp.where(jnp.all(x == 0) | jnp.all(y == 0), jnp.nan, value)

    def matrix(self, a: Sequence[Array], b: Sequence[Array] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return score_pairs(self, a, b, symmetric=True)


@jit(static=("kind",))
def correlation_match(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    kind: str = "hard",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Correlation match: the mean correlation of features with their partners in the other input.

    `"hard"` matches every feature of the narrower input with another one of the wider, so that the mean is largest;
    `"soft"` lets each feature of either input choose, several the same one if they like.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      kind: `"hard"` or `"soft"`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[-1, 1]`, with correlations signed; the correlation of a constant feature is 0. NaN when
      an input is constant. The gradient is that for a fixed matching.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch or an unknown kind.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.]])
      >>> round(float(correlation_match(x, x[:, ::-1])), 4)
      1.0

    Reference:
      Li et al. (2015), Convergent learning, arXiv:1511.07543. "Soft matching" by optimal transport (Khosla
      and Williams 2024) is another measure.
    """
    check_pair("correlation_match", x, y, mask)
    check_choice("correlation_match", "kind", kind, KINDS)
    dtype = accum_dtype(x, y)
    signature = CorrelatedSignature()
    return MatchScore(kind)(signature(x.astype(dtype), mask), signature(y.astype(dtype), mask))
