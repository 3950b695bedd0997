"""A progress bar for runs that someone watches."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Tick(Protocol):
    """Called after each unit of work, with what comes next."""

    def __call__(self, done: int = 1, /, *, now: str | None = None) -> None:
        """`done` more units are finished; `now` says what is worked on."""
        ...


@contextmanager
def progress_bar(units: int, *, show: bool | None) -> Iterator[Tick]:
    """A bar on the standard error stream, or nothing.

    Args:
      units: how many units of work there are.
      show: True or False; None shows it on a terminal, when rich is installed and there is
        more than one unit.
    """
    if show is None:
        show = units > 1 and sys.stderr.isatty()
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        show = False
    if not show:
        yield lambda done=1, /, *, now=None: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("comparing", total=units)

        def tick(done: int = 1, /, *, now: str | None = None) -> None:
            bar.update(task, advance=done, description=now or "comparing")

        yield tick
