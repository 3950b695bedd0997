"""How a comparison is cut into pieces of work that can be held, counted, kept and resumed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: Multiplications of a piece of work, about: some seconds of one core.
PIECE_COST = 5e10
#: Bytes that the layers of a block may take, by default.
MAX_MEMORY = 4 * 2**30
#: Copies of its layers that a block holds: as given, widened, stacked.
COPIES = 3


@dataclass(frozen=True)
class Block:
    """Some layers of one side against some of the other: a block of the score matrix."""

    rows: range
    columns: range

    @property
    def name(self) -> str:
        """A name for a file."""
        return f"{self.rows.start}-{self.rows.stop}x{self.columns.start}-{self.columns.stop}"


def cut_into_blocks(
    rows: int, columns: int, *, mirrored: bool, fits: Callable[[range, range], bool]
) -> tuple[Block, ...]:
    """Blocks that cover the score matrix, in as few groups of layers as fit.

    Few, since every block prepares its layers anew. A block of one pair is not cut further,
    whether it fits or not.

    Args:
      rows: layers of one side.
      columns: layers of the other.
      mirrored: both sides are the same and only blocks on and above the diagonal are needed.
      fits: whether these rows and columns may be one block.
    """
    for groups in range(1, max(rows, columns) + 1):
        across, down = _groups(rows, groups), _groups(columns, groups)

        def pairs(across: list[range] = across, down: list[range] = down) -> itertools.chain[tuple[range, range]]:
            return itertools.chain.from_iterable(
                ((r, c) for c in (down[i:] if mirrored else down)) for i, r in enumerate(across)
            )

        if groups == max(rows, columns) or all(itertools.starmap(fits, pairs())):
            return tuple(itertools.starmap(Block, pairs()))
    raise AssertionError("a comparison has at least one row")


def _groups(count: int, groups: int) -> list[range]:
    """`count` layers in at most `groups` consecutive groups of nearly equal size."""
    groups = min(groups, count)
    edges = [count * i // groups for i in range(groups + 1)]
    return [range(a, b) for a, b in itertools.pairwise(edges)]


def block_bytes(n: int, itemsize: int, widths: Sequence[int]) -> int:
    """What the layers of a block take, in bytes.

    Args:
      n: number of examples.
      itemsize: bytes of a number as it is computed with.
      widths: features of the layers that are held, padded.
    """
    return n * itemsize * COPIES * sum(widths)
