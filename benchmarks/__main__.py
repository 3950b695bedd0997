"""`python -m benchmarks [AREA ...]`: run, print, and write `benchmarks/results/AREA.json`."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

from benchmarks.timing import machine, pin

TIMED = (
    "all_pairs",
    "neighbors",
    "pairs",
    "catalogue",
    "measures",
    "significance",
    "stitching",
    "stitching_training",
    "width_models",
    "dynamics",
)
MEASURED = (
    "accuracy",
    "memory",
    "compilation",
    "inference_validity",
    "coverage",
    "dynamics_reproduction",
    "platonic_reproduction",
)


def main() -> None:
    """Run the chosen areas one after the other, on one core."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("areas", nargs="*", help=f"{', '.join((*TIMED, *MEASURED))}; all of them by default")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder for the JSON files")
    parser.add_argument("--core", type=int, default=0, help="the core to stay on")
    arguments = parser.parse_args()
    unknown = set(arguments.areas) - {*TIMED, *MEASURED}
    if unknown:
        parser.error(f"unknown area {', '.join(sorted(unknown))}")
    pin(arguments.core)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for area in arguments.areas or (*TIMED, *MEASURED):
        before = machine()
        module = importlib.import_module(f"benchmarks.{area}")
        if area in TIMED:
            from benchmarks.cases import run

            rows = [run(case) for case in module.cases()]
        else:
            rows = module.rows()
        path = arguments.out / f"{area}.json"
        path.write_text(json.dumps({"machine": before, "rows": rows}, indent=1) + "\n")
        print(f"\nwritten to {path}", flush=True)


if __name__ == "__main__":
    main()
