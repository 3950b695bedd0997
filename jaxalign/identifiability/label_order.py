"""In which order labels lie around the circle: what tells apart two kinds of solutions in two dimensions."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.checks import as_array, check_mask, check_matrix, describe
from jaxalign._core.jit import jit
from jaxalign._core.numerics import center_columns
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.identifiability.arguments import known_nan, raise_for_infinite
from jaxalign.identifiability.canonical import factors


def label_order(g: Float[Array, "c 2"]) -> Int[Array, "c"]:
    """Circular order of labels by the angle of their unembeddings, up to rotation and reflection.

    Labels are sorted by the angle of `g` minus its mean over labels, read from label 0 on, in the direction in which
    the second number is smaller than the last. Invertible linear maps of `g` do not change it. Networks trained from
    different seeds can end in different orders, with small divergence and equal accuracy, and far from one another in
    every other respect.

    Args:
      g: unembeddings, shape `(c, 2)`.

    Returns:
      Shape `(c,)`, starting with 0; `0, 1, ..., c-1` is the natural order.

    Raises:
      ValueError: for other than two columns.
      TypeError: on non-floating input.

    Example:
      >>> label_order(jnp.array([[1., 0.], [-1., 0.], [0., 1.], [0., -1.]])).tolist()
      [0, 2, 1, 3]

    Reference:
      Derived for this project.
    """
    g = as_array("label_order", "g", g)
    check_matrix("label_order", "g", g)
    if g.shape[1] != 2:
        raise ValueError(f"label_order: g must have 2 columns, as only a plane has a circular order, got {describe(g)}")
    return _label_order(g)


@jit()
def _label_order(g: Float[Array, "c 2"]) -> Int[Array, "c"]:
    centered = center_columns(g)
    order = jnp.argsort(jnp.arctan2(centered[:, 1], centered[:, 0])).astype(jnp.int32)
    order = jnp.roll(order, -jnp.argmin(order))
    # Label 0 stays in front when the others are reversed.
    backwards = jnp.concatenate([order[:1], order[:0:-1]])
    return jnp.where(order[1] > order[-1], backwards, order) if order.shape[0] > 1 else order


def label_order_from_logprobs(logp: Float[Array, "n c"], *, mask: Bool[Array, "n"] | None = None) -> Int[Array, "c"]:
    """`label_order` of a model of two dimensions from its log-probabilities alone.

    Unembeddings are the right singular vectors of the centered logits, up to an invertible map, which keeps the order.

    Args:
      logp: logits or log-probabilities, shape `(n, c)`, at least 3 inputs and labels.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      Shape `(c,)`, as `label_order`. Of a model of more dimensions it is the order in the plane of the two largest.

    Raises:
      ValueError: on wrong shapes, and for values that are known not to be finite.
      TypeError: on non-floating input.

    Example:
      >>> f = jnp.array([[1., 0.], [0., 1.], [2., 1.]])
      >>> g = jnp.array([[1., 0.], [-1., 0.], [0., 1.], [0., -1.]])
      >>> label_order_from_logprobs(f @ g.T).tolist()
      [0, 2, 1, 3]

    Reference:
      Derived for this project.
    """
    name = "label_order_from_logprobs"
    logp = as_array(name, "logp", logp)
    check_matrix(name, "logp", logp)
    mask = None if mask is None else as_array(name, "mask", mask)
    check_mask(name, mask, logp.shape[0])
    if min(logp.shape) < 3:
        raise ValueError(f"{name}: logp must have at least 3 inputs and labels, got {describe(logp)}")
    vectors = _right_vectors(logp, mask=mask)
    if known_nan(vectors):
        raise_for_infinite(name, mask, logp=logp)
    return _label_order(vectors)


@jit()
def _right_vectors(logp: Float[Array, "n c"], *, mask: Bool[Array, "n"] | None = None) -> Float[Array, "c 2"]:
    return factors(logp, 2, mask)[2]
