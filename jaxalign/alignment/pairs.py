"""Any score of two signatures, on every pair of two lists of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxalign._core.typing import Array, Float, Scalar


def score_pairs(
    score: Callable[[Any, Any], Scalar], a: Sequence[Any], b: Sequence[Any] | None = None, *, symmetric: bool
) -> Float[Array, "La Lb"]:
    """The matrix of scores; pairs of signatures of the same shapes share one compiled loop.

    Args:
      score: a function of two signatures, pytrees of arrays, to a scalar.
      a: signatures of one side.
      b: those of the other; None for `a` again.
      symmetric: without `b`, compute one half and mirror it.
    """
    other = a if b is None else b
    half = b is None and symmetric
    groups_a, groups_b = by_shape(a), by_shape(other)
    matrix: Array | None = None
    for members_a in groups_a:
        for members_b in groups_b:
            pairs = [(i, j) for i in members_a for j in members_b if i <= j or not half]
            if not pairs:
                continue
            rows, columns = jnp.asarray(pairs, jnp.int32).T
            if len(pairs) == 1:
                values = score(a[pairs[0][0]], other[pairs[0][1]])[None]
            else:
                # Where in its stack a signature is, by its index in the list.
                values = jax.lax.map(
                    _scorer(score, stack(a, members_a), stack(other, members_b)),
                    (
                        jnp.asarray([members_a.index(i) for i, _ in pairs], jnp.int32),
                        jnp.asarray([members_b.index(j) for _, j in pairs], jnp.int32),
                    ),
                )
            if matrix is None:
                matrix = jnp.zeros((len(a), len(other)), values.dtype)
            matrix = matrix.at[rows, columns].set(values)
            if half:
                matrix = matrix.at[columns, rows].set(values)
    assert matrix is not None  # lists are not empty
    return matrix


def _scorer(score: Callable[[Any, Any], Scalar], a: Any, b: Any) -> Callable[[tuple[Array, Array]], Scalar]:
    """The score of two members of stacks, by their places."""

    def scored(places: tuple[Array, Array]) -> Scalar:
        one, two = (jax.tree.map(lambda leaf, at=at: leaf[at], stack) for stack, at in zip((a, b), places, strict=True))
        return score(one, two)

    return scored


def stack(signatures: Sequence[Any], members: Sequence[int]) -> Any:
    """Some signatures of one structure and the same shapes as one, along a leading axis of all arrays."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(signatures[i] for i in members))


def by_shape(signatures: Sequence[Any]) -> list[list[int]]:
    """Indices of signatures, those of one structure and the same shapes together."""
    groups: dict[Hashable, list[int]] = {}
    for index, signature in enumerate(signatures):
        leaves, structure = jax.tree.flatten(signature)
        groups.setdefault((structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)), []).append(index)
    return list(groups.values())
