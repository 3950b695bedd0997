"""Shapes with noise: distances between Gaussians, one for each example, after the best rotation of features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_integer, check_pair, describe
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype, cross_matmul, matmul, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.pairs import score_pairs
from jaxalign.alignment.rotations import nearest_rotation, pad_last
from jaxalign.signatures.repeated import Repeated, RepeatedSignature

#: How often rotations are found in turn, unless something else is said.
STEPS = 30


@pytree_dataclass
class StochasticShapeScore:
    """The distance of two sets of Gaussians, at a rotation of features that finding it again does not change.

    Attributes:
      alpha: the weight of means; that of covariances is 2 less that.
      steps: how often rotations are found in turn.
    """

    alpha: float = field(default=1.0, metadata={"static": True})
    steps: int = field(default=STEPS, metadata={"static": True})

    def __call__(self, x: Repeated, y: Repeated) -> Scalar:
        """The score of one pair."""
        width = max(x.means.shape[1], y.means.shape[1])
        x, y = (jax.tree.map(lambda leaf: pad_last(leaf, width) if leaf.ndim > 1 else leaf, z) for z in (x, y))
        weight, noise_weight = self.alpha, 2 - self.alpha

        def mixed(rotation: Float[Array, "d d"]) -> Float[Array, "m r d"]:
            """The roots of `y` that, rotated, are nearest to those of `x`: a root times a rotation is one as well."""
            products = matmul(matmul(y.roots, rotation), x.roots.swapaxes(1, 2))
            return matmul(jax.vmap(nearest_rotation)(products).swapaxes(1, 2), y.roots)

        def step(_: Array, rotation: Float[Array, "d d"]) -> Float[Array, "d d"]:
            roots_x, roots_y = (roots.reshape(-1, width) for roots in (x.roots, mixed(rotation)))
            return nearest_rotation(
                weight * cross_matmul(y.means, x.means) + noise_weight * cross_matmul(roots_y, roots_x)
            )

        rotation = lax.fori_loop(0, self.steps, step, nearest_rotation(cross_matmul(y.means, x.means)))
        means, roots = x.means - matmul(y.means, rotation), x.roots - matmul(mixed(rotation), rotation)

        def size(means: Float[Array, "m d"], roots: Float[Array, "m r d"]) -> Scalar:
            return weight * jnp.sum(means * means) + noise_weight * jnp.sum(roots * roots)

        distance = safe_sqrt(safe_divide(size(means, roots), x.count))
        undefined = (size(x.means, x.roots) == 0) | (size(y.means, y.roots) == 0)
        return jnp.where(undefined, jnp.nan, distance)

    def matrix(self, a: Sequence[Repeated], b: Sequence[Repeated] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return score_pairs(self, a, b, symmetric=True)


def stochastic_shape_parts(repeats: int, alpha: float, steps: int) -> tuple[RepeatedSignature, StochasticShapeScore]:
    """Signature and score behind `stochastic_shape_distance`.

    Raises:
      TypeError, ValueError: for fewer than 2 repeats, an alpha outside `[0, 2]`, or fewer than 0 steps.
    """
    function = "stochastic_shape_distance"
    check_integer(function, "steps", steps, minimum=0)
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)):
        raise TypeError(f"{function}: alpha must be a number, got {describe(alpha)}")
    if not 0 <= alpha <= 2:
        raise ValueError(f"{function}: alpha must be in [0, 2], got {alpha}")
    return RepeatedSignature(repeats), StochasticShapeScore(float(alpha), steps)


@jit(static=("repeats", "alpha", "steps"))
def stochastic_shape_distance(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    repeats: int,
    alpha: float = 1.0,
    steps: int = STEPS,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Stochastic shape distance: between the distributions that repeated measurements of each example are drawn from.

    $$d^2 = \min_{Q \text{ orthogonal}} \frac1m \sum_i \alpha \|\mu_i - Q^\top \nu_i\|^2
      + (2 - \alpha) \, B^2(\Sigma_i, Q^\top T_i Q), \qquad
      B^2(\Sigma, T) = \operatorname{tr} \big(\Sigma + T - 2 (\Sigma^{1/2} T \Sigma^{1/2})^{1/2}\big)$$

    with means $\mu_i$, $\nu_i$ of the measurements of an example, less their mean over examples, and covariances
    $\Sigma_i$, $T_i$ (divided by `repeats - 1`). At $\alpha = 1$ each term is the squared 2-Wasserstein distance of two
    Gaussians; at 2 only means count, and $d$ is `procrustes_distance` of these in raw units times $\sqrt{2 / m}$;
    at 0 only covariances do. Inputs of different widths are compared as if the narrower one had zero features more.

    The rotation, and the rotations that match roots of covariances, are found in turn, each exactly for the others,
    from the rotation that is best for the means. The distance never grows on the way, and ends in a minimum that may
    be a local one: an upper bound of the distance defined.

    Args:
      x: activations, shape `(n, p)`: `repeats` blocks of the same `m = n / repeats` examples in the same order, row
        `b * m + i` is measurement `b` of example `i`.
      y: activations, shape `(n, q)`, same examples in the same order; measurements need not correspond.
      repeats: how often every example was measured, at least 2.
      alpha: weight of the means, in `[0, 2]`.
      steps: how often rotations are found in turn.
      mask: shape `(n,)`; `False` rows are padding and may hold any value. An example counts if all its rows do.

    Returns:
      A scalar, at least 0, in the units of the inputs; about 1e-6 of their size for equal ones. NaN when an input has
      neither means that differ nor noise, of what alpha weighs. The gradient is that for fixed rotations.
      Few repeats raise covariances of few directions, and distances with them.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, repeats that do not divide the rows or are fewer than 2,
        an alpha outside `[0, 2]`, negative steps.
      TypeError: at trace time, on non-floating input, or repeats or steps that are no integers.

    Example:
      >>> x = jnp.array([[0., 1.], [3., 0.], [2., 5.], [0., 2.], [3., 1.], [1., 4.]])
      >>> round(float(stochastic_shape_distance(x, x[:, ::-1] + 1, repeats=2)), 4)
      0.0
      >>> round(float(stochastic_shape_distance(x, 2 * x, repeats=2)), 4)
      2.2485

    Reference:
      Duong et al. (2023), arXiv:2211.11665. The library netrep squares both weights, $\alpha^2$ and $(2 - \alpha)^2$,
      which agrees at 1, and leaves centering and covariances to its users.
    """
    check_pair("stochastic_shape_distance", x, y, mask)
    signature, score = stochastic_shape_parts(repeats, alpha, steps)
    dtype = accum_dtype(x, y)
    return score(signature(x.astype(dtype), mask), signature(y.astype(dtype), mask))
