"""Distance family: distance correlation and distance covariance, kernel scores of the distance kernel."""

from __future__ import annotations

from jaxalign._core.checks import check_choice
from jaxalign._core.jit import jit
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.alignment.kernel import ESTIMATORS, KernelScore, pair_score
from jaxalign.kernels.radial import Distance


def distance_correlation_score(estimator: str) -> KernelScore:
    """The score behind `distance_correlation`, of the matrices of `Distance`."""
    check_choice("distance_correlation", "estimator", estimator, ESTIMATORS)
    return KernelScore(estimator, scaling="cosine", form="root" if estimator == "biased" else "value")


def distance_covariance_score(estimator: str) -> KernelScore:
    """The score behind `distance_covariance`, of the matrices of `Distance`."""
    check_choice("distance_covariance", "estimator", estimator, ESTIMATORS)
    if estimator == "biased":
        return KernelScore(estimator, scaling="n2", form="root")
    return KernelScore(estimator, scaling="u")


@jit(static=("exponent", "estimator"))
def distance_correlation(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    exponent: float = 1.0,
    estimator: str = "biased",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Distance correlation: 0 in the limit only for independent inputs, whatever their relation.

    $$\mathrm{dCor} = \sqrt{\frac{\langle HDH, HEH\rangle}{\|HDH\|_F\,\|HEH\|_F}}$$

    with the matrices $D$, $E$ of Euclidean distances between rows. Its square is CKA with the
    distance kernel.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      exponent: power of the distances, `0 < exponent <= 2`; at 2 the square is linear CKA, which is
        0 for more than independent inputs.
      estimator: `"biased"`, the root above, which grows to 1 with the number of features; or
        `"unbiased"`, the bias-corrected *square*, close to 0 for independent inputs and possibly negative.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, float32 or wider: in `[0, 1]` when biased, in `[-1, 1]` when unbiased. NaN when
      either input is constant, and when unbiased with fewer than 4 examples.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, an unknown estimator, an exponent
        outside `(0, 2]`.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.array([[0.], [1.], [2.]])
      >>> round(float(distance_correlation(x, 3 * x + 1)), 4)
      1.0

    Reference:
      Székely, Rizzo and Bakirov (2007), Measuring and testing dependence by correlation of
      distances. Unbiased: Székely and Rizzo (2013), The distance correlation t-test of
      independence in high dimension.
    """
    score = distance_correlation_score(estimator)
    return pair_score("distance_correlation", score, x, y, Distance(exponent), None, mask)


@jit(static=("exponent", "estimator"))
def distance_covariance(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    exponent: float = 1.0,
    estimator: str = "biased",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""Distance covariance: distance correlation before it is divided by the spread of each input.

    $$\mathrm{dCov} = \frac1n \sqrt{\langle HDH, HEH\rangle}$$

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      exponent: power of the Euclidean distances, `0 < exponent <= 2`.
      estimator: `"biased"`, the root above; or `"unbiased"`, the *square*, of U-centered matrices
        divided by `n (n - 3)`, possibly negative.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, float32 or wider. Biased: at least 0, in the root of the product of the inputs'
      units (at exponent 1). Unbiased: in that product; NaN with fewer than 4 examples. 0 when
      either input is constant.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, an unknown estimator, an exponent
        outside `(0, 2]`.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.array([[0.], [1.], [2.]])
      >>> round(float(distance_covariance(x, x)), 4)
      0.7027

    Reference:
      Székely, Rizzo and Bakirov (2007), Measuring and testing dependence by correlation of distances.
    """
    score = distance_covariance_score(estimator)
    return pair_score("distance_covariance", score, x, y, Distance(exponent), None, mask)
