"""Timing on one core: interleaved repeats, CPU time, medians, and ratios within one run."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def pin(core: int = 0) -> None:
    """Keep this process on one core; call before jax, torch or NumPy are imported.

    XLA has no switch for this that works, an affinity does; thread pools are told too, since
    spinning on a shared core would be counted as work.
    """
    for variable in THREAD_VARIABLES:
        os.environ[variable] = "1"
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.sched_setaffinity(0, {core})


def interleaved(
    contenders: Mapping[str, Callable[[], Any]], *, repeats: int, slow: float = 5.0
) -> dict[str, dict[str, Any]]:
    """CPU seconds of each contender, one after the other in every round.

    A first, uncounted round warms up and compiles; whoever takes longer than `slow` seconds in
    it is timed once more only, and over a minute that first time is the one that counts.

    Returns:
      name -> median, all times, and what the last call returned.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    values: dict[str, Any] = {}
    first: dict[str, float] = {}
    for name, run in contenders.items():
        start = time.process_time()
        values[name] = run()
        first[name] = time.process_time() - start
        if first[name] > 60:
            times[name].append(first[name])
    for round_number in range(repeats):
        for name, run in contenders.items():
            if times[name] and first[name] > slow:
                continue
            start = time.process_time()
            values[name] = run()
            times[name].append(time.process_time() - start)
        del round_number
    return {name: {"cpu_s": statistics.median(t), "all_cpu_s": t, "value": values[name]} for name, t in times.items()}


def machine() -> dict[str, Any]:
    """What a reader needs to know of where numbers come from."""
    model = platform.processor()
    try:
        with open("/proc/cpuinfo") as stream:
            model = next(line.split(":", 1)[1].strip() for line in stream if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    packages = {}
    for name in ("jaxalign", "jax", "jaxlib", "numpy", "torch", "faiss-cpu"):
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "pinned_to": sorted(os.sched_getaffinity(0)),
        "load_average": os.getloadavg(),
        "python": sys.version.split()[0],
        "packages": packages,
    }
