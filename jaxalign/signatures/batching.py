"""The same work on layers of different widths, compiled a few times instead of once for each.

Zero features change no inner product and no distance: layers are padded to a few common
widths, and those of one width go through one compiled function, one after the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp

from jaxalign._core.typing import Array, Float

#: More than `MOST_WIDTHS` different widths are padded to that many multiples of `WIDTH_MULTIPLE`.
WIDTH_MULTIPLE = 64
MOST_WIDTHS = 3
#: Fewer layers are not worth copying.
STACK_FROM = 4

Result = TypeVar("Result")


def stack_layers(
    layers: Sequence[Float[Array, "n _d"]], *, pad: bool = True
) -> list[tuple[tuple[int, ...], Float[Array, "g n d"]]]:
    """Layers in stacks of one width, with the indices of those that each holds.

    A layer alone in its stack is not padded, and fewer than `STACK_FROM` layers are left alone.

    Args:
      layers: matrices with the same number of rows and dtype.
      pad: whether layers may get zero features, to be stacked with wider ones.
    """
    widths = padded_widths([x.shape[1] for x in layers]) if pad else {x.shape[1]: x.shape[1] for x in layers}
    groups: dict[int, list[int]] = {}
    for index, x in enumerate(layers):
        groups.setdefault(widths[x.shape[1]], []).append(index)
    stacks: list[tuple[tuple[int, ...], Array]] = []
    for width, members in groups.items():
        if len(members) == 1 or len(layers) < STACK_FROM:
            stacks += [((index,), layers[index][None]) for index in members]
        else:
            stacks.append((tuple(members), jnp.stack([pad_features(layers[index], width) for index in members])))
    return stacks


def map_layers(work: Callable[[Float[Array, "n d"]], Result], layers: Sequence[Float[Array, "n _d"]]) -> list[Result]:
    """`[work(x) for x in layers]` for `work` that does not see zero features; one layer in flight at a time.

    Args:
      work: a function of rows to a pytree of arrays; where their shapes depend on the width they
        are those of the padded one.
      layers: matrices with the same number of rows and dtype.
    """
    results: dict[int, Result] = {}
    for members, stack in stack_layers(layers):
        stacked = jax.lax.map(work, stack)
        for place, index in enumerate(members):
            results[index] = jax.tree.map(lambda leaf, place=place: leaf[place], stacked)
    return [results[index] for index in range(len(layers))]


def pad_features(x: Float[Array, "n d"], width: int) -> Float[Array, "n w"]:
    """`x` with zero features up to `width`."""
    return x if x.shape[1] == width else jnp.pad(x, ((0, 0), (0, width - x.shape[1])))


def padded_widths(widths: Sequence[int]) -> dict[int, int]:
    """For every width, the one to pad it to, so that few shapes are compiled.

    At most `MOST_WIDTHS` different ones stay as they are. Otherwise, of all ways to use so many
    sizes, multiples of `WIDTH_MULTIPLE`, the one that adds the fewest columns.
    """
    if len(set(widths)) <= MOST_WIDTHS:
        return {width: width for width in widths}
    rounded = {width: -(-width // WIDTH_MULTIPLE) * WIDTH_MULTIPLE for width in widths}
    sizes = sorted(set(rounded.values()))
    if len(sizes) <= MOST_WIDTHS:
        return rounded

    def padded(width: int, chosen: Sequence[int]) -> int:
        return next(size for size in chosen if size >= width)

    best = min(
        ((*inner, sizes[-1]) for inner in itertools.combinations(sizes[:-1], MOST_WIDTHS - 1)),
        key=lambda chosen: sum(padded(rounded[width], chosen) for width in widths),
    )
    return {width: padded(size, best) for width, size in rounded.items()}
