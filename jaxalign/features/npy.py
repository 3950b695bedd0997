"""The `.npy` format: one array, mapped from the file when read, never unpickled.

NumPy has no name for bfloat16 in this format. As `jax.numpy.save` and `load` do, it is
stored as two opaque bytes a number (`|V2`), and these are taken for bfloat16.
"""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

from jaxalign.features.errors import FeatureFileError, parsing
from jaxalign.features.layers import BFLOAT16, row_blocks


class Header(NamedTuple):
    """What a `.npy` header says, and how many bytes it takes before the numbers begin."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype
    offset: int

    def view(self, numbers: np.ndarray) -> np.ndarray:
        """The array, as a view of the bytes after the header, shape `(size in bytes,)` of uint8."""
        return numbers.view(self.dtype).reshape(self.shape, order="F" if self.fortran_order else "C")


def read(path: Path) -> np.ndarray:
    """The array of a `.npy` file, memory-mapped and read-only.

    Raises:
      FeatureFileError: when the file is empty, truncated, damaged, or holds Python objects.
      OSError: when it cannot be opened.
    """
    with open(path, "rb") as file:
        buffer = map_bytes(path, file)
        with parsing(path, ".npy"):
            header = read_header(path, path.stem, file, buffer.size)
            return header.view(buffer[header.offset :])


def write(path: Path, array: np.ndarray) -> None:
    """Write `array` to a `.npy` file, in row order."""
    with open(path, "wb") as file:
        write_array(file, array)


def map_bytes(path: Path, file: IO[bytes]) -> np.ndarray:
    """All bytes of an open file as one read-only memory map, shape `(size,)`, uint8.

    One map serves all the arrays of a file: each map keeps a file descriptor open.
    """
    if os.fstat(file.fileno()).st_size == 0:
        raise FeatureFileError(f"{path}: the file is empty (0 bytes)")
    try:
        buffer = np.memmap(file, np.uint8, mode="r")
    except OSError as error:
        raise OSError(error.errno, f"cannot be memory-mapped ({error.strerror})", str(path)) from error
    file.seek(0)
    return buffer


def read_header(path: Path, name: str, file: IO[bytes], size: int) -> Header:
    """The header at the start of `file`, which must describe exactly the `size` bytes there are.

    Raises:
      FeatureFileError: for Python objects, structured dtypes, and sizes that do not agree.
      Exception: of nearly any type when the bytes are no header; run it inside `parsing`.
    """
    version = npy_format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"format version {version} is not known")
    # Version 3 differs from 2 in being UTF-8, for names of fields, and no array with fields is taken.
    parse = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # headers by Python 2 are fine, odd literals in damaged ones are errors anyway
        shape, fortran_order, dtype = parse(file)
    if dtype.hasobject:
        raise FeatureFileError(
            f"{path}: array {name!r} holds Python objects, and nothing is unpickled; "
            "save it as one numerical array instead (np.stack, .astype(np.float32), or .astype(str) for ids)"
        )
    if dtype.names is not None or dtype.subdtype is not None:
        raise FeatureFileError(f"{path}: array {name!r} must hold plain numbers, got a structured dtype {dtype}")
    if any(length < 0 for length in shape):
        raise ValueError(f"array {name!r} has the shape {shape}")
    header = Header(shape, fortran_order, BFLOAT16 if dtype == np.dtype("V2") else dtype, file.tell())
    expected = header.offset + math.prod(shape) * dtype.itemsize
    if size != expected:
        raise FeatureFileError(
            f"{path}: truncated or damaged: array {name!r} of shape {shape} and dtype {header.dtype} takes "
            f"{expected} bytes with its header, there are {size}"
        )
    return header


def write_array(file: IO[bytes], array: np.ndarray) -> None:
    """Write header and numbers, block by block: a mapped array is not pulled into memory.

    `np.save` would write through the C library and lose the reason for a failure.
    """
    descr = "|V2" if array.dtype == BFLOAT16 else npy_format.dtype_to_descr(array.dtype)
    npy_format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": array.shape})
    write_numbers(file, array)


def write_numbers(file: IO[bytes], array: np.ndarray) -> None:
    """Write the numbers alone, in row order, block by block."""
    for _, block in row_blocks(np.atleast_1d(array)):
        file.write(np.ascontiguousarray(block).view(np.uint8).data)
