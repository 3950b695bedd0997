"""Dissimilarity matrices as measures: how alike two of them are, and how far apart."""

from __future__ import annotations

import math

from jaxalign.alignment.distance_matrices import distance_alignment_parts, rsm_distance_parts
from jaxalign.alignment.rsa import rsa_parts
from jaxalign.measures.measure import Measure

#: What leaves a matrix of dissimilarities as it is.
UNCHANGED = {
    "correlation": {"scaling", "row_scaling", "permutation"},
    "cosine": {"scaling", "row_scaling", "permutation", "orthogonal"},
    "euclidean": {"translation", "permutation", "orthogonal"},
    "sqeuclidean": {"translation", "permutation", "orthogonal"},
    "mahalanobis": {
        "translation",
        "scaling",
        "permutation",
        "orthogonal",
        "feature_scaling",
        "invertible_linear",
    },
    "crossnobis": {"translation", "scaling", "permutation", "orthogonal"},
    "poisson": {"permutation"},
}
#: Metrics that give matrices from which inputs can be told up to what leaves them unchanged.
TELLING = ("cosine", "euclidean", "sqeuclidean", "mahalanobis")
#: What unrelated inputs score, for comparisons that are not near 0 then.
CHANCE = {
    "cosine": "near 1: dissimilarities are positive",
    "whitened_cosine": "grows to 1 with features / examples",
    "bures": "grows to 1 with features / examples",
}


def rsa(*, metric: str = "correlation", comparison: str = "spearman", repeats: int = 1) -> Measure:
    """`jaxalign.rsa` as a measure."""
    signature, score = rsa_parts(metric, comparison, repeats)
    # Cross-validated distances may be negative; and divergences are no squared distances.
    positive = {
        "cosine": metric != "crossnobis",
        "whitened_cosine": metric not in ("crossnobis", "poisson"),
        "bures": True,
    }
    # A common factor of all dissimilarities is no difference.
    unchanged = UNCHANGED[metric] | ({"scaling"} if metric != "poisson" else set())
    if repeats > 1:  # a mean of rows depends on their lengths
        unchanged = unchanged - {"row_scaling"}
    return Measure(
        signature=signature,
        score=score,
        name="rsa",
        options=comparison,
        bounds=(0.0 if positive.get(comparison, False) else -1.0, 1.0),
        needs_more_examples=metric == "mahalanobis",
        invariances=frozenset(unchanged),
        chance=CHANCE.get(comparison, "0, either sign"),
        reference="Kriegeskorte et al. 2008; Nili et al. 2014; whitened: Diedrichsen et al. 2021, arXiv:2007.02789",
    )


def rsm_distance(*, norm: str = "frobenius", metric: str = "euclidean") -> Measure:
    """`jaxalign.rsm_distance` as a measure."""
    signature, score = rsm_distance_parts(norm, metric)
    return Measure(
        signature=signature,
        score=score,
        name="rsm_distance",
        options=norm,
        bounds=(0.0, math.inf),
        larger_is_closer=False,
        metric=metric in TELLING,
        needs_more_examples=metric == "mahalanobis",
        invariances=frozenset(UNCHANGED[metric]),
        chance="grows with examples" + ("" if "scaling" in UNCHANGED[metric] else " and the size of the inputs"),
        reference="Klabunde et al. 2025, arXiv:2305.06329",
    )


def distance_alignment(*, rows: str = "unit", centered: bool = False) -> Measure:
    """`jaxalign.distance_alignment` as a measure."""
    signature, score = distance_alignment_parts(rows, centered)
    unit = rows == "unit"
    return Measure(
        signature=signature,
        score=score,
        name="distance_alignment",
        options=rows,
        bounds=(0.0, 8.0 if unit else math.inf),
        larger_is_closer=False,
        invariances=frozenset(UNCHANGED["cosine" if unit else "sqeuclidean"]),
        chance="4 / features of one + 4 / features of the other, for white ones"
        if unit
        else "grows with the size of the inputs",
        reference="Insulla et al. 2025, arXiv:2502.14047",
    )
