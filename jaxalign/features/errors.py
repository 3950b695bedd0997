"""The exception for a feature file that cannot be used, and the guard around parsers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


class FeatureFileError(ValueError):
    """A file or folder of features that cannot be used; the message starts with its path."""


@contextlib.contextmanager
def parsing(path: str | os.PathLike[str], kind: str) -> Iterator[None]:
    """Turn whatever a parser raises inside the block into `FeatureFileError`.

    Files are opened and mapped outside the block, so that a missing permission stays an `OSError`.
    """
    try:
        yield
    except FeatureFileError:
        raise
    except Exception as error:
        # Given damaged bytes the parsers raise nearly anything: zipfile.BadZipFile, zlib.error, struct.error,
        # NotImplementedError, RuntimeError (encrypted), RecursionError, MemoryError, UnicodeDecodeError, OSError.
        cause = str(error) or type(error).__name__
        raise FeatureFileError(f"{path}: not a {kind} file, or truncated or damaged: {cause}") from error
