"""Numbers of bytes as people write them."""

from __future__ import annotations

from jaxalign.cli.errors import Problem

UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}


def parse_bytes(text: str) -> int:
    """A number of bytes from `1500000`, `500MB` or `2.5 GiB`."""
    number = text.strip().rstrip("BKMGTibkmgt").strip()
    unit = text.strip()[len(number) :].strip().upper()
    try:
        size = int(float(number) * UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        size = 0
    if size < 1:
        raise Problem(f"--max-memory: {text!r} is not a positive number of bytes such as 1500000, 500MB or 2GiB")
    return size
