"""Intrinsic multi-scale distance as a measure."""

from __future__ import annotations

import math

from jaxalign._core.typing import Array
from jaxalign.alignment.imd import HeatTraceScore
from jaxalign.measures.measure import Measure
from jaxalign.signatures.heat import HeatTraceSignature


def imd(*, key: Array | int = 0, k: int = 5, steps: int = 10, probes: int = 100) -> Measure:
    """`jaxalign.imd` as a measure; the key becomes one only when it is used."""
    return Measure(
        signature=HeatTraceSignature(key, k, steps, probes),
        paired=False,
        score=HeatTraceScore(),
        name="imd",
        bounds=(0.0, math.inf),
        larger_is_closer=False,
        invariances=frozenset({"translation", "scaling", "permutation", "orthogonal"}),
        chance="near 0 for inputs of one distribution, related or not; noise grows with the root of examples / probes",
        reference="Tsitsulin et al. 2020, arXiv:1905.11141",
    )
