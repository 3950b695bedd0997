"""Rows of length one."""

from __future__ import annotations

from jaxalign._core import numerics
from jaxalign._core.checks import check_rows
from jaxalign._core.jit import jit
from jaxalign._core.numerics import mask_rows
from jaxalign._core.typing import Array, Bool, Float


@jit()
def normalize_rows(x: Float[Array, "n d"], *, mask: Bool[Array, "n"] | None = None) -> Float[Array, "n d"]:
    r"""Divide each row by its Euclidean length.

    $$x_i \mapsto x_i / \|x_i\|_2$$

    A zero row stays zero, with zero gradient; squares neither overflow nor vanish.

    Args:
      x: activations, shape `(n, d)`; row `i` is example `i`.
      mask: shape `(n,)`; `False` rows are padding, may hold any value and become 0.

    Returns:
      Shape `(n, d)`, float32 or wider, entries in `[-1, 1]`.

    Raises:
      ValueError: at trace time, when `x` is not an `(n, d)` matrix or `mask` is not `(n,)`.
      TypeError: at trace time, when `x` is not floating point or `mask` is not boolean.

    Example:
      >>> import jax.numpy as jnp
      >>> normalize_rows(jnp.array([[3., 4.], [0., 0.]])).round(3).tolist()
      [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    check_rows("normalize_rows", x, mask)
    return numerics.normalize_rows(mask_rows(x, mask))
