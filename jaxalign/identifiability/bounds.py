"""What distances between models say about one another, as functions of numbers; each says when it says nothing."""

from __future__ import annotations

import math
import warnings
from typing import Any

import jax.numpy as jnp

from jaxalign._core.checks import check_integer, check_ridge
from jaxalign._core.numerics import widen
from jaxalign._core.typing import Array, Float, Scalar
from jaxalign.identifiability.arguments import any_traced
from jaxalign.signatures.whitened import UninformativeWarning


def _number(function: str, argument: str, value: Any) -> Array:
    """A number of at least 0, in float32 or wider."""
    check_ridge(function, value, argument=argument)
    value = jnp.asarray(value)
    return widen(value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(float))


def _warn(function: str, holds: Array, text: str) -> None:
    """Warn when it is known that a bound says nothing."""
    if not any_traced(holds) and bool(holds):
        warnings.warn(f"{function}: {text}", UninformativeWarning, stacklevel=3)


def llv_bound(eps: float | Scalar, m: int) -> Float[Array, ""]:
    r"""The paper's bound on `identifiability_distance` from `llv_distance`: $d_{f,g} \le \min(1, 2 m \epsilon)$.

    Args:
      eps: ε, the value of `llv_distance` (or the larger of its t1 and t2) on the same sets, at least 0.
      m: dimension of the models, at least 1.

    Returns:
      A scalar in `[0, 1]`; vacuous, 1, from ε = 1 / (2m) on. `llv_bound_tight` is below it wherever it is not.

    Raises:
      ValueError, TypeError: for a negative number, or a dimension that is no positive integer.

    Warns:
      UninformativeWarning: when it is vacuous; not inside `jit`.

    Example:
      >>> round(float(llv_bound(0.1, 2)), 4)
      0.4

    Reference:
      Theorem 4.7 of Nielsen et al. (2025), arXiv:2506.03784.
    """
    check_integer("llv_bound", "m", m, minimum=1)
    bound = 2 * m * _number("llv_bound", "eps", eps)
    _warn("llv_bound", bound >= 1, f"vacuous: eps must be below 1 / (2m) = {1 / (2 * m):.4g}; see llv_bound_tight")
    return jnp.minimum(bound, 1)


def llv_bound_tight(eps: float | Scalar) -> Float[Array, ""]:
    r"""A sharper bound on `identifiability_distance` from `llv_distance`: $d_{f,g} \le \min(1, 2 \epsilon^2)$.

    Standardized log-odds of both models differ by a difference of two entries of $T_1$, so by $2 T_1$ at most; and
    `pls_svd_distance` is at most their squared distance over twice their number. So $d_f \le 2 T_1^2$ and
    $d_g \le 2 T_2^2$, for subsets of labels of any size, whatever the dimension. It is attained, see
    `constructions.tightness_pair`.

    Args:
      eps: ε, the value of `llv_distance` on the same sets, at least 0; or t1 for $d_f$, t2 for $d_g$.

    Returns:
      A scalar in `[0, 1]`; vacuous, 1, from ε = 1/√2 on.

    Raises:
      ValueError, TypeError: for a negative number, or none.

    Warns:
      UninformativeWarning: when it is vacuous; not inside `jit`.

    Example:
      >>> round(float(llv_bound_tight(0.1)), 4)
      0.02

    Reference:
      Derived for this project; it implies theorem 4.7 of Nielsen et al. (2025), arXiv:2506.03784.
    """
    bound = 2 * _number("llv_bound_tight", "eps", eps) ** 2
    _warn("llv_bound_tight", bound >= 1, "vacuous: eps must be below 1 / sqrt(2)")
    return jnp.minimum(bound, 1)


def kl_bound(logit_distance: float | Scalar) -> Float[Array, ""]:
    r"""The largest `kl_divergence` of two models, either way, from their `logit_distance`: $d_{logit}^2 / 4$.

    The Hessian of the log-partition is at most half of the identity. Divergences have no largest value, so it is never
    vacuous. The converse needs probabilities that are not small: `logit_distance_bound`.

    Args:
      logit_distance: at least 0.

    Returns:
      A scalar, in nats.

    Raises:
      ValueError, TypeError: for a negative number, or none.

    Example:
      >>> float(kl_bound(2.0))
      1.0

    Reference:
      Derived for this project.
    """
    return _number("kl_bound", "logit_distance", logit_distance) ** 2 / 4


