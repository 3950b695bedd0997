"""A few labels out of a large vocabulary."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import as_array, check_integer
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype, center_columns
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.identifiability.arguments import check_models, known_nan, raise_for_infinite
from jaxalign.identifiability.row_blocks import BLOCK_ENTRIES, by_row_blocks


def most_variable_labels(
    logp: Float[Array, "n c"], logp2: Float[Array, "n c"], *, count: int, mask: Bool[Array, "n"] | None = None
) -> Int[Array, "s"]:
    """Labels whose centered logits vary most over inputs, for `select_sets` and distances on a large vocabulary.

    By the smaller of both models' variances, so that no label is constant in one of them. Say which labels were used:
    values depend on it.

    Args:
      logp: logits or log-probabilities, shape `(n, c)`.
      logp2: those of the other model, same inputs and labels.
      count: how many, at most c.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      Shape `(count,)`, the most variable first.

    Raises:
      ValueError: on wrong shapes, a count above the number of labels, and for values known not to be finite.
      TypeError: on non-floating input.

    Example:
      >>> p = jnp.array([[0., 1., 5.], [0., 1., -5.], [0., 0., 0.]])
      >>> most_variable_labels(p, p, count=1).tolist()
      [2]
    """
    name = "most_variable_labels"
    logp, logp2 = as_array(name, "logp", logp), as_array(name, "logp2", logp2)
    mask = None if mask is None else as_array(name, "mask", mask)
    check_models(name, logp, logp2, mask)
    check_integer(name, "count", count, minimum=1)
    if count > logp.shape[1]:
        raise ValueError(f"{name}: count must be at most the number of labels ({logp.shape[1]}), got {count}")
    labels, variances = _most_variable(logp, logp2, count=count, mask=mask)
    if known_nan(variances):
        raise_for_infinite(name, mask, logp=logp, logp2=logp2)
    return labels


@jit(static=("count",))
def _most_variable(
    logp: Float[Array, "n c"], logp2: Float[Array, "n c"], *, count: int, mask: Bool[Array, "n"] | None = None
) -> tuple[Int[Array, "s"], Float[Array, "c"]]:
    least = jnp.minimum(_variances(logp, mask), _variances(logp2, mask))
    return lax.top_k(least, count)[1].astype(jnp.int32), least


def _variances(logp: Array, mask: Array | None) -> Float[Array, "c"]:
    """Sums of squares of the centered logits around their means, a block of labels at a time."""
    n, c = logp.shape
    dtype = accum_dtype(logp)
    means = by_row_blocks(lambda z: jnp.mean(z - z[:, :1], axis=1) + z[:, 0], (logp,), mask)
    width = min(c, max(1, BLOCK_ENTRIES // n))
    blocks = -(-c // width)
    starts = jnp.minimum(jnp.arange(blocks, dtype=jnp.int32) * width, c - width)

    def of_block(start: Array) -> Array:
        columns = lax.dynamic_slice_in_dim(logp, start, width, axis=1).astype(dtype)
        if mask is not None:
            columns = jnp.where(mask[:, None], columns, 0)
        centered = center_columns(columns - means[:, None], mask)
        return jnp.sum(centered * centered, axis=0)

    values = lax.map(of_block, starts)
    return jnp.zeros(c, dtype).at[(starts[:, None] + jnp.arange(width, dtype=jnp.int32)[None, :])].set(values)
