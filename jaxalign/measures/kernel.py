"""Kernel family as measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jaxalign.alignment.kernel import (
    KernelScore,
    alignment_score,
    angular_cka_score,
    cka_score,
    gram_signature,
    hsic_score,
)
from jaxalign.kernels.base import Kernel
from jaxalign.kernels.dot_product import Linear
from jaxalign.measures.measure import Measure, Score, Signature


def measure_of_kernels(
    name: str,
    score: Score,
    signatures: Sequence[Signature],
    kernels: Sequence[Kernel],
    *,
    centered: bool = True,
    normalized: bool = False,
    **facts: Any,
) -> Measure:
    """A measure with the invariances that follow from its kernels.

    Args:
      name: of the function.
      score: of two signatures.
      signatures: of the first input, and of the second where it is another one.
      kernels: likewise.
      centered: the score centers kernel matrices.
      normalized: it divides by their norms.
      facts: other fields of the measure.
    """
    invariances = {"permutation", "orthogonal"}
    if all(k.translation_centered if centered else k.translation_invariant for k in kernels):
        invariances.add("translation")
    if all(k.homogeneous if normalized else k.scale_free for k in kernels):
        invariances.add("scaling")
    if all(k.row_scale_free for k in kernels):
        invariances.add("row_scaling")
    return Measure(
        signature=signatures[0],
        score=score,
        signature_y=signatures[1] if len(signatures) > 1 else None,
        name=name,
        symmetric=len(signatures) == 1,
        invariances=frozenset(invariances),
        **facts,
    )


def given_kernels(kernel: Kernel, kernel_y: Kernel | None) -> list[Kernel]:
    """The kernels of both inputs, or the one that both share."""
    return [kernel] if kernel_y is None else [kernel, kernel_y]


def kernel_measure(name: str, score: KernelScore, kernel: Kernel, kernel_y: Kernel | None, **facts: Any) -> Measure:
    """A measure that is an inner product of kernel matrices."""
    kernels = given_kernels(kernel, kernel_y)
    signatures = [gram_signature(name, score, k) for k in kernels]
    centered, normalized = score.centering != "none", score.scaling == "cosine"
    return measure_of_kernels(name, score, signatures, kernels, centered=centered, normalized=normalized, **facts)


def kernel_alignment(*, kernel: Kernel = Linear(), kernel_y: Kernel | None = None) -> Measure:  # noqa: B008
    """`jaxalign.kernel_alignment` as a measure."""
    return kernel_measure(
        "kernel_alignment",
        alignment_score(),
        kernel,
        kernel_y,
        chance="that of cka for features of mean 0, up to 1 for others",
        reference="Cristianini et al. 2001; Insulla et al. 2025, arXiv:2502.14047",
    )


def cka(*, kernel: Kernel = Linear(), kernel_y: Kernel | None = None, estimator: str = "biased") -> Measure:  # noqa: B008
    """`jaxalign.cka` as a measure."""
    biased = estimator == "biased"
    return kernel_measure(
        "cka",
        cka_score(estimator),
        kernel,
        kernel_y,
        options=estimator,
        bounds=(0.0, 1.0) if biased else (-1.0, 1.0),
        chance="grows to 1 with features / examples" if biased else "0, either sign",
        reference="Kornblith et al. 2019, arXiv:1905.00414" + ("" if biased else "; Song et al. 2012, JMLR 13"),
    )


def angular_cka(*, kernel: Kernel = Linear(), kernel_y: Kernel | None = None) -> Measure:  # noqa: B008
    """`jaxalign.angular_cka` as a measure."""
    return kernel_measure(
        "angular_cka",
        angular_cka_score(),
        kernel,
        kernel_y,
        bounds=(0.0, math.pi / 2),
        larger_is_closer=False,
        metric=kernel_y is None,
        chance="pi / 2, falling to 0 with features / examples",
        reference="Williams et al. 2021, arXiv:2110.14739",
    )


def hsic(
    *,
    kernel: Kernel = Linear(),  # noqa: B008
    kernel_y: Kernel | None = None,
    estimator: str = "biased",
    scaling: str = "n2",
) -> Measure:
    """`jaxalign.hsic` as a measure."""
    biased = estimator == "biased"
    return kernel_measure(
        "hsic",
        hsic_score(estimator, scaling),
        kernel,
        kernel_y,
        options=f"{estimator},{scaling}" if biased else estimator,
        bounds=(0.0 if biased else -float("inf"), float("inf")),
        chance="above 0, of order 1/n" if biased else "0, either sign",
        reference="Gretton et al. 2005" + ("" if biased else "; Song et al. 2012, JMLR 13"),
    )
