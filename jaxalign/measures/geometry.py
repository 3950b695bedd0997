"""Differences of what describes one representation, as measures; examples need not be paired."""

from __future__ import annotations

import math
from collections.abc import Callable

from jaxalign._core.checks import check_positive
from jaxalign._core.typing import Scalar
from jaxalign.alignment.difference import DifferenceScore
from jaxalign.alignment.geometry import concentricity, effective_rank, magnitude, participation_ratio, uniformity
from jaxalign.alignment.intrinsic import check_intrinsic_dimension, intrinsic_dimension
from jaxalign.measures.measure import Measure
from jaxalign.signatures.statistic import StatisticSignature

INSTABILITY = "Wang et al. 2020; Klabunde et al. 2025, arXiv:2305.06329"


def _difference(
    statistic: Callable[..., Scalar],
    *options: tuple[str, str | float],
    invariances: set[str],
    reference: str,
    largest: float = math.inf,
) -> Measure:
    """The absolute difference of a statistic of both inputs."""
    return Measure(
        signature=StatisticSignature(statistic, options),
        paired=False,
        score=DifferenceScore(),
        name=f"{statistic.__name__}_difference",
        bounds=(0.0, largest),
        larger_is_closer=False,
        invariances=frozenset({"permutation", "orthogonal"} | invariances),
        chance="0 for inputs of one distribution, related or not",
        reference=reference,
    )


def magnitude_difference() -> Measure:
    """`|magnitude(x) - magnitude(y)|` as a measure."""
    return _difference(magnitude, invariances=set(), reference=INSTABILITY)


def concentricity_difference() -> Measure:
    """`|concentricity(x) - concentricity(y)|` as a measure."""
    return _difference(concentricity, invariances={"scaling"}, largest=2.0, reference=INSTABILITY)


def uniformity_difference(*, temperature: float = 2.0) -> Measure:
    """`|uniformity(x) - uniformity(y)|` as a measure."""
    check_positive("uniformity_difference", "temperature", temperature)
    return _difference(
        uniformity,
        ("temperature", float(temperature)),
        invariances={"scaling", "row_scaling"},
        largest=4.0 * temperature,
        reference="Wang and Isola 2020, arXiv:2005.10242",
    )


def intrinsic_dimension_difference(*, method: str = "twonn", k: int = 20) -> Measure:
    """`|intrinsic_dimension(x) - intrinsic_dimension(y)|` as a measure."""
    check_intrinsic_dimension(method, k)
    return _difference(
        intrinsic_dimension,
        ("method", method),
        *([("k", k)] if method == "mle" else []),
        invariances={"translation", "scaling"},
        reference="Facco et al. 2017, arXiv:1803.06992" if method == "twonn" else "Levina and Bickel 2004",
    )


def participation_ratio_difference() -> Measure:
    """`|participation_ratio(x) - participation_ratio(y)|` as a measure."""
    return _difference(participation_ratio, invariances={"translation", "scaling"}, reference="Gao et al. 2017")


def effective_rank_difference() -> Measure:
    """`|effective_rank(x) - effective_rank(y)|` as a measure."""
    return _difference(effective_rank, invariances={"scaling"}, reference="Roy and Vetterli 2007")
