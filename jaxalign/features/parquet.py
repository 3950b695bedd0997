"""Embeddings in Parquet files: every column of lists of numbers of one length is a layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jaxalign.features.errors import FeatureFileError, parsing
from jaxalign.features.layers import Contents, facts_of

_IDS, _LABELS = ("id", "ids"), ("label", "labels")


def read(path: Path) -> Contents:
    """Layers in the order of the columns; `id` or `ids`, and `label` or `labels`, are columns of integers or text.

    Other columns are left out. `facts` in the metadata of the file are facts.

    Raises:
      FeatureFileError: for a file that is none or is damaged, lists that are missing or of different lengths, and a
        file without lists of numbers.
      ImportError: without pyarrow.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ImportError(f'{path}: Parquet files need pyarrow; install it with: pip install "jaxalign[io]"') from error
    arrays: dict[str, np.ndarray] = {}
    columns: dict[str, Any] = {}
    with parsing(path, "Parquet"):
        file = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
        schema = file.schema_arrow
        for field in schema:
            if _is_list(pa, field.type) and pa.types.is_floating(field.type.value_type):
                arrays[field.name] = _matrix(path, field.name, file.read(columns=[field.name]).column(0))
            kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
            for known, name in ((_IDS, "ids"), (_LABELS, "labels")):
                if field.name in known and (pa.types.is_integer(kind) or _is_text(pa, kind)):
                    if name in columns:
                        raise FeatureFileError(f"{path}: has both a column {known[0]!r} and a column {known[1]!r}")
                    columns[name] = _column(path, field.name, file.read(columns=[field.name]).column(0))
        if not arrays:
            raise FeatureFileError(
                f"{path}: there is no layer: a column of lists of numbers is expected, one list a row, "
                f"got {', '.join(f'{field.name} {field.type}' for field in schema)}"
            )
    text = (schema.metadata or {}).get(b"facts")
    return Contents(arrays, **columns, facts=None if text is None else facts_of(path, text.decode(errors="replace")))


def _is_list(pa: Any, kind: Any) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _is_text(pa: Any, kind: Any) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _column(path: Path, name: str, column: Any) -> np.ndarray:
    if column.null_count:
        raise FeatureFileError(f"{path}: column {name!r}: {column.null_count} of {len(column)} rows have no value")
    return np.asarray(column.to_pylist())


def _matrix(path: Path, name: str, column: Any) -> np.ndarray:
    """Lists of one length, as rows."""
    parts, width, row = [], None, 0
    for chunk in column.chunks:
        where = f"{path}: column {name!r}"
        if chunk.null_count:
            first = row + int(np.flatnonzero(np.asarray(chunk.is_null()))[0])
            raise FeatureFileError(f"{where}: row {first} has no list")
        lengths = np.asarray(chunk.value_lengths())
        width = int(lengths[0]) if width is None and len(lengths) else width
        if (lengths != width).any():
            place = int(np.flatnonzero(lengths != width)[0])
            raise FeatureFileError(
                f"{where}: all lists must be of one length: row 0 has {width} numbers, "
                f"row {row + place} has {lengths[place]}"
            )
        values = chunk.flatten()
        if values.null_count:
            first = row + int(np.flatnonzero(np.asarray(values.is_null()))[0]) // (width or 1)
            raise FeatureFileError(f"{where}: a number of row {first} is missing")
        parts.append(values.to_numpy(zero_copy_only=False).reshape(len(chunk), -1))
        row += len(chunk)
    if width is None:
        raise FeatureFileError(f"{path}: column {name!r}: there are no rows")
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
