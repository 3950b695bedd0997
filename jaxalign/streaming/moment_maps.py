"""The best linear map from one layer to another, from second moments alone: what it leaves, and how well that is known.

On the host, in NumPy and float64. The moments come from sums in float32 or float64, and know nothing below the
rounding of these sums: `rounding` says how much that is. Its formula is derived here: what a map `S` leaves is the
quadratic form of `T = [-S, I]` with the joint moments, and at the best map does not change with `S` to first order.
Moments that are off by `ε √(Σii Σjj)` so change it by about `ε Σ_ji T_ji² Σii`, and to second order by that times
`ε Σ_i Σii (Σ11⁻¹)ii`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.stitching.certificates.interval import misalignment_interval
from jaxalign.stitching.maps import LinearStitch

#: Moments are taken to be off by this much of the precision of their sums, and results on the host by that much of
#: float64; of what was measured for `docs/numerics.md` it is enough.
IN_SUMS, ON_HOST = 2.0, 2.0
#: A direction that is too short to count but whose cross moments exceed their rounding by this factor does matter.
NOTICEABLE = 4.0


@dataclass(frozen=True, eq=False)
class Fit:
    """Least squares from moments.

    Attributes:
      kernel: `(p, q)`.
      left: what the fit leaves of the targets, summed over them, at least 0.
      explained: eigenvalues of the second moments of the fitted values, in descending order.
      rank: directions of the inputs that count.
      condition: root of the ratio of the largest to the smallest eigenvalue of the moments of the inputs that count,
        the inputs brought to a common size.
      rounding: by how much `left` may be off: all of it where a direction that the features have is too short to count;
        infinite where such a direction is seen to matter.
      dropped: whether there is such a direction.
    """

    kernel: np.ndarray
    left: float
    explained: np.ndarray
    rank: int
    condition: float
    rounding: float
    dropped: bool


def fit(sources: np.ndarray, cross: np.ndarray, targets: np.ndarray, eps: float) -> Fit:
    """Least squares for moments `Σ11` `(p, p)`, `Σ12` `(p, q)` and `Σ22` `(q, q)`.

    Directions of inputs brought to a second moment of 1 each count when theirs is above about `4 √p eps`: the largest
    that rounding gives a direction that has none. Of rows, these are directions longer than the root of that.

    Args:
      sources: moments of the inputs.
      cross: of inputs with targets.
      targets: of the targets.
      eps: precision of the sums that the moments come from.
    """
    p, q = cross.shape
    if not all(np.isfinite(a).all() for a in (sources, cross, targets)):
        nan = float("nan")
        return Fit(np.full((p, q), nan), nan, np.full(min(p, q), nan), 0, nan, nan, False)
    sizes, target_sizes = np.sqrt(np.diag(sources)), np.sqrt(np.diag(targets))
    units = np.where(sizes > 0, 1 / np.where(sizes > 0, sizes, 1), 0)
    values, vectors = np.linalg.eigh(sources * units[:, None] * units[None, :])
    off = IN_SUMS * eps + ON_HOST * float(np.finfo(float).eps)
    floor = 2 * p**0.5 * off  # the norm of a symmetric matrix of independent errors
    counts = values > floor
    known = vectors.T @ (cross * units[:, None])
    inverse = np.where(counts, 1 / np.where(counts, values, 1), 0)
    kernel = units[:, None] * (vectors @ (inverse[:, None] * known))
    fitted = np.sqrt(inverse)[:, None] * known
    singular = np.linalg.svd(fitted, compute_uv=False)
    total = float(np.sum(target_sizes**2))
    left = max(total - float(np.sum(fitted**2)), 0.0)

    # Entries of Σ11 scaled to a diagonal of 1; rows of T are those of the scaled map and the unit of a target.
    first = off * (float(np.sum((sizes[:, None] * kernel) ** 2)) + total)
    second = off * float(np.sum(inverse))
    missed = np.sum(known[~counts] ** 2, axis=1)
    seen = np.any(missed > (NOTICEABLE * off) ** 2 * total)
    # A direction that does not count may be one of rows all the same, and explain whatever is left.
    dropped = bool(np.any(~counts[len(sizes) - int(np.sum(sizes > 0)) :]))
    return Fit(
        kernel=kernel,
        left=left,
        explained=singular**2,
        rank=int(np.sum(counts)),
        condition=float(np.sqrt(values[-1] / values[counts][0])) if counts.any() else float("nan"),
        rounding=float("inf") if seen else max(first * (1 + second), left if dropped else 0.0),
        dropped=dropped,
    )


@dataclass(frozen=True, eq=False)
class MomentMap:
    """The best map from one layer to another, of data that were seen as second moments only.

    Attributes:
      value: the misalignment: the mean over rows of the squared distance that the best map leaves, summed over
        features; at least 0.
      variance: the mean squared length of the targets, about their mean for an affine map.
      rounding: by how much the rounding of the moments may have changed `value`, about. A smaller value is not
        resolved: go over the data a second time (`Misalignment.residuals`). All of `value` where a direction of the
        inputs is too short to resolve; infinite where a direction of the inputs
        too short for the moments to resolve is seen to matter; `value` is then larger than the minimum.
      rank: of the inputs, as far as moments tell: of features brought to a common size, directions
        longer than about `2 p^(1/4) √eps` of a feature (2e-3 for 64 features in float32), where least squares on rows
        resolves 1e-5.
      condition: the longest over the shortest direction that the rank counts.
      ridge: misalignment for each of the penalties, `(k,)`, in their order.
      orthogonal: misalignment of the best rotation (with a bias for an affine map), the narrower layer padded with 0.
      scaled_orthogonal: of the best rotation times a number.
      alignment: kernel alignment (CKA for an affine map) of the layers, the same both ways.
      source_eigenvalues: of the second moments of the inputs (covariances for an affine map), descending, `(p,)`.
      target_eigenvalues: likewise, `(q,)`.
      examples: how many rows the moments are of.
      dropped: whether the inputs have directions that are not in `rank`, features that are 0 aside.
    """

    value: float
    variance: float
    rounding: float
    rank: int
    condition: float
    ridge: np.ndarray
    orthogonal: float
    scaled_orthogonal: float
    alignment: float
    examples: float
    source_eigenvalues: np.ndarray = field(repr=False)
    target_eigenvalues: np.ndarray = field(repr=False)
    explained: np.ndarray = field(repr=False)
    kernel: np.ndarray = field(repr=False)
    center: np.ndarray = field(repr=False)
    value_at_center: np.ndarray = field(repr=False)
    affine: bool = False
    dropped: bool = False

    @property
    def r_squared(self) -> float:
        """`1 - value / variance`; NaN without variance."""
        return 1 - self.value / self.variance if self.variance > 0 else float("nan")

    @property
    def resolved(self) -> bool:
        """Whether the misalignment has a digit: whether it is at least ten times its rounding."""
        return self.value >= 10 * self.rounding and np.isfinite(self.value)

    @property
    def overfit(self) -> bool:
        """Whether there are fewer than two rows for a degree of freedom: then `value` says next to nothing."""
        return self.rank + self.affine > 0.5 * self.examples

    @property
    def interval(self) -> tuple[float, float]:
        """The least and the largest misalignment that the two spectra and the alignment allow.

        Of the spectra that the moments have, the source's without directions that are not in `rank`. Such a direction
        may explain whatever is left: the least is 0 then.
        """
        if not np.isfinite(self.alignment):
            return float("nan"), float("nan")
        one = np.where(np.arange(len(self.source_eigenvalues)) < self.rank, self.source_eigenvalues, 0)
        other = self.target_eigenvalues
        size = min(len(one), len(other))
        # Rounding of the moments must not make the alignment one that the spectra do not allow.
        most = np.sum(one[:size] * other[:size]) / (np.linalg.norm(one) * np.linalg.norm(other))
        with jax.enable_x64(True):
            spectra = (jnp.asarray(a, jnp.float64) for a in (one, other, np.minimum(self.alignment, most)))
            low, high = misalignment_interval(*spectra)
            return 0.0 if self.dropped else float(low), float(high)

    def low_rank(self, rank: int) -> float:
        """The misalignment of the best map of at most a rank: what the leading directions of the fit do not explain."""
        return max(self.value + float(np.sum(self.explained[rank:])), 0.0)

    def stitch(self) -> LinearStitch:
        """The best map, to be called on activations. What needs rows (`loo_error`) is NaN."""
        numbers = (self.value, self.variance, self.condition, self.examples, self.rank + self.affine, np.nan)
        error, variance, condition, examples, freedom, unknown = (jnp.asarray(float(v)) for v in numbers)
        kernel, center, value = (jnp.asarray(a, error.dtype) for a in (self.kernel, self.center, self.value_at_center))
        return LinearStitch(
            kernel=kernel,
            center=center,
            value_at_center=value,
            error=error,
            variance=variance,
            loo_error=unknown,
            rank=jnp.int32(self.rank),
            condition=condition,
            degrees_of_freedom=freedom,
            examples=examples,
        )


def eigenvalues(moments: np.ndarray) -> np.ndarray:
    """In descending order, at least 0; NaN for moments that are not finite."""
    if not np.isfinite(moments).all():
        return np.full(len(moments), np.nan)
    return np.maximum(np.linalg.eigvalsh(moments)[::-1], 0)


def alignment_of(sources: np.ndarray, cross: np.ndarray, targets: np.ndarray) -> float:
    """`‖Σ12‖² / (‖Σ11‖ ‖Σ22‖)`; NaN where a layer is 0."""
    one, other = (np.linalg.norm(a) for a in (sources, targets))
    return float((np.linalg.norm(cross) / one) * (np.linalg.norm(cross) / other)) if one * other > 0 else float("nan")


def moment_map(
    sources: np.ndarray,
    cross: np.ndarray,
    targets: np.ndarray,
    *,
    means: tuple[np.ndarray, np.ndarray],
    affine: bool,
    penalties: tuple[float, ...],
    examples: float,
    eps: float,
) -> MomentMap:
    """All that moments say of the maps from one layer to another.

    Args:
      sources: `Σ11`, `(p, p)`, centered for affine maps.
      cross: `Σ12`, `(p, q)`.
      targets: `Σ22`, `(q, q)`.
      means: of both layers.
      affine: whether moments are centered, and maps have a bias.
      penalties: λ of the ridges.
      examples: number of rows.
      eps: precision of the sums.
    """
    best = fit(sources, cross, targets, eps)
    variance, size = float(np.trace(targets)), float(np.trace(sources))
    finite = np.isfinite(best.left)
    nuclear = float(np.linalg.norm(cross, "nuc")) if finite else float("nan")
    center, value = means if affine else (np.zeros_like(means[0]), np.zeros_like(means[1]))
    return MomentMap(
        value=best.left,
        variance=variance,
        rounding=best.rounding,
        rank=best.rank,
        condition=best.condition,
        ridge=_ridge(sources, cross, variance, penalties, best.left),
        orthogonal=_not_negative(size + variance - 2 * nuclear),
        scaled_orthogonal=_not_negative(variance - nuclear**2 / size) if size > 0 else variance,
        alignment=alignment_of(sources, cross, targets),
        examples=examples,
        source_eigenvalues=eigenvalues(sources),
        target_eigenvalues=eigenvalues(targets),
        explained=best.explained,
        kernel=best.kernel,
        center=center,
        value_at_center=value,
        affine=affine,
        dropped=best.dropped,
    )


def _ridge(
    sources: np.ndarray, cross: np.ndarray, variance: float, penalties: tuple[float, ...], without: float
) -> np.ndarray:
    """What ridge regression leaves, for each penalty: `tr Σ22 − Σ_i c_i² (η_i + 2λ) / (η_i + λ)²`."""
    if not penalties or not np.isfinite(without):
        return np.full(len(penalties), np.nan)
    values, vectors = np.linalg.eigh(sources)
    values, known = np.maximum(values, 0), np.sum((vectors.T @ cross) ** 2, axis=1)
    shrunk = [variance - np.sum(known * (values + 2 * x) / (values + x) ** 2) if x > 0 else without for x in penalties]
    return np.maximum(shrunk, 0)


def _not_negative(value: float) -> float:
    """0 for what rounding made negative; NaN stays NaN."""
    return value if not value < 0 else 0.0
