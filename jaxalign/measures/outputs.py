"""Outputs of classifiers as measures: of logits of the same classes in the same order."""

from __future__ import annotations

import math

from jaxalign.alignment.divergences import DivergenceScore
from jaxalign.alignment.outputs import PredictionScore
from jaxalign.measures.measure import Measure
from jaxalign.signatures.outputs import LogProbabilitySignature, PredictionSignature


def disagreement() -> Measure:
    """`jaxalign.disagreement` as a measure."""
    return Measure(
        signature=PredictionSignature(),
        score=PredictionScore("disagreement"),
        name="disagreement",
        larger_is_closer=False,
        same_features=True,
        invariances=frozenset({"scaling", "row_scaling"}),
        chance="1 - sum of products of the shares of classes: 1 - 1 / classes when all are as frequent",
        reference="Madani et al. 2004",
    )


def cohen_kappa() -> Measure:
    """`jaxalign.cohen_kappa` as a measure."""
    return Measure(
        signature=PredictionSignature(),
        score=PredictionScore("cohen_kappa"),
        name="cohen_kappa",
        bounds=(-1.0, 1.0),
        same_features=True,
        invariances=frozenset({"scaling", "row_scaling"}),
        chance="0, either sign",
        reference="Cohen 1960",
    )


def jensen_shannon() -> Measure:
    """`jaxalign.jensen_shannon` as a measure."""
    return Measure(
        signature=LogProbabilitySignature(),
        score=DivergenceScore("jensen_shannon"),
        name="jensen_shannon",
        bounds=(0.0, math.log(2)),
        larger_is_closer=False,
        same_features=True,
        chance="grows with confidence, from 0 to log 2",
        reference="Lin 1991",
    )


def kl_divergence() -> Measure:
    """`jaxalign.kl_divergence` as a measure."""
    return Measure(
        signature=LogProbabilitySignature(),
        score=DivergenceScore("kl_divergence"),
        name="kl_divergence",
        bounds=(0.0, math.inf),
        larger_is_closer=False,
        same_features=True,
        symmetric=False,
        chance="grows with confidence, without limit",
        reference="Kullback and Leibler 1951",
    )
