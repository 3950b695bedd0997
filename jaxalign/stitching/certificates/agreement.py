"""Predictions that stitching cannot have changed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import as_array, check_positive, describe
from jaxalign._core.numerics import accum_dtype, fill_rows, widen
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.stitching.certificates.slopes import check_constant, evaluation_rounding
from jaxalign.stitching.heads import as_head
from jaxalign.stitching.lipschitz import lipschitz_bound
from jaxalign.stitching.risk import apply_head, as_stitch
from jaxalign.stitching.rows import check_layers, example_lengths, row_shares


@dataclass(frozen=True, eq=False)
class CertifiedAgreement:
    """Which predictions a stitch cannot have changed, beside those it did not; printed as one line.

    Attributes:
      certified: `(n,)`, whether the prediction must be that of the intact model, by margin and distance alone.
      agree: `(n,)`, whether it is.
      gap: `(n,)`, by how much the largest logit of the intact model exceeds the next one.
      reach: `(n,)`, what the gap can lose at most: `√2 κ` times the distance of mapped activations from the layer.
      lipschitz: κ.
      error_bound: the stitched model is wrong on at most this share of the examples: those whose margin for the right
        label is no larger than the reach. NaN without labels.
      margin_bound: the same from the misalignment alone, `min over γ of share(margin ≤ γ) + 2 κ² Ã / γ²`: not below
        `error_bound`, at most 1. NaN without labels.
      error: the share that it is wrong on. NaN without labels.
      counted: `(n,)`, which examples count; the others are False above.
    """

    certified: np.ndarray
    agree: np.ndarray
    gap: np.ndarray
    reach: np.ndarray
    lipschitz: float
    error_bound: float
    margin_bound: float
    error: float
    counted: np.ndarray

    @property
    def certified_share(self) -> float:
        """The share of the predictions that is certified."""
        return float(self.certified.sum() / self.counted.sum()) if self.counted.any() else math.nan

    @property
    def agreement(self) -> float:
        """The share of the predictions that did not change; not below `certified_share`."""
        return float(self.agree.sum() / self.counted.sum()) if self.counted.any() else math.nan

    def __str__(self) -> str:
        line = (
            f"{self.certified_share:.1%} of {int(self.counted.sum())} predictions certified unchanged; "
            f"{self.agreement:.1%} are unchanged"
        )
        if math.isnan(self.error):
            return line
        return f"{line}; error {self.error:.1%}, at most {self.error_bound:.1%}"


def certified_agreement(
    z1: Float[Array, "n *axes p"],
    z2: Float[Array, "n *axes q"],
    head: Any,
    *,
    stitch: Any,
    lipschitz: Any = None,
    labels: Int[Array, "n"] | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> CertifiedAgreement:
    r"""Which predictions of a classifier cannot change when its layer is fed from another model.

    $$o_{(1)} - o_{(2)} > \sqrt 2\, \kappa\, \|s(z_{1i}) - z_{2i}\|, \qquad o = g_2(z_{2i})$$

    No labels are needed for it, and no outputs of the stitched model.

    Args:
      z1: activations of the layer to go on from, examples first.
      z2: those of the layer that the head reads, same examples.
      head: the rest of the target model, as in `stitching_error`; it returns logits `(n, classes)`.
      stitch: a map from the one to the other, as in `stitching_error`.
      lipschitz: κ, of the head from all activations of an example to its logits; a number or a `LipschitzBound`, by
        default `lipschitz_bound(head)`. A wrong constant certifies nothing.
      labels: `(n,)`, integers, for the bounds on the error.
      mask: shape `(n,)`; examples with `False` may hold any value.

    Returns:
      A `CertifiedAgreement`. What rounding could decide is not certified, as far as the precision of inputs and outputs
      tells; of a head that computes in half precision and returns float32 it is not known. Not for use inside `jit`.

    Raises:
      ValueError: for layers that are not paired, a head that gives no logits of at least two classes, labels of
        another length, a constant that is not positive, or below a slope of the head between two of these activations.
      TypeError: for a head of which no constant is known, labels that are no integers.

    Example:
      >>> z2 = jnp.array([[2., 0., 0.], [0., 1., 0.], [0., .2, .3], [1., .9, 0.]])
      >>> z1 = jnp.array([[1.5, .2, 0.], [.3, .8, 0.], [.1, .35, .2], [1., .9, .05]])
      >>> result = certified_agreement(z1, z2, lambda z: z, stitch=lambda z: z, lipschitz=1.0)
      >>> result.certified.tolist(), result.agree.tolist()
      ([True, True, False, True], [True, True, False, True])

    Reference:
      Derived for this project; margins of Lipschitz networks: Tsuzuku et al. (2018), arXiv:1802.04034.
    """
    name = "certified_agreement"
    z1, z2 = as_array(name, "z1", z1), as_array(name, "z2", z2)
    check_layers(name, z1, z2, names=("z1", "z2"))
    mask = None if mask is None else as_array(name, "mask", mask)
    counted = row_shares(name, z2.shape[:1], accum_dtype(z1, z2), mask=mask, weights=None) > 0
    kappa = known_lipschitz(name, lipschitz, head, z2)
    if kappa is None:
        raise TypeError(f"{name}: of {describe(head)} no Lipschitz constant is known; pass lipschitz=")
    z1, z2 = fill_rows(z1, counted), fill_rows(z2, counted)
    mapped = as_stitch(name, stitch)(z1)
    if mapped.shape != z2.shape:
        raise ValueError(f"{name}: stitch must map z1 to the shape of z2, {tuple(z2.shape)}, got {describe(mapped)}")
    whole = as_head(name, head)
    raw = [apply_head(name, whole, z, source) for z, source in ((z2, "z2"), (mapped, "stitch"))]
    logits, stitched = map(widen, raw)
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(f"{name}: head must return logits (n, classes) of at least 2, got {describe(logits)}")

    distances = example_lengths(mapped.astype(accum_dtype(mapped, z2)) - z2.astype(accum_dtype(mapped, z2)))
    distances = distances.astype(logits.dtype)
    check_constant(name, kappa, example_lengths(stitched - logits), distances, counted, raw[0], z2)
    # What rounding may have done to a difference of two logits, of both models.
    rounding = 2 * math.sqrt(2) * evaluation_rounding(kappa, raw[0], z2).astype(logits.dtype)
    reach = math.sqrt(2) * kappa * distances
    top = jax.lax.top_k(logits, 2)[0]
    gap = top[:, 0] - top[:, 1]
    certified = counted & (gap - rounding > reach)
    agree = counted & (jnp.argmax(logits, axis=1) == jnp.argmax(stitched, axis=1))

    errors = (math.nan,) * 3
    if labels is not None:
        labels = as_array(name, "labels", labels)
        if not jnp.issubdtype(labels.dtype, jnp.integer):
            raise TypeError(f"{name}: labels must be integers, got {describe(labels)}")
        if labels.shape != logits.shape[:1]:
            raise ValueError(f"{name}: labels must have shape {logits.shape[:1]}, got {tuple(labels.shape)}")
        own = jnp.arange(logits.shape[1], dtype=labels.dtype)[None, :] == labels[:, None]
        if not bool(jnp.all(jnp.any(own, axis=1) | ~counted)):
            raise ValueError(f"{name}: labels must be from 0 to {logits.shape[1] - 1}, one for each logit")
        right = jnp.sum(jnp.where(own, logits, 0), axis=1)
        margins = right - jnp.max(jnp.where(own, -jnp.inf, logits), axis=1)
        wrong = counted & (jnp.argmax(stitched, axis=1).astype(labels.dtype) != labels)
        number = float(jnp.sum(counted))
        unsafe = counted & ~(margins - rounding > reach)
        known = np.asarray(counted)
        misalignment = float(np.mean(np.asarray(distances, np.float64)[known] ** 2)) if known.any() else math.nan
        errors = (
            float(jnp.sum(unsafe)) / number,
            _margin_bound(np.asarray(margins, np.float64)[known], kappa**2 * misalignment),
            float(jnp.sum(wrong)) / number,
        )
    return CertifiedAgreement(
        certified=np.asarray(certified),
        agree=np.asarray(agree),
        gap=np.asarray(gap),
        reach=np.asarray(reach),
        lipschitz=kappa,
        error_bound=errors[0],
        margin_bound=errors[1],
        error=errors[2],
        counted=np.asarray(counted),
    )


def _margin_bound(margins: np.ndarray, moved: float) -> float:
    """The least of `share(margin ≤ γ) + 2 moved / γ²`, at most 1; just below a margin, that one does not count yet."""
    if len(margins) == 0:
        return math.nan
    margins = np.sort(margins)
    below = np.searchsorted(margins, margins, side="left") / len(margins)
    positive = margins > 0
    bounds = below[positive] + 2 * moved / margins[positive] ** 2
    return float(min(1.0, bounds.min(initial=1.0)))


def known_lipschitz(function: str, lipschitz: Any, head: Any, z2: Array) -> float | None:
    """A Lipschitz constant as a number: that given, or that of the head; None where neither is known.

    Raises:
      ValueError, TypeError: for what is no positive number.
    """
    if lipschitz is None:
        try:
            return float(lipschitz_bound(head, input_shape=tuple(z2.shape[1:])))
        except (TypeError, ValueError):  # of a layer that it does not know, or an activation without one
            return None
    try:
        value = float(lipschitz)
    except (TypeError, ValueError):
        raise TypeError(
            f"{function}: lipschitz must be one number or a LipschitzBound, got {describe(lipschitz)}"
        ) from None
    if value != 0:  # a head may be constant
        check_positive(function, "lipschitz", value)
    return value
