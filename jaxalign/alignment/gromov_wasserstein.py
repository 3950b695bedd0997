"""Representations of different examples: how far their geometries differ, by the optional package OTT."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_positive, check_rows
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype, matmul, safe_divide
from jaxalign._core.typing import Array, Float, Scalar
from jaxalign.alignment.shape import distance_apart
from jaxalign.signatures.dissimilarities import dissimilarities


@jit(static=("epsilon",))
def gromov_wasserstein_distance(
    x: Float[Array, "n p"], y: Float[Array, "m q"], *, epsilon: float = 0.01
) -> Float[Array, ""]:
    r"""Gromov-Wasserstein distance: how much distances between examples differ, under the best coupling of examples.

    $$d^2 = \sum_{ijkl} (D_{ij} - E_{kl})^2 P_{ik} P_{jl}, \qquad
      P = \arg\min \Big( \sum_{ijkl} (D_{ij} - E_{kl})^2 P_{ik} P_{jl} - \varepsilon H(P) \Big)$$

    with Euclidean distances $D$ of the rows of `x`, $E$ of those of `y`, each divided by its mean, and couplings $P$ of
    uniform weights. Examples need not correspond, nor be equally many: which goes to which is found.

    Args:
      x: activations, shape `(n, p)`.
      y: activations, shape `(m, q)`, of other examples or the same in any order.
      epsilon: positive; smaller is nearer to the distance without entropy, and slower.

    Returns:
      A scalar, at least 0; the coupling is a local minimum, found from the one that couples all with all alike. Entropy
      blurs it: inputs that are alike up to rotation, shift and size are at a small distance, not always at 0. NaN when
      an input is constant. The gradient is that for a fixed coupling. The time is of order `n m (n + m)` a step.

    Raises:
      ImportError: where the package OTT is not installed.
      ValueError: at trace time, when an input is not a matrix or epsilon is not positive.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0., 1.], [3., 0.], [2., 2.], [7., 1.]])
      >>> gromov_wasserstein_distance(x, 2 * x[::-1], epsilon=1e-3)  # doctest: +SKIP
      Array(0., dtype=float32)

    Reference:
      Mémoli (2011), Gromov-Wasserstein distances and the metric approach to object matching, where it is half of
      this; with entropy: Peyré, Cuturi and Solomon (2016).
    """
    try:
        from ott.geometry.geometry import Geometry
        from ott.problems.quadratic.quadratic_problem import QuadraticProblem
        from ott.solvers.linear.sinkhorn import Sinkhorn
        from ott.solvers.quadratic.gromov_wasserstein import GromovWasserstein
    except ImportError as error:
        raise ImportError(
            "gromov_wasserstein_distance needs the package OTT: pip install 'jaxalign[transport]'"
        ) from error

    check_rows("gromov_wasserstein_distance", x)
    check_rows("gromov_wasserstein_distance", y, argument="y")
    check_positive("gromov_wasserstein_distance", "epsilon", epsilon)
    dtype = accum_dtype(x, y)
    of_x, of_y = (dissimilarities(z.astype(dtype), "euclidean") for z in (x, y))
    constant = jnp.all(of_x == 0) | jnp.all(of_y == 0)
    of_x, of_y = (safe_divide(distances, jnp.mean(distances)) for distances in (of_x, of_y))
    # OTT is not written for strict promotion.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        one, other = (Geometry(cost_matrix=lax.stop_gradient(distances)) for distances in (of_x, of_y))
        problem = QuadraticProblem(one, other)
        plan = GromovWasserstein(linear_solver=Sinkhorn(), epsilon=epsilon)(problem).matrix.astype(dtype)

    def mean_square(distances: Float[Array, "n n"], weights: Float[Array, "n"]) -> Scalar:
        return jnp.sum(weights * matmul(distances * distances, weights))

    total = mean_square(of_x, jnp.sum(plan, axis=1)) + mean_square(of_y, jnp.sum(plan, axis=0))
    inner = jnp.sum(matmul(of_x, plan) * matmul(plan, of_y))
    return jnp.where(constant, jnp.nan, distance_apart(total, inner))
