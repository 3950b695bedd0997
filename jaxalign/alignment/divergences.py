"""Outputs of classifiers: how far their probabilities are apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType

import jax.numpy as jnp

from jaxalign._core.checks import check_pair
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype, row_count, safe_divide
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.outputs import check_classes
from jaxalign.alignment.pairs import score_pairs
from jaxalign.signatures.outputs import LogProbabilities, LogProbabilitySignature


def _against(log_p: Array, log_q: Array) -> tuple[Array, Array, Array]:
    """Which classes are possible in the first, their probabilities, and by how much its logarithms are exceeded.

    Where a class is not possible the other two mean nothing.
    """
    possible = ~(log_p < jnp.log(jnp.finfo(log_p.dtype).tiny))
    log_p = jnp.where(possible, log_p, 0)
    return possible, jnp.exp(log_p), log_q - log_p


def _kullback_leibler(log_p: Array, log_q: Array) -> Float[Array, "n"]:
    """The sum of `p (log p - log q) + (q - p)`: the second part is 0 in total, and leaves no term negative.

    With `d = log q - log p` a term is `p (exp(d) - 1 - d)`, small where the two are close. The
    rounding of logarithms then counts little; it would be larger than the sum itself.
    """
    possible, p, difference = _against(log_p, log_q)
    return jnp.sum(jnp.where(possible, p * (jnp.expm1(difference) - difference), jnp.exp(log_q)), axis=1)


def _to_mean(log_p: Array, log_q: Array) -> Float[Array, "n"]:
    """The sum of `p (log p - log m)` with `m = (p + q) / 2 = p (1 + exp(d)) / 2`."""
    possible, p, difference = _against(log_p, log_q)
    return jnp.sum(jnp.where(possible, -p * jnp.log1p(jnp.expm1(difference) / 2), 0), axis=1)


def _jensen_shannon(log_p: Array, log_q: Array) -> Float[Array, "n"]:
    return (_to_mean(log_p, log_q) + _to_mean(log_q, log_p)) / 2


#: Of the log-probabilities of every row, by the name of the function; and whether their order does not matter.
DIVERGENCES: Mapping[str, tuple[Callable[[Array, Array], Array], bool]] = MappingProxyType(
    {"jensen_shannon": (_jensen_shannon, True), "kl_divergence": (_kullback_leibler, False)}
)


@pytree_dataclass
class DivergenceScore:
    """The mean divergence of the probabilities of two classifiers.

    Attributes:
      divergence: one of `DIVERGENCES`.
    """

    divergence: str = field(metadata={"static": True})

    def __call__(self, x: LogProbabilities, y: LogProbabilities) -> Scalar:
        """The score of one pair."""
        check_classes(self.divergence, x.values.shape[1], y.values.shape[1])
        function, _ = DIVERGENCES[self.divergence]
        # Rows that do not count have equal probabilities in both, and no divergence.
        return safe_divide(jnp.sum(function(x.values, y.values)), row_count(x.values, x.mask), otherwise=jnp.nan)

    def matrix(
        self, a: Sequence[LogProbabilities], b: Sequence[LogProbabilities] | None = None
    ) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return score_pairs(self, a, b, symmetric=DIVERGENCES[self.divergence][1])


def _divergence(function: str, x: Array, y: Array, mask: Array | None) -> Scalar:
    check_pair(function, x, y, mask)
    signature, dtype = LogProbabilitySignature(), accum_dtype(x, y)
    return DivergenceScore(function)(signature(x.astype(dtype), mask), signature(y.astype(dtype), mask))


@jit()
def kl_divergence(
    x: Float[Array, "n c"], y: Float[Array, "n c"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    r"""Kullback-Leibler divergence of the second classifier from the first, in the mean over examples.

    $$\frac1n \sum_i \sum_c p_{ic} \log \frac{p_{ic}}{q_{ic}}, \quad p = \mathrm{softmax}(x), q = \mathrm{softmax}(y)$$

    Args:
      x: logits or log-probabilities, shape `(n, c)`, a column for each class; `-inf` for an impossible class.
      y: those of the other classifier, shape `(n, c)`, same examples and classes in the same order.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in nats, at least 0; infinite when `y` calls impossible what `x` does not. NaN when no row counts, or
      one holds NaN, infinity, or nothing above minus infinity. Not symmetric. Where it is finite, so is its gradient.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, or different numbers of classes.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x, y = jnp.log(jnp.array([[0.5, 0.5]])), jnp.log(jnp.array([[0.75, 0.25]]))
      >>> round(float(kl_divergence(x, y)), 4)
      0.1438

    Reference:
      Kullback and Leibler (1951), On information and sufficiency.
    """
    return _divergence("kl_divergence", x, y, mask)


@jit()
def jensen_shannon(
    x: Float[Array, "n c"], y: Float[Array, "n c"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    r"""Jensen-Shannon divergence of the probabilities of two classifiers, in the mean over examples.

    $$\frac1n \sum_i \tfrac12 \mathrm{KL}(p_i \| m_i) + \tfrac12 \mathrm{KL}(q_i \| m_i), \qquad m = \tfrac12 (p + q)$$

    with $p = \mathrm{softmax}(x)$ and $q = \mathrm{softmax}(y)$. Not the root, which is a metric of two distributions.

    Args:
      x: logits or log-probabilities, shape `(n, c)`, a column for each class; `-inf` for an impossible class.
      y: those of the other classifier, shape `(n, c)`, same examples and classes in the same order.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, log 2]` nats, 0 for equal probabilities. NaN when no row counts, or one holds
      NaN, infinity, or nothing above minus infinity. Its gradient is finite.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, or different numbers of classes.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x, y = jnp.log(jnp.array([[0.5, 0.5]])), jnp.log(jnp.array([[0.75, 0.25]]))
      >>> round(float(jensen_shannon(x, y)), 4)
      0.0338

    Reference:
      Lin (1991), Divergence measures based on the Shannon entropy. SciPy's `jensenshannon` is the root.
    """
    return _divergence("jensen_shannon", x, y, mask)
