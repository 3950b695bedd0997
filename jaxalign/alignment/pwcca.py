"""Projection-weighted CCA."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp

from jaxalign._core.checks import check_pair
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype, contract, cross_matmul, safe_divide
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.pairs import score_pairs
from jaxalign.signatures.whitened import Projected, ProjectedSignature


@pytree_dataclass
class ProjectionWeightedScore:
    """Canonical correlations weighted by how much of the first representation each direction makes up."""

    def __call__(self, x: Projected, y: Projected) -> Scalar:
        """The score of one pair."""
        product = cross_matmul(x.whitened.rows, y.whitened.rows)
        directions, correlations, _ = jnp.linalg.svd(product, full_matrices=False)
        weights = jnp.sum(jnp.abs(contract(directions, x.features, (0, 0))), axis=1)
        # There are as many variates as the smaller rank; further directions are any that are left.
        shared = jnp.minimum(x.whitened.rank, y.whitened.rank)
        weights = jnp.where(jnp.arange(weights.shape[0]).astype(shared.dtype) < shared, weights, 0)
        mean = safe_divide(jnp.sum(weights * correlations), jnp.sum(weights), otherwise=jnp.nan)
        return jnp.where(x.whitened.constant | y.whitened.constant, jnp.nan, mean)

    def matrix(self, a: Sequence[Projected], b: Sequence[Projected] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side, which gives the weights, against every layer of the other (None: itself)."""
        return score_pairs(self, a, b, symmetric=False)


@jit()
def pwcca(x: Float[Array, "n p"], y: Float[Array, "n q"], *, mask: Bool[Array, "n"] | None = None) -> Float[Array, ""]:
    r"""Projection-weighted CCA: canonical correlations, weighted by their part in `x`.

    $$\sum_i \alpha_i \rho_i \Big/ \sum_i \alpha_i, \qquad \alpha_i = \sum_j |\langle h_i, x_j\rangle|$$

    with the canonical variates $h_i$ of `x`, of length 1, and its centered features $x_j$.

    Args:
      x: activations, shape `(n, p)`, which give the weights; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, 1]`; not symmetric. NaN when an input is constant. Where canonical correlations
      coincide (an input with itself), the weights of single directions are not determined: the value
      is right, the gradient may be NaN there.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch.
      TypeError: at trace time, on non-floating input.

    Warns:
      UninformativeWarning: at trace time, with no more than `max(p, q) + 1` examples: 1 for any inputs.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [3., 1.]])
      >>> round(float(pwcca(x, 3 * x)), 4)
      1.0

    Reference:
      Morcos, Raghu and Bengio (2018), arXiv:1806.05759. Of five implementations that were run on the
      same data, one (sim_metric) gives this number.
    """
    check_pair("pwcca", x, y, mask)
    dtype = accum_dtype(x, y)
    signature = ProjectedSignature()
    return ProjectionWeightedScore()(signature(x.astype(dtype), mask), signature(y.astype(dtype), mask))
