"""The console that tables are printed on."""

from __future__ import annotations

import sys

from rich.console import Console

#: Columns where nobody watches: nothing is cut or folded for a width that is not there.
PIPE_WIDTH = 1000


def results() -> Console:
    """The standard output: as wide and as colorful as the terminal, plain and wide otherwise."""
    # Layer names may hold brackets and colons: no markup, no emoji, no guessing what to highlight.
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(width=width, markup=False, emoji=False, highlight=False)
