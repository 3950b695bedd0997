"""Tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jaxalign.comparison import Comparison
from jaxalign.comparison.render import CHANCE_OF_BEST, chance_of_best, describe_scale, missing
from jaxalign.report.groups import Group

if TYPE_CHECKING:
    from rich.table import Table


#: Columns of numbers.
NUMBERS = {"score", "accuracy", "pairs", *CHANCE_OF_BEST}


def best_pairs(result: Comparison, key: str, *, limit: int) -> tuple[Table, int]:
    """The closest layers of every two models, closest first, and how many rows were left out.

    Args:
      result: the comparison.
      key: the measure.
      limit: rows of the table, at most.
    """
    sign = -1 if result.larger_is_closer[key] else 1
    pairs = sorted(result.best(key), key=lambda pair: (math.isnan(pair.value), sign * pair.value))
    alone = len({*result.models_a, *result.models_b}) == 1
    columns = ["layer", "layer", "score"] if alone else ["model", "layer", "model", "layer", "score"]
    table = plain_table(*columns, *(CHANCE_OF_BEST if key in result.calibrations else ()))
    for pair in pairs[:limit]:
        one, other = pair.layer_a or "-", pair.layer_b or "-"
        names = [one, other] if alone else [pair.model_a, one, pair.model_b, other]
        add_row(table, *names, number(pair.value), *chance_of_best(pair))
    return table, max(0, len(pairs) - limit)


def best_pairs_title(result: Comparison, key: str) -> str:
    """What the table of best pairs shows, and how to read its numbers."""
    closest = "highest" if result.larger_is_closer[key] else "lowest"
    alone = len({*result.models_a, *result.models_b}) == 1
    over = "two different layers" if alone else "any layer of one model with any layer of the other"
    return f"{result.definitions[key]}: {closest} score of {over}\n{describe_scale(result, key)}"


def group_table(groups: Mapping[str, Sequence[Group]]) -> Table:
    """The mean of every group under every measure.

    Args:
      groups: measure -> the same groups in the same order.
    """
    heads = [key.replace("[", "\n[").replace(",", ",\n") for key in groups]  # narrow columns
    table = plain_table("two models", "pairs", *heads)
    for row in zip(*groups.values(), strict=True):
        add_row(table, row[0].name, f"{len(row[0].scores)}", *(number(group.mean) for group in row))
    return table


def plain_table(*columns: str, numbers: Sequence[str] = ()) -> Table:
    """A table without colors; long names are folded, never cut. Columns of numbers are on the right.

    Args:
      *columns: their heads.
      numbers: those that hold numbers, besides `NUMBERS`.
    """
    try:
        from rich import box
        from rich.table import Table
    except ImportError:
        raise missing("rich", "a table") from None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        on_the_right = column in NUMBERS or column in numbers
        table.add_column(column, overflow="fold", justify="right" if on_the_right else "left")
    return table


def add_row(table: Table, *cells: str) -> None:
    """A row of plain text, whatever brackets it holds."""
    from rich.text import Text

    table.add_row(*(Text(cell) for cell in cells))


def number(value: float) -> str:
    """Three digits after the point, and a word where there is no number."""
    return "undefined" if math.isnan(value) else f"{value:.3f}"
