"""The `.safetensors` format, through the `safetensors` package: named tensors, mapped when read.

The package checks the file and its NumPy side copies each tensor out; here the bytes it has
checked are mapped instead. It writes from memory only, and is not needed for it; here mapped
tensors are written block by block. It sorts tensors as it likes, so the order of the layers is
kept in the metadata, as a JSON list under `layers`; string ids likewise under `ids`, integer ids
are a tensor named `ids`; `labels` in the same way, `facts` as a JSON object.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from jaxalign.features.errors import FeatureFileError, parsing
from jaxalign.features.layers import BFLOAT16, Contents, Layers, contents_of, facts_of, natural_key
from jaxalign.features.npy import map_bytes, write_numbers

DTYPES = {
    "F16": np.dtype("<f2"),
    "BF16": BFLOAT16,
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    **{f"I{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    "BOOL": np.dtype(np.bool_),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
MAX_HEADER_BYTES = 100_000_000  # readers refuse more


def read(path: Path) -> Contents:
    """Layers in the order that was saved, else in natural order of their names, and what is beside them.

    Raises:
      FeatureFileError: when the file is truncated or damaged, or a tensor has a dtype that NumPy has not.
      ImportError: without the `safetensors` package.
      OSError: when it cannot be opened.
    """
    library = _library()
    with open(path, "rb") as file:
        buffer = map_bytes(path, file)
    with parsing(path, ".safetensors"):
        with library.safe_open(str(path), framework="numpy"):
            pass  # opening checks that header, dtypes, shapes and offsets agree and cover the whole file
        start = 8 + int.from_bytes(buffer[:8].tobytes(), "little")
        header = json.loads(buffer[8:start].tobytes())
        metadata = header.pop("__metadata__", None) or {}
        arrays = {name: _tensor(path, name, entry, buffer[start:]) for name, entry in header.items()}
        found = contents_of(path, arrays)
        ids, labels = (
            _texts(path, metadata, name) if column is None else column
            for name, column in (("ids", found.ids), ("labels", found.labels))
        )
        facts = facts_of(path, metadata["facts"]) if "facts" in metadata else found.facts
        ordered = {name: found.arrays[name] for name in _order(found.arrays, metadata)}
        return Contents(ordered, ids, labels, facts)


def write(path: Path, layers: Layers) -> None:
    """Write the layers, their order, and the ids.

    Raises:
      ValueError: for a layer named `__metadata__`, or string ids too many for the header.
      OSError: when the file cannot be written.
    """
    if "__metadata__" in layers:
        raise ValueError("no layer of a .safetensors file can be named '__metadata__'")
    tensors = dict(layers)
    metadata = {"layers": json.dumps(list(layers))}
    for name, column in (("ids", layers.ids), ("labels", layers.labels)):
        if column is not None and column.dtype.kind == "U":
            metadata[name] = json.dumps(column.tolist())
        elif column is not None:
            tensors[name] = column
    if layers.facts:
        metadata["facts"] = json.dumps(dict(layers.facts))
    # The widest types first, so that every tensor lies where its type may lie.
    order = sorted(tensors, key=lambda name: -tensors[name].dtype.itemsize)
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name in order:
        start, end = end, end + tensors[name].nbytes
        header[name] = {
            "dtype": _NAMES[tensors[name].dtype],
            "shape": tensors[name].shape,
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise ValueError(
            f"{layers.rows} string ids or labels do not fit into the 100 MB header of a .safetensors file; "
            "use integers, or .npz"
        )
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            write_numbers(file, tensors[name])


def _library() -> ModuleType:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            'jaxalign.features: .safetensors files need the safetensors package: pip install "jaxalign[io]"'
        ) from error
    return safetensors


def _tensor(path: Path, name: str, entry: dict[str, Any], data: np.ndarray) -> np.ndarray:
    """One tensor, as a view of the mapped data section."""
    dtype = DTYPES.get(entry["dtype"])
    if dtype is None:
        raise FeatureFileError(
            f"{path}: tensor {name!r} has the dtype {entry['dtype']}, which cannot be a layer or ids"
        )
    begin, end = entry["data_offsets"]
    return data[begin:end].view(dtype).reshape(entry["shape"])


def _order(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> list[str]:
    """Names as saved; files by other programs have no such list, or another meaning for the key."""
    try:
        order = json.loads(metadata.get("layers", ""))
    except ValueError:
        order = None
    if isinstance(order, list) and len(order) == len(arrays) and all(name in order for name in arrays):
        return order
    return sorted(arrays, key=natural_key)


def _texts(path: Path, metadata: dict[str, str], name: str) -> list[str] | None:
    """Ids or labels kept in the metadata, or None."""
    if name not in metadata:
        return None
    try:
        texts = json.loads(metadata[name])
    except ValueError:
        texts = None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise FeatureFileError(f"{path}: the {name} in the metadata must be a JSON list of strings")
    return texts
