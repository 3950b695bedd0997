"""A case: what is timed, against whom, and what must come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from benchmarks.timing import interleaved


@dataclass(frozen=True)
class Case:
    """One row of a benchmark.

    Attributes:
      name: what is computed, and its size.
      ours: runs it here and returns its value.
      peers: name -> the same by others.
      targets: peer -> the ratio peer / ours that we mean to reach.
      error: from our value to its distance from float64.
      repeats: timed rounds.
      target_number: of the performance plan, when it has one.
    """

    name: str
    ours: Callable[[], Any]
    peers: Mapping[str, Callable[[], Any]]
    targets: Mapping[str, float] = field(default_factory=dict)
    error: Callable[[Any], float] | None = None
    repeats: int = 5
    target_number: str = ""


def _widened(value: Any) -> Any:
    """Floating arrays in float64: a difference from a Python number would else be rounded to float32."""

    def widen(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        return leaf.astype(np.float64) if np.issubdtype(leaf.dtype, np.floating) else leaf

    return jax.tree.map(widen, value)


def run(case: Case) -> dict[str, Any]:
    """Time a case, print it and return it as a row for the results."""
    timed = interleaved({"jaxalign": case.ours, **case.peers}, repeats=case.repeats)
    ours = timed["jaxalign"]["cpu_s"]
    row = {
        "case": case.name,
        "target_number": case.target_number,
        "jaxalign_cpu_s": ours,
        "all_cpu_s": {name: t["all_cpu_s"] for name, t in timed.items()},
        "error_vs_float64": None if case.error is None else float(case.error(_widened(timed["jaxalign"]["value"]))),
        "peers": {
            name: {
                "cpu_s": timed[name]["cpu_s"],
                "ratio": timed[name]["cpu_s"] / ours,
                "target": case.targets.get(name),
                "met": None if name not in case.targets else bool(timed[name]["cpu_s"] / ours >= case.targets[name]),
            }
            for name in case.peers
        },
    }
    print(f"\n{case.name}{f'   (target {case.target_number})' if case.target_number else ''}")
    accuracy = "" if row["error_vs_float64"] is None else f"   error {row['error_vs_float64']:.1e}"
    print(f"  {'jaxalign':42s} {ours:9.4f} s{accuracy}")
    for name, peer in row["peers"].items():
        goal = "" if peer["target"] is None else f"   target {peer['target']:g}x {'met' if peer['met'] else 'MISSED'}"
        print(f"  {name:42s} {peer['cpu_s']:9.4f} s   {peer['ratio']:8.2f}x{goal}", flush=True)
    return row
