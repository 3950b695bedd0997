"""What linear maps from one layer make of another, for a page."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from jaxalign._core.typing import Array
from jaxalign.stitching.certificates.interval import misalignment_interval, required_alignment
from jaxalign.stitching.certificates.misalignment import misalignment
from jaxalign.stitching.certificates.spectrum import layer_spectrum
from jaxalign.stitching.controls import best_ridge
from jaxalign.stitching.maps import LinearStitch

#: Of the variance of a layer, what `required_cka` is for.
SHARE = 0.9


@dataclass(frozen=True)
class DirectionReport:
    """What affine maps from one layer to the other reach; in sample but for `held_out_r_squared`.

    Attributes:
      r_squared: share of the variance that least squares explain of the rows fitted to.
      chance_r_squared: of that, what any layer of this rank would explain, on average over random orders.
      held_out_r_squared: of rows that nothing was fitted to, by ridge regression with the penalty of least generalized
        cross-validation error; can be negative. NaN where nothing is held out.
      directions: share of the target's directions that least squares explain, large and small ones counted alike; by
        chance it is `chance_r_squared` as well. Far below `r_squared`, small directions are lost.
      misalignment: of least squares; in the square of the units of the target.
      standard_error: of that.
      loo: with each row left out of its fit (PRESS).
      gcv: by generalized cross-validation.
      optimism: by what factor rows not seen would be worse, for Gaussian inputs.
      variance: of the target, about its mean.
      freedom_ratio: degrees of freedom for a row.
      rank: of the source.
      condition: of the source.
      interval: the least and the largest misalignment that CKA and both spectra allow.
      required_cka: the least CKA that would guarantee that 0.9 of the variance is explained; infinite for none.
      degenerate: whether in-sample numbers say next to nothing.
    """

    r_squared: float
    chance_r_squared: float
    held_out_r_squared: float
    directions: float
    misalignment: float
    standard_error: float
    loo: float
    gcv: float
    optimism: float
    variance: float
    freedom_ratio: float
    rank: int
    condition: float
    interval: tuple[float, float]
    required_cka: float
    degenerate: bool

    @property
    def r_squared_range(self) -> tuple[float, float]:
        """The least and the largest R² that CKA and both spectra allow."""
        if not self.variance > 0:
            return math.nan, math.nan
        low, high = self.interval
        return 1 - high / self.variance, 1 - low / self.variance

    @property
    def unseen_r_squared(self) -> float:
        """R² of rows that were not fitted to: held out, else each left out of its fit."""
        if not math.isnan(self.held_out_r_squared) or not self.variance > 0:
            return self.held_out_r_squared
        return 1 - self.loo / self.variance


def direction(
    z1: Array,
    z2: Array,
    *,
    score: float,
    cosines: Array,
    mask: Array | None,
    fitted: np.ndarray,
    reported: np.ndarray,
) -> tuple[DirectionReport, LinearStitch | None]:
    """What maps from `z1` reach, and the ridge regression of the rows fitted to; None where no others are left.

    Args:
      z1: the source.
      z2: the target.
      score: their CKA.
      cosines: their canonical correlations.
      mask: which rows count.
      fitted: numbers of rows to fit on.
      reported: of rows to report on; the same array when nothing is held out.
    """
    found = misalignment(z1, z2, stitcher="affine", mask=mask)
    eig1, eig2 = (layer_spectrum(z, center=True, mask=mask) for z in (z1, z2))
    stitch, held_out = None, math.nan
    if fitted is not reported:
        stitch = best_ridge(z1[fitted], z2[fitted])
        residuals = np.asarray(stitch(z1[reported]), np.float64) - np.asarray(z2[reported], np.float64)
        spread = np.asarray(z2[reported], np.float64) - np.asarray(stitch.value_at_center, np.float64)
        size = float(np.sum(spread**2))
        held_out = 1 - float(np.sum(residuals**2)) / size if size > 0 else math.nan
    variance, interval, required, directions = float(found.variance), (math.nan, math.nan), math.nan, math.nan
    if math.isfinite(score) and variance > 0:
        low, high = misalignment_interval(eig1, eig2, jnp.asarray(score, eig1.dtype))
        interval = float(low), float(high)
        required = float(required_alignment(eig1, eig2, (1 - SHARE) * variance))
        directions = float(np.sum(np.asarray(cosines, np.float64) ** 2)) / int(np.sum(np.asarray(eig2) > 0))
    examples = float(found.stitch.examples)
    report = DirectionReport(
        r_squared=1 - float(found.normalized),
        chance_r_squared=min(float(found.rank) / (examples - 1), 1.0) if examples > 1 else math.nan,
        held_out_r_squared=held_out,
        directions=directions,
        misalignment=float(found),
        standard_error=float(found.standard_error),
        loo=float(found.loo),
        gcv=float(found.gcv),
        optimism=float(found.optimism),
        variance=variance,
        freedom_ratio=float(found.freedom_ratio),
        rank=int(found.rank),
        condition=float(found.condition),
        interval=interval,
        required_cka=required,
        degenerate=bool(found.degenerate),
    )
    return report, stitch
