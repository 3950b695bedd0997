"""Distance family as measures."""

from __future__ import annotations

from jaxalign.alignment.distance import distance_correlation_score, distance_covariance_score
from jaxalign.kernels.radial import Distance
from jaxalign.measures.kernel import kernel_measure
from jaxalign.measures.measure import Measure


def distance_correlation(*, exponent: float = 1.0, estimator: str = "biased") -> Measure:
    """`jaxalign.distance_correlation` as a measure."""
    biased = estimator == "biased"
    return kernel_measure(
        "distance_correlation",
        distance_correlation_score(estimator),
        Distance(exponent),
        None,
        options=estimator,
        bounds=(0.0, 1.0) if biased else (-1.0, 1.0),
        chance="grows to 1 with features / examples" if biased else "0, either sign",
        reference="Székely et al. 2007" if biased else "Székely and Rizzo 2013",
    )


def distance_covariance(*, exponent: float = 1.0, estimator: str = "biased") -> Measure:
    """`jaxalign.distance_covariance` as a measure."""
    biased = estimator == "biased"
    return kernel_measure(
        "distance_covariance",
        distance_covariance_score(estimator),
        Distance(exponent),
        None,
        options=estimator,
        bounds=(0.0 if biased else -float("inf"), float("inf")),
        chance="above 0, of order 1/sqrt(n)" if biased else "0, either sign",
        reference="Székely et al. 2007",
    )
