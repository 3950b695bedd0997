"""Finished pieces of a comparison on disk, so that a killed run goes on where it was."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxalign._core.atomic import atomic_path
from jaxalign._core.checks import describe
from jaxalign._core.digests import digest
from jaxalign.comparison.sides import Side

MANIFEST = "manifest.json"
#: Bytes of a layer that are read at a time for its fingerprint, about.
BLOCK_BYTES = 2**20
#: How many such blocks are read: all of a layer of up to 256 MiB, evenly spread ones of a larger one.
MOST_BLOCKS = 256
#: What a process that was killed while writing leaves behind (see `atomic_path`).
_UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.tmp(\.\w+)?")


class Store:
    """A folder with one file per finished piece, or nothing at all when there is no folder.

    Args:
      folder: where to keep pieces; created if need be. None keeps nothing.
      facts: what determines the pieces. A folder of another comparison is refused.

    Raises:
      TypeError: when `folder` is not a path.
      ValueError: when the folder belongs to a comparison that differs, naming what differs, or
        holds other files.
      OSError: when the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, facts: Mapping[str, Any]):
        if folder is not None and not isinstance(folder, (str, os.PathLike)):
            raise TypeError(f"compare: resume must be the path of a folder, got {describe(folder)}")
        self.folder = None if folder is None else Path(folder)
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            entries = sorted(self.folder.iterdir())
            if not os.access(self.folder, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.folder))
        except OSError as error:
            reason = f"compare: the resume folder cannot be used ({error.strerror})"
            raise OSError(error.errno, reason, str(self.folder)) from error
        wanted = json.loads(json.dumps(facts))
        manifest = self.folder / MANIFEST
        if manifest in entries:
            self._check_manifest(manifest, wanted)
            return
        others = [entry.name for entry in entries if not _UNFINISHED.fullmatch(entry.name)]
        if others:
            raise ValueError(
                f"compare: resume folder {self.folder} holds other files, such as {others[0]}; name an empty or new one"
            )
        with atomic_path(manifest) as path:
            path.write_text(json.dumps(wanted, indent=1), encoding="utf-8")

    def _check_manifest(self, manifest: Path, wanted: dict[str, Any]) -> None:
        try:
            found = json.loads(manifest.read_text(encoding="utf-8"))
            if not isinstance(found, dict):
                raise ValueError(f"it holds a {type(found).__name__}")
        except ValueError as error:
            raise ValueError(f"compare: {manifest} is damaged ({error}); delete the folder to start anew") from None
        different = [
            _difference(key, found.get(key), wanted.get(key)) for key in wanted if found.get(key) != wanted[key]
        ]
        if different or found.keys() != wanted.keys():
            raise ValueError(
                f"compare: resume folder {self.folder} belongs to another comparison "
                f"({'; '.join(different) or 'of another version'}): delete it or name another folder"
            )

    def load(self, name: str, like: Sequence[jax.ShapeDtypeStruct]) -> list[np.ndarray] | None:
        """The arrays of a finished piece, or None when it is not there, not readable or not like these."""
        path = self._path(name)
        if path is None or not path.exists():
            return None
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                arrays = [archive[f"{i}"] for i in range(len(archive.files))]
        except Exception:  # damage shows as errors of many kinds; the piece is made again
            return None
        same = [(a.shape, a.dtype) for a in arrays] == [(tuple(s.shape), s.dtype) for s in like]
        return arrays if same else None

    def save(self, name: str, arrays: Iterable[Any]) -> None:
        """Keep a finished piece; it is there whole or not at all."""
        path = self._path(name)
        if path is None:
            return
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            content: dict[str, Any] = {f"{i}": np.asarray(array) for i, array in enumerate(arrays)}
            np.savez(stream, **content)

    def drop(self, name: str) -> None:
        """Forget a piece that is no longer needed."""
        path = self._path(name)
        if path is not None:
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{name}.npz"


def _difference(key: str, found: Any, wanted: Any) -> str:
    """What differs under one key of the manifest, in words."""
    if isinstance(found, list) and isinstance(wanted, list):
        for was, now in zip(found, wanted, strict=False):
            if was == now:
                continue
            if isinstance(was, dict) and isinstance(now, dict):
                facts = ", ".join(fact for fact in now if was.get(fact) != now[fact])
                return f"{key} differs in the {facts} of layer {now.get('name')!r}"
            return f"{key} has {was!r} there and {now!r} here"
        return f"{key} has {len(found)} there and {len(wanted)} here"
    if isinstance(found, (str, bool)) and isinstance(wanted, (str, bool)) and key != "mask":
        return f"{key} is {found!r} there and {wanted!r} here"
    return f"{key} differs"


def side_facts(side: Side) -> list[dict[str, Any]]:
    """What identifies the layers of a side: names, shapes, types and their numbers.

    A layer of more than 256 MiB is known by 256 evenly spread blocks of rows: a change that
    misses all of them goes unnoticed.
    """
    return [
        {
            "name": layer.name,
            "shape": list(layer.shape),
            "dtype": str(layer.array.dtype),
            "content": _fingerprint(layer.array),
        }
        for layer in side.layers
    ]


def _fingerprint(array: Any) -> str:
    if isinstance(array, jax.Array):
        array = np.asarray(array)  # slices on the device would be compiled
    rows = max(1, BLOCK_BYTES // (array.shape[1] * array.dtype.itemsize))
    starts = range(0, array.shape[0], rows)
    if len(starts) > MOST_BLOCKS:
        starts = [starts[i] for i in np.linspace(0, len(starts) - 1, MOST_BLOCKS).astype(int)]
    return digest(*(array[start : start + rows] for start in starts))
