"""Mantel's test: whether two matrices of dissimilarities are related."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxalign._core.checks import as_array, check_choice, check_integer, check_mask, check_matrix, describe
from jaxalign._core.keys import as_key
from jaxalign._core.numerics import accum_dtype, binary_scale, safe_divide, safe_sqrt, take_rows
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.kernel_reordering import ByMatrices
from jaxalign.alignment.rdm_reordering import OfProducts
from jaxalign.inference.null import null_of
from jaxalign.inference.permutation import PermutationTest
from jaxalign.inference.pvalues import share_at_least
from jaxalign.inference.reweighted_dissimilarities import full_matrix
from jaxalign.inference.schemes import Free, Scheme
from jaxalign.signatures.dissimilarities import counted_entries
from jaxalign.signatures.rdm import RDM, pairs_once, ranks

FUNCTION = "mantel_test"
COMPARISONS = ("pearson", "spearman")
ALTERNATIVES = ("greater", "less", "two_sided")
#: Differences of an entry and its mirror image that are rounding, as a share of the largest entry.
ASYMMETRY = 1e-4


def mantel_test(
    d1: Float[Array, "n n"],
    d2: Float[Array, "n n"],
    *,
    comparison: str = "pearson",
    permutations: int = 1000,
    key: Any,
    alternative: str = "greater",
    scheme: Scheme = Free(),  # noqa: B008 (immutable)
    mask: Bool[Array, "n"] | None = None,
) -> PermutationTest:
    r"""Test whether two matrices of dissimilarities of the same examples are related.

    $$r = \mathrm{corr}\big(\{d_{1,ij}\}_{i < j}, \{d_{2,ij}\}_{i < j}\big), \qquad
      p = \frac{1 + |\{b : r_b \ge r\}|}{1 + B}$$

    Dissimilarities that share an example are not independent, so examples of one matrix are put in random order, its
    rows and columns together. Of two representations, `permutation_test(measures.rsa(...), x, y)` is the same test.

    Args:
      d1: dissimilarities, shape `(n, n)`, symmetric; the diagonal is not looked at.
      d2: others of the same examples in the same order.
      comparison: `"pearson"`, or `"spearman"` for ranks, equal ones sharing their mean.
      permutations: how many random orders, `B`.
      key: a PRNG key, or an integer to make one from.
      alternative: `"greater"`; `"less"`; or `"two_sided"`, twice the smaller of both p-values, at most 1.
      scheme: which orders there are, as for `permutation_test`.
      mask: shape `(n,)`; examples that are `False` do not count, and their entries may be anything.

    Returns:
      A `PermutationTest`: `.statistic` in `[-1, 1]`, `.pvalue`, `.null`, `(B,)`. NaN when a matrix has equal entries
      only, or one that is NaN.

    Raises:
      ValueError: for matrices that are not square, symmetric and of the same size, an unknown comparison or
        alternative, a scheme with one order only.
      TypeError: on non-floating input, a key or a scheme that is none.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.arange(8.0) ** 2
      >>> d = jnp.abs(x[:, None] - x[None, :])
      >>> result = mantel_test(d, d**2, comparison="spearman", permutations=99, key=0)
      >>> round(float(result.statistic), 4), round(float(result.pvalue), 4)
      (1.0, 0.01)

    Reference:
      Mantel (1967), The detection of disease clustering and a generalized regression approach.
    """
    check_choice(FUNCTION, "comparison", comparison, COMPARISONS)
    check_choice(FUNCTION, "alternative", alternative, ALTERNATIVES)
    check_integer(FUNCTION, "permutations", permutations, minimum=1)
    if not isinstance(scheme, Scheme):
        raise TypeError(f"{FUNCTION}: scheme must be one of jaxalign.inference, such as Free(), got {describe(scheme)}")
    key = as_key(FUNCTION, key)
    d1, d2 = as_array(FUNCTION, "d1", d1), as_array(FUNCTION, "d2", d2)
    mask = None if mask is None else as_array(FUNCTION, "mask", mask)
    check_matrix(FUNCTION, "d1", d1)
    check_mask(FUNCTION, mask, d1.shape[0])
    for name, matrix in (("d1", d1), ("d2", d2)):
        _check_dissimilarities(name, matrix, d1.shape[0], mask)
    scheme.orders(FUNCTION, d1.shape[0], mask)
    dtype = accum_dtype(d1, d2)
    statistic, null = _correlations(
        d1.astype(dtype), d2.astype(dtype), mask, scheme, key, comparison=comparison, permutations=permutations
    )
    greater, less = (share_at_least(s * null, s * statistic) for s in (1, -1))
    both = jnp.minimum(2 * jnp.minimum(greater, less), 1)
    pvalue = {"greater": greater, "less": less, "two_sided": both}[alternative]
    return PermutationTest(statistic, pvalue, null)


def _check_dissimilarities(name: str, matrix: Array, n: int, mask: Array | None) -> None:
    check_matrix(FUNCTION, name, matrix)
    if matrix.shape != (n, n):
        raise ValueError(f"{FUNCTION}: {name} must have shape ({n}, {n}), got {tuple(matrix.shape)}")
    if isinstance(matrix, Tracer) or isinstance(mask, Tracer):
        return
    counted = np.asarray(matrix.astype(accum_dtype(matrix)))
    counted = counted if mask is None else counted[np.ix_(np.asarray(mask), np.asarray(mask))]
    if counted.size and np.nanmax(np.abs(counted - counted.T), initial=0) > ASYMMETRY * np.nanmax(
        np.abs(counted), initial=0
    ):
        raise ValueError(f"{FUNCTION}: {name} must be symmetric: the dissimilarity of two examples, whichever is first")


@partial(jax.jit, static_argnames=("comparison", "permutations"))
def _correlations(
    d1: Array,
    d2: Array,
    mask: Array | None,
    scheme: Scheme,
    key: Array,
    *,
    comparison: str,
    permutations: int,
) -> tuple[Scalar, Float[Array, "B"]]:
    n = d1.shape[0]
    (one, sound_1), (other, sound_2) = (_standardized(d, mask, comparison) for d in (d1, d2))

    factor = jnp.where(sound_1 & sound_2, jnp.ones((), one.dtype), jnp.nan)
    scores = OfProducts(ByMatrices.of(one[None], other[None]), factor[None, None])
    statistic = scores(jnp.arange(n, dtype=jnp.int32))[0, 0]
    null = null_of(scores, n, permutations, key, scheme, None, mask)[:, 0, 0]
    return statistic, null


def _standardized(
    matrix: Float[Array, "n n"], mask: Bool[Array, "n"] | None, comparison: str
) -> tuple[Float[Array, "n n"], Bool[Array, ""]]:
    """Entries, or their ranks, with mean 0 and norm 1; and whether there are any that differ."""
    n = matrix.shape[0]
    columns, weights = pairs_once(n)
    weights = weights.astype(matrix.dtype)
    if mask is not None:
        weights = weights * (mask[:, None] & take_rows(mask, columns)).astype(weights.dtype)
    entries, defined = counted_entries(jnp.where(jnp.eye(n, dtype=bool), 0, matrix), mask)
    # Rounding may have made entry and mirror image differ.
    entries = (entries + entries.T) / 2
    entries = jnp.take_along_axis(entries * binary_scale(entries), columns, axis=1)
    if comparison == "spearman":
        entries = ranks(entries, weights)
    size = safe_sqrt(jnp.sum(entries * entries * weights))
    centered = full_matrix(RDM(entries, weights, defined), centered=True)
    spread = safe_sqrt(jnp.sum(centered * centered))
    sound = defined & (spread > 64 * jnp.finfo(size.dtype).eps * size)
    return centered * safe_divide(jnp.ones_like(spread), spread), sound
