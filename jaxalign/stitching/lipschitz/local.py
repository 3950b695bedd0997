"""How much a head stretches the differences that a sample has."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxalign._core.checks import as_array, check_floating, check_mask, describe
from jaxalign._core.numerics import fill_rows, safe_divide, widen
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.stitching.heads import as_head, output_shape
from jaxalign.stitching.rows import example_lengths


def local_lipschitz(
    head: Any,
    a: Float[Array, "n *axes p"],
    b: Float[Array, "n *axes p"],
    *,
    mask: Bool[Array, "n"] | None = None,
) -> Scalar:
    r"""The largest ratio of output distance to input distance over pairs of activations: a constant of this sample.

    $$\kappa_{loc} = \max_i \|g(a_i) - g(b_i)\| \,/\, \|a_i - b_i\|$$

    over flattened examples. With `a` the stitched and `b` the true activations, it can stand for the Lipschitz constant
    in the stitching bound on the same rows, and on no others: other rows may have a larger one. It is never above
    `lipschitz_bound`, but for rounding.

    Args:
      head: the rest of a network: a function, an NNX module (an evaluation copy is taken), a pair of a Linen module and
        its variables, or a callable pytree. It gives one row for each example, which depends on no other row.
      a: activations, examples first.
      b: likewise, of the same shape.
      mask: shape `(n,)`; examples with `False` may hold any value.

    Returns:
      A scalar, 0 or more, float32 or wider. Pairs that are equal before and after the head are left out; NaN when no
      pair is left; infinite when equal activations give different outputs. It has a gradient with respect to `a` and
      `b`, that of the largest ratio. Differences below about 1e-7 of the activations (in float32) are rounding, and so
      is their ratio.

    Raises:
      ValueError: for activations of different shapes, or a head that does not take them.
      TypeError: for what is not floating, and a head that cannot be called.

    Example:
      >>> float(local_lipschitz(lambda z: 3 * z, jnp.array([[1., 2.], [0., 0.]]), jnp.zeros((2, 2))))
      3.0

    Reference:
      Derived for this project, from the proof of Theorem 1 of Insulla et al. (2025), arXiv:2502.14047, which needs the
      constant on these pairs only.
    """
    name = "local_lipschitz"
    a, b = as_array(name, "a", a), as_array(name, "b", b)
    for argument, value in (("a", a), ("b", b)):
        check_floating(name, argument, value)
        if value.ndim < 2 or 0 in value.shape:
            raise ValueError(f"{name}: {argument} must have shape (examples, ..., features), got {describe(value)}")
    if a.shape != b.shape:
        raise ValueError(f"{name}: a and b must have the same shape, got {a.shape} and {b.shape}")
    mask = None if mask is None else as_array(name, "mask", mask)
    check_mask(name, mask, a.shape[0])
    a, b = fill_rows(a, mask), fill_rows(b, mask)
    apply = as_head(name, head)
    output_shape(name, "head", apply, a, "a")
    before = example_lengths(_difference(a, b))
    after = example_lengths(_difference(apply(a), apply(b))).astype(before.dtype)
    moved = ~((before == 0) & (after == 0))
    kept = moved if mask is None else moved & mask
    ratios = safe_divide(after, before, otherwise=jnp.inf)
    return jnp.where(jnp.any(kept), jnp.max(jnp.where(kept, ratios, -jnp.inf)), jnp.nan)


def _difference(a: Array, b: Array) -> Array:
    dtype = jnp.promote_types(widen(a).dtype, widen(b).dtype)
    return a.astype(dtype) - b.astype(dtype)
