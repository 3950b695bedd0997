"""CIFAR-10 from a local copy in its published binary format. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CLASSES = 10
SIDE = 32  # pixels
CHANNELS = 3
_RECORD = 1 + CHANNELS * SIDE * SIDE  # bytes: a label, then the planes red, green and blue, each row by row
_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_TEST = ("test_batch.bin",)
_NAMES = "batches.meta.txt"


@dataclass(frozen=True, eq=False)
class Cifar10:
    """Color images and labels, split as published. Images stay bytes: all 60 000 are 184 MB, as float32 737 MB.

    Attributes:
      x_train: training images, shape `(n_train, 32, 32, 3)`, uint8 in `0 .. 255`; the last axis is red, green, blue.
      y_train: their labels, shape `(n_train,)`, int32 in `0 .. 9`.
      x_test: held-out images, shape `(n_test, 32, 32, 3)`, uint8.
      y_test: their labels, shape `(n_test,)`, int32.
      names: of the ten labels, from `batches.meta.txt`; None when that file is not there.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    names: tuple[str, ...] | None


def load_cifar10(folder: str | Path) -> Cifar10:
    """Read the files that `cifar-10-binary.tar.gz` unpacks to.

    These are `data_batch_1.bin` to `data_batch_5.bin` to train on and `test_batch.bin` held out. Each is a sequence of
    records of 3073 bytes: the label, then 1024 bytes of red, 1024 of green and 1024 of blue, each row by row. Files may
    hold any number of records; the published ones hold 10 000 each. `batches.meta.txt`, a name in each line, is read
    when it is there.

    Args:
      folder: where the files lie.

    Returns:
      Images as bytes, labels and names, in the order of the files.

    Raises:
      FileNotFoundError: when one of the six files is missing; it names all that are.
      ValueError: for a file that is empty, is not a whole number of records, or has a label above 9; and for a file of
        names that has not ten.

    Example:
      >>> load_cifar10("no such folder")  # doctest: +ELLIPSIS
      Traceback (most recent call last):
        ...
      FileNotFoundError: load_cifar10: no such folder must hold data_batch_1.bin to data_batch_5.bin and ...

    Reference:
      Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images; https://www.cs.toronto.edu/~kriz/cifar.html
    """
    folder = Path(folder)
    missing = [name for name in (*_TRAIN, *_TEST) if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"load_cifar10: {folder} must hold {_TRAIN[0]} to {_TRAIN[-1]} and {_TEST[0]}, the binary version of "
            f"https://www.cs.toronto.edu/~kriz/cifar.html, and lacks {', '.join(missing)}; nothing is downloaded"
        )
    x_train, y_train = _read([folder / name for name in _TRAIN])
    x_test, y_test = _read([folder / name for name in _TEST])
    return Cifar10(x_train, y_train, x_test, y_test, _read_names(folder / _NAMES))


def _read(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of all files; what is held in memory is the result and pages of one file."""
    counts = [_count(path) for path in paths]
    images = np.empty((sum(counts), SIDE, SIDE, CHANNELS), np.uint8)
    labels = np.empty(sum(counts), np.int32)
    start = 0
    for path, count in zip(paths, counts, strict=True):
        records = np.memmap(path, np.uint8, "r", shape=(count, _RECORD))
        here = slice(start, start + count)
        labels[here] = records[:, 0]
        if labels[here].max() >= CLASSES:
            row = int(np.argmax(labels[here] >= CLASSES))
            raise ValueError(
                f"load_cifar10: labels in {path} must be 0 to {CLASSES - 1}, record {row} has {labels[start + row]}"
            )
        images[here] = records[:, 1:].reshape(count, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1)
        start += count
    return images, labels


def _count(path: Path) -> int:
    """How many records a file holds."""
    size = path.stat().st_size
    if not size:
        raise ValueError(f"load_cifar10: {path} is empty")
    if size % _RECORD:
        raise ValueError(
            f"load_cifar10: {path} must be records of {_RECORD} bytes, got {size} bytes: cut off, or other"
        )
    return size // _RECORD


def _read_names(path: Path) -> tuple[str, ...] | None:
    if not path.is_file():
        return None
    names = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    if len(names) != CLASSES:
        raise ValueError(f"load_cifar10: {path} must name {CLASSES} labels, a line each, got {len(names)}")
    return names
