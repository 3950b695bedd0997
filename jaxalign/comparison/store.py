"""Finished pieces of a comparison on disk, so that a killed run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxalign._core.atomic import atomic_path
from jaxalign.comparison.sides import Side

MANIFEST = "manifest.json"
#: Rows of every layer that go into its fingerprint.
SAMPLED_ROWS = 16


class Store:
    """A folder with one file per finished piece, or nothing at all when there is no folder.

    Args:
      folder: where to keep pieces; created if need be. None keeps nothing.
      facts: what determines the pieces. A folder of another comparison is refused.

    Raises:
      ValueError: when the folder belongs to a comparison that differs, naming what differs.
      OSError: when the folder cannot be written.
    """

    def __init__(self, folder: str | Path | None, facts: Mapping[str, Any]):
        self.folder = None if folder is None else Path(folder)
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        manifest = self.folder / MANIFEST
        wanted = json.loads(json.dumps(facts))
        if manifest.exists():
            try:
                found = json.loads(manifest.read_text())
            except ValueError as error:
                raise ValueError(f"compare: {manifest} is damaged ({error}); delete the folder to start anew") from None
            different = sorted(key for key in {*wanted, *found} if wanted.get(key) != found.get(key))
            if different:
                raise ValueError(
                    f"compare: resume folder {self.folder} belongs to another comparison: "
                    f"{', '.join(different)} differ; delete it or name another folder"
                )
            return
        if any(self.folder.iterdir()):
            raise ValueError(f"compare: resume folder {self.folder} holds other files; name an empty or new one")
        with atomic_path(manifest) as path:
            path.write_text(json.dumps(wanted, indent=1))

    def load(self, name: str) -> list[np.ndarray] | None:
        """The arrays of a finished piece, or None when it is not there or not readable."""
        path = self._path(name)
        if path is None or not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as archive:
                return [archive[f"{i}"] for i in range(len(archive.files))]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def save(self, name: str, arrays: list[np.ndarray]) -> None:
        """Keep a finished piece; it is there whole or not at all."""
        path = self._path(name)
        if path is None:
            return
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **{f"{i}": array for i, array in enumerate(arrays)})

    def _path(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{name}.npz"


def side_facts(side: Side) -> list[dict[str, Any]]:
    """What identifies the layers of a side: names, shapes, types and some of their rows."""
    return [
        {
            "name": layer.name,
            "shape": list(layer.shape),
            "dtype": str(layer.array.dtype),
            "rows": _fingerprint(layer.array),
        }
        for layer in side.layers
    ]


def digest(array: np.ndarray) -> str:
    """A short text that differs when the bytes of an array do."""
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=12).hexdigest()


def _fingerprint(array: Any) -> str:
    n = array.shape[0]
    rows = np.unique(np.linspace(0, n - 1, min(n, SAMPLED_ROWS)).astype(int))
    return digest(np.asarray(array[rows]))
