"""Examples in another order, of anything that is kept of a representation."""

from __future__ import annotations

from typing import Any

import jax

from jaxalign._core.numerics import take_rows
from jaxalign._core.typing import Array, Int


def permute(signature: Any, indices: Int[Array, "n"]) -> Any:
    """What is kept of the same representation when example `i` is what was example `indices[i]`.

    Nothing is recomputed: no kernel, no search for neighbors, no decomposition.

    Args:
      signature: an array with a row for each example, or what has a method `permute`.
      indices: each example once.
    """
    return take_rows(signature, indices) if isinstance(signature, jax.Array) else signature.permute(indices)
