"""Rows that hold NaN or infinity: where they are, an error that says so, and a mask without them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jaxalign.features.layers import Layers, row_blocks

SHOWN_LAYERS = 5
SHOWN_ROWS = 5


def nonfinite_rows(layers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Which rows of which layers hold a NaN or an infinity.

    Reads the arrays in blocks of rows, so memory-mapped layers may be larger than memory.

    Args:
      layers: `Layers`, or name -> floating-point array of shape `(n, d)`.

    Returns:
      Layer name -> row indices in ascending order, shape `(r,)`, int64, with `r >= 1`; layers that
      are finite throughout are not in it.

    Example:
      >>> nonfinite_rows({"a": np.array([[0.0], [np.nan]]), "b": np.ones((2, 1))})
      {'a': array([1])}
    """
    found = {name: np.flatnonzero(_bad_rows(array)) for name, array in layers.items()}
    return {name: rows for name, rows in found.items() if rows.size}


def check_finite(layers: Mapping[str, np.ndarray], *, name: str | None = None) -> None:
    """Raise when any number is NaN or infinite.

    Args:
      layers: `Layers`, or name -> floating-point array of shape `(n, d)`.
      name: what to call them in the message; by default the file they were read from.

    Raises:
      ValueError: names the layers and their first rows, and the mask to use instead.
    """
    found = nonfinite_rows(layers)
    if not found:
        return
    if name is None:
        name = layers.source if isinstance(layers, Layers) else None
    parts = [_description(layer, layers[layer], rows) for layer, rows in list(found.items())[:SHOWN_LAYERS]]
    if len(found) > SHOWN_LAYERS:
        parts.append(f"and {len(found) - SHOWN_LAYERS} more layers")
    raise ValueError(
        f"{name or 'layers'}: NaN or infinity in {'; '.join(parts)}. "
        "Correct the data, or leave such rows out with the mask of jaxalign.features.finite_mask"
    )


def finite_mask(*layer_sets: Mapping[str, np.ndarray]) -> np.ndarray:
    """Rows in which every number of every layer is finite.

    Args:
      *layer_sets: one or more of `Layers`, or name -> floating-point array of shape `(n, d)`, with
        the same `n` rows throughout.

    Returns:
      Shape `(n,)`, bool: False where any layer of any set holds a NaN or an infinity in that row.

    Raises:
      ValueError: without a layer, or when the numbers of rows differ.

    Example:
      >>> finite_mask({"a": np.array([[0.0], [np.inf]])}, {"b": np.ones((2, 3))})
      array([ True, False])
    """
    arrays = [array for layers in layer_sets for array in layers.values()]
    counts = sorted({len(array) for array in arrays})
    if len(counts) != 1:
        raise ValueError(
            f"finite_mask: layers must have the same number of rows, one per example, got {counts or 'no layer'}"
        )
    bad = np.zeros(counts[0], np.bool_)
    for array in arrays:
        bad |= _bad_rows(array)
    return ~bad


def _bad_rows(array: np.ndarray) -> np.ndarray:
    """Shape `(n,)`, bool: whether a row holds anything that is not finite."""
    bad = np.empty(len(array), np.bool_)
    for start, block in row_blocks(array):
        bad[start : start + len(block)] = ~np.isfinite(block).all(axis=1)
    return bad


def _description(layer: str, array: np.ndarray, rows: np.ndarray) -> str:
    """`layer 'block3', 2 rows: 17 (NaN), 40 (infinity)`."""
    shown = [f"{row} ({'NaN' if np.isnan(array[row]).any() else 'infinity'})" for row in rows[:SHOWN_ROWS]]
    more = ["..."] if len(rows) > SHOWN_ROWS else []
    count = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
    return f"layer {layer!r}, {count}: {', '.join(shown + more)}"
