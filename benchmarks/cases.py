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
      scaled: peer -> how many times the work that was timed is in the whole, where all of it would take too long.
    """

    name: str
    ours: Callable[[], Any]
    peers: Mapping[str, Callable[[], Any]]
    targets: Mapping[str, float] = field(default_factory=dict)
    error: Callable[[Any], float] | None = None
    repeats: int = 5
    target_number: str = ""
    scaled: Mapping[str, float] = field(default_factory=dict)


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
    whole = {name: timed[name]["cpu_s"] * case.scaled.get(name, 1) for name in case.peers}
    row = {
        "case": case.name,
        "target_number": case.target_number,
        "jaxalign_cpu_s": ours,
        "all_cpu_s": {name: t["all_cpu_s"] for name, t in timed.items()},
        "error_vs_float64": None if case.error is None else float(case.error(_widened(timed["jaxalign"]["value"]))),
        "peers": {
            name: {
                "cpu_s": whole[name],
                "scaled_by": case.scaled.get(name, 1),
                "ratio": whole[name] / ours,
                "target": case.targets.get(name),
                "met": None if name not in case.targets else bool(whole[name] / ours >= case.targets[name]),
            }
            for name in case.peers
        },
    }
    print(f"\n{case.name}{f'   (target {case.target_number})' if case.target_number else ''}")
    accuracy = "" if row["error_vs_float64"] is None else f"   error {row['error_vs_float64']:.1e}"
    print(f"  {'jaxalign':42s} {ours:9.4f} s{accuracy}")
    for name, peer in row["peers"].items():
        goal = "" if peer["target"] is None else f"   target {peer['target']:g}x {'met' if peer['met'] else 'MISSED'}"
        scaled = "" if peer["scaled_by"] == 1 else f"   timed 1/{peer['scaled_by']:g} of it"
        print(f"  {name:42s} {peer['cpu_s']:9.4f} s   {peer['ratio']:8.2f}x{goal}{scaled}", flush=True)
    return row
