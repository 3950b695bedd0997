"""Shape family as measures."""

from __future__ import annotations

import math

from jaxalign._core.checks import check_choice
from jaxalign.alignment.aligned_cosine import aligned_cosine_parts
from jaxalign.alignment.feature_matching import KINDS, MatchScore
from jaxalign.alignment.shape import ShapeScore, angular_procrustes_signature
from jaxalign.alignment.soft_matching import SoftMatchingScore
from jaxalign.alignment.stochastic_shape import STEPS, stochastic_shape_parts
from jaxalign.measures.measure import Measure
from jaxalign.signatures.correlated import CorrelatedSignature
from jaxalign.signatures.shaped import SCALES, ShapeSignature
from jaxalign.signatures.tuning import SCALES as TUNING_SCALES
from jaxalign.signatures.tuning import TuningCurvesSignature

SHAPE_METRICS = "Williams et al. 2021, arXiv:2110.14739"


def procrustes_distance(*, scale: str = "unit") -> Measure:
    """`jaxalign.procrustes_distance` as a measure."""
    check_choice("procrustes_distance", "scale", scale, SCALES)
    unit = scale == "unit"
    return Measure(
        signature=ShapeSignature(scale),
        score=ShapeScore(),
        name="procrustes_distance",
        bounds=(0.0, math.sqrt(2) if unit else math.inf),
        larger_is_closer=False,
        metric=True,
        invariances=frozenset({"translation", "permutation", "orthogonal"} | ({"scaling"} if unit else set())),
        chance="falls from sqrt(2) to 0 with features / examples" if unit else "grows with the size of the inputs",
        reference="Schönemann 1966; " + SHAPE_METRICS,
    )


def angular_procrustes(*, alpha: float = 1.0) -> Measure:
    """`jaxalign.angular_procrustes` as a measure."""
    signature = angular_procrustes_signature(alpha)
    rigid = {"translation", "permutation", "orthogonal"}
    own = {"scaling"} if alpha in (0, 1) else set()
    linear = {"feature_scaling", "invertible_linear"} if alpha == 0 else set()
    return Measure(
        signature=signature,
        score=ShapeScore(angular=True),
        name="angular_procrustes",
        bounds=(0.0, math.pi / 2),
        larger_is_closer=False,
        metric=True,
        needs_more_examples=alpha == 0,
        invariances=frozenset(rigid | own | linear),
        chance="falls from pi / 2 to 0 with features / examples",
        reference=SHAPE_METRICS,
    )


def permutation_distance(*, scale: str = "unit") -> Measure:
    """`jaxalign.permutation_distance` as a measure."""
    check_choice("permutation_distance", "scale", scale, SCALES)
    unit = scale == "unit"
    return Measure(
        signature=ShapeSignature(scale, padded=False),
        score=ShapeScore("permutation"),
        name="permutation_distance",
        bounds=(0.0, 2.0 if unit else math.inf),
        larger_is_closer=False,
        metric=True,
        invariances=frozenset({"translation", "permutation"} | ({"scaling"} if unit else set())),
        chance="below sqrt(2), falling with features / examples" if unit else "grows with the size of the inputs",
        reference=SHAPE_METRICS,
    )


def soft_matching_distance(*, scale: str = "unit") -> Measure:
    """`jaxalign.soft_matching_distance` as a measure."""
    check_choice("soft_matching_distance", "scale", scale, TUNING_SCALES)
    free = {"unit": {"scaling"}, "feature": {"scaling", "feature_scaling"}, "raw": set()}[scale]
    raw = scale == "raw"
    return Measure(
        signature=TuningCurvesSignature(scale),
        score=SoftMatchingScore(),
        name="soft_matching_distance",
        bounds=(0.0, math.inf if raw else 2.0),
        larger_is_closer=False,
        metric=True,
        invariances=frozenset({"translation", "permutation"} | free),
        chance="grows with the size of the inputs" if raw else "below sqrt(2), falling with log(features) / examples",
        reference="Khosla and Williams 2024, arXiv:2311.09466",
    )


def aligned_cosine(*, alignment: str = "orthogonal") -> Measure:
    """`jaxalign.aligned_cosine` as a measure."""
    signature, score = aligned_cosine_parts(alignment)
    rotated = {"orthogonal"} if alignment == "orthogonal" else set()
    return Measure(
        signature=signature,
        score=score,
        name="aligned_cosine",
        options=alignment,
        bounds=(-1.0, 1.0),
        invariances=frozenset({"scaling", "permutation"} | rotated),
        chance="rises from 0 to 1 with features / examples, more where both have a mean",
        reference="Hamilton et al. 2016, arXiv:1605.09096",
    )


def stochastic_shape_distance(*, repeats: int = 2, alpha: float = 1.0, steps: int = STEPS) -> Measure:
    """`jaxalign.stochastic_shape_distance` as a measure."""
    signature, score = stochastic_shape_parts(repeats, alpha, steps)
    return Measure(
        signature=signature,
        score=score,
        name="stochastic_shape_distance",
        options=f"alpha={alpha:g},steps={steps}",
        bounds=(0.0, math.inf),
        larger_is_closer=False,
        # The distance defined is a metric; what is found is an upper bound of it.
        metric=False,
        invariances=frozenset({"translation", "permutation", "orthogonal"}),
        chance="grows with the size of the inputs",
        reference="Duong et al. 2023, arXiv:2211.11665",
    )


def correlation_match(*, kind: str = "hard") -> Measure:
    """`jaxalign.correlation_match` as a measure."""
    check_choice("correlation_match", "kind", kind, KINDS)
    return Measure(
        signature=CorrelatedSignature(),
        score=MatchScore(kind),
        name="correlation_match",
        options=kind,
        bounds=(-1.0, 1.0),
        invariances=frozenset({"translation", "scaling", "permutation", "feature_scaling"}),
        chance="of order sqrt(log(features) / n)",
        reference="Li et al. 2015, arXiv:1511.07543",
    )
