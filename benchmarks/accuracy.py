"""Errors of float32 against float64 on the same input values, where others lose digits."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

import jaxalign as ja
from benchmarks.problems import exact_linear_cka, exact_rbf_cka, layers, massive, squared_distances

GOAL = 1e-6


def rows() -> list[dict[str, Any]]:
    """Absolute error of CKA for plain, offset and massive features, both estimators and engines."""
    found = []
    for n, d in ((300, 64), (1500, 256), (2000, 512)):
        plain = layers(2, n, d)
        problems = {
            "plain": plain,
            "mean 10": layers(2, n, d, offset=10),
            "mean 100": layers(2, n, d, offset=100),
            "massive": massive(plain),
        }
        for problem, (x, y) in problems.items():
            sigmas = [float(np.sqrt(np.median(squared_distances(a)[np.triu_indices(n, 1)]))) for a in (x, y)]
            for estimator in ("biased", "unbiased"):
                unbiased = estimator == "unbiased"
                pair = jnp.asarray(x), jnp.asarray(y)
                linear = float(ja.cka(*pair, estimator=estimator))
                rbf = float(ja.cka(*pair, kernel=ja.RBF(), estimator=estimator))
                for kernel, value, truth in (
                    ("linear", linear, exact_linear_cka(x, y, unbiased=unbiased)),
                    ("rbf median", rbf, exact_rbf_cka(x, y, *sigmas, unbiased=unbiased)),
                ):
                    error = abs(value - truth)
                    found.append(
                        {
                            "problem": problem,
                            "n": n,
                            "d": d,
                            "kernel": kernel,
                            "estimator": estimator,
                            "error": error,
                            "goal": GOAL,
                            "met": bool(error <= GOAL),
                        }
                    )
    print(f"\nabsolute error of CKA in float32 against float64, largest over sizes (goal {GOAL:g})   (target 21)")
    for kernel in ("linear", "rbf median"):
        for estimator in ("biased", "unbiased"):
            chosen = [r for r in found if r["kernel"] == kernel and r["estimator"] == estimator]
            worst = {
                p: max(r["error"] for r in chosen if r["problem"] == p)
                for p in ("plain", "mean 10", "mean 100", "massive")
            }
            print(f"  {kernel:11s} {estimator:9s} " + "   ".join(f"{p} {e:.1e}" for p, e in worst.items()), flush=True)
    return found
