"""Soft matching: features of two inputs, of whatever number, matched by optimal transport."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp

from jaxalign._core.checks import check_choice, check_pair
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype, cross_matmul
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.transport import transport_plan
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.pairs import score_pairs
from jaxalign.alignment.shape import distance_apart
from jaxalign.signatures.tuning import SCALES, TuningCurves, TuningCurvesSignature


@pytree_dataclass
class SoftMatchingScore:
    """The Wasserstein distance of two sets of features."""

    def __call__(self, x: TuningCurves, y: TuningCurves) -> Scalar:
        """The score of one pair."""
        products = cross_matmul(x.rows, y.rows)
        # Lengths cost the same whatever the plan: the cheapest is that with the largest inner product.
        inner = jnp.sum(transport_plan(-products) * products)
        undefined = (x.spread == 0) | (y.spread == 0)
        return jnp.where(undefined, jnp.nan, distance_apart(x.spread + y.spread, inner))

    def matrix(self, a: Sequence[TuningCurves], b: Sequence[TuningCurves] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return score_pairs(self, a, b, symmetric=True)


@jit(static=("scale",))
def soft_matching_distance(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    scale: str = "unit",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Soft matching distance: what it takes to transport the features of one input to those of the other.

    $$d^2 = \min_{P \ge 0} \sum_{ij} P_{ij} \|x_i - y_j\|^2, \qquad
      \sum_j P_{ij} = \frac1p, \quad \sum_i P_{ij} = \frac1q$$

    with centered columns $x_i$, $y_j$: the 2-Wasserstein distance of two sets of points of equal weight. The plan is
    exact (shortest augmenting paths). For $p = q$ it is a permutation, and the result is `permutation_distance`,
    in raw units divided by $\sqrt p$. A feature that is there twice counts as one of twice the weight, so
    that repeating all features of an input changes nothing.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      scale: `"unit"` divides by the root mean square length of features, `"feature"` brings each to length 1,
        `"raw"` leaves them in the units of the inputs.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, at least 0, and at most 2 but in raw units: a metric up to the order of features and translation
      (and scale, of all or of each). Below about 1e-3 of the largest value float32 makes it 0. NaN when an input is
      constant. The gradient is that for a fixed plan. With `"feature"`, and no constant features,
      $1 - d^2 / 2$ is the soft matching correlation: the mean correlation of features with those they go to.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch or an unknown scale.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.]])
      >>> float(soft_matching_distance(x, x[:, jnp.array([1, 0, 0, 1])]))
      0.0

    Reference:
      Khosla and Williams (2024), arXiv:2311.09466. Scales are those of this library: some implementations center only.
    """
    check_pair("soft_matching_distance", x, y, mask)
    check_choice("soft_matching_distance", "scale", scale, SCALES)
    dtype = accum_dtype(x, y)
    signature = TuningCurvesSignature(scale)
    return SoftMatchingScore()(signature(x.astype(dtype), mask), signature(y.astype(dtype), mask))
