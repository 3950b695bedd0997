"""In which order examples are drawn."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxalign._core.typing import Array, Bool, Int


def epoch_order(key: Array, epoch: Int[Array, ""], rows: int, counts: Bool[Array, "n"] | None) -> Int[Array, "n"]:
    """All rows in a random order of this epoch, those that do not count at the end.

    The order depends on the key and the epoch only, so that a run can be resumed anywhere.
    """
    order = jax.random.permutation(jax.random.fold_in(key, epoch), rows)
    return order if counts is None else order[jnp.argsort(~counts[order], stable=True)]
