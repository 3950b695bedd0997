"""The folder that `--out` names: found writable before the work, and where a killed run goes on."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jaxalign.cli.errors import BAD_OUTPUT, INTERRUPTED, Problem, bad_output

PARTIAL = ".partial"


def check_output_options(out: str | None, *, quiet: bool, as_json: bool) -> None:
    """Raise unless results go somewhere.

    Raises:
      Problem: for a folder without a name, and when nothing would be printed or written.
    """
    if out == "":
        raise Problem("--out must name a folder, got an empty name")
    if quiet and out is None and not as_json:
        raise Problem("--quiet without --out or --json would leave nothing")


def check_fresh(out: str | None, *, fresh: bool) -> None:
    """Raise where partial results are to be discarded, and there are none.

    Raises:
      Problem: without a folder.
    """
    if fresh and out is None:
        raise Problem("--fresh discards partial results, which there are only with --out DIR")


@dataclass(frozen=True)
class OutputFolder:
    """A folder that exists and can be written."""

    path: Path

    @classmethod
    def prepare(cls, path: str | Path) -> OutputFolder:
        """Create the folder if need be, and write something to it.

        Raises:
          Problem: when that fails, or when a package is missing that the files need.
        """
        for package in ("pandas", "matplotlib"):
            if importlib.util.find_spec(package) is None:
                raise Problem(f'--out needs {package}: pip install "jaxalign[report]"')
        path = Path(path)
        with bad_output():
            if path.exists() and not path.is_dir():
                raise Problem(f"{path}: is a file, not a folder", BAD_OUTPUT)
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        return cls(path)

    @property
    def partial(self) -> Path:
        """Where finished pieces of a running comparison are."""
        return self.path / PARTIAL

    def discard_partial(self) -> None:
        """Remove finished pieces: the files that a comparison puts there, and no others."""
        if not self.partial.is_dir():
            return
        with bad_output():
            for entry in self.partial.iterdir():
                if entry.suffix in {".npz", ".json"} and entry.is_file():
                    entry.unlink()
            self.partial.rmdir()


@contextmanager
def keeping_partial(folder: OutputFolder | None) -> Iterator[None]:
    """Say where finished pieces are when the comparison does not end; files that fail are output."""
    try:
        yield
    except KeyboardInterrupt:
        if folder is None:
            raise
        raise Problem(
            f"interrupted. Finished pieces are in {folder.partial}: the same command goes on from there, "
            "with --fresh it begins anew",
            INTERRUPTED,
        ) from None
    except Problem as problem:
        if folder is None:
            raise
        if isinstance(problem.__cause__, OSError):  # inputs were opened before
            with bad_output():
                raise problem.__cause__ from None
        if str(folder.partial) in str(problem):
            raise Problem(f"{problem}; --fresh discards it") from None
        raise
