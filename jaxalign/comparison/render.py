"""A comparison as tables: pandas, xarray, rich."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from jaxalign.comparison.scores import BestPair, CalibratedPair, Scores

if TYPE_CHECKING:
    import pandas
    import xarray
    from rich.table import Table


#: Colors of groups in pictures; color-blind readers tell them apart (Okabe and Ito).
COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")

#: What a table says of the closest layers of two models in a calibrated comparison, in columns.
CHANCE_OF_BEST = ("calibrated", "p")


def missing(package: str, job: str) -> ImportError:
    """The error for an optional package that is not installed."""
    return ImportError(f'{job} needs {package}: pip install "jaxalign[report]"')


def dataframe(result: Scores) -> pandas.DataFrame:
    """One row for every measure and pair of layers."""
    try:
        import pandas as pd
    except ImportError:
        raise missing("pandas", "Comparison.to_dataframe") from None
    rows, columns = len(result.layers_a), len(result.layers_b)
    models_a, layers_a = zip(*result.layers_a, strict=True)
    models_b, layers_b = zip(*result.layers_b, strict=True)
    parts = [
        pd.DataFrame(
            {
                "measure": key,
                "model_a": np.repeat(models_a, columns),
                "layer_a": np.repeat(layers_a, columns),
                "model_b": np.tile(models_b, rows),
                "layer_b": np.tile(layers_b, rows),
                "value": matrix.ravel(),
                **{name: values.ravel() for name, values in chance_columns(result, key).items()},
                "definition": result.definitions[key],
            }
        )
        for key, matrix in result.values.items()
    ]
    return pd.concat(parts, ignore_index=True)


def chance_columns(result: Scores, key: str) -> dict[str, np.ndarray]:
    """What is known of each pair of layers beside its score, under the names of columns; nothing unless calibrated."""
    if key not in result.calibrations:
        return {}
    chance = result.calibrations[key]
    return {
        "calibrated": chance.calibrated,
        "pvalue": chance.pvalues,
        "adjusted_pvalue": chance.adjusted,
        "threshold": chance.thresholds,
    }


def dataset(result: Scores) -> xarray.Dataset:
    """One variable for every measure, with the names of models and layers as coordinates."""
    try:
        import xarray as xr
    except ImportError:
        raise missing("xarray", "Comparison.to_xarray") from None
    variables = {
        key: (("a", "b"), matrix, {"definition": result.definitions[key]}) for key, matrix in result.values.items()
    }
    for key in result.calibrations:
        variables |= {
            f"{key}_{name}": (("a", "b"), matrix, {"measure": result.definitions[key]})
            for name, matrix in chance_columns(result, key).items()
        }
    return xr.Dataset(
        variables,
        coords={
            "a": list(result.names_a),
            "b": list(result.names_b),
            "model_a": ("a", [model for model, _ in result.layers_a]),
            "model_b": ("b", [model for model, _ in result.layers_b]),
            "layer_a": ("a", [layer for _, layer in result.layers_a]),
            "layer_b": ("b", [layer for _, layer in result.layers_b]),
        },
        attrs={key: str(value) for key, value in result.info.items()},
    )


def best_table(result: Scores, key: str) -> Table:
    """The best pair of layers of every two models, best first."""
    try:
        from rich.table import Table
        from rich.text import Text  # shows names as they are; strings are read as markup
    except ImportError:
        raise missing("rich", "Comparison.to_table") from None
    closest = "highest" if result.larger_is_closer[key] else "lowest"
    table = Table(
        title=Text(f"{result.definitions[key]}: {closest} score over the layers of every two models"),
        caption=Text(describe_scale(result, key)),
    )
    named = any((*result.models_a, *result.models_b))
    columns = ["model a", "layer a", "model b", "layer b"] if named else ["layer a", "layer b"]
    for column in columns:
        table.add_column(column, overflow="fold")
    for column in ("score", *CHANCE_OF_BEST) if key in result.calibrations else ("score",):
        table.add_column(column, justify="right", no_wrap=True)
    sign = -1 if result.larger_is_closer[key] else 1
    for pair in sorted(result.best(key), key=lambda p: (math.isnan(p.value), sign * p.value)):
        layers = [pair.layer_a or "-", pair.layer_b or "-"]
        cells = [pair.model_a, layers[0], pair.model_b, layers[1]] if named else layers
        numbers = (format_score(result, key, pair.value, digits=3), *chance_of_best(pair))
        table.add_row(*map(Text, (*cells, *numbers)))
    return table


def chance_of_best(pair: BestPair | CalibratedPair) -> tuple[str, ...]:
    """The cells of `CHANCE_OF_BEST`; none unless calibrated."""
    if not isinstance(pair, CalibratedPair):
        return ()
    return (
        "-" if math.isnan(pair.calibrated) else f"{pair.calibrated:.3f}",
        "-" if math.isnan(pair.pvalue) else f"{pair.pvalue:.3g}",
    )


def format_score(result: Scores, key: str, value: float, *, digits: int) -> str:
    """A score as text: with so many decimals where the range is known, else so many significant digits."""
    if math.isnan(value):
        return "undefined"
    return f"{value:.{digits}f}" if all(map(math.isfinite, result.bounds[key])) else f"{value:#.{digits}g}"


def describe_scale(result: Scores, key: str) -> str:
    """What a score means: its range, its direction, what unrelated inputs give, and on how many examples."""
    low, high = (f"{bound:g}" for bound in result.bounds[key])
    direction = "higher is more alike" if result.larger_is_closer[key] else "lower is more alike"
    text = f"{result.info['examples_used']} examples; from {low} to {high}, {direction}"
    if key in result.calibrations:
        return f"{text}; chance: {result.info['permutations']} random orders of the examples, level {level(result)}"
    return f"{text}; unrelated: {result.chance[key]}" if result.chance[key] else text


def level(result: Scores) -> str:
    """The level of thresholds."""
    return f"{result.info['alpha']:g}"
