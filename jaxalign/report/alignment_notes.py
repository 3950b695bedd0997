"""What a reader of the page on two layers should not overlook, in words."""

from __future__ import annotations

import math

from jaxalign.report.alignment_directions import DirectionReport
from jaxalign.stitching.certificates.certificate import Certificate

#: From here on CKA is called high, up to here low.
HIGH, LOW = 0.9, 0.5
#: R² of rows not seen below which a map loses much, and from which on it does not.
LOST, KEPT = 0.8, 0.9
#: The share of directions, each counted alike, below which small ones are lost.
DIRECTIONS = 0.75
#: A p-value above it is no evidence.
CHANCE = 0.05
#: By what factor rows not seen may be worse before it is called overfit.
OVERFIT = 1.5


def notes(
    *,
    score: float,
    chance: float,
    pvalue: float,
    forward: DirectionReport,
    backward: DirectionReport,
    held_out: bool,
    bounds: Certificate | None,
    linear_probe: bool,
) -> tuple[str, ...]:
    """Sentences, what concerns everything first.

    Args:
      score: CKA.
      chance: its mean over orders of the examples.
      pvalue: how many orders score as high.
      forward: from the first layer to the second.
      backward: from the second to the first.
      held_out: whether there are rows that nothing was fitted to.
      bounds: the certificate that counts, or None.
      linear_probe: whether the head is linear and of full rank.
    """
    found = []
    if math.isnan(score):
        found.append(f"CKA is not defined: {_why_undefined(forward, backward)}.")
    elif pvalue > CHANCE:
        found.append(
            "CKA is no higher than that of unrelated layers; its standard error does not hold there, go by the p-value."
        )
    if chance >= LOW:
        found.append(f"Unrelated layers would score a CKA of {chance:.2f} here: read the adjusted one.")
    for arrow, one in (("First to second", forward), ("Second to first", backward)):
        if not math.isnan(score):
            found += _of_direction(arrow, one, score, held_out=held_out)
    if linear_probe:
        found.append(
            "The head is linear and of full rank: the best stitched model is then a linear probe of the first layer, "
            "and its risk says nothing about the second."
        )
    if bounds is not None and bounds.verdict in ("plausible", "vacuous"):
        found += _of_bounds(bounds)
    return tuple(found)


def _why_undefined(forward: DirectionReport, backward: DirectionReport) -> str:
    """Variances are those of the targets."""
    constant = [name for name, one in (("second", forward), ("first", backward)) if one.variance == 0]
    if len(constant) == 2:
        return "both layers are constant"
    if constant:
        return f"the {constant[0]} layer is constant"
    return "there are values that are not finite"


def _of_direction(arrow: str, one: DirectionReport, score: float, *, held_out: bool) -> list[str]:
    found = []
    if one.degenerate:
        exact = "there are as many features as examples, any layer would be fitted exactly"
        why = exact if one.freedom_ratio >= 1 - 1e-6 else f"{one.freedom_ratio:.2g} degrees of freedom for each row"
        instead = "read those held out" if held_out else "hold rows out"
        found.append(f"{arrow}: {why}. In-sample numbers say next to nothing; {instead}.")
    elif one.optimism > OVERFIT:
        found.append(
            f"{arrow}: overfit. Rows not seen should be {one.optimism:.1f} times as far off as those fitted to."
        )
    reached = one.unseen_r_squared
    if score >= HIGH and reached < LOST:
        found.append(
            f"{arrow}: CKA is high, yet {min(1 - reached, 1):.0%} of the variance is lost: that of small directions, "
            "which CKA hardly sees."
        )
    elif score >= HIGH and one.directions < DIRECTIONS and not one.degenerate:
        found.append(
            f"{arrow}: CKA is high, yet of the directions, each counted alike, {1 - one.directions:.0%} are lost: "
            "small ones, which CKA hardly sees. A head may depend on them."
        )
    if score <= LOW and reached >= KEPT:
        found.append(
            f"{arrow}: CKA is low, yet a linear map explains {reached:.0%}: everything is there, in other sizes, "
            "which CKA does not forgive."
        )
    return found


def _of_bounds(bounds: Certificate) -> list[str]:
    reasons = {
        "risk": "the risk of the intact model itself is too large",
        "misalignment": "what the map misses of the second layer, times the slope of the head, is too much",
        "lipschitz": "the Lipschitz constant of the head is far above the slopes that were seen",
    }
    found = [f"No certificate: {reasons[bounds.dominant]}."]
    if bounds.verdict == "vacuous" and bounds.t0 < bounds.baseline:
        found.append(
            "Vacuous bounds are no bad news: the measured risk is below that of the best constant all the same."
        )
    return found
