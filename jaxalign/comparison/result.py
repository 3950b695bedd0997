"""The result of a comparison: all scores, which layers they are of, and what was computed."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxalign._core.atomic import atomic_path
from jaxalign._core.checks import check_choice, nearest

if TYPE_CHECKING:
    import pandas
    import xarray
    from matplotlib.figure import Figure
    from rich.table import Table

FORMAT = "jaxalign-comparison-1"
SUFFIXES = (".npz", ".json")


class BestPair(NamedTuple):
    """The closest layers of two models under one measure; None and NaN where nothing is defined."""

    model_a: str
    model_b: str
    layer_a: str | None
    layer_b: str | None
    value: float


@dataclass(frozen=True, eq=False)
class Comparison:
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
      same: both sides are the same layers.
      info: number of examples, dtypes, whether ids were checked, seed, versions, backend.
    """

    values: Mapping[str, np.ndarray]
    layers_a: tuple[tuple[str, str], ...]
    layers_b: tuple[tuple[str, str], ...]
    widths_a: tuple[int, ...]
    widths_b: tuple[int, ...]
    definitions: Mapping[str, str]
    bounds: Mapping[str, tuple[float, float]]
    chance: Mapping[str, str]
    larger_is_closer: Mapping[str, bool]
    same: bool
    info: Mapping[str, Any]

    @property
    def names_a(self) -> tuple[str, ...]:
        """`model/layer` of every row."""
        return tuple(join_name(*layer) for layer in self.layers_a)

    @property
    def names_b(self) -> tuple[str, ...]:
        """`model/layer` of every column."""
        return tuple(join_name(*layer) for layer in self.layers_b)

    @property
    def models_a(self) -> tuple[str, ...]:
        """Models of the rows, each once, in order."""
        return tuple(dict.fromkeys(model for model, _ in self.layers_a))

    @property
    def models_b(self) -> tuple[str, ...]:
        """Models of the columns, each once, in order."""
        return tuple(dict.fromkeys(model for model, _ in self.layers_b))

    def measure(self, name: str | None = None) -> str:
        """The key of a measure in `values`; without a name the only or first one.

        Raises:
          ValueError: for a measure that was not computed.
        """
        if name is None:
            return next(iter(self.values))
        check_choice("Comparison", "measure", name, self.values)
        return name

    def best(self, measure: str | None = None) -> tuple[BestPair, ...]:
        """The closest pair of layers of every two models.

        With one side only, a model is not paired with itself, unless there is no other: then
        the closest two different layers are returned.
        """
        key = self.measure(measure)
        scores = np.where(np.isnan(self.values[key]), -np.inf, self.values[key].astype(np.float64))
        if not self.larger_is_closer[key]:
            scores = np.where(np.isinf(scores), scores, -scores)
        if self.same:
            np.fill_diagonal(scores, -np.inf)
        pairs = []
        for model_a, model_b in self._model_pairs():
            rows = [i for i, (model, _) in enumerate(self.layers_a) if model == model_a]
            columns = [j for j, (model, _) in enumerate(self.layers_b) if model == model_b]
            block = scores[np.ix_(rows, columns)]
            i, j = np.unravel_index(np.argmax(block), block.shape)
            if np.isneginf(block[i, j]):
                pairs.append(BestPair(model_a, model_b, None, None, math.nan))
                continue
            i, j = rows[int(i)], columns[int(j)]
            value = float(self.values[key][i, j])
            pairs.append(BestPair(model_a, model_b, self.layers_a[i][1], self.layers_b[j][1], value))
        return tuple(pairs)

    def _model_pairs(self) -> list[tuple[str, str]]:
        models = self.models_a
        if not self.same:
            return [(a, b) for a in models for b in self.models_b]
        if len(models) == 1:
            return [(models[0], models[0])]
        return [(a, b) for i, a in enumerate(models) for b in models[i + 1 :]]

    def to_dataframe(self) -> pandas.DataFrame:
        """One row for every measure and pair of layers; needs pandas (extra `report`)."""
        from jaxalign.comparison.render import dataframe

        return dataframe(self)

    def to_xarray(self) -> xarray.Dataset:
        """One variable for every measure over dimensions `a` and `b`; needs xarray (extra `report`)."""
        from jaxalign.comparison.render import dataset

        return dataset(self)

    def to_table(self, measure: str | None = None) -> Table:
        """The best pair of layers of every two models; needs rich (extra `report`)."""
        from jaxalign.comparison.render import best_table

        return best_table(self, self.measure(measure))

    def plot(self, measure: str | None = None, *, by: str = "layer") -> Figure:
        """A heatmap; needs matplotlib (extra `report`).

        Args:
          measure: which one; by default the first.
          by: `"layer"`, every layer against every layer, or `"model"`, the best pair of
            layers of every two models.
        """
        from jaxalign.comparison.heatmap import layer_heatmap, model_heatmap

        check_choice("Comparison.plot", "by", by, ("layer", "model"))
        return (layer_heatmap if by == "layer" else model_heatmap)(self, self.measure(measure))

    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers, strings, lists and dicts; NaN is None, an infinite bound too."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        content["values"] = {key: _plain(matrix.tolist()) for key, matrix in self.values.items()}
        content["dtypes"] = {key: str(matrix.dtype) for key, matrix in self.values.items()}
        content["bounds"] = {key: _plain(list(pair)) for key, pair in self.bounds.items()}
        content["names_a"], content["names_b"] = list(self.names_a), list(self.names_b)
        return {"format": FORMAT, **content}

    def to_json(self) -> str:
        """`to_dict` as JSON text, without NaN, which JSON does not have."""
        return json.dumps(self.to_dict(), allow_nan=False, default=dict)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to `.npz` (matrices and a JSON text) or `.json`; `load_comparison` reads both.

        Raises:
          ValueError: for another suffix.
          OSError: when the file cannot be written; no half of it is left under its name.
        """
        suffix = _suffix("Comparison.save", path)
        with atomic_path(path) as temporary:
            if suffix == ".json":
                temporary.write_text(self.to_json())
                return
            content = self.to_dict()
            content["values"] = list(self.values)
            arrays = {f"values_{i}": matrix for i, matrix in enumerate(self.values.values())}
            with temporary.open("wb") as stream:
                np.savez_compressed(
                    stream, allow_pickle=False, comparison=np.asarray(json.dumps(content, default=dict)), **arrays
                )


def load_comparison(path: str | os.PathLike[str]) -> Comparison:
    """Read what `Comparison.save` wrote; nothing is unpickled.

    Raises:
      FileNotFoundError: when there is no such file.
      ValueError: when it is not a comparison, or damaged, naming the file.
    """
    suffix = _suffix("load_comparison", path)
    try:
        if suffix == ".json":
            content = json.loads(Path(path).read_text())
            values = content.get("values", {})
        else:
            with np.load(path, allow_pickle=False) as archive:
                content = json.loads(str(archive["comparison"]))
                values = {key: archive[f"values_{i}"] for i, key in enumerate(content["values"])}
        if content.get("format") != FORMAT:
            raise ValueError(f"its format is {content.get('format')!r}, not {FORMAT!r}")
        return Comparison(
            values={key: np.asarray(v, np.dtype(content["dtypes"][key])) for key, v in values.items()},
            layers_a=tuple((model, layer) for model, layer in content["layers_a"]),
            layers_b=tuple((model, layer) for model, layer in content["layers_b"]),
            widths_a=tuple(content["widths_a"]),
            widths_b=tuple(content["widths_b"]),
            definitions=content["definitions"],
            bounds={key: _bounds(*pair) for key, pair in content["bounds"].items()},
            chance=content["chance"],
            larger_is_closer=content["larger_is_closer"],
            same=content["same"],
            info=content["info"],
        )
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"load_comparison: {os.fspath(path)} is not a readable comparison: {error}") from None


def join_name(model: str, layer: str) -> str:
    """`model/layer`, or the layer alone where models have no names."""
    return f"{model}/{layer}" if model else layer


def _suffix(function: str, path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"{function}: path must end in {' or '.join(SUFFIXES)}, got {os.fspath(path)!r}{nearest(suffix, SUFFIXES)}"
        )
    return suffix


def _plain(value: Any) -> Any:
    """Nested lists with None for what JSON cannot hold."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if math.isfinite(value) else None


def _bounds(low: float | None, high: float | None) -> tuple[float, float]:
    return (-math.inf if low is None else low, math.inf if high is None else high)
