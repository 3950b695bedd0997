"""Peak memory beyond what was there before a call, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

#: name, MiB that we mean to stay under, code that makes `x`, `y` and the `call` to measure. What is no one program says
#: `whole = False`, and is called as it is.
CASES = (
    (
        "mutual kNN, n=10000, d=768, k=10",
        150,
        "x, y = (jnp.asarray(a) for a in layers(2, 10_000, 768)); call = lambda x, y: ja.mutual_knn(x, y, k=10)",
    ),
    (
        "RBF CKA, median sigma, n=20000, d=32",
        300,
        "x, y = (jnp.asarray(a) for a in layers(2, 20_000, 32)); call = lambda x, y: ja.cka(x, y, kernel=ja.RBF())",
    ),
    (
        "identify, n=4096, 50000 labels, 200 anchors",
        2048,
        "from jaxalign.identifiability import identify, most_variable_labels; "
        "f, f2 = (jnp.asarray(a) for a in layers(2, 4096, 16)); "
        "g = jax.random.normal(jax.random.key(0), (50_000, 16)); x, y = f @ g.T, f2 @ g.T; whole = False; "
        "anchors = most_variable_labels(x, y, count=200); "
        "call = lambda x, y: identify(x, y, m=10, labels=anchors, subsets=1000, key=0).llv",
    ),
)
SCRIPT = """
import json
import jax, jax.numpy as jnp
import jaxalign as ja
from benchmarks.problems import layers

def status(key):
    with open("/proc/self/status") as stream:
        return next(int(line.split()[1]) for line in stream if line.startswith(key)) / 1024

whole = True
{prepare}
jax.block_until_ready((x, y))
if whole:
    call = jax.jit(call).lower(x, y).compile()
temporary = call.memory_analysis().temp_size_in_bytes / 2**20 if whole else None
before = status("VmRSS")
with open("/proc/self/clear_refs", "w") as stream:
    stream.write("5")
value = float(call(x, y))
print(json.dumps({{"value": value, "peak_extra_MiB": status("VmHWM") - before, "xla_temp_MiB": temporary}}))
"""


def rows() -> list[dict[str, Any]]:
    """Peak resident memory minus resident memory before, and what XLA says it needs."""
    found = []
    print("\npeak extra memory")
    for name, goal, prepare in CASES:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(prepare=prepare)],
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            check=True,
        )
        row = {"case": name, "goal_MiB": goal, **json.loads(done.stdout.splitlines()[-1])}
        row["met"] = row["peak_extra_MiB"] <= goal
        by_xla = "" if row["xla_temp_MiB"] is None else f" (XLA {row['xla_temp_MiB']:.0f})"
        print(
            f"  {name:42s} {row['peak_extra_MiB']:7.0f} MiB{by_xla}   goal {goal} MiB "
            f"{'met' if row['met'] else 'MISSED'}",
            flush=True,
        )
        found.append(row)
    return found
