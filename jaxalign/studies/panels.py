"""Figures of several panels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxalign.comparison.render import missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Drawn(NamedTuple):
    """A figure, and all numbers in it.

    Attributes:
      arrays: by name; those of several parts as `part/name`.
      figure: of matplotlib.
    """

    arrays: dict[str, np.ndarray]
    figure: Figure


def new_panels(
    function: str, count: int, *, width: float, height: float, most_columns: int | None = None, margin: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, row by row, without lines at the top and the right.

    Args:
      function: what the figure is of, for the message without matplotlib.
      count: panels.
      width: of a panel, inches.
      height: of a panel, inches.
      most_columns: where rows end; None for one row.
      margin: more height for the whole figure, inches.

    Raises:
      ImportError: without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing("matplotlib", function) from None
    columns = count if most_columns is None else min(count, most_columns)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width * columns, height * rows + margin), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for panel in grid:
        panel.spines[["top", "right"]].set_visible(False)
    for panel in grid[count:]:
        panel.set_axis_off()
    return figure, grid[:count]
