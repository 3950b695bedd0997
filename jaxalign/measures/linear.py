"""CCA and regression families as measures."""

from __future__ import annotations

import math
from typing import Any

from jaxalign._core.checks import check_choice
from jaxalign.alignment.cca import REDUCTIONS, CorrelationScore, svcca_signature
from jaxalign.alignment.gaussian import gaussian_parts
from jaxalign.alignment.pwcca import ProjectionWeightedScore
from jaxalign.alignment.regression import (
    GULPScore,
    PLSScore,
    predictivity_parts,
    uses_ridge,
)
from jaxalign.measures.measure import Measure, Score, Signature
from jaxalign.signatures.correlated import CorrelatedSignature
from jaxalign.signatures.whitened import ProjectedSignature, WhitenedSignature

#: All that an invertible map of the features, or a shift of them, can be.
LINEAR = frozenset({"translation", "scaling", "permutation", "orthogonal", "feature_scaling", "invertible_linear"})
RIGID = frozenset({"translation", "permutation", "orthogonal"})


def _linear_measure(name: str, signature: Signature, score: Score, **facts: Any) -> Measure:
    return Measure(signature=signature, score=score, name=name, **facts)


def cca(*, reduce: str = "mean") -> Measure:
    """`jaxalign.cca` as a measure."""
    check_choice("cca", "reduce", reduce, REDUCTIONS)
    chance = {
        "mean": "of order sqrt((p + q) / n)",
        "mean_squared": "max(p, q) / (n - 1)",
        "top": "about sqrt(p / n) + sqrt(q / n)",
        "yanai": "sqrt(p q) / (n - 1)",
    }
    return _linear_measure(
        "cca",
        WhitenedSignature(),
        CorrelationScore(reduce),
        options=reduce,
        invariances=LINEAR,
        needs_more_examples=True,
        chance=chance[reduce],
        reference="Hotelling 1936; Raghu et al. 2017, arXiv:1706.05806",
    )


def svcca(*, variance: float = 0.99, rank: int | None = None) -> Measure:
    """`jaxalign.svcca` as a measure."""
    return _linear_measure(
        "svcca",
        svcca_signature(variance, rank),
        CorrelationScore("mean"),
        invariances=RIGID | {"scaling"} if variance < 1 or rank is not None else LINEAR,
        needs_more_examples=variance >= 1 and rank is None,
        chance="of order sqrt(components / n)",
        reference="Raghu et al. 2017, arXiv:1706.05806",
    )


def pwcca() -> Measure:
    """`jaxalign.pwcca` as a measure."""
    return _linear_measure(
        "pwcca",
        ProjectedSignature(),
        ProjectionWeightedScore(),
        symmetric=False,
        # Weights are sums of magnitudes of products with features: a rotation of those changes them.
        invariances=frozenset({"translation", "scaling", "permutation"}),
        needs_more_examples=True,
        chance="of order sqrt((p + q) / n)",
        reference="Morcos et al. 2018, arXiv:1806.05759",
    )


def ridge_cca(*, ridge: float = 1.0) -> Measure:
    """`jaxalign.ridge_cca` as a measure."""
    return _linear_measure(
        "ridge_cca",
        WhitenedSignature(ridge=ridge, shrunk=True),
        CorrelationScore("mean"),
        invariances=RIGID,
        chance="that of cca for a small ridge, falling with it",
        reference="Vinod 1976",
    )


def eigenspace_overlap() -> Measure:
    """`jaxalign.eigenspace_overlap` as a measure."""
    return _linear_measure(
        "eigenspace_overlap",
        WhitenedSignature(centered=False),
        CorrelationScore("larger_rank"),
        invariances=LINEAR - {"translation"},
        needs_more_examples=True,
        chance="min(p, q) / n, more where both have a mean",
        reference="May et al. 2019, arXiv:1909.01264",
    )


def linear_predictivity(*, ridge: float | tuple[float, ...] = 0.0, folds: int | None = None) -> Measure:
    """`jaxalign.linear_predictivity` as a measure."""
    signature, score = predictivity_parts(ridge, folds)
    shrunk = isinstance(ridge, tuple) or uses_ridge("linear_predictivity", ridge)
    chance = "p / (n - 1)" if folds is None else "-p / (m - p - 1) with m rows trained on"
    return _linear_measure(
        "linear_predictivity",
        signature,
        score,
        bounds=(0.0, 1.0) if folds is None else (-math.inf, 1.0),
        symmetric=False,
        invariances=RIGID if shrunk else LINEAR,
        needs_more_examples=not shrunk and folds is None,
        chance=chance + (", nearer to 0 with a ridge" if shrunk else ""),
        reference="Kornblith et al. 2019, arXiv:1905.00414",
    )


def gulp(*, ridge: float = 0.0) -> Measure:
    """`jaxalign.gulp` as a measure."""
    shrunk = uses_ridge("gulp", ridge)
    return _linear_measure(
        "gulp",
        WhitenedSignature(ridge=ridge, shrunk=shrunk),
        GULPScore(),
        bounds=(0.0, math.inf),
        larger_is_closer=False,
        metric=True,
        invariances=RIGID if shrunk else LINEAR,
        needs_more_examples=not shrunk,
        chance="about sqrt(p + q - 2 p q / (n - 1))" + (", less with a ridge" if shrunk else ""),
        reference="Boix-Adsera et al. 2022, arXiv:2210.06545",
    )


def pls_svd() -> Measure:
    """`jaxalign.pls_svd` as a measure."""
    return _linear_measure(
        "pls_svd",
        CorrelatedSignature(),
        PLSScore(),
        bounds=(0.0, math.inf),
        invariances=frozenset({"translation", "scaling", "permutation", "feature_scaling"}),
        chance="of order sqrt(max(p, q) / n)",
        reference="Wold 1985; Nielsen et al. 2025, arXiv:2506.03784",
    )


def gaussian_mutual_information() -> Measure:
    """`jaxalign.gaussian_mutual_information` as a measure."""
    return _gaussian_measure(
        "gaussian_mutual_information", "information", "about p q / (2 (n - 1)), infinite for n <= p + q"
    )


def gaussian_wasserstein_dependence() -> Measure:
    """`jaxalign.gaussian_wasserstein_dependence` as a measure."""
    return _gaussian_measure("gaussian_wasserstein_dependence", "wasserstein", "about p q / (2 (n - 1))")


def _gaussian_measure(name: str, reduce: str, chance: str) -> Measure:
    signature, score = gaussian_parts(reduce)
    return _linear_measure(
        name,
        signature,
        score,
        bounds=(0.0, math.inf),
        invariances=LINEAR,
        needs_more_examples=True,
        chance=chance,
        reference="Insulla et al. 2025, arXiv:2502.14047",
    )
