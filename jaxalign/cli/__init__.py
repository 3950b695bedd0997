"""Floor 7: the command `jaxalign`."""

from __future__ import annotations

import io
import os
import sys

#: What the command line is made of; the library works without.
NEEDED = ("typer", "rich")


def main() -> None:
    """Run the command with the arguments of the process; the entry point `jaxalign`.

    Raises:
      SystemExit: with the status that `jaxalign --help` lists.
    """
    try:
        import rich  # noqa: F401 (asked for here, so that it is not missed halfway)

        from jaxalign.cli.app import app
        from jaxalign.cli.errors import INTERRUPTED
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in NEEDED:
            raise
        print(f'jaxalign: the command line needs {missing}: pip install "jaxalign[demo]"', file=sys.stderr)
        raise SystemExit(2) from None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a layer's name need not exist in the terminal's encoding
    try:
        app(prog_name="jaxalign")
    except SystemExit as ending:
        if ending.code == INTERRUPTED:
            # XLA may still be computing, and crashes when Python takes its threads down.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        raise
