"""Permutation tests: how often a score is as high when the examples of one side are in random order."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxalign._core.checks import check_choice
from jaxalign._core.keys import as_key
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.inference.arguments import checked_pair
from jaxalign.inference.null import check_null, check_orders, check_permutations, null_scores
from jaxalign.inference.pvalues import closeness, share_at_least
from jaxalign.inference.schemes import Free, Scheme
from jaxalign.measures import Measure

#: Which scores count as extreme.
ALTERNATIVES = ("closer", "farther", "two_sided")


@pytree_dataclass
class PermutationTest:
    """What a permutation test found.

    Attributes:
      statistic: the score.
      pvalue: how often a score as extreme came up, that of the data itself counted as one; from `1 / (B + 1)` to 1.
        NaN where the score is.
      null: the scores of the `B` random orders, `(B,)`.
    """

    statistic: Scalar
    pvalue: Scalar
    null: Float[Array, "B"]


def permutation_test(
    measure: Measure,
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    permutations: int = 1000,
    key: Any,
    scheme: Scheme = Free(),  # noqa: B008 (immutable)
    alternative: str = "closer",
    batch_size: int | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> PermutationTest:
    r"""Test whether two representations are more alike than when the examples of one are in random order.

    $$p = \frac{1 + |\{b : s_b \ge s\}|}{1 + B}$$

    with the score $s$ and those $s_b$ of $B$ random orders: exact whatever the distribution, if examples are
    exchangeable under the null hypothesis. Scores that are equal but for rounding count as equal. What is kept of
    a representation is reordered; kernels, neighbors and decompositions are not computed again.

    Where `B + 1` has divisors up to 8 (1000, 999, 199, not 100) work is saved by a table of orders: `y` is reordered by
    row and `x` by column. Any two entries are independent, and the data, which are the first, have every rank in the
    table equally often under the null hypothesis (ours).

    Args:
      measure: any measure of paired examples, such as `jaxalign.measures.cka()`.
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      permutations: how many random orders, `B`.
      key: a PRNG key, or an integer to make one from. The same key gives the same orders, whatever the measure,
        the batch size or the number of devices.
      scheme: which orders there are: `Free()`, all; `Within(labels)`, `Blocks(size)` or `CircularShift(least)` of
        `jaxalign.inference` for examples in groups, or that depend on one another.
      alternative: `"closer"`; `"farther"`; or `"two_sided"`, twice the smaller of both p-values, at most 1.
      batch_size: rows of the table of orders that are looked at together, for memory and speed; another one changes
        roundings only. None: 8, fewer where what is kept of the inputs, so many times, takes more than 512 MiB.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A `PermutationTest`: `.statistic`, `.pvalue`, `.null`.

    Raises:
      ValueError: on rank or row-count mismatch; for a scheme with one order only; for a measure that does not
        depend on which example is which.
      TypeError: for a key that is none, non-floating input.

    Example:
      >>> x = jnp.arange(20.0).reshape(10, 2) % 7
      >>> from jaxalign.measures import cka
      >>> result = permutation_test(cka(), x, x, permutations=99, key=0)
      >>> round(float(result.statistic), 3), round(float(result.pvalue), 3)
      (1.0, 0.01)

    Reference:
      Phipson and Smyth (2010), arXiv:1603.05766, for counting the data itself. Winkler et al. (2014), NeuroImage 92,
      for restricted permutations.
    """
    check_null("permutation_test", measure)
    check_permutations("permutation_test", permutations, batch_size)
    check_choice("permutation_test", "alternative", alternative, ALTERNATIVES)
    x, y, mask = checked_pair("permutation_test", measure, x, y, mask)
    check_orders("permutation_test", measure, scheme, x.shape[0], mask)
    statistic = measure(x, y, mask=mask)
    null = null_scores(
        measure,
        [x],
        [y],
        permutations=permutations,
        key=as_key("permutation_test", key),
        scheme=scheme,
        batch_size=batch_size,
        mask=mask,
    )[:, 0, 0]
    by_chance, own = closeness(measure, null, statistic)
    closer, farther = (share_at_least(sign * by_chance, sign * own) for sign in (1, -1))
    both = jnp.minimum(2 * jnp.minimum(closer, farther), 1)
    pvalue = {"closer": closer, "farther": farther, "two_sided": both}[alternative]
    return PermutationTest(statistic, pvalue, null)
