"""Measures of dependence through the cross-covariance operator."""

from __future__ import annotations

import math
from typing import Any

from jaxalign.alignment.dependence import OperatorScore, feature_map
from jaxalign.kernels.base import Kernel
from jaxalign.kernels.dot_product import Linear
from jaxalign.kernels.radial import RBF
from jaxalign.measures.kernel import given_kernels, measure_of_kernels
from jaxalign.measures.measure import Measure


def _operator_measure(
    name: str, score: OperatorScore, kernel: Kernel, kernel_y: Kernel | None, ridge: float | None = None, **facts: Any
) -> Measure:
    kernels = given_kernels(kernel, kernel_y)
    return measure_of_kernels(name, score, [feature_map(name, k, ridge) for k in kernels], kernels, **facts)


def constrained_covariance(*, kernel: Kernel = Linear(), kernel_y: Kernel | None = None) -> Measure:  # noqa: B008
    """`jaxalign.constrained_covariance` as a measure."""
    return _operator_measure(
        "constrained_covariance",
        OperatorScore("largest"),
        kernel,
        kernel_y,
        bounds=(0.0, math.inf),
        chance="above 0, of order 1/sqrt(n) in the units of the kernel",
        reference="Gretton et al. 2005, Kernel constrained covariance",
    )


def kernel_canonical_correlation(
    *,
    ridge: float = 1.0,
    kernel: Kernel = Linear(),  # noqa: B008
    kernel_y: Kernel | None = None,
) -> Measure:
    """`jaxalign.kernel_canonical_correlation` as a measure."""
    return _operator_measure(
        "kernel_canonical_correlation",
        OperatorScore("largest", relative=True),
        kernel,
        kernel_y,
        ridge,
        chance="above 0; near 1 for a small ridge and many features",
        reference="Bach and Jordan 2002; Fukumizu et al. 2007",
    )


def kernel_mutual_information(*, kernel: Kernel = RBF(), kernel_y: Kernel | None = None) -> Measure:  # noqa: B008
    """`jaxalign.kernel_mutual_information` as a measure."""
    return _operator_measure(
        "kernel_mutual_information",
        OperatorScore("information"),
        kernel,
        kernel_y,
        bounds=(0.0, math.inf),
        chance="above 0, of order 1/n",
        reference="Gretton et al. 2005, Kernel methods for measuring independence",
    )
