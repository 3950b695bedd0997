"""Centered kernel matrices as inner products of rows: `F Fᵀ = H K H / n`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import ClassVar

import jax.numpy as jnp

from jaxalign._core.linalg import psd_sqrt, ridge_basis
from jaxalign._core.numerics import center_columns, mask_rows, row_count, widen
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.kernels.base import Kernel
from jaxalign.signatures.batching import map_layers
from jaxalign.signatures.gram import GramSignature


@pytree_dataclass
class FeatureMapSignature:
    """Makes the rows `F` of a representation: those of the input for a linear kernel, else `n` features.

    Products `F_xᵀ F_y` have the singular values of the cross-covariance operator of the two kernels.

    Args:
      kernel: the kernel.
      ridge: where `shrunk`, `F` is replaced by `F (FᵀF + ridge I)^(-1/2)`, up to a rotation.
      shrunk: whether it is.
    """

    kernel: Kernel
    ridge: float | Scalar = 0.0
    shrunk: bool = field(default=False, metadata={"static": True})

    #: A square matrix of examples, for most kernels.
    compact: ClassVar[bool] = False

    @property
    def ignores_zero_features(self) -> bool:
        """Whether the kernel does."""
        return self.kernel.ignores_zero_features

    @property
    def definition(self) -> str:
        """The kernel, and the ridge."""
        return self.kernel.definition + (f",ridge={self.ridge}" if self.shrunk else "")

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Float[Array, "n r"]:
        """The signature of one representation, `(n, d)`."""
        count = row_count(widen(x), mask)
        if self.kernel.dot_product:
            rows = mask_rows(widen(x), mask)
            features = center_columns(rows * self.kernel.row_factors(rows)[:, None], mask) / jnp.sqrt(count)
        else:
            # Without the constants and the row levels that centering takes off, which would cost digits.
            # Rows and columns that do not count are 0 in it, and in the means.
            gram = GramSignature(self.kernel)(x, mask)
            columns = center_columns(gram.tile(gram) * (gram.units / count), mask)
            features = psd_sqrt(center_columns(columns.T, mask))
        return ridge_basis(features, self.ridge) if self.shrunk else features

    def many(
        self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None
    ) -> list[Float[Array, "n _r"]]:
        """The signatures of several representations of the same examples."""
        if self.ignores_zero_features:
            return map_layers(lambda x: self(x, mask), layers)
        return [self(x, mask) for x in layers]