def logit_distance_bound(kl: float | Scalar, *, least: float | Scalar, classes: int) -> Float[Array, ""]:
    r"""The largest `logit_distance` of two models from their `kl_divergence`, when no probability is below τ.

    $$d_{logit}^2 \le C\, d_{KL}, \qquad C = \frac{R^2}{\tau (e^{-R} - 1 + R)}, \qquad
      R = \ln\frac{1 - (k-1)\tau}{\tau}$$

    Args:
      kl: the divergence in nats, either way, at least 0.
      least: τ, the least probability of any label for any input in both models, in `(0, 1 / classes]`.
      classes: k, number of labels.

    Returns:
      A scalar, at most $\sqrt k R$, which any such models keep. C is 38 for τ = 0.1 and 1e5 for 1e-4: for confident
      models a small divergence says nothing.

    Raises:
      ValueError, TypeError: for numbers out of range.

    Warns:
      UninformativeWarning: when it is $\sqrt k R$; not inside `jit`.

    Example:
      >>> round(float(logit_distance_bound(0.01, least=0.1, classes=4)), 4)
      0.5897

    Reference:
      Of the form of theorem 3.9 of arXiv:2602.15438; this constant was derived for this project.
    """
    name = "logit_distance_bound"
    check_integer(name, "classes", classes, minimum=2)
    kl, tau = _number(name, "kl", kl), _number(name, "least", least)
    tau = tau.astype(kl.dtype)
    if not any_traced(tau) and not 0 < float(tau) <= (1 + 1e-6) / classes:
        raise ValueError(f"{name}: least must be above 0 and at most 1 / classes = {1 / classes:.4g}, got {float(tau)}")
    spread = jnp.maximum(jnp.log((1 - (classes - 1) * tau) / tau), 0)
    # exp(-R) - 1 + R is R²/2 for small R, where all models are alike.
    series = 0.5 - spread / 6 + spread * spread / 24
    ratio = jnp.where(spread > 0.01, (jnp.expm1(-spread) + spread) / jnp.maximum(spread, 0.01) ** 2, series)
    bound, largest = jnp.sqrt(kl / (tau * ratio)), math.sqrt(classes) * spread
    _warn(name, bound >= largest, "vacuous: any two models with such probabilities are as close")
    return jnp.minimum(bound, largest)


def rep_distance_bound(
    logit_distance: float | Scalar, *, s_min: float | Scalar, m: int, classes: int
) -> Float[Array, ""]:
    r"""The largest `rep_distance` from the `logit_distance`: $\sqrt{2m/(k-1)}\; d_{logit} / s_{min}$.

    Args:
      logit_distance: at least 0.
      s_min: of the `RepDistance`: the least singular value over all pivots and subsets of labels, or those drawn that
        the distance is an average of (then in the mean over draws only).
      m: dimension of the first model.
      classes: k, number of labels.

    Returns:
      A scalar in units of the embeddings, infinite for `s_min` 0. Vacuous where it is above the root mean square of
      the embeddings, which a map to 0 would reach; that is not known here.

    Raises:
      ValueError, TypeError: for numbers out of range.

    Warns:
      UninformativeWarning: when it is infinite; not inside `jit`.

    Example:
      >>> round(float(rep_distance_bound(0.1, s_min=0.5, m=2, classes=5)), 4)
      0.2

    Reference:
      Theorem 3.3 of arXiv:2602.15438; the constant was checked for this project.
    """
    name = "rep_distance_bound"
    check_integer(name, "m", m, minimum=1)
    check_integer(name, "classes", classes, minimum=m + 1)
    distance, least = _number(name, "logit_distance", logit_distance), _number(name, "s_min", s_min)
    least = least.astype(distance.dtype)
    _warn(name, least == 0, "vacuous: unembeddings are not in general position (s_min = 0)")
    return math.sqrt(2 * m / (classes - 1)) * jnp.where(least > 0, distance / jnp.where(least > 0, least, 1), jnp.inf)


def cca_bound(logit_distance: float | Scalar, *, eigenvalue: float | Scalar, m: int) -> Float[Array, ""]:
    r"""The least mean canonical correlation of embeddings from the `logit_distance`: $1 - d_{logit}^2 / (m \lambda_m)$.

    Args:
      logit_distance: at least 0.
      eigenvalue: $\lambda_m$, the m-th largest eigenvalue of the covariance of the centered logits of the first model
        (divided by n), see `logit_covariance_eigenvalues`.
      m: dimension of both models.

    Returns:
      A scalar in `[0, 1]`; vacuous at 0. It holds for the mean of the squares of the correlations as well.

    Raises:
      ValueError, TypeError: for numbers out of range.

    Warns:
      UninformativeWarning: when it is vacuous; not inside `jit`.

    Example:
      >>> round(float(cca_bound(0.1, eigenvalue=0.5, m=2)), 4)
      0.99

    Reference:
      Derived for this project.
    """
    check_integer("cca_bound", "m", m, minimum=1)
    distance = _number("cca_bound", "logit_distance", logit_distance)
    least = _number("cca_bound", "eigenvalue", eigenvalue).astype(distance.dtype)
    square = distance**2
    bound = jnp.where(least > 0, 1 - square / jnp.where(least > 0, m * least, 1), 0)
    _warn("cca_bound", bound <= 0, "vacuous: the logit distance is above the least spread of the logits")
    return jnp.maximum(bound, 0)
