"""Do wider networks of nearly the same probabilities have more similar representations?

    python -m jaxalign.studies.widths --classes 4 6 --out widths

trains twenty models of each width on wedges of the plane, compares every two, writes a file for each number of classes
and width as soon as it is ready, and goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import jax

from jaxalign.studies.wedge_models import EPOCHS
from jaxalign.studies.width_files import CLASSES, WIDTHS, summary_table, width_study
from jaxalign.studies.width_setting import SEEDS


def main(arguments: Sequence[str] | None = None) -> None:
    """What `python -m jaxalign.studies.widths` does."""
    parser = argparse.ArgumentParser(
        prog="python -m jaxalign.studies.widths",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--classes", type=int, nargs="+", default=list(CLASSES))
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS))
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="how many models of each width")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="passes over the points")
    parser.add_argument("--out", required=True, help="folder for one file each; what is there is not made again")
    given = parser.parse_args(arguments)
    with jax.enable_x64(True):
        try:
            settings = width_study(
                given.out,
                classes=given.classes,
                widths=given.widths,
                seeds=list(range(given.seeds)),
                epochs=given.epochs,
                progress=lambda line: print(line, file=sys.stderr),
            )
        except (ValueError, OSError) as error:
            parser.exit(1, f"{error}\n")
    print(summary_table(settings))


if __name__ == "__main__":
    main()
