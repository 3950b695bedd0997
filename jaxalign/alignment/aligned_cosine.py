"""The cosine of corresponding rows, after the best rotation or matching of features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

import jax.numpy as jnp

from jaxalign._core.checks import check_choice, check_pair
from jaxalign._core.jit import jit
from jaxalign._core.linalg import polar_factor
from jaxalign._core.numerics import accum_dtype, cross_matmul, safe_divide
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.pairs import score_pairs
from jaxalign.alignment.shape import ALIGNMENTS, matched_features
from jaxalign.signatures.directed import Directed, DirectedSignature


@pytree_dataclass
class AlignedCosineScore:
    """The mean cosine of corresponding rows.

    Attributes:
      alignment: one of `ALIGNMENTS`.
    """

    alignment: str = field(default="orthogonal", metadata={"static": True})

    def __call__(self, x: Directed, y: Directed) -> Scalar:
        """The score of one pair."""
        products = cross_matmul(x.rows, y.rows)
        # Entry (i, j): what the cosines gain, in sum, where feature i goes to feature j.
        gains = cross_matmul(x.directions, y.directions)
        if self.alignment == "orthogonal":
            total = jnp.sum(polar_factor(products) * gains)
        else:
            total = jnp.sum(gains[matched_features(products)])
        mean = safe_divide(total, x.count, otherwise=jnp.nan)
        return jnp.where(x.defined & y.defined, mean, jnp.nan)

    def matrix(self, a: Sequence[Directed], b: Sequence[Directed] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return score_pairs(self, a, b, symmetric=True)


def aligned_cosine_parts(alignment: str) -> tuple[DirectedSignature, AlignedCosineScore]:
    """Signature and score behind `aligned_cosine`.

    Raises:
      ValueError: for an unknown alignment.
    """
    check_choice("aligned_cosine", "alignment", alignment, ALIGNMENTS)
    return DirectedSignature(padded=alignment == "orthogonal"), AlignedCosineScore(alignment)


@jit(static=("alignment",))
def aligned_cosine(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    alignment: str = "orthogonal",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Aligned cosine similarity: the mean cosine of corresponding rows, after the best alignment of features.

    $$\frac1n \sum_i \frac{\langle x_i Q, y_i \rangle}{\|x_i\| \|y_i\|}, \qquad Q = \arg\min \|X Q - Y\|_F$$

    over orthogonal matrices or permutations. Inputs are not centered (see `preprocess.center`); the narrower one
    counts as if it had zero features more. Long rows say what the alignment is, all rows count alike after it.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      alignment: `"orthogonal"` or `"permutation"` (of features, exact).
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[-1, 1]`; 1 for an input and a rotation of it. NaN when a row that counts is 0. Directions that
      $X^\top Y$ does not determine, of singular values below about 3e-5 of the largest in float32, add nothing. The
      gradient is finite where singular values coincide or vanish; by permutation it is that for a fixed matching.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch or an unknown alignment.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.]])
      >>> round(float(aligned_cosine(x, x[:, ::-1], alignment="permutation")), 4)
      1.0

    Reference:
      Hamilton, Leskovec and Jurafsky (2016), arXiv:1605.09096, for words over time; Klabunde et al. (2024),
      arXiv:2408.00531, among the measures of the benchmark ReSi.
    """
    check_pair("aligned_cosine", x, y, mask)
    signature, score = aligned_cosine_parts(alignment)
    dtype = accum_dtype(x, y)
    return score(signature(x.astype(dtype), mask), signature(y.astype(dtype), mask))
