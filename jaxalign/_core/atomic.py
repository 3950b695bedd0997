"""Writing a file so that its name never stands for half a result.

The content goes to a hidden file in the same folder, is flushed to the disk, and
only then takes the final name, in one step that other processes see whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_path(final: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path to write to; it becomes `final` when the block ends well, and is removed when it does not.

    An existing `final` stays as it was until the very end, and open memory maps of it stay
    valid. Symbolic links are followed, so the link stays and what it points to is replaced.

    Args:
      final: the file to write. Its folder must exist.

    Yields:
      The path of an empty file in the same folder, hidden, with the suffix of `final`.

    Raises:
      FileNotFoundError: when the folder of `final` does not exist.
      OSError: when `final` is a folder or a device, and whatever the block or the system raises
        while writing (disk full, no permission), with `final` as the file it names.

    Example:
      >>> import tempfile
      >>> folder = tempfile.TemporaryDirectory()
      >>> with atomic_path(f"{folder.name}/answer.txt") as path:
      ...     _ = path.write_text("42")
      >>> os.listdir(folder.name)
      ['answer.txt']
      >>> folder.cleanup()
    """
    name = os.fspath(final)
    target = Path(os.path.realpath(name))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the folder to write into does not exist", os.path.dirname(name) or ".")
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "cannot be written: it is a folder", name)
    if target.exists() and not target.is_file():  # replacing a device such as /dev/null would remove it
        raise OSError(errno.EINVAL, "cannot be written: it is not a regular file", name)
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp{target.suffix}")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        mode = stat.S_IMODE((target if target.exists() else temporary).stat().st_mode)
        yield temporary
        os.chmod(temporary, mode)  # a writer may have put a file of its own there, private to the user
        _flush(temporary)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and (error.filename is None or str(error.filename) == str(temporary)):
            raise _naming(name, error) from error
        raise
    if os.name == "posix":
        # The file is in place; some network file systems cannot flush a folder, which loses nothing.
        with contextlib.suppress(OSError):
            _flush(target.parent, os.O_RDONLY)


@contextlib.contextmanager
def atomic_folder(final: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty folder to write to; it becomes `final` when the block ends well, and is removed when it does not.

    An existing folder `final` stays as it was until the very end, and is then moved away and removed: between these two
    steps, which take no time, there is none of that name.

    Args:
      final: the folder to write. The folder it is in must exist.

    Yields:
      The path of an empty folder beside it, hidden, with the suffix of `final`.

    Raises:
      FileNotFoundError: when the folder it is in does not exist.
      OSError: when `final` is a file, and whatever the block or the system raises while writing.
    """
    name = os.fspath(final)
    target = Path(os.path.realpath(name))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the folder to write into does not exist", os.path.dirname(name) or ".")
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "cannot be written: it is a file, not a folder", name)
    staging, old = (target.with_name(f".{secrets.token_hex(8)}.tmp{target.suffix}") for _ in range(2))
    try:
        staging.mkdir()
        yield staging
        for file in staging.rglob("*"):
            if file.is_file():
                _flush(file)
        if target.exists():
            os.replace(target, old)
        os.replace(staging, target)
    except OSError as error:
        raise _naming(name, error) from error
    finally:
        if old.exists() and not target.exists():
            os.replace(old, target)
        for folder in (staging, old):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def atomic_files(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty folder to write files to; they move to `folder` together when the block ends well.

    Until then nothing in `folder` changes, and moving needs no space on the disk.

    Args:
      folder: where the files go, a folder that exists. Files of the same names are replaced.

    Raises:
      OSError: when one of the names is that of a folder, and whatever the block or the system
        raises, with the final place as the file it names.
    """
    folder = Path(folder)
    staging = folder / f".{secrets.token_hex(8)}.tmp"
    staging.mkdir()
    try:
        yield staging
        files = sorted(staging.iterdir())
        for file in files:
            if (folder / file.name).is_dir():
                raise IsADirectoryError(errno.EISDIR, "cannot be written: it is a folder", str(folder / file.name))
        for file in files:
            os.replace(file, os.path.realpath(folder / file.name))
    except OSError as error:
        named = Path(error.filename) if error.filename is not None else None
        if named is not None and named.parent == staging:
            raise OSError(error.errno, error.strerror, str(folder / named.name)) from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _flush(path: Path, flags: int = os.O_RDWR) -> None:
    """Block until what was written to `path` is on the disk."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _naming(final: str, error: OSError) -> OSError:
    """The same error (and subclass of OSError) about `final`, not about the hidden file."""
    reason = f"cannot be written, nothing was changed ({error.strerror or error})"
    return OSError(f"{final}: {reason}") if error.errno is None else OSError(error.errno, reason, final)
