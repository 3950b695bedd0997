"""A progress bar for runs that someone watches."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress


class Tick(Protocol):
    """Called after each unit of work, with what comes next."""

    def __call__(self, done: int = 1, /, *, now: str | None = None) -> None:
        """`done` more units are finished; `now` says what is worked on."""
        ...


@contextmanager
def progress_bar(units: int, *, doing: str, show: bool | None) -> Iterator[Tick]:
    """A bar on the standard error stream, or nothing.

    Args:
      units: how many units of work there are.
      doing: what stands before the bar until a tick says what is worked on.
      show: True or False; None shows it on a terminal, when rich is installed and there is
        more than one unit.
    """
    bar = _bar() if is_shown(units, show) else None
    if bar is None:
        yield lambda done=1, /, *, now=None: None
        return
    with bar:
        task = bar.add_task(doing, total=units)

        def tick(done: int = 1, /, *, now: str | None = None) -> None:
            bar.update(task, advance=done, description=now)

        yield tick


def is_shown(units: int, show: bool | None) -> bool:
    """Whether someone would see a bar: for work that need not be cut into units otherwise."""
    return units > 1 and sys.stderr is not None and sys.stderr.isatty() if show is None else show


def _bar() -> Progress | None:
    """A bar that shows names as they are, brackets included; None without rich."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        return None
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=console.is_terminal)  # in a log its last state stays
