"""Tests of independence whose null distribution is known in closed form: no permutation is drawn."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfc

from jaxalign._core.checks import check_choice
from jaxalign._core.numerics import safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.inference.pearson import pearson_tail
from jaxalign.inference.permutation_moments import KernelPair, checked_kernel_measure, kernel_pair, kernel_score
from jaxalign.measures.measure import Measure

NULLS = ("moments", "gamma", "chi2")


@pytree_dataclass
class ClosedFormTest:
    """A score, and how likely one as close is for unrelated inputs.

    Attributes:
      statistic: the measure's own value.
      pvalue: in `[0, 1]`, small where the inputs are closer than by chance.
    """

    statistic: Scalar
    pvalue: Scalar


def closed_form_test(
    measure: Measure,
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    null: str = "moments",
    mask: Bool[Array, "n"] | None = None,
) -> ClosedFormTest:
    r"""Test of independence by a kernel score, with an approximate null distribution in place of permutations.

    The score is a growing (for an angle, a falling) function of $T = \langle K, L \rangle$ with centered matrices.
    The p-value is $P(T' \ge T)$ for a variable $T'$ of

    - `"moments"`: a Pearson type III (moved gamma) distribution with the mean, variance and skewness that $T$
      has over all permutations, exactly (`permutation_moments`);
    - `"gamma"`: a gamma distribution with the mean and the variance of these. For biased estimators only;
    - `"chi2"`: $P(\chi^2_1 \ge n C + 1)$ with the unbiased cosine $C$, for `cka` and `distance_correlation` with
      the unbiased estimator, without the product of order `n³`.

    Of unrelated inputs of 50 examples (`benchmarks/inference_validity.py`: 1 to 40 features, normal, lognormal,
    Student's t of 2 degrees) these reject at 0.05: moments 4.3 to 5.8 %, gamma 5.0 to 6.2 %, chi-square 3.3 to 5.0 %,
    less the more features there are.

    Args:
      measure: one whose score is an inner product of centered kernel matrices: `cka`, `hsic`, `angular_cka`,
        `distance_correlation`, `distance_covariance`, with the biased or the unbiased estimator.
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      null: as above.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      `statistic`, the measure's value, and `pvalue` in `[0, 1]`; float32 or wider. NaN where the score is; the
      p-value also where all permutations score the same. Two matrices of `n × n` are held, and `"moments"` takes one
      product of order `n³` of each. Rows must be exchangeable: for examples in blocks or in time use
      `permutation_test`.

    Raises:
      ValueError: for another measure, a null that is not for its estimator, and on rank or row-count mismatch.
      TypeError: on non-floating input, or when `measure` is not a measure.

    Example:
      >>> from jaxalign import measures
      >>> x = jnp.arange(12.)[:, None]
      >>> found = closed_form_test(measures.cka(), x, jnp.sin(x / 2))
      >>> round(float(found.statistic), 3), round(float(found.pvalue), 3)
      (0.608, 0.005)

    Reference:
      Pearson type III: Kazi-Aoual et al. (1995); Josse, Pagès and Husson (2008). Gamma: Gretton et al. (2007), A kernel
      statistical test of independence, who fit the moments that `n T` has in the limit of large `n`; the exact ones
      are used here. Chi-square: Shen, Panda and Vogelstein (2022), The chi-square test of distance correlation,
      arXiv:1912.12150, as in hyppo.
    """
    return run_closed_form("closed_form_test", measure, x, y, null, mask)


def run_closed_form(
    function: str, measure: Measure, x: Array, y: Array, null: str, mask: Array | None
) -> ClosedFormTest:
    """The same under the name of another function."""
    check_choice(function, "null", null, NULLS)
    x, y, mask = checked_kernel_measure(function, measure, x, y, mask)
    score = kernel_score(measure)
    if null == "gamma" and score.centering != "biased":
        raise ValueError(f"{function}: null='gamma' is for biased estimators, got {measure.definition}; use 'moments'")
    if null == "chi2" and not (score.centering == "unbiased" and score.scaling == "cosine"):
        raise ValueError(
            f"{function}: null='chi2' is for the unbiased cka and distance_correlation, got {measure.definition}; "
            "use 'moments'"
        )
    return _test(measure, x, y, mask, null=null)


@partial(jax.jit, static_argnames=("null",))
def _test(measure: Measure, x: Array, y: Array, mask: Array | None, *, null: str) -> ClosedFormTest:
    pair = kernel_pair(measure, x, y, mask)
    statistic = kernel_score(measure).finish(pair.products)[0, 0]
    pvalue = {"moments": _by_moments, "gamma": _by_gamma, "chi2": _by_chi_square}[null](pair)
    return ClosedFormTest(statistic, jnp.where(jnp.isnan(statistic), jnp.nan, pvalue))


def _by_moments(pair: KernelPair) -> Scalar:
    return pearson_tail(pair.standardized, pair.skewness)


def _by_gamma(pair: KernelPair) -> Scalar:
    """A gamma distribution has twice its coefficient of variation for skewness."""
    return pearson_tail(pair.standardized, 2 * safe_divide(pair.deviation, pair.mean, otherwise=jnp.nan))


def _by_chi_square(pair: KernelPair) -> Scalar:
    level = pair.products.count * pair.products.cosine()[0, 0] + 1
    return erfc(safe_sqrt(level) / np.sqrt(2).item())
