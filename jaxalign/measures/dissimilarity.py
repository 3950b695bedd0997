"""Representational similarity analysis as a measure."""

from __future__ import annotations

from jaxalign.alignment.rsa import rsa_parts
from jaxalign.measures.measure import Measure


def rsa(*, metric: str = "correlation", comparison: str = "spearman") -> Measure:
    """`jaxalign.rsa` as a measure."""
    signature, score = rsa_parts(metric, comparison)
    angular = metric in ("correlation", "cosine")
    invariances = {"permutation"} | ({"row_scaling"} if angular else {"translation"})
    if metric != "correlation":  # which takes the mean over features: a rotation mixes it with them
        invariances |= {"orthogonal"}
    return Measure(
        signature=signature,
        score=score,
        name="rsa",
        options=comparison,
        bounds=(0.0 if comparison == "cosine" else -1.0, 1.0),
        invariances=frozenset({"scaling"} | invariances),
        chance="near 1: dissimilarities are positive" if comparison == "cosine" else "0, either sign",
        reference="Kriegeskorte et al. 2008; Nili et al. 2014",
    )
