"""Kullback-Leibler divergence of two models, for vocabularies of any size."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxalign._core.checks import as_array
from jaxalign._core.jit import jit
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.alignment.divergences import DIVERGENCES
from jaxalign.identifiability.arguments import check_models, known_nan
from jaxalign.identifiability.row_blocks import by_row_blocks, row_mean


def kl_divergence(
    logp: Float[Array, "n c"], logp2: Float[Array, "n c"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    r"""Kullback-Leibler divergence of the second model from the first, in the mean over inputs.

    $$\tfrac1n \textstyle\sum_i \sum_y p(y \mid x_i) \log \frac{p(y \mid x_i)}{p'(y \mid x_i)}$$

    As `jaxalign.kl_divergence`, a few rows at a time. **A small value says nothing about representations**: see
    `constructions.permuted_clusters`, where it goes to 0 while they have nothing in common.

    Args:
      logp: logits or log-probabilities, shape `(n, c)`; minus infinity for a label that cannot be.
      logp2: those of the other model, same inputs and labels.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in nats, at least 0; infinite when the second model calls impossible what the first does not. Not
      symmetric. Inside `jit`, NaN where a row is not a distribution. Where it is finite, so is its gradient.

    Raises:
      ValueError: on wrong shapes, and for a row that is known to hold NaN, infinity, or minus infinity only.
      TypeError: on non-floating input.

    Example:
      >>> p, q = jnp.log(jnp.array([[0.5, 0.5]])), jnp.log(jnp.array([[0.75, 0.25]]))
      >>> round(float(kl_divergence(p, q)), 4)
      0.1438

    Reference:
      Kullback and Leibler (1951), On information and sufficiency.
    """
    name = "kl_divergence"
    logp, logp2 = as_array(name, "logp", logp), as_array(name, "logp2", logp2)
    mask = None if mask is None else as_array(name, "mask", mask)
    check_models(name, logp, logp2, mask)
    value = _kl_divergence(logp, logp2, mask=mask)
    if known_nan(value):
        for argument, rows in (("logp", logp), ("logp2", logp2)):
            bad = jnp.isnan(_kl_divergence_of_rows(rows, rows, mask))
            if bool(bad.any()):
                raise ValueError(
                    f"{name}: {argument} must hold finite numbers, and minus infinity at most for some labels, "
                    f"which input {int(bad.argmax())} does not"
                )
        raise ValueError(f"{name}: mask must leave at least one input, got none")
    return value


@jit()
def _kl_divergence(
    logp: Float[Array, "n c"], logp2: Float[Array, "n c"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    return row_mean(_kl_divergence_of_rows(logp, logp2, mask), mask)


def _kl_divergence_of_rows(logp: Array, logp2: Array, mask: Array | None) -> Float[Array, "n"]:
    of_rows, _ = DIVERGENCES["kl_divergence"]

    def divergence(z: Array, z2: Array) -> Array:
        log_p, log_q = jax.nn.log_softmax(z, axis=1), jax.nn.log_softmax(z2, axis=1)
        # Probabilities too small for a number still count against what cannot be.
        impossible = jnp.any((log_q == -jnp.inf) & (log_p > -jnp.inf), axis=1)
        return jnp.where(impossible, jnp.inf, of_rows(log_p, log_q))

    return by_row_blocks(divergence, (logp, logp2), mask)
