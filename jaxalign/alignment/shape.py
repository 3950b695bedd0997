"""Shape family: distances after the best rotation, or the best matching, of features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jax import lax
from optax.assignment import hungarian_algorithm

from jaxalign._core.checks import check_choice, check_pair, describe
from jaxalign._core.jit import jit
from jaxalign._core.linalg import nuclear_norm
from jaxalign._core.numerics import accum_dtype, cross_matmul, safe_arccos, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.alignment.pairs import score_pairs
from jaxalign.signatures.shaped import SCALES, Shape, ShapeSignature


def matched_features(products: Float[Array, "p q"]) -> tuple[Int[Array, "r"], Int[Array, "r"]]:
    """Rows and columns of the entries, no two in a row or column, whose sum is largest, `min(p, q)` of them."""
    with jax.numpy_dtype_promotion("standard"):  # optax mixes floats with 64-bit types on
        return hungarian_algorithm(-lax.stop_gradient(products))


def best_matching(products: Float[Array, "p q"]) -> Scalar:
    """The sum of the entries of `matched_features`; no gradient through the choice."""
    return jnp.sum(products[matched_features(products)])


def distance_apart(total: Scalar, inner: Scalar) -> Scalar:
    """`sqrt(total - 2 inner)`, of the sum of two squared sizes and an inner product."""
    square = total - 2 * inner
    # What rounding leaves of equal shapes is no distance.
    return safe_sqrt(jnp.where(square > 8 * jnp.finfo(square.dtype).eps * total, square, square * 0))


#: The largest inner product of two shapes over what may be done to the features of one.
ALIGNMENTS: Mapping[str, Callable[[Array], Scalar]] = MappingProxyType(
    {"orthogonal": nuclear_norm, "permutation": best_matching}
)


@pytree_dataclass
class ShapeScore:
    """The distance of two shapes, or the angle between them, at the best alignment of features.

    Attributes:
      alignment: one of `ALIGNMENTS`.
      angular: the angle.
    """

    alignment: str = field(default="orthogonal", metadata={"static": True})
    angular: bool = field(default=False, metadata={"static": True})

    def __call__(self, x: Shape, y: Shape) -> Scalar:
        """The score of one pair."""
        inner = ALIGNMENTS[self.alignment](cross_matmul(x.rows, y.rows))
        if self.angular:
            distance = safe_arccos(safe_divide(inner, x.size * y.size))
        else:
            distance = distance_apart(x.size * x.size + y.size * y.size, inner)
        undefined = (x.size == 0) | (y.size == 0)
        return jnp.where(undefined, jnp.nan, distance)

    def matrix(self, a: Sequence[Shape], b: Sequence[Shape] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return score_pairs(self, a, b, symmetric=True)


def angular_procrustes_signature(alpha: float) -> ShapeSignature:
    """The signature behind `angular_procrustes`.

    Raises:
      ValueError, TypeError: for an alpha that is not a number in [0, 1].
    """
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)):
        raise TypeError(f"angular_procrustes: alpha must be a number, got {describe(alpha)}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"angular_procrustes: alpha must be in [0, 1], got {alpha}")
    return ShapeSignature(alpha=float(alpha))


def _shape_distance(
    function: str, score: ShapeScore, signature: ShapeSignature, x: Array, y: Array, mask: Array | None
) -> Scalar:
    check_pair(function, x, y, mask)
    check_choice(function, "scale", signature.scale, SCALES)
    dtype = accum_dtype(x, y)
    return score(signature(x.astype(dtype), mask), signature(y.astype(dtype), mask))


@jit(static=("scale",))
def procrustes_distance(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    scale: str = "unit",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Procrustes distance: what is left between two centered inputs after the best rotation.

    $$d^2 = \min_{Q \text{ orthogonal}} \|X - YQ\|_F^2 = \|X\|_F^2 + \|Y\|_F^2 - 2 \|X^\top Y\|_*$$

    Inputs of different widths are compared as if the narrower one had zero features more.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      scale: `"unit"` compares shapes of Frobenius norm 1; `"raw"` size and shape, in the units of the inputs.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, at least 0, at most `sqrt(2)` for unit scale: a metric up to rotation and translation
      (and scale). Below about 1e-3 of the largest value float32 makes it 0. NaN when an input is constant.
      The gradient is finite where singular values coincide or vanish, and 0 at distance 0.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch or an unknown scale.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.]])
      >>> float(procrustes_distance(x, 3 * x[:, ::-1] + 1))
      0.0

    Reference:
      Schönemann (1966); Williams et al. (2021), arXiv:2110.14739. Some libraries return the square, or half of it.
    """
    return _shape_distance("procrustes_distance", ShapeScore(), ShapeSignature(scale), x, y, mask)


@jit(static=("alpha",))
def angular_procrustes(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    alpha: float = 1.0,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Angular Procrustes distance, with partial whitening.

    $$\theta = \arccos \frac{\|\phi(X)^\top \phi(Y)\|_*}{\|\phi(X)\|_F \|\phi(Y)\|_F}, \qquad
      \phi(X) = \alpha X + (1 - \alpha) X (X^\top X)^{-1/2}$$

    of centered inputs. The cosine is the normalized Bures similarity of linear kernel matrices at $\alpha = 1$,
    and the mean canonical correlation (over the larger rank, in the geometric mean) at 0.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      alpha: in `[0, 1]`. Between the ends the result depends on the units of the inputs.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, pi / 2]` radians, larger is farther: a metric. Angles below about 5e-4 are lost in the
      rounding of float32. NaN when an input is constant. The gradient is finite where singular values
      coincide or vanish, and 0 where the angle is 0.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, an alpha outside `[0, 1]`.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.]])
      >>> round(float(angular_procrustes(x, x[:, :1])), 4)
      0.6591

    Reference:
      Williams et al. (2021), arXiv:2110.14739.
    """
    signature = angular_procrustes_signature(alpha)
    return _shape_distance("angular_procrustes", ShapeScore(angular=True), signature, x, y, mask)


@jit(static=("scale",))
def permutation_distance(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    scale: str = "unit",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Permutation distance: what is left between two centered inputs after the best matching of features.

    $$d^2 = \min_{\Pi \text{ permutation}} \|X - Y\Pi\|_F^2$$

    Inputs of different widths are compared as if the narrower one had zero features more. The matching is
    exact (Hungarian algorithm, cubic in the number of features).

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      scale: `"unit"` compares shapes of Frobenius norm 1; `"raw"` size and shape, in the units of the inputs.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, at least `procrustes_distance` and at most 2 for unit scale: a metric up to the order of
      features and translation (and scale). NaN when an input is constant. The gradient is that for a
      fixed matching.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch or an unknown scale.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.]])
      >>> float(permutation_distance(x, 3 * x[:, ::-1] + 1))
      0.0

    Reference:
      Williams et al. (2021), arXiv:2110.14739; Li et al. (2015), arXiv:1511.07543.
    """
    signature = ShapeSignature(scale, padded=False)
    return _shape_distance("permutation_distance", ShapeScore("permutation"), signature, x, y, mask)
