"""Layers on their way to a file: rows of finished batches, and a journal with their checksums."""

from __future__ import annotations

import errno
import json
import os
import shutil
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxalign.features.batches import Batch
from jaxalign.features.errors import FeatureFileError
from jaxalign.features.files import WRITTEN, load, save
from jaxalign.features.layers import Layers

_JOURNAL = "journal.jsonl"
#: What a line of the journal says of a batch.
_ENTRY = {"rows", "input", "layers", "features"}
#: A batch that is computed again is the same up to this share of the largest number of each feature, and that of all:
#: devices add in any order.
_SAME, _SAME_OF_ALL = 0.01, 1e-5


class Unfinished:
    """A folder beside the file that is to be, from which a stopped capture goes on.

    It holds one file of rows for each layer, and a journal: a line of settings, and one for each batch with its number
    of rows and checksums, written after the rows are on the disk.

    Args:
      out: the file that is to be, `.safetensors`, `.npz` or `.zarr`.
      settings: what a capture must have in common with one that it goes on with; plain JSON.

    Raises:
      FeatureFileError: for another suffix.
      FileNotFoundError: when the folder of `out` does not exist.
    """

    def __init__(self, out: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        self._out = Path(out)
        suffixes = [suffix for suffix in WRITTEN if suffix != ".npy"]
        if self._out.suffix.lower() not in suffixes:
            raise FeatureFileError(f"{out}: layers are written to {', '.join(suffixes[:-1])} or {suffixes[-1]}")
        if not self._out.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._out.parent))
        self._folder = self._out.with_name(f".{self._out.name}.unfinished")
        self._settings = dict(settings)
        self._names: tuple[str, ...] = ()
        self._done: list[dict[str, Any]] = []
        self._seen = 0
        self._again: int | None = None  # the batch that shows whether the model is the same

    def begin(self, names: Sequence[str]) -> None:
        """Say which layers there are, and find out what is there already.

        Raises:
          FeatureFileError: for an unfinished capture with other layers or settings.
        """
        self._names = tuple(names)
        header = {**self._settings, "layers": list(names)}
        journal = self._folder / _JOURNAL
        lines = _lines(journal)
        if not lines:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir()
            _append(journal, header)
            return
        if lines[0] != header:
            other = next(name for name in header if lines[0].get(name) != header[name])
            raise FeatureFileError(
                f"{self._folder}: holds an unfinished capture with other settings ({other}); "
                "finish that one, or remove the folder"
            )
        self._done = self._intact(lines[1:])
        self._again = len(self._done) - 1 if self._done else None
        self._shorten(header)

    def has(self, place: int, batch: Batch) -> bool:
        """Whether the rows of a batch are there.

        Raises:
          FeatureFileError: when there are those of other examples.
        """
        self._seen = place + 1
        if place >= len(self._done):
            return False
        if self._done[place]["input"] != batch.checksum:
            raise FeatureFileError(
                f"{self._folder}: batch {place} is of other examples than those of the unfinished capture; "
                "give the same ones in the same order, or remove the folder"
            )
        return place != self._again

    def add(self, place: int, batch: Batch, rows: Sequence[np.ndarray]) -> None:
        """Write what a batch gave; of a batch that is there, compare.

        Raises:
          FeatureFileError: when it is not what it was.
          OSError: when it cannot be written.
        """
        if place == self._again:
            self._check_same(place, rows)
            return
        checksums = []
        for number, array in enumerate(rows):
            data = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
            with open(self._file(number), "ab") as file:
                file.write(data.data)
                file.flush()
                os.fsync(file.fileno())
            checksums.append(zlib.crc32(data.data))
        entry = {
            "rows": len(rows[0]),
            "input": batch.checksum,
            "layers": checksums,
            "features": [array.shape[1] for array in rows],
        }
        _append(self._folder / _JOURNAL, entry)
        self._done.append(entry)

    def finish(self, **beside: Any) -> Layers:
        """Put the file together, with ids, labels and facts, and remove the folder.

        Returns:
          The layers, mapped from the file.

        Raises:
          ValueError: for ids, labels or facts that do not fit; `FeatureFileError` when there were more batches before.
          OSError: when the file cannot be written.
        """
        if self._seen < len(self._done):
            raise FeatureFileError(
                f"{self._folder}: holds {len(self._done)} batches of an unfinished capture, more than the {self._seen} "
                "of this one; give the same ones in the same order, or remove the folder"
            )
        total = sum(entry["rows"] for entry in self._done)
        arrays = {
            name: np.memmap(self._file(number), self._dtype, "r", shape=(total, self._done[0]["features"][number]))
            for number, name in enumerate(self._names)
        }
        save(self._out, arrays, **beside)
        del arrays
        shutil.rmtree(self._folder)
        return load(self._out)

    @property
    def _dtype(self) -> np.dtype:
        return np.dtype(self._settings["dtype"])

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:04d}.rows"

    def _bytes(self, entry: Mapping[str, Any], number: int) -> int:
        return entry["rows"] * entry["features"][number] * self._dtype.itemsize

    def _intact(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Batches from the first on whose rows have their checksums."""
        good = len(entries)
        for number in range(len(self._names)):
            if not self._file(number).is_file():
                return []
            with open(self._file(number), "rb") as file:
                for place, entry in enumerate(entries[:good]):
                    data = file.read(self._bytes(entry, number))
                    if len(data) != self._bytes(entry, number) or zlib.crc32(data) != entry["layers"][number]:
                        good = place
                        break
        return entries[:good]

    def _shorten(self, header: dict[str, Any]) -> None:
        """Remove what is after the last whole batch."""
        for number in range(len(self._names)):
            with open(self._file(number), "ab") as file:
                file.truncate(sum(self._bytes(entry, number) for entry in self._done))
        text = "".join(json.dumps(line) + "\n" for line in (header, *self._done))
        temporary = self._folder / f"{_JOURNAL}.new"
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, self._folder / _JOURNAL)

    def _check_same(self, place: int, rows: Sequence[np.ndarray]) -> None:
        entry = self._done[place]
        for number, array in enumerate(rows):
            with open(self._file(number), "rb") as file:
                file.seek(-self._bytes(entry, number), os.SEEK_END)
                before = np.frombuffer(file.read(), self._dtype)
            different = before.size != array.size
            if not different:
                one, other = before.reshape(array.shape).astype(np.float64), array.astype(np.float64)
                sizes = np.max(np.abs(one), axis=0, initial=0.0, where=np.isfinite(one))
                atol = _SAME * sizes + _SAME_OF_ALL * sizes.max()
                different = not np.isclose(one, other, rtol=0, atol=atol, equal_nan=True).all()
            if different:
                raise FeatureFileError(
                    f"{self._folder}: layer {self._names[number]!r} of batch {place} is not what it was: "
                    "the unfinished capture is of another model; remove the folder"
                )


def _lines(journal: Path) -> list[dict[str, Any]]:
    """Whole lines of a journal; the last one may be cut off."""
    if not journal.is_file():
        return []
    lines = []
    for line in journal.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
        whole = isinstance(lines[-1], dict) and (len(lines) == 1 or lines[-1].keys() >= _ENTRY)
        if not whole or not line.endswith("\n"):
            lines.pop()
            break
    return lines


def _append(journal: Path, line: dict[str, Any]) -> None:
    with open(journal, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())
