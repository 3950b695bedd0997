"""Layers in a Zarr group: one array a layer, rows in chunks with checksums; a folder of files, so nothing is mapped.

The order of layers, their names, text ids and labels, and facts are in the attributes of the group. Zarr has no
bfloat16: such layers are kept as 16-bit integers, which an attribute of the array says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from jaxalign.features.errors import FeatureFileError, parsing
from jaxalign.features.layers import BFLOAT16, BLOCK_BYTES, Contents, Layers, contents_of, natural_key, row_blocks

#: What says in the attributes that this library wrote the group.
_OURS = "layers"


def read(path: Path) -> Contents:
    """Layers of a group, or the array of a store that holds one, in memory.

    Raises:
      FeatureFileError: when it is no Zarr store, or damaged.
      ImportError: without zarr.
    """
    zarr = _zarr(path)
    with parsing(path, "Zarr"):
        store = zarr.open(path, mode="r")
        if not hasattr(store, "arrays"):
            return Contents({path.stem: store[...]})
        attributes = dict(store.attrs)
        if isinstance(attributes.get(_OURS), list):
            return _ours(path, store, attributes)
        found = {name: array[...] for name, array in store.arrays()}
        floating = {
            name: found[name] for name in sorted(found, key=natural_key) if found[name].dtype.kind not in "iubTUO"
        }
        beside = {name: found[name] for name in ("ids", "labels") if name in found and name not in floating}
        return contents_of(path, {**floating, **beside})


def _ours(path: Path, store: Any, attributes: dict[str, Any]) -> Contents:
    arrays = {}
    for name in attributes[_OURS]:
        values = _whole(path, store[_key(name)])
        arrays[name] = values.view(BFLOAT16) if store[_key(name)].attrs.get("dtype") == "bfloat16" else values
    columns = {}
    for name in ("ids", "labels"):
        if name in attributes:
            columns[name] = attributes[name]
        elif name in store and name not in arrays:
            columns[name] = _whole(path, store[name])
    return Contents(arrays, **columns, facts=attributes.get("facts"))


def _whole(path: Path, array: Any) -> np.ndarray:
    """All of an array: of a chunk that is not there the library would make zeros."""
    if array.nchunks_initialized != array.nchunks:
        missing = array.nchunks - array.nchunks_initialized
        raise FeatureFileError(f"{path}: damaged: {missing} of {array.nchunks} chunks of {array.name} are missing")
    return array[...]


def write(path: Path, layers: Layers) -> None:
    """Write a group into an empty folder, block by block.

    Raises:
      ImportError: without zarr.
    """
    zarr = _zarr(path)
    group = zarr.create_group(path, zarr_format=3)
    attributes: dict[str, Any] = {_OURS: list(layers)}
    for name, array in layers.items():
        _write_array(zarr, group, _key(name), array)
    for name, column in (("ids", layers.ids), ("labels", layers.labels)):
        if column is not None and column.dtype.kind == "U":
            attributes[name] = column.tolist()
        elif column is not None:
            _write_array(zarr, group, name, column)
    if layers.facts:
        attributes["facts"] = dict(layers.facts)
    group.update_attributes(attributes)


def _write_array(zarr: Any, group: Any, key: str, array: np.ndarray) -> None:
    kept = np.uint16 if array.dtype == BFLOAT16 else array.dtype
    rows = max(1, min(len(array), BLOCK_BYTES // max(1, array.nbytes // len(array))))
    made = group.create_array(
        key,
        shape=array.shape,
        chunks=(rows, *array.shape[1:]),
        dtype=kept,
        compressors=(zarr.codecs.Crc32cCodec(),),  # activations hardly compress
        attributes={"dtype": "bfloat16"} if array.dtype == BFLOAT16 else None,
        config={"write_empty_chunks": True},
    )
    for start, block in row_blocks(array):
        made[start : start + len(block)] = np.ascontiguousarray(block).view(kept)


def _key(name: str) -> str:
    """A name as Zarr and file systems take it: what is special is percent-encoded, dots and underlines in front too."""
    kept = quote(name, safe=" ")
    # As long as what is special in front; of the name of the file that Zarr describes a group in, one letter.
    length = 1 if kept == "zarr.json" else len(kept) - len(kept.lstrip("._"))
    return "".join(f"%{ord(letter):02X}" for letter in kept[:length]) + kept[length:]


def _zarr(path: Path) -> Any:
    try:
        import zarr
    except ImportError as error:
        raise ImportError(f'{path}: Zarr stores need zarr; install it with: pip install "jaxalign[io]"') from error
    return zarr
