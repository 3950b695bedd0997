"""`load` and `save`: layers from and to files of several formats, and folders."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxalign._core.atomic import atomic_folder, atomic_path
from jaxalign.features import npy, npz, parquet, safetensors, torch_files, zarr_stores
from jaxalign.features.errors import FeatureFileError
from jaxalign.features.layers import Contents, Layers, contents_of, facts_of, natural_key

#: Of what `load` reads, and of what `save` writes as well.
SUFFIXES = (".npy", ".npz", ".safetensors", ".zarr", ".parquet", ".pt")
WRITTEN = (".npy", ".npz", ".safetensors", ".zarr")


def load(path: str | os.PathLike[str]) -> Layers:
    """Read the layers of a file or folder; the format goes by the suffix.

    | path | layers, in order | ids | in memory |
    |---|---|---|---|
    | `.npy` | one, named after the file | none | mapped |
    | `.npz` | one per member, in the order of the archive | member `ids` | mapped; read if compressed |
    | `.safetensors` | one per tensor, as saved, else `layer2` before `layer10` | tensor or metadata `ids` | mapped |
    | folder | one per `.npy` file, named after it, `layer2` before `layer10` | `ids.npy` | mapped |
    | `.zarr` | one per array with two axes, as saved, else in natural order | array or attribute `ids` | read |
    | `.parquet` | one per column of lists of numbers | column `id` or `ids` | read |
    | `.pt` | of `feats` `(n, layers, d)` or a list, as in platonic-rep, else one per matrix | none | mapped |

    Labels are where ids are, under `labels`, if they have one axis; facts of the model are JSON: a member, an attribute
    or metadata `facts`, or `facts.json`; of `.pt` numbers and texts, `num_params` as `parameters` and `bpb` as
    `bits_per_byte`.

    Nothing is unpickled but tensors and plain values of `.pt`. A mapped array is read from the disk when it is used:
    leave the file as it is meanwhile (`save` may replace it). Checksums of compressed members, and of Zarr chunks, are
    compared, those of mapped ones are not. Numbers are not looked at; see `check_finite`.

    Args:
      path: the file or folder.

    Returns:
      The layers, each `(n, d)`, read-only, in the dtype of the file; two opaque bytes a number
      in `.npy` and `.npz` are bfloat16, as in `jax.numpy.load`.

    Raises:
      FileNotFoundError: when there is no such file or folder.
      FeatureFileError: a `ValueError` whose message starts with the path: unknown suffix, empty folder;
        empty, truncated or damaged file; Python objects; integer, complex or text layers; a layer that is
        not a matrix; different numbers of rows; ids that are not unique.
      ImportError: for `.safetensors`, `.zarr`, `.parquet` (extra `io`) and `.pt` (extra `torch`) without the package.
      OSError: when the file cannot be opened.

    Example:
      >>> import tempfile
      >>> import numpy as np
      >>> folder = tempfile.TemporaryDirectory()
      >>> save(f"{folder.name}/model.npz", {"block1": np.ones((3, 2), np.float32)}, ids=[7, 8, 9])
      >>> load(f"{folder.name}/model.npz")
      Layers(3 rows, int64 ids: 'block1' float32 (3, 2))
      >>> folder.cleanup()
    """
    path = Path(path)
    known = path.suffix.lower() in SUFFIXES
    if path.is_dir():
        found = zarr_stores.read(path) if path.suffix.lower() == ".zarr" else _read_folder(path)
    elif not path.exists():
        hint = "" if known else f" (readable: folders of .npy files, and {', '.join(SUFFIXES)})"
        raise FileNotFoundError(errno.ENOENT, f"no such file or folder{hint}", str(path))
    elif not path.is_file():
        raise FeatureFileError(f"{path}: neither a regular file nor a folder")
    else:
        found = _read_file(path)
    return Layers(found.arrays, ids=found.ids, labels=found.labels, facts=found.facts, source=path)


def save(
    path: str | os.PathLike[str],
    arrays: Mapping[str, Any],
    *,
    ids: Any = None,
    labels: Any = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write layers to a file; the format goes by the suffix, `.npy`, `.npz`, `.safetensors` or `.zarr`, a folder.

    It appears under its name when it is complete and on the disk, or not at all; one that
    was there before stays until then.

    Args:
      path: the file, in a folder that exists.
      arrays: layer name -> array of shape `(n, d)`, floating point (anything with `__array__` or DLPack),
        or `Layers`. A `.npy` file takes exactly one, and not its name.
      ids: which example each row is, shape `(n,)`, integers or strings, all different; not for `.npy`.
        None takes those of `Layers`.
      labels: what each example is of, shape `(n,)`, integers or strings; likewise.
      facts: what is known of the model, name -> text, number, truth value or None; likewise.

    Raises:
      ValueError: when these are not as above; `FeatureFileError` when they do not fit the format.
      TypeError: when `arrays` is not a mapping of arrays.
      OSError: when the file cannot be written (no such folder, disk full, no permission).
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        read_only = f": {suffix} files are read, not written" if suffix in SUFFIXES else ""
        raise FeatureFileError(f"{path}: the suffix {path.suffix!r} is not one of {', '.join(WRITTEN)}{read_only}")
    if isinstance(arrays, Layers):
        ids, labels = arrays.ids if ids is None else ids, arrays.labels if labels is None else labels
        facts = arrays.facts if facts is None else facts
    layers = Layers(arrays, ids=ids, labels=labels, facts=facts)
    beside = {"row ids": layers.ids is not None, "labels": layers.labels is not None, "facts": bool(layers.facts)}
    if suffix == ".npy" and (len(layers) != 1 or any(beside.values())):
        extra = next(name for name in beside if beside[name]) if len(layers) == 1 else f"{len(layers)} layers"
        raise FeatureFileError(f"{path}: a .npy file holds one array, not {extra}; use .npz or .safetensors")
    if suffix == ".zarr":
        with atomic_folder(path) as temporary:
            zarr_stores.write(temporary, layers)
        return
    with atomic_path(path) as temporary:
        if suffix == ".npy":
            npy.write(temporary, next(iter(layers.values())))
        elif suffix == ".npz":
            npz.write(temporary, layers)
        else:
            safetensors.write(temporary, layers)


def _read_folder(path: Path) -> Contents:
    """Every `.npy` file of a folder; hidden ones are other programs' unfinished business."""
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    files = [entry for entry in entries if entry.suffix.lower() == ".npy" and entry.is_file()]
    arrays = {entry.stem: npy.read(entry) for entry in sorted(files, key=lambda entry: natural_key(entry.stem))}
    found = contents_of(path, arrays)
    if not found.arrays:
        found = f"holds {len(entries)} entries, but no layer" if entries else "is empty"
        whole = sorted({e.suffix for e in entries if e.suffix.lower() in {".npz", ".safetensors"}})
        hint = f"; for one model a file give {path}/*{whole[0]}" if whole else ""
        raise FeatureFileError(f"{path}: the folder {found}; one .npy file per layer is expected{hint}")
    facts = path / "facts.json"
    if not facts.is_file():
        return found
    return found._replace(facts=facts_of(facts, facts.read_text(encoding="utf-8", errors="replace")))


def _read_file(path: Path) -> Contents:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return Contents({path.stem: npy.read(path)})
    readers = {
        ".npz": npz.read,
        ".safetensors": safetensors.read,
        ".parquet": parquet.read,
        ".pt": torch_files.read,
    }
    if suffix == ".zarr":
        raise FeatureFileError(f"{path}: a Zarr store is a folder, this is a file")
    if suffix not in readers:
        raise FeatureFileError(f"{path}: the suffix {path.suffix!r} is not one of {', '.join(SUFFIXES)}")
    return readers[suffix](path)
