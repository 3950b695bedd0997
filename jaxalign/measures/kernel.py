"""Kernel family as measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jaxalign._core.checks import as_array
from jaxalign._core.typing import Array, Float
from jaxalign.alignment.cka import ANGLE, cka_parts
from jaxalign.alignment.deconfounded import deconfounded_parts
from jaxalign.alignment.kernel import KernelScore, alignment_score, gram_signature, hsic_score
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


#: What unrelated inputs score, by estimator.
CKA_CHANCE = {"biased": "grows to 1 with features / examples"}
CKA_REFERENCES = {
    "unbiased": "; Song et al. 2012, JMLR 13",
    "lange": "; Lange et al. 2022, arXiv:2206.10999",
    "minibatch": "; Nguyen et al. 2021, arXiv:2010.15327",
    "feature_corrected": "; Chun et al. 2025, arXiv:2502.15104",
}


def cka(
    *,
    kernel: Kernel = Linear(),  # noqa: B008
    kernel_y: Kernel | None = None,
    estimator: str = "biased",
    batch_size: int | None = None,
) -> Measure:
    """`jaxalign.cka` as a measure."""
    kernels = given_kernels(kernel, kernel_y)
    parts = [cka_parts(estimator, k, batch_size) for k in kernels]
    bounds = {"biased": (0.0, 1.0), "feature_corrected": (-math.inf, math.inf)}
    measure = measure_of_kernels(
        "cka",
        parts[0][1],
        [signature for signature, _ in parts],
        kernels,
        normalized=True,
        options=estimator,
        bounds=bounds.get(estimator, (-1.0, 1.0)),
        chance=CKA_CHANCE.get(estimator, "0, either sign"),
        reference="Kornblith et al. 2019, arXiv:1905.00414" + CKA_REFERENCES.get(estimator, ""),
    )
    # A rotation makes other features: those are no sample of the same population.
    lost = {"orthogonal"} if estimator == "feature_corrected" else set()
    return replace(measure, invariances=measure.invariances - lost)


def angular_cka(*, kernel: Kernel = Linear(), kernel_y: Kernel | None = None) -> Measure:  # noqa: B008
    """`jaxalign.angular_cka` as a measure."""
    return kernel_measure(
        "angular_cka",
        ANGLE,
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
        reference="Gretton et al. 2005" + CKA_REFERENCES.get(estimator, ""),
    )


def deconfounded_cka(
    z: Float[Array, "n c"],
    *,
    kernel: Kernel = Linear(),  # noqa: B008
    kernel_z: Kernel | None = None,
    estimator: str = "biased",
) -> Measure:
    """`jaxalign.deconfounded_cka` as a measure; `z` is the confounder of every two inputs, a row for each example."""
    signature, score = deconfounded_parts(as_array("deconfounded_cka", "z", z), kernel, kernel_z, estimator)
    own = score.kernel.definition
    return measure_of_kernels(
        "deconfounded_cka",
        score,
        [signature],
        [kernel],
        normalized=True,
        options=estimator if kernel_z is None else f"{own},{estimator}",
        bounds=(-1.0, 1.0) if estimator == "biased" else (-math.inf, math.inf),
        chance="0, either sign" if estimator == "unbiased" else "that of cka",
        reference="Cui et al. 2022, arXiv:2202.00095",
    )
