"""The distance of centered logits."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.checks import as_array
from jaxalign._core.jit import jit
from jaxalign._core.numerics import binary_scale, safe_sqrt
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.identifiability.arguments import check_models, known_nan, raise_for_infinite
from jaxalign.identifiability.row_blocks import by_row_blocks, row_mean


def logit_distance(
    logp: Float[Array, "n c"], logp2: Float[Array, "n c"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    r"""Logit distance: root mean square, over inputs, of the distance of centered logits.

    $$d_{logit}^2 = \tfrac1n \textstyle\sum_i \|u(x_i) - u'(x_i)\|^2, \qquad
      u(x)_y = \log p(y \mid x) - \tfrac1c \sum_{y'} \log p(y' \mid x)$$

    A metric between models: the Aitchison distance of their probabilities. It bounds what `kl_divergence` is
    (`kl_bound`), how far representations are apart (`rep_distance_bound`) and how much they correlate (`cca_bound`).

    Args:
      logp: logits or log-probabilities, shape `(n, c)`.
      logp2: those of the other model, same inputs and labels.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar, at least 0, in nats times the root of labels. Inside `jit`, NaN for infinite values. Its gradient is
      finite, 0 at 0.

    Raises:
      ValueError: on wrong shapes, and for values that are known not to be finite.
      TypeError: on non-floating input.

    Example:
      >>> float(logit_distance(jnp.array([[0., 0.]]), jnp.array([[5., 7.]])))
      1.4142135381698608

    Reference:
      Logit distance bounds representational similarity, arXiv:2602.15438; Aitchison (1982).
    """
    name = "logit_distance"
    logp, logp2 = as_array(name, "logp", logp), as_array(name, "logp2", logp2)
    mask = None if mask is None else as_array(name, "mask", mask)
    check_models(name, logp, logp2, mask)
    value = _logit_distance(logp, logp2, mask=mask)
    if known_nan(value):
        raise_for_infinite(name, mask, logp=logp, logp2=logp2)
        raise ValueError(f"{name}: mask must leave at least one input, got none")
    return value


@jit()
def _logit_distance(
    logp: Float[Array, "n c"], logp2: Float[Array, "n c"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    def length(z: Array, z2: Array) -> Array:
        # Offsets of rows, which may be large, are taken off before models are compared.
        difference = (z - z[:, :1]) - (z2 - z2[:, :1])
        difference = difference - jnp.mean(difference, axis=1, keepdims=True)
        scale = binary_scale(difference, axis=1)
        scaled = difference * scale
        return safe_sqrt(jnp.sum(scaled * scaled, axis=1)) / scale[:, 0]

    lengths = by_row_blocks(length, (logp, logp2), mask)
    scale = binary_scale(lengths)
    return safe_sqrt(row_mean((lengths * scale) ** 2, mask)) / scale
