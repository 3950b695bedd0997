"""How a comparison is cut into units of work that can be kept, counted and resumed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from jaxalign.engines.planner import tile_cost

#: Multiplications of a unit, about: some seconds of one core.
UNIT_COST = 2e11
#: Bytes that the layers of a unit may take, by default.
MAX_MEMORY = 4 * 2**30
#: Copies of its layers that a unit holds: as given, widened, centered.
COPIES = 3


@dataclass(frozen=True)
class Unit:
    """A block of the score matrix: some layers of one side against some of the other."""

    rows: range
    columns: range

    @property
    def name(self) -> str:
        """A name for a file."""
        return f"{self.rows.start}-{self.rows.stop}x{self.columns.start}-{self.columns.stop}"


def block_units(
    n: int, widths_a: Sequence[int], widths_b: Sequence[int], *, mirrored: bool, max_memory: int
) -> list[Unit]:
    """Blocks that cover the matrix, each small enough to hold and to lose.

    As few as the limits allow, since every block prepares its layers anew.

    Args:
      n: number of examples.
      widths_a: features of every layer of one side.
      widths_b: of the other.
      mirrored: both sides are the same and only blocks on and above the diagonal are needed.
      max_memory: bytes for the layers of one block.
    """
    for groups in range(1, max(len(widths_a), len(widths_b)) + 1):
        rows, columns = _groups(len(widths_a), groups), _groups(len(widths_b), groups)
        units = [
            Unit(r, c)
            for (i, r), (j, c) in itertools.product(enumerate(rows), enumerate(columns))
            if not mirrored or i <= j
        ]
        if all(_fits(n, unit, widths_a, widths_b, max_memory) for unit in units):
            return units
    return units


def _groups(count: int, groups: int) -> list[range]:
    """`count` layers in at most `groups` consecutive groups of nearly equal size."""
    groups = min(groups, count)
    edges = [count * i // groups for i in range(groups + 1)]
    return [range(a, b) for a, b in itertools.pairwise(edges)]


def _fits(n: int, unit: Unit, widths_a: Sequence[int], widths_b: Sequence[int], max_memory: int) -> bool:
    a = [widths_a[i] for i in unit.rows]
    b = [widths_b[i] for i in unit.columns]
    return tile_cost(n, a, b) <= UNIT_COST and 4 * n * (sum(a) + sum(b)) * COPIES <= max_memory
