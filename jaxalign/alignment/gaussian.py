"""Dependence as if both inputs were jointly Gaussian: functions of the canonical correlations alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType

import jax.numpy as jnp

from jaxalign._core.checks import check_pair
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype, cross_matmul, matmul
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.pairs import score_pairs
from jaxalign.signatures.whitened import Whitened, WhitenedSignature


def _information(correlations: Float[Array, "r"], sines: Float[Array, "r"]) -> Scalar:
    inside = ~(sines <= 0)
    far = correlations * correlations < 0.5
    # Each where it has digits: squares of small correlations, or sines of small angles.
    squares = jnp.where(far, correlations * correlations, 0)
    near = jnp.log(jnp.where(inside & ~far, sines, 1))
    return jnp.where(jnp.all(inside), -jnp.sum(jnp.where(far, 0.5 * jnp.log1p(-squares), near)), jnp.inf)


def _wasserstein(correlations: Float[Array, "r"], sines: Float[Array, "r"]) -> Scalar:
    # 4 - 2 sqrt(1 + rho) - 2 sqrt(1 - rho) without a difference, by sqrt(1 + rho) + sqrt(1 - rho) = sqrt(2 + 2 sine).
    squares = correlations * correlations
    return jnp.sum(4 * squares / ((1 + sines) * (2 + jnp.sqrt(2 + 2 * sines))))


#: One number from the canonical correlations and the sines of their angles.
REDUCTIONS: Mapping[str, Callable[[Array, Array], Scalar]] = MappingProxyType(
    {"information": _information, "wasserstein": _wasserstein}
)


@pytree_dataclass
class GaussianScore:
    """A number made of the angles between the spans of two whitened representations.

    Attributes:
      reduce: one of `REDUCTIONS`.
    """

    reduce: str = field(metadata={"static": True})

    def __call__(self, x: Whitened, y: Whitened) -> Scalar:
        """The score of one pair."""
        value = REDUCTIONS[self.reduce](*angles(x, y))
        return jnp.where(x.constant | y.constant, jnp.nan, value)

    def matrix(self, a: Sequence[Whitened], b: Sequence[Whitened] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return score_pairs(self, a, b, symmetric=True)


def angles(x: Whitened, y: Whitened) -> tuple[Float[Array, "r"], Float[Array, "r"]]:
    """Canonical correlations, largest first, and the sines of their angles, with digits where the former are near 1.

    Sines that rounding may have made are 0, and as many as the ranks leave no room for: centered spans whose dimensions
    add up to more than `n - 1` share some directions.
    """
    small, large = (x.rows, y.rows) if x.rows.shape[1] <= y.rows.shape[1] else (y.rows, x.rows)
    n, width = small.shape
    product = cross_matmul(large, small)
    correlations = jnp.linalg.svd(product, compute_uv=False)
    beyond = small - matmul(large, product)
    # Directions that the smaller input lacks are orthogonal to everything.
    lacking = jnp.eye(width, dtype=small.dtype) - cross_matmul(small, small)
    sines = jnp.linalg.svd(jnp.concatenate([beyond, lacking]), compute_uv=False)[::-1]
    rounding = min(n, 8 * n**0.5) * jnp.finfo(sines.dtype).eps
    shared = jnp.arange(width).astype(sines.dtype) < x.rank + y.rank - (n - 1)
    return correlations, jnp.where(shared | (sines <= rounding), 0, sines)


def gaussian_parts(reduce: str) -> tuple[WhitenedSignature, GaussianScore]:
    """Signature and score behind a function of this file."""
    return WhitenedSignature(), GaussianScore(reduce)


def _gaussian(function: str, reduce: str, x: Array, y: Array, mask: Array | None) -> Scalar:
    check_pair(function, x, y, mask)
    dtype = accum_dtype(x, y)
    signature, score = gaussian_parts(reduce)
    return score(signature(x.astype(dtype), mask), signature(y.astype(dtype), mask))


@jit()
def gaussian_mutual_information(
    x: Float[Array, "n p"], y: Float[Array, "n q"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    r"""Mutual information of the Gaussian distribution with the covariances of the inputs.

    $$I = \tfrac12 \log\frac{|\Sigma_x|\,|\Sigma_y|}{|\Sigma|} = -\tfrac12 \sum_i \log(1 - \rho_i^2)$$

    with the canonical correlations $\rho_i$. Of inputs that are not Gaussian it is what linear relations tell.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in nats, at least 0; infinite where a canonical correlation is 1 up to rounding, which it is for an
      input with itself, and for any inputs of `n <= p + q` examples. Correlations near 1 are taken by the sines of
      their angles, so that float32 tells values up to about 10 nats a direction from infinity. For independent inputs
      about `p q / (2 (n - 1))`, more with many features. NaN when an input is constant. The gradient is finite, and 0
      where the value is infinite.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch.
      TypeError: at trace time, on non-floating input.

    Warns:
      UninformativeWarning: at trace time, with no more than `max(p, q) + 1` examples: infinite for any inputs.

    Example:
      >>> x = jnp.array([[1., 1.], [1., -1.], [-1., 1.], [-1., -1.]])
      >>> round(float(gaussian_mutual_information(x[:, :1], x @ jnp.array([[0.6], [0.8]]))), 6)
      0.223144

    Reference:
      Standard; as an alignment: Insulla, Huang and Rosasco (2025), arXiv:2502.14047.
    """
    return _gaussian("gaussian_mutual_information", "information", x, y, mask)


@jit()
def gaussian_wasserstein_dependence(
    x: Float[Array, "n p"], y: Float[Array, "n q"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    r"""Squared 2-Wasserstein distance of the joint Gaussian of whitened inputs from that of independent ones.

    $$W_2^2 = \sum_i \big(4 - 2\sqrt{1 + \rho_i} - 2\sqrt{1 - \rho_i}\big)$$

    with the canonical correlations $\rho_i$.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, (4 - 2 sqrt(2)) min(p, q)]`, without units; larger is more dependent. About half the sum of
      squared correlations where these are small, so `p q / (2 (n - 1))` for independent inputs. NaN when an input is
      constant. The gradient is finite: where a correlation is 1, one of those between.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch.
      TypeError: at trace time, on non-floating input.

    Warns:
      UninformativeWarning: at trace time, with no more than `max(p, q) + 1` examples: its largest value for any inputs.

    Example:
      >>> x = jnp.array([[1., 1.], [1., -1.], [-1., 1.], [-1., -1.]])
      >>> round(float(gaussian_wasserstein_dependence(x[:, :1], x @ jnp.array([[0.6], [0.8]]))), 6)
      0.205267

    Reference:
      Insulla, Huang and Rosasco (2025), arXiv:2502.14047, who print `2 Σ (1 - sqrt(1 - ρ²))` (0.4 for this example),
      which is not the distance by their own formula for Gaussians; corrected for this project.
    """
    return _gaussian("gaussian_wasserstein_dependence", "wasserstein", x, y, mask)
