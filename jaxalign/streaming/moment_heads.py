"""What a linear head loses by stitching, from second moments of both layers and the targets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import jax.numpy as jnp
import numpy as np

from jaxalign.stitching.maps import LinearStitch
from jaxalign.streaming.moment_maps import Fit, fit


@dataclass(frozen=True, eq=False)
class MomentHeadRisk:
    """Squared errors under a linear head, means over rows of sums over outputs.

    Attributes:
      risk: the least that stitching reaches: of the head after the best linear (or affine) map from the other layer.
      probe_risk: of the best linear probe of the other layer, which `risk` cannot be below.
      excess: `risk - probe_risk`, at least 0; 0 for a head of full rank.
      head_risk: of the head on its own layer.
      best_head_risk: of the best linear probe of that layer.
      stitched_risk: of the head after the map that comes nearest to its layer, `MomentMap.stitch`.
      misalignment: the mean squared distance between what the head gives for its own layer and after that map.
      rounding: by how much rounding of the moments may have changed `probe_risk`, about, and so `risk`.
      head_rank: of the kernel of the head.
      outputs: how many outputs the head has.
    """

    risk: float
    probe_risk: float
    excess: float
    head_risk: float
    best_head_risk: float
    stitched_risk: float
    misalignment: float
    rounding: float
    head_rank: int
    outputs: int
    kernel: np.ndarray = field(repr=False)
    center: np.ndarray = field(repr=False)
    value_at_center: np.ndarray = field(repr=False)

    @property
    def is_linear_probe(self) -> bool:
        """Whether the head reaches every output: then `risk` is `probe_risk`, whatever the head."""
        return self.head_rank == self.outputs

    @property
    def bound(self) -> float:
        """`(√head_risk + √misalignment)²`: what `stitched_risk`, and so `risk`, cannot exceed."""
        return float((np.sqrt(self.head_risk) + np.sqrt(self.misalignment)) ** 2)

    def stitch(self) -> LinearStitch:
        """The map that has `risk`, of least norm for its probe; errors and the rest are NaN."""
        kernel, center, value = (
            jnp.asarray(a, jnp.asarray(0.0).dtype) for a in (self.kernel, self.center, self.value_at_center)
        )
        return replace(LinearStitch.of(kernel, value), center=center)


def head_risk(
    covariance: np.ndarray,
    mean: np.ndarray,
    widths: tuple[int, int, int],
    w2: np.ndarray,
    b2: np.ndarray,
    *,
    affine: bool,
    to_layer: np.ndarray,
    eps: float,
) -> MomentHeadRisk:
    """Risks under the head `z2 @ w2 + b2`, for maps from `z1`.

    Args:
      covariance: centered second moments of `[z1, z2, y]` side by side, over the number of rows.
      mean: of the same.
      widths: features of each of the three.
      w2: `(q, t)`.
      b2: `(t,)`.
      affine: whether maps and probes have a bias; without, probes have that of the head.
      to_layer: the kernel `(p, q)` of the map that comes nearest to `z2`.
      eps: precision of the sums.
    """
    p, q, t = widths
    one, two, out = slice(0, p), slice(p, p + q), slice(p + q, p + q + t)
    kernel, mean = w2.astype(np.float64), mean.copy()
    mean[out] -= b2
    raw = covariance + np.outer(mean, mean)
    moments = covariance if affine else raw
    probe = fit(moments[one, one], moments[one, out], moments[out, out], eps)
    own = fit(moments[two, two], moments[two, out], moments[out, out], eps)

    span, rank = _span(w2)
    outside = np.eye(t) - span @ span.T if rank < t else np.zeros((t, t))
    unsaid = _quadratic(moments[one, one], probe.kernel @ outside)
    if affine:
        unsaid += float(np.sum((outside @ mean[out]) ** 2))
    best = np.linalg.pinv(kernel, rcond=_tolerance(w2)) if rank else np.zeros((t, q))

    through = to_layer @ kernel
    eye, none = np.eye(t), np.zeros
    here = mean[two] @ kernel - mean[out]
    there = here if affine else mean[one] @ through - mean[out]
    on_own = np.vstack([none((p, t)), kernel, -eye])
    after = np.vstack([through, none((q, t)), -eye])
    between = np.vstack([through, -kernel, none((t, t))])
    return MomentHeadRisk(
        risk=probe.left + unsaid,
        probe_risk=probe.left,
        excess=unsaid,
        head_risk=_quadratic(covariance, on_own) + float(here @ here),
        best_head_risk=own.left,
        stitched_risk=_quadratic(covariance, after) + float(there @ there),
        misalignment=_quadratic(moments, between),
        rounding=probe.rounding,
        head_rank=rank,
        outputs=t,
        **_best_map(probe, best, mean, one, out, affine),
    )


def _best_map(
    probe: Fit, inverse: np.ndarray, mean: np.ndarray, one: slice, out: slice, affine: bool
) -> dict[str, np.ndarray]:
    """Kernel, center and what that is mapped to, of the probe taken back through the head."""
    center = mean[one] if affine else np.zeros_like(mean[one])
    value = mean[out] @ inverse if affine else np.zeros(inverse.shape[1])
    return {"kernel": probe.kernel @ inverse, "center": center, "value_at_center": value}


def _tolerance(matrix: np.ndarray) -> float:
    """Singular values below this share of the largest are rounding."""
    dtype = matrix.dtype if matrix.dtype in (np.float32, np.float64) else np.dtype(np.float32)
    largest = max(matrix.shape)
    return min(largest, 8 * largest**0.5) * float(np.finfo(dtype).eps)


def _span(w2: np.ndarray) -> tuple[np.ndarray, int]:
    """An orthonormal basis `(t, rank)` of the rows of the kernel, and its rank."""
    _, s, vt = np.linalg.svd(w2.astype(np.float64))
    rank = int(np.sum(s > _tolerance(w2) * s[0]))
    return vt[:rank].T, rank


def _quadratic(moments: np.ndarray, directions: np.ndarray) -> float:
    """The mean squared length of rows times `directions`, at least 0; NaN stays NaN."""
    value = float(np.sum((moments @ directions) * directions))
    return value if not value < 0 else 0.0
