"""Second moments: inner products of examples that squared distances imply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

import jax.numpy as jnp

from jaxalign._core.checks import check_choice
from jaxalign._core.linalg import psd_sqrt
from jaxalign._core.numerics import binary_scale, safe_divide, safe_sqrt, take_pairs
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.signatures.dissimilarities import Dissimilarity, OfDissimilarities, counted_entries, double_center

#: What is kept of it: all; what is left when equal dissimilarities are taken off; its square root.
FORMS = ("moment", "deviation", "root")


@pytree_dataclass
class SecondMoment:
    """The matrix `-H D H / 2` of dissimilarities `D`, with `H` that centers, or what is kept of it.

    Attributes:
      entries: `(n, n)`, of Frobenius norm 1; 0 where it is not defined.
      defined: no dissimilarity is NaN, and something is kept.
    """

    entries: Float[Array, "n n"]
    defined: Bool[Array, ""]

    def permute(self, indices: Int[Array, "n"]) -> SecondMoment:
        """Example `i` of the result is example `indices[i]`."""
        return SecondMoment(take_pairs(self.entries, indices), self.defined)


@pytree_dataclass
class SecondMomentSignature(OfDissimilarities):
    """Makes the `SecondMoment` of a representation.

    Args:
      dissimilarity: how two examples are compared; its values are taken for squared distances.
      form: one of `FORMS`.
    """

    dissimilarity: Dissimilarity = Dissimilarity()
    form: str = field(default="moment", metadata={"static": True})

    def __post_init__(self):
        check_choice("SecondMomentSignature", "form", self.form, FORMS)

    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> list[SecondMoment]:
        """The signatures of several representations of the same examples."""
        return self.dissimilarity.map(self._of_matrix, layers, mask, rescaled=True)

    def _of_matrix(self, matrix: Float[Array, "n n"], mask: Bool[Array, "n"] | None) -> SecondMoment:
        entries, _ = counted_entries(matrix, mask)
        entries = entries * binary_scale(entries)
        kept = -0.5 * double_center(self._without_mean(entries, mask) if self.form == "deviation" else entries, mask)
        if self.form == "root":
            kept = psd_sqrt(kept)
        size = safe_sqrt(jnp.sum(kept * kept))
        # What rounding leaves of equal dissimilarities is nothing.
        defined = size > 64 * jnp.finfo(size.dtype).eps * safe_sqrt(jnp.sum(entries * entries))
        return SecondMoment(jnp.where(defined, kept * safe_divide(jnp.ones_like(size), size), 0), defined)

    def _without_mean(self, entries: Float[Array, "n n"], mask: Bool[Array, "n"] | None) -> Float[Array, "n n"]:
        """Without the mean of the entries off the diagonal."""
        pairs = ~jnp.eye(entries.shape[0], dtype=bool)
        if mask is not None:
            pairs = pairs & mask[:, None] & mask[None, :]
        mean = jnp.sum(entries) / jnp.maximum(jnp.sum(pairs, dtype=entries.dtype), 1)
        return jnp.where(pairs, entries - mean, 0)
