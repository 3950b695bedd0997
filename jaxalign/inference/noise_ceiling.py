"""How well any model could do: the agreement of dissimilarity matrices of several subjects with one another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from jaxalign._core.checks import as_array, check_choice, check_mask, check_matrix, describe
from jaxalign._core.numerics import accum_dtype, safe_divide, safe_sqrt
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.rdm_comparisons import COMPARISONS, RDMScore, compared_signature
from jaxalign.signatures.dissimilarities import DISSIMILARITIES, Dissimilarity
from jaxalign.signatures.rdm import RDM, drop_rounding_bits, ranks

#: For which the matrix that agrees best with several is known.
CEILINGS = ("pearson", "spearman", "cosine", "rho_a")
FUNCTION = "noise_ceiling"


def noise_ceiling(
    representations: Sequence[Float[Array, "n _d"]],
    *,
    metric: str = "correlation",
    comparison: str = "spearman",
    mask: Bool[Array, "n"] | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    r"""Bounds on the mean agreement that one dissimilarity matrix, such as a model's, can have with several subjects'.

    $$\text{lower} = \frac1S \sum_s c\Big(D_s, \sum_{t \ne s} \hat D_t\Big), \qquad
      \text{upper} = \frac1S \sum_s c\Big(D_s, \sum_t \hat D_t\Big)$$

    with dissimilarities $\hat D$ brought to one scale: z-scores for `"pearson"`, ranks for `"spearman"` and `"rho_a"`,
    norm 1 for `"cosine"`. No matrix has a higher mean than their sum; of ties there may be one, by `"spearman"`. It
    fits the subjects' noise as well, so the upper bound is too high; the sum of the others does not, and is noisier
    than what subjects have in common, so the lower bound is too low.

    Args:
      representations: of each of `S` subjects, at least 2, shape `(n, d_s)`: the same examples in the same order, any
        features.
      metric: dissimilarity of rows, as for `rsa`, except crossnobis.
      comparison: `"pearson"`, `"spearman"`, `"cosine"` or `"rho_a"`. For Kendall's coefficients the matrix that agrees
        best is not known, and hard to find; `"rho_a"` is meant to replace them.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      The lower and the upper bound, float32 or wider; NaN where a comparison is.

    Raises:
      ValueError: on rank or row-count mismatch, an unknown metric or comparison, fewer than 2 subjects.
      TypeError: on non-floating input.

    Example:
      >>> import jax
      >>> world, *noise = jax.random.normal(jax.random.key(0), (5, 12, 6))
      >>> low, high = noise_ceiling([world + 0.5 * own for own in noise])
      >>> bool(0.5 < low < high < 1)
      True

    Reference:
      Nili et al. (2014), A toolbox for representational similarity analysis; rsatoolbox's `boot_noise_ceiling` for
      the same dissimilarities.
    """
    check_choice(FUNCTION, "metric", metric, [name for name in DISSIMILARITIES if name != "crossnobis"])
    if comparison in COMPARISONS and comparison not in CEILINGS:
        raise ValueError(
            f"{FUNCTION}: comparison must be one of {', '.join(map(repr, CEILINGS))}, got {comparison!r}, for which "
            "the matrix that agrees best with several is not known"
        )
    check_choice(FUNCTION, "comparison", comparison, CEILINGS)
    if hasattr(representations, "shape") and len(getattr(representations, "shape", ())) != 3:
        raise ValueError(f"{FUNCTION}: representations must be a list of matrices, got {describe(representations)}")
    layers = [as_array(FUNCTION, f"representations[{i}]", x) for i, x in enumerate(representations)]
    if len(layers) < 2:
        raise ValueError(f"{FUNCTION}: representations must be of at least 2 subjects, got {len(layers)}")
    for i, x in enumerate(layers):
        check_matrix(FUNCTION, f"representations[{i}]", x)
        if x.shape[0] != layers[0].shape[0]:
            raise ValueError(
                f"{FUNCTION}: representations[{i}] must have {layers[0].shape[0]} rows like the first, got {x.shape[0]}"
            )
    mask = None if mask is None else as_array(FUNCTION, "mask", mask)
    check_mask(FUNCTION, mask, layers[0].shape[0])
    dtype = accum_dtype(*layers)
    return _ceiling([x.astype(dtype) for x in layers], mask, metric=metric, comparison=comparison)


@partial(jax.jit, static_argnames=("metric", "comparison"))
def _ceiling(layers: list[Array], mask: Array | None, *, metric: str, comparison: str) -> tuple[Scalar, Scalar]:
    found = [compared_signature(Dissimilarity(metric), comparison)(x, mask) for x in layers]
    subjects: RDM = jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)
    scaled = jax.vmap(partial(_on_one_scale, comparison=comparison))(subjects)
    total = jnp.sum(scaled, axis=0)
    defined = jnp.all(subjects.defined)
    score = RDMScore(comparison)

    def agreement(pooled: Float[Array, "n h"], subject: RDM) -> Scalar:
        if comparison in ("spearman", "rho_a"):
            # Means of ranks that are equal on paper differ by rounding.
            pooled = ranks(drop_rounding_bits(pooled), subject.weights)
        return score(RDM(pooled, subject.weights, defined), subject)

    upper = jax.lax.map(lambda subject: agreement(total, subject), subjects)
    lower = jax.lax.map(lambda pair: agreement(total - pair[0], pair[1]), (scaled, subjects))
    return jnp.mean(lower), jnp.mean(upper)


def _on_one_scale(rdm: RDM, *, comparison: str) -> Float[Array, "n h"]:
    """Dissimilarities in units in which those of all subjects may be added."""
    if comparison in ("spearman", "rho_a"):
        return rdm.entries
    entries = rdm.entries
    if comparison == "pearson":
        entries = entries - jnp.sum(entries * rdm.weights) / jnp.maximum(jnp.sum(rdm.weights), 1)
    size = safe_sqrt(jnp.sum(entries * entries * rdm.weights))
    return entries * safe_divide(jnp.ones_like(size), size, otherwise=jnp.nan)
