"""The result of a comparison, and its ways out: files, tables and pictures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jaxalign._core.checks import check_choice
from jaxalign.comparison import files, heatmap, render
from jaxalign.comparison.scores import Scores

if TYPE_CHECKING:
    import pandas
    import xarray
    from matplotlib.figure import Figure
    from rich.table import Table


@dataclass(frozen=True, eq=False)
class Comparison(Scores):
    """Scores of every layer of one side with every layer of the other.

    Attributes:
      values: measure -> scores, `(La, Lb)`; row `i` belongs to `names_a[i]`.
      layers_a: `(model, layer)` of every row; the model is `""` when models were not named.
      layers_b: the same for every column.
      widths_a: features of every row's layer.
      widths_b: features of every column's layer.
      definitions: measure -> what exactly was computed, settings included.
      bounds: measure -> smallest and largest possible score.
      chance: measure -> what unrelated representations score, in words.
      larger_is_closer: measure -> whether it is a similarity.
      symmetric: measure -> whether two representations may change places.
      same: both sides are the same layers.
      info: number of examples, dtypes, whether ids were checked, seed, versions, backend; permutations and
        level where scores were calibrated.
      calibrations: measure -> `Calibrated`, where asked for: also by way of `calibrated`, `pvalues`, `adjusted`,
        `thresholds`.
    """

    def to_dataframe(self) -> pandas.DataFrame:
        """One row for every measure and pair of layers; needs pandas (extra `report`)."""
        return render.dataframe(self)

    def to_xarray(self) -> xarray.Dataset:
        """One variable for every measure over dimensions `a` and `b`; needs xarray (extra `report`)."""
        return render.dataset(self)

    def to_table(self, measure: str | None = None) -> Table:
        """The best pair of layers of every two models; needs rich (extra `report`)."""
        return render.best_table(self, self.measure(measure))

    def plot(self, measure: str | None = None, *, by: str = "layer") -> Figure:
        """A heatmap; needs matplotlib (extra `report`).

        Args:
          measure: which one; by default the first.
          by: `"layer"`, every layer against every layer, or `"model"`, the best pair of
            layers of every two models.
        """
        check_choice("Comparison.plot", "by", by, ("layer", "model"))
        draw = heatmap.layer_heatmap if by == "layer" else heatmap.model_heatmap
        return draw(self, self.measure(measure))

    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers, strings, lists and dicts.

        NaN is None, as is an infinite bound; an infinite score is `"inf"` or `"-inf"`.
        """
        return files.as_dict(self)

    def to_json(self) -> str:
        """`to_dict` as JSON text, without NaN, which JSON does not have."""
        return files.as_json(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to `.npz` (matrices and a JSON text) or `.json`; `load_comparison` reads both.

        Raises:
          ValueError: for another suffix.
          OSError: when the file cannot be written; no half of it is left under its name.
        """
        files.write(self, path)


def load_comparison(path: str | os.PathLike[str]) -> Comparison:
    """Read what `Comparison.save` wrote; nothing is unpickled.

    Raises:
      OSError: when there is no such file, or it cannot be opened.
      ValueError: when it is not a comparison, or damaged, naming the file.
    """
    return Comparison(**files.read(path))
