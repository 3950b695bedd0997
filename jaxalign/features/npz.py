"""The `.npz` format: a zip archive of `.npy` members, one a layer, mapped where stored as they are.

`np.savez` stores members uncompressed, so their numbers lie in the archive as they would in
a `.npy` file and can be mapped; `np.savez_compressed` does not, and they are read. A mapped
member is not checked against its zip checksum, which would read all of it.
"""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from jaxalign.features.errors import FeatureFileError, parsing
from jaxalign.features.layers import Contents, Layers, contents_of
from jaxalign.features.npy import Header, map_bytes, read_header, write_array

LOCAL_HEADER_BYTES = 30  # PKWARE APPNOTE 4.3.7, before the name and the extra fields
END_RECORD_BYTES = 22  # 4.3.16, with the number of entries at 10
ZIP64_EXTRA_BYTES = 20
PADDING_FIELD = 0xD935  # the extra field in which Android's zipalign pads too
ALIGNMENT = 64
READ_BYTES = 1 << 20


def read(path: Path) -> Contents:
    """Layers in the order of the archive; `ids`, `labels` and `facts` are members of these names.

    Raises:
      FeatureFileError: when the file is no archive of arrays, is truncated or damaged, or holds Python objects.
      OSError: when it cannot be opened.
    """
    arrays: dict[str, np.ndarray] = {}
    with open(path, "rb") as file:
        buffer = map_bytes(path, file)
        with parsing(path, ".npz"), zipfile.ZipFile(file) as archive:
            _check_count(buffer, len(archive.infolist()))
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name == member.filename:
                    raise FeatureFileError(f"{path}: member {name!r} is not a .npy array")
                if name in arrays:
                    raise FeatureFileError(f"{path}: there are two arrays named {name!r}")
                arrays[name] = _member(path, name, buffer, archive, member)
    return contents_of(path, arrays)


def write(path: Path, layers: Layers) -> None:
    """Write an archive that `np.load` reads, with numbers on 64-byte boundaries, and ids, labels and facts last."""
    arrays = dict(layers)
    for name, column in (("ids", layers.ids), ("labels", layers.labels)):
        if column is not None:
            arrays[name] = column
    if layers.facts:
        arrays["facts"] = np.array(json.dumps(dict(layers.facts)))
    with open(path, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980: the same arrays give the same bytes
            # NumPy pads its header to 64 bytes; padding the zip header too lets mapped numbers be aligned.
            head = LOCAL_HEADER_BYTES + len(member.filename.encode()) + ZIP64_EXTRA_BYTES + 4
            padding = -(file.tell() + head) % ALIGNMENT
            member.extra = struct.pack("<HH", PADDING_FIELD, padding) + bytes(padding)
            with archive.open(member, "w", force_zip64=True) as out:
                write_array(out, array)


def _check_count(buffer: np.ndarray, found: int) -> None:
    """Compare with the count at the end of the archive; zipfile does not, and a damaged entry can hide others."""
    end = buffer[-END_RECORD_BYTES - 0xFFFF :].tobytes()  # a comment may follow the record
    (count,) = struct.unpack_from("<H", end, end.rfind(b"PK\5\6") + 10)
    if count not in (min(found, 0xFFFF), 0xFFFF):  # the last means more, or see elsewhere
        raise ValueError(f"{found} members found, {count} expected")


def _member(path: Path, name: str, buffer: np.ndarray, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array: a view of the mapped archive if it is stored there as it is, else read."""
    with archive.open(member) as file:  # compares the local header with the directory at the end
        header = read_header(path, name, file, member.file_size)
        if member.compress_type == zipfile.ZIP_STORED and member.compress_size == member.file_size:
            start = _data_start(buffer, member)
            file.seek(0)
            if buffer[start : start + header.offset].tobytes() == file.read(header.offset):
                return header.view(buffer[start + header.offset : start + member.file_size])
        file.seek(header.offset)
        return header.view(_numbers(file, header, member.file_size))


def _data_start(buffer: np.ndarray, member: zipfile.ZipInfo) -> int:
    """Where the content of `member` begins: after its local header, whose extra fields are its own."""
    start = member.header_offset + LOCAL_HEADER_BYTES
    name, extra = struct.unpack("<HH", buffer[start - 4 : start].tobytes())
    return start + name + extra


def _numbers(file: IO[bytes], header: Header, size: int) -> np.ndarray:
    """The bytes after the header of a member; zipfile compares the checksum on the last of them."""
    numbers = np.empty(size - header.offset, np.uint8)
    done = 0
    while done < numbers.size:
        part = file.read(min(READ_BYTES, numbers.size - done))
        if not part:
            raise EOFError(f"{numbers.size - done} bytes are missing")
        numbers[done : done + len(part)] = np.frombuffer(part, np.uint8)
        done += len(part)
    return numbers
