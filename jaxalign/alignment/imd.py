"""Intrinsic multi-scale distance: how differently heat spreads over two representations."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp

from jaxalign._core.checks import check_neighbors, check_pair
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.pairs import score_pairs
from jaxalign.signatures.heat import HeatTraceSignature, heat_times


@pytree_dataclass
class HeatTraceScore:
    """The largest difference of two heat traces, with weights that vanish for short and for long times."""

    def __call__(self, x: Float[Array, "t"], y: Float[Array, "t"]) -> Scalar:
        """The score of one pair."""
        times = heat_times(x.dtype)
        return jnp.max(jnp.exp(-2 * (times + 1 / times)) * jnp.abs(x - y))

    def matrix(
        self, a: Sequence[Float[Array, "t"]], b: Sequence[Float[Array, "t"]] | None = None
    ) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return score_pairs(self, a, b, symmetric=True)


@jit(static=("k", "steps", "probes"))
def imd(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    key: Array | int,
    k: int = 5,
    steps: int = 10,
    probes: int = 100,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Intrinsic multi-scale distance: compares the shapes of two clouds of rows, at all scales.

    $$\max_t \; e^{-2(t + 1/t)} \, \big| \mathrm{tr}\, e^{-t L_x} - \mathrm{tr}\, e^{-t L_y} \big|$$

    over 256 times $t$ from 1/10 to 10, with the normalized Laplacian of the graph that joins every row with its `k`
    nearest in Euclidean distance. Which row is which example does not matter. Traces are estimated by stochastic
    Lanczos quadrature, with the same random signs in both inputs.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`.
      key: a key of `jax.random`, or an integer to make one from; the same key gives the same value.
      k: number of neighbors.
      steps: products with a graph for each vector of signs, at least 2. From 10 on their number hardly shows.
      probes: vectors of signs; the error falls with the root of their number. That of equal graphs is 0.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, at least 0, which grows with `n`: at most `exp(-4) n`. NaN when all rows of an input are equal or no
      more than `k` count. The gradient is 0: graphs do not change with small changes of an input.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, a `k` that is not below the number of rows.
      TypeError: at trace time, on non-floating input, options that are no integers, a `key` that is no key.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [5., 1.]])
      >>> float(imd(x, 3 * x, k=2, key=0))
      0.0

    Reference:
      Tsitsulin et al. (2020), The shape of data, arXiv:1905.11141. Their program divides traces by `n` and
      multiplies by a million unless told otherwise. Signs, and traces that are known as part of the
      estimate, are our choice; they use normal numbers and another correction.
    """
    check_pair("imd", x, y, mask)
    check_neighbors("imd", k, x.shape[0])
    signature = HeatTraceSignature(key, k, steps, probes)
    dtype = accum_dtype(x, y)
    return HeatTraceScore()(*signature.many([x.astype(dtype), y.astype(dtype)], mask))
