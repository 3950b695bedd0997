"""Columns of mean zero."""

from __future__ import annotations

from jaxalign._core.checks import check_rows
from jaxalign._core.jit import jit
from jaxalign._core.numerics import center_columns
from jaxalign._core.typing import Array, Bool, Float


@jit()
def center(x: Float[Array, "n d"], *, mask: Bool[Array, "n"] | None = None) -> Float[Array, "n d"]:
    r"""Subtract from each column its mean.

    $$\bar X = X - \tfrac1n \mathbf 1 \mathbf 1^\top X$$

    A constant column becomes exactly 0, and small variation on a large offset survives.

    Args:
      x: activations, shape `(n, d)`; row `i` is example `i`.
      mask: shape `(n,)`; `False` rows are padding, may hold any value and become 0.

    Returns:
      Shape `(n, d)`, float32 or wider.

    Raises:
      ValueError: at trace time, when `x` is not an `(n, d)` matrix or `mask` is not `(n,)`.
      TypeError: at trace time, when `x` is not floating point or `mask` is not boolean.

    Example:
      >>> import jax.numpy as jnp
      >>> center(jnp.array([[1., 5.], [3., 5.]])).tolist()
      [[-1.0, 0.0], [1.0, 0.0]]
    """
    check_rows("center", x, mask)
    return center_columns(x, mask)
