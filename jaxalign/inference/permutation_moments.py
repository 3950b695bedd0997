"""The mean, variance and skewness of a score over all permutations of the examples, in closed form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import jax
import jax.numpy as jnp

from jaxalign._core.numerics import safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.kernel import KernelScore
from jaxalign.engines.products import Products
from jaxalign.inference.arguments import checked_pair
from jaxalign.inference.matrix_invariants import Invariants, hollow_cubic, matrix_invariants
from jaxalign.inference.stored_grams import stored_gram
from jaxalign.measures.measure import Measure
from jaxalign.signatures.gram import GramSignature

#: Centerings after which rows of a kernel matrix sum to 0, without which there is no such formula.
CENTERINGS = ("biased", "unbiased")


@pytree_dataclass
class PermutationMoments:
    """What a score does over all permutations of the examples of one input.

    Attributes:
      mean: of the score; for a root or an angle, of what the root or the angle is taken.
      standard_deviation: of the same.
      skewness: of the same; NaN where the standard deviation is 0.
    """

    mean: Scalar
    standard_deviation: Scalar
    skewness: Scalar


def permutation_moments(
    measure: Measure, x: Float[Array, "n p"], y: Float[Array, "n q"], *, mask: Bool[Array, "n"] | None = None
) -> PermutationMoments:
    r"""Mean, standard deviation and skewness of a kernel score over all `n!` permutations, exactly.

    Of $T = \sum_{ij} K_{ij} L_{\pi(i)\pi(j)}$ with centered matrices $K$, $L$, to which the score is proportional:

    $$\mathrm E\,T = \frac{\mathrm{tr} K\,\mathrm{tr} L}{n-1}, \qquad
      \mathrm{Var}\,T = \frac{\|K_1\|^2 \|L_1\|^2}{n-1} + \frac{2 \|K_2\|^2 \|L_2\|^2}{n (n-3)},$$

    where $K_2$ is $K$ U-centered, and $K_1$ what its diagonal adds: $K = \frac{\mathrm{tr} K}{n-1} H + K_1 + K_2$.
    The third moment is a sum of five such products, of $\sum d^3$, $d^\top K_2 d$, $\sum d_i (K_2^2)_{ii}$,
    $\sum (K_2)_{ij}^3$ and $\mathrm{tr} K_2^3$ with $d_i = K_{ii} - \mathrm{tr} K / n$. Of one input only one matrix
    product of order `n³` is needed, for the last.

    Args:
      measure: one whose score is an inner product of centered kernel matrices: `cka`, `hsic`, `angular_cka`,
        `distance_correlation`, `distance_covariance`, with the biased or the unbiased estimator.
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      mask: shape `(n,)`; `False` rows are padding and may hold any value. They are not permuted.

    Returns:
      `mean`, `standard_deviation` and `skewness`, scalars. For `angular_cka` those of the cosine, for
      the biased `distance_correlation` and `distance_covariance` those of the square. Exact from 3 examples on (4
      when unbiased); NaN where the score is, and a skewness of NaN where nothing varies. Two matrices of `n × n` are
      held.

    Raises:
      ValueError: for another measure, and on rank or row-count mismatch.
      TypeError: on non-floating input, or when `measure` is not a measure.

    Example:
      >>> from jaxalign import measures
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.], [3., 1.], [1., 5.]])
      >>> found = permutation_moments(measures.cka(), x, x[:, :1] ** 2)
      >>> [round(float(v), 3) for v in (found.mean, found.standard_deviation, found.skewness)]
      [0.318, 0.239, 0.886]

    Reference:
      Mean and variance: Kazi-Aoual et al. (1995), Refined approximations to permutation tests for multivariate
      inference; Josse, Pagès and Husson (2008), Testing the significance of the RV coefficient. That the moments are
      sums of products of independent parts, which keeps their digits, is ours.
    """
    x, y, mask = checked_kernel_measure("permutation_moments", measure, x, y, mask)
    return _moments(measure, x, y, mask)


def checked_kernel_measure(
    function: str, measure: Measure, x: Any, y: Any, mask: Any
) -> tuple[Array, Array, Array | None]:
    """`checked_pair` for a measure whose permutations have moments in closed form.

    Raises:
      ValueError: for another one.
    """
    checked = checked_pair(function, measure, x, y, mask)
    if not is_kernel_measure(measure):
        raise ValueError(
            f"{function}: measure must be an inner product of centered kernel matrices, biased or unbiased (cka, hsic, "
            f"angular_cka, distance_correlation, distance_covariance), got {measure.definition}; "
            "permutation_test takes every measure"
        )
    return checked


def is_kernel_measure(measure: Measure) -> bool:
    """Whether moments over permutations are known."""
    signatures = measure.signature, measure.signature_y or measure.signature
    if not isinstance(measure.score, KernelScore) or measure.score.centering not in CENTERINGS:
        return False
    return all(isinstance(s, GramSignature) and s.centering == measure.score.centering for s in signatures)


def kernel_score(measure: Measure) -> KernelScore:
    """The score of a measure that `is_kernel_measure`."""
    return cast(KernelScore, measure.score)


@pytree_dataclass
class KernelPair:
    """All that is known about the permutations of one pair, in units in which `‖K_1 + K_2‖` is 1 for both.

    Attributes:
      products: inner products of both centered matrices as they come.
      observed: `⟨K_1, L_1⟩ + ⟨K_2, L_2⟩`, which is `T` less its mean.
      scale: of these units in those of `products`.
      mean: of `T`, in units of `products`.
      variance: of `observed`.
      third: central moment of it.
    """

    products: Products
    observed: Scalar
    scale: Scalar
    mean: Scalar
    variance: Scalar
    third: Scalar

    @property
    def standardized(self) -> Scalar:
        """`T` less its mean, over its standard deviation."""
        return safe_divide(self.observed, safe_sqrt(self.variance), otherwise=jnp.nan)

    @property
    def skewness(self) -> Scalar:
        """Of `T`."""
        return safe_divide(self.third, self.variance * safe_sqrt(self.variance), otherwise=jnp.nan)

    @property
    def deviation(self) -> Scalar:
        """The standard deviation of `T`, in units of `products`."""
        return safe_sqrt(self.variance) * self.scale

    def of(self, cross: Scalar) -> Products:
        """`products` with another inner product of the two."""
        own = self.products
        return replace(own, cross=jnp.where(jnp.isnan(own.cross), jnp.nan, cross[None, None]))


def kernel_pair(measure: Measure, x: Array, y: Array, mask: Array | None) -> KernelPair:
    """The moments of `T` for a checked measure and pair."""
    signatures = measure.signature, measure.signature_y or measure.signature
    grams = [
        stored_gram(cast(GramSignature, signature), rows, mask)
        for signature, rows in zip(signatures, (x, y), strict=True)
    ]
    score = kernel_score(measure)
    one, other = (matrix_invariants(gram, score.centering) for gram in grams)
    count = grams[0].count
    return pair_moments(one, other, (grams[0].units, grams[1].units), count, score.centering)


def pair_moments(
    one: Invariants, other: Invariants, units: tuple[Scalar, Scalar], count: Scalar, centering: str
) -> KernelPair:
    """The moments of `T` from those parts of the matrices that permutations mix among themselves only.

    Matrices with rows that sum to 0 are three parts: multiples of `H`, those made of a diagonal, and those with
    none. An average over permutations keeps of a product of parts the invariant forms on them: one for each square,
    and five of degree 3, that are made orthogonal. A moment is a sum over these of the value for `K` times the
    value for `L` times a number that depends on `n` alone, a quotient of polynomials. It was found by summing over all
    ways in which indices can be equal, which the tests do again.
    """
    n = count
    second = jnp.stack([1 / _at_least(n - 1), 2 / (_at_least(n) * _at_least(n - 3))])
    variance = jnp.sum(jnp.where(jnp.stack([n > 2, n > 3]), second, 0) * one.squares * other.squares)
    third = jnp.sum(_third(n) * one.cubes * other.cubes)
    scale = one.scale * other.scale
    observed = n / _at_least(n - 2) * jnp.sum(one.diagonal * other.diagonal)
    observed = observed + jnp.sum(jnp.sum(one.hollow * other.hollow, axis=1))
    mean = one.trace * other.trace / _at_least(n - 1)
    defined = n > (3 if centering == "unbiased" else 0)
    own = [part.scale * part.scale * jnp.sum(part.squares) + part.trace**2 / _at_least(n - 1) for part in (one, other)]
    products = Products(
        cross=jnp.where(defined, mean + observed * scale, jnp.nan)[None, None],
        self_a=own[0][None],
        self_b=own[1][None],
        units_a=units[0][None],
        units_b=units[1][None],
        count=n,
    )
    return KernelPair(products, observed, scale, mean, variance, third)


def _at_least(value: Array) -> Array:
    return jnp.maximum(value, 1)


def _third(n: Scalar) -> Float[Array, "5"]:
    """What the products of `Invariants.cubes` are multiplied by; 0 where there are too few examples for a form.

    The last two are `4 (n-2)² (n-1) / (n (n-3) c)` and `8 c / (n (n-1) ⋯ (n-5))` with
    `c = n³ - 9 n² + 26 n - 22`. Divided step by step, nothing leaves the range.
    """
    a, b, c, d, e, f = (_at_least(n - i) for i in range(6))
    cubic = hollow_cubic(n)
    factors = [
        (a / c) ** 4 / b,
        6 * a / (d * c * c),
        12 * a / (b * d * e),
        4 * (c / a) * (c / d) * (b / a) / (a * a * cubic),
        8 * (a / b) * (a / c) / d / e / f * cubic,
    ]
    enough = [n > 2, n > 3, n > 4, n > 3, n > 5]
    return jnp.stack([jnp.where(known, factor, 0) for known, factor in zip(enough, factors, strict=True)])


@jax.jit
def _moments(measure: Measure, x: Array, y: Array, mask: Array | None) -> PermutationMoments:
    pair = kernel_pair(measure, x, y, mask)
    score = kernel_score(measure)
    value = KernelScore(score.centering, score.scaling)
    mean, deviation = (value.finish(pair.of(v))[0, 0] for v in (pair.mean, pair.deviation))
    return PermutationMoments(mean, deviation, jnp.where(jnp.isnan(mean), jnp.nan, pair.skewness))
