"""Time from a first call to its result, minus the run: what a user waits for, cold and with a cache."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

GOALS = {"cold": 2.0, "warm cache": 0.6}
SCRIPT = """
import json, time
import jax, jax.numpy as jnp, numpy as np
import jaxalign as ja
from benchmarks.problems import layers

if {cache!r}:
    jax.config.update("jax_compilation_cache_dir", {cache!r})
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
widths = [int(d) for d in np.random.default_rng(0).integers(16, 200, 96)]
xs = [jnp.asarray(x) for x in layers(96, 256, widths)]
jax.block_until_ready(xs)
measure = {measure}
start = time.perf_counter()
jax.block_until_ready(measure.matrix(xs))
first = time.perf_counter() - start
start = time.perf_counter()
jax.block_until_ready(measure.matrix(xs))
print(json.dumps({{"first_s": first, "second_s": time.perf_counter() - start}}))
"""
MEASURES = {
    "linear CKA": ("ja.measures.cka()", "24"),
    "RBF CKA, median sigma": ("ja.measures.cka(kernel=ja.RBF())", ""),
    "mutual kNN": ("ja.measures.mutual_knn(k=10)", ""),
}


def rows() -> list[dict[str, Any]]:
    """96 layers of different widths, n = 256: first call minus second, wall time."""
    found = []
    print("\ncompilation of a sweep over 96 layers of different widths")
    for name, (measure, number) in MEASURES.items():
        with tempfile.TemporaryDirectory() as cache:
            _first_call(measure, cache)
            times = {"cold": _first_call(measure, ""), "warm cache": _first_call(measure, cache)}
        for state, seconds in times.items():
            goal = GOALS[state] if number else None
            row = {"case": f"{name}, {state}", "compile_s": seconds, "goal_s": goal, "target_number": number}
            row["met"] = None if goal is None else seconds <= goal
            verdict = "" if goal is None else f"   goal {goal} s {'met' if row['met'] else 'MISSED'}"
            print(f"  {row['case']:42s} {seconds:6.2f} s{verdict}", flush=True)
            found.append(row)
    return found


def _first_call(measure: str, cache: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(measure=measure, cache=cache)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    times = json.loads(done.stdout.splitlines()[-1])
    return times["first_s"] - times["second_s"]
