"""Lanczos iteration: a large symmetric matrix, known by its products, as seen from one vector."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import matmul, safe_divide, safe_sqrt
from jaxalign._core.typing import Array, Float


def lanczos_quadrature(
    product: Callable[[Float[Array, "n"]], Float[Array, "n"]], start: Float[Array, "n"], *, steps: int
) -> tuple[Float[Array, "steps"], Float[Array, "steps"]]:
    """Nodes and weights for which `startᵀ f(A) start` is about `|start|² · sum(weights * f(nodes))`.

    Exact for polynomials up to degree `2 · steps - 1`. Where fewer steps span all that the products
    reach, the rest have weight 0.

    Args:
      product: multiplies a vector by `A`, symmetric, of norm about 1.
      start: not 0.
      steps: how many products, static.
    """

    # When nothing is left but rounding, there is no further direction: one made of it would lie among the others.
    smallest = 32 * float(jnp.finfo(start.dtype).eps)

    def step(carry: tuple[Array, Array], place: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        basis, vector = carry
        basis = basis.at[place].set(vector)
        image = product(vector)
        diagonal = jnp.sum(vector * image)
        # From all vectors so far, not only the last two: rounding would bring the others back. Twice, as
        # what is left of a long vector is short, and has the rounding of the long one.
        for _ in range(2):
            image = image - matmul(matmul(basis, image), basis)
        length = safe_sqrt(jnp.sum(image * image))
        length = jnp.where(length > smallest, length, 0)
        return (basis, image * safe_divide(jnp.ones_like(length), length)), (diagonal, length)

    unit = start * safe_divide(jnp.ones((), start.dtype), safe_sqrt(jnp.sum(start * start)))
    nothing = jnp.zeros((steps, *start.shape), start.dtype)
    _, (diagonal, beside) = lax.scan(step, (nothing, unit), jnp.arange(steps))
    nodes, vectors = jnp.linalg.eigh(jnp.diag(diagonal) + jnp.diag(beside[:-1], 1) + jnp.diag(beside[:-1], -1))
    return nodes, vectors[0] ** 2
