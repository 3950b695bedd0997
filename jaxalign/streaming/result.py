"""What comes out of a pass over two layers."""

from __future__ import annotations

from dataclasses import dataclass

from jaxalign.streaming.moment_heads import MomentHeadRisk
from jaxalign.streaming.moment_maps import MomentMap


@dataclass(frozen=True, eq=False)
class MomentAlignment:
    """Two layers compared by linear maps, or by affine ones.

    Attributes:
      forward: maps from `x` to `y`.
      backward: maps from `y` to `x`.
      head: risks under the linear head of `y`; None without one, or without targets.
    """

    forward: MomentMap
    backward: MomentMap
    head: MomentHeadRisk | None

    @property
    def alignment(self) -> float:
        """Kernel alignment; for affine maps CKA."""
        return self.forward.alignment


@dataclass(frozen=True, eq=False)
class StreamedMisalignment:
    """What second moments say of two layers; see `MomentMap` for how far they can be trusted.

    Attributes:
      examples: number of rows.
      linear: with moments about 0 and maps without a bias.
      affine: with moments about the mean and maps with a bias.
    """

    examples: float
    linear: MomentAlignment
    affine: MomentAlignment

    @property
    def kernel_alignment(self) -> float:
        """Of linear kernels, not centered: in `[0, 1]`, NaN where a layer is 0."""
        return self.linear.alignment

    @property
    def cka(self) -> float:
        """Linear CKA, biased: in `[0, 1]`, NaN where a layer is constant."""
        return self.affine.alignment
