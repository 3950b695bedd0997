"""CKNNA: centered kernel alignment of the entries between common nearest neighbors.

The masked kernel matrices have at most `k` entries a row. They are never formed: everything
is computed from neighbor lists and the kernel's values along them, in `O(n k²)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_choice, check_integer, check_neighbors, check_pair
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.alignment.kernel import ESTIMATORS
from jaxalign.alignment.pairs import score_pairs
from jaxalign.signatures.neighborhoods import NeighborKernel, NeighborKernelSignature


class _Masked(NamedTuple):
    """Two matrices with entries at the same places, `(i, ids[a, i])`: sums over rows and columns of each."""

    trace: Scalar
    rows: tuple[Array, Array]
    columns: tuple[Array, Array]


def _masked(ids: Int[Array, "k n"], here: Bool[Array, "k n"], entries: tuple[Array, Array]) -> _Masked:
    """Sums of two symmetric kernels masked to the places where `here` is true."""
    k, n = ids.shape
    examples = jnp.arange(n, dtype=ids.dtype)

    def returns(step: Array, found: Bool[Array, "k n"]) -> Bool[Array, "k n"]:
        # Is the example in its neighbor's list, at this place, and does that place count?
        return found | ((ids[step][ids] == examples[None, :]) & here[step][ids])

    mutual = lax.fori_loop(0, k, returns, jnp.zeros((k, n), bool))
    one, other = (jnp.where(here, values, 0) for values in entries)
    columns = tuple(jnp.zeros(n, values.dtype).at[ids].add(values) for values in (one, other))
    return _Masked(
        trace=jnp.sum(jnp.where(mutual, one * other, 0)),
        rows=(jnp.sum(one, axis=0), jnp.sum(other, axis=0)),
        columns=(columns[0], columns[1]),
    )


def _hsic(sums: _Masked, count: Scalar, estimator: str) -> Scalar:
    """HSIC of two matrices with zero diagonals that need not be symmetric, up to a factor of `count`."""
    totals = jnp.sum(sums.rows[0]) * jnp.sum(sums.rows[1])
    forth = jnp.sum(sums.columns[0] * sums.rows[1])
    if estimator == "unbiased":
        pairs = jnp.maximum((count - 1) * (count - 2), 1)
        return sums.trace + totals / pairs - 2 * forth / jnp.maximum(count - 2, 1)
    back = jnp.sum(sums.columns[1] * sums.rows[0])
    return sums.trace - (forth + back) / count + totals / (count * count)


@pytree_dataclass
class CKNNAScore:
    """The score behind `cknna`.

    Attributes:
      estimator: `"unbiased"` or `"biased"`.
      eps: added to the denominator.
    """

    estimator: str = field(default="unbiased", metadata={"static": True})
    eps: float | Scalar = 0.0

    def __call__(self, x: NeighborKernel, y: NeighborKernel) -> Scalar:
        """The score of one pair."""
        return self.matrix([x], [y])[0, 0]

    def matrix(self, a: Sequence[NeighborKernel], b: Sequence[NeighborKernel] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        measured_a, measured_b = ([(x, self._own(x)) for x in side] for side in (a, a if b is None else b))
        return score_pairs(
            self._of_pair, measured_a, None if b is None else measured_b, symmetric=self.estimator == "biased"
        )

    def _own(self, x: NeighborKernel) -> Scalar:
        """HSIC of a masked matrix with itself; a 0 where it is no positive number."""
        counts = self._counts(x)
        here = jnp.broadcast_to(counts[None, :] > 0, x.entries.shape)
        return _hsic(_masked(x.neighbors.ids.T, here, (x.entries, x.entries)), jnp.sum(counts), self.estimator)

    def _of_pair(self, x: tuple[NeighborKernel, Scalar], y: tuple[NeighborKernel, Scalar]) -> Scalar:
        (one, own_one), (other, own_other) = x, y
        ids, counts = one.neighbors.ids.T, self._counts(one)
        equal = ids[:, None, :] == other.neighbors.ids.T[None, :, :]
        here = jnp.any(equal, axis=1) & (counts > 0)[None, :]
        entries = jnp.sum(jnp.where(equal, other.entries[None, :, :], 0), axis=1)
        cross = _hsic(_masked(ids, here, (one.entries, entries)), jnp.sum(counts), self.estimator)
        norms = safe_sqrt(own_one) * safe_sqrt(own_other)
        count = jnp.sum(counts)
        # `eps` is in units of HSIC, of which these are `count * (count - 3)`-fold when unbiased.
        eps = self.eps * count * (count - 3) if self.estimator == "unbiased" else jnp.asarray(self.eps, count.dtype)
        score = safe_divide(cross, jnp.where(norms > 0, norms + eps, norms), otherwise=jnp.nan)
        enough = count > (max(3, ids.shape[0]) if self.estimator == "unbiased" else ids.shape[0])
        defined = one.neighbors.defined & other.neighbors.defined & enough
        return jnp.where(defined, score, jnp.nan)

    def _counts(self, x: NeighborKernel) -> Float[Array, "n"]:
        mask, n = x.neighbors.mask, x.entries.shape[1]
        return jnp.ones(n, x.entries.dtype) if mask is None else mask.astype(x.entries.dtype)


@jit(static=("k", "estimator"))
def cknna(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    k: int = 10,
    estimator: str = "unbiased",
    eps: float = 0.0,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Centered kernel nearest-neighbor alignment: CKA of the entries between common neighbors.

    With the matrices $K$, $L$ of cosine similarities, and $\alpha_{ij} = 1$ where row $j$ is among the
    `k` nearest of row $i$ in both inputs,

    $$\frac{\mathrm{HSIC}(\alpha \circ K, \alpha \circ L)}
      {\sqrt{\mathrm{HSIC}(\alpha^x \circ K, \alpha^x \circ K)\,\mathrm{HSIC}(\alpha^y \circ L, \alpha^y \circ L)}}$$

    where $\alpha^x$ and $\alpha^y$ are those of one input alone.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      k: number of neighbors by cosine, self excluded, `2 <= k < n`.
      estimator: `"unbiased"`, HSIC as in Song et al. (2012); or `"biased"`, the trace with centering matrices.
      eps: added to the denominator; `1e-6` gives the value of platonic-rep, whose self-score is then
        below 1.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, at most about 1 and possibly negative; unbiased not quite symmetric, as `α` is not.
      NaN when an input is constant, when no more than `k` rows count, or when nothing is left of an
      input's own HSIC. The gradient goes through the similarities, not through the choice of neighbors.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, `k >= n`, `k < 2`, an unknown estimator.
      TypeError: at trace time, on non-floating input or a `k` that is not an integer.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [5., 1.], [1., 4.]])
      >>> round(float(cknna(x, 3 * x, k=2)), 4)
      1.0

    Reference:
      Huh et al. (2024), arXiv:2405.07987, eq. 16 to 18. As in its code, the matrices are masked and
      then centered; the text masks centered matrices.
    """
    check_pair("cknna", x, y, mask)
    check_integer("cknna", "k", k, minimum=2)
    check_neighbors("cknna", k, x.shape[0])
    check_choice("cknna", "estimator", estimator, ESTIMATORS)
    signature, dtype = NeighborKernelSignature(k), accum_dtype(x, y)
    score = CKNNAScore(estimator, jnp.asarray(eps, dtype))
    return score(signature(x.astype(dtype), mask), signature(y.astype(dtype), mask))
