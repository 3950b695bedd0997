"""What a script can tell from the exit status, and how problems reach it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup

#: Wrong usage or input that cannot be used.
BAD_INPUT = 2
#: The output cannot be written.
BAD_OUTPUT = 3
#: Nobody reads the output any more; what shells report for a program that SIGPIPE ended.
CLOSED_PIPE = 141
#: Ctrl-C; what shells report for a program that SIGINT ended.
INTERRUPTED = 130


class Problem(Exception):  # noqa: N818 (wrong input is no error of the program)
    """Ends the command with one message, without a traceback."""

    def __init__(self, message: str, code: int = BAD_INPUT):
        super().__init__(message)
        self.code = code


class _ClosedPipe(Exception):  # noqa: N818 (typer would make an exit status of 1 of the original)
    """The reader of the standard output has left."""


class ReportingGroup(TyperGroup):
    """The command group, with every expected problem reported in one way.

    The message goes to the standard error stream; with `--json` it is also the one JSON
    document on the standard output. Unexpected exceptions pass: they are bugs.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command and flush, so that a closed pipe is noticed here."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError as error:
            raise _ClosedPipe from error
        return result

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run, report, exit."""
        given = extra.get("args") or (args[0] if args else None) or sys.argv[1:]
        try:
            code = super().main(*args, standalone_mode=False, **extra) or 0
            if code == INTERRUPTED:  # newer versions of typer return it, older ones raise
                raise KeyboardInterrupt
        except (KeyboardInterrupt, typer.Abort):
            code = _report("interrupted", INTERRUPTED, "--json" in given)
        except _ClosedPipe:
            # What is still in the buffer goes nowhere, instead of failing again when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = CLOSED_PIPE
        except Problem as problem:
            code = _report(str(problem), problem.code, "--json" in given)
        except Exception as error:
            # typer's own usage errors: since it carries its own copy of click, their class has no public name.
            if not hasattr(error, "format_message"):
                raise
            code = _report(_usage(error), BAD_INPUT, "--json" in given)
        if standalone_mode:
            sys.exit(code)
        return code


@contextlib.contextmanager
def bad_input() -> Iterator[None]:
    """Turn what the library says about a user's mistake into a `Problem`.

    Such messages begin with a name, of the function or of the file. Other exceptions of
    the same class are bugs, and keep their traceback.
    """
    try:
        yield
    except OSError as error:
        raise Problem(os_message(error)) from error
    except ImportError as error:
        raise Problem(str(error)) from error
    except (ValueError, TypeError) as error:
        if not re.match(r"\S+: ", str(error)):
            raise
        raise Problem(str(error)) from error


@contextlib.contextmanager
def bad_output() -> Iterator[None]:
    """Turn an `OSError` into a `Problem` about the output."""
    try:
        yield
    except OSError as error:
        raise Problem(os_message(error), BAD_OUTPUT) from error


def os_message(error: OSError) -> str:
    """The file and the reason, without the error number."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}"


def _report(message: str, code: int, as_json: bool) -> int:
    print(f"jaxalign: {message}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": message, "exit_code": code}))
    return code


def _usage(error: Any) -> str:
    """The message of a usage error, and where help is."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "jaxalign"
    return f"{error.format_message()}\nTry '{path} --help'."
