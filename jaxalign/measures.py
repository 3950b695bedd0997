"""Measures as values: a signature, a score and what is known about them.

Each factory takes the keywords of the function of the same name:
`measures.cka(kernel=RBF())(x, y) == cka(x, y, kernel=RBF())`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax

from jaxalign._core.checks import as_array, check_choice, check_integer, check_mask, check_matrix, check_pair
from jaxalign._core.numerics import accum_dtype
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.kernel import KernelScore, alignment_score, cka_score, gram_signature, hsic_score
from jaxalign.alignment.neighbors import OverlapScore
from jaxalign.engines.neighbors import METRICS
from jaxalign.kernels.base import Kernel
from jaxalign.kernels.dot_product import Linear
from jaxalign.signatures.neighbors import NeighborSignature

#: What may be done to one input without changing a score, in words that `invariances` uses.
INVARIANCES = MappingProxyType(
    {
        "translation": "adding a vector to every row",
        "scaling": "multiplying everything by one positive number",
        "row_scaling": "multiplying each row by a positive number of its own",
        "permutation": "reordering the features",
        "orthogonal": "any orthogonal map of the features",
        "invertible_linear": "any invertible linear map of the features",
    }
)


@runtime_checkable
class Signature(Protocol):
    """What is kept of one representation, and how it is made; a pytree of settings."""

    #: Whether signatures are small next to the representation, and so worth keeping.
    compact: ClassVar[bool]

    @property
    def ignores_zero_features(self) -> bool:
        """Whether layers may be padded with zero features, so that few shapes are compiled."""
        ...

    @property
    def definition(self) -> str:
        """The settings in words."""
        ...

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Any:
        """The signature of one representation, `(n, d)`, a pytree."""
        ...

    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> Sequence[Any]:
        """The signatures of several representations of the same examples."""
        ...


@runtime_checkable
class Score(Protocol):
    """A number for two signatures; a pytree of settings."""

    def __call__(self, x: Any, y: Any) -> Scalar:
        """The score of one pair."""
        ...

    def matrix(self, a: Sequence[Any], b: Sequence[Any] | None = None) -> Float[Array, "La Lb"]:
        """The scores of all pairs of two lists, or of one list with itself."""
        ...


def _static(**kwargs: Any) -> Any:
    return field(metadata={"static": True}, **kwargs)


@pytree_dataclass
class Measure:
    """A way to compare two representations.

    A measure is a pytree whose leaves are its kernel's settings, so that another bandwidth
    is not another compilation.

    Attributes:
      signature: what is kept of one representation, a function of `(x, mask)`.
      score: a function of two signatures; `score.matrix` takes two lists of them.
      signature_y: the signature of the second representation where it is another one.
      name: the name of the function.
      options: the settings that are not the signature's, for the definition.
      bounds: smallest and largest possible value.
      larger_is_closer: a similarity; otherwise a distance.
      symmetric: `measure(x, y) == measure(y, x)`.
      invariances: what one input may undergo without changing the score, from `INVARIANCES`.
      chance: what unrelated inputs score.
      reference: where it is defined.
    """

    signature: Signature
    score: Score
    signature_y: Signature | None = None
    name: str = _static(default="measure")
    options: str = _static(default="")
    bounds: tuple[float, float] = _static(default=(0.0, 1.0))
    larger_is_closer: bool = _static(default=True)
    symmetric: bool = _static(default=True)
    invariances: frozenset[str] = _static(default=frozenset())
    chance: str = _static(default="")
    reference: str = _static(default="")

    @property
    def definition(self) -> str:
        """What exactly is computed, e.g. `cka[linear,biased]`."""
        parts = [self.signature.definition]
        if self.signature_y is not None:
            parts.append(self.signature_y.definition)
        if self.options:
            parts.append(self.options)
        return f"{self.name}[{','.join(parts)}]"

    def __call__(
        self, x: Float[Array, "n p"], y: Float[Array, "n q"], *, mask: Bool[Array, "n"] | None = None
    ) -> Scalar:
        """The score of one pair of representations of the same examples."""
        x, y = as_array(self.name, "x", x), as_array(self.name, "y", y)
        mask = None if mask is None else as_array(self.name, "mask", mask)
        check_pair(self.name, x, y, mask)
        return _matrix(self, [x], [y], mask)[0, 0]

    def matrix(
        self,
        a: Sequence[Float[Array, "n _p"]],
        b: Sequence[Float[Array, "n _q"]] | None = None,
        *,
        mask: Bool[Array, "n"] | None = None,
    ) -> Float[Array, "La Lb"]:
        """Every representation of one list against every one of another, or of the same.

        Signatures are made once each; widths may differ. Without `b` and with a symmetric
        measure only half of the matrix is computed.

        Raises:
          ValueError, TypeError: for an empty list, or one that does not hold matrices with the
            same number of rows.
        """
        a = [as_array(self.name, f"a[{i}]", x) for i, x in enumerate(a)]
        b = None if b is None else [as_array(self.name, f"b[{i}]", x) for i, x in enumerate(b)]
        mask = None if mask is None else as_array(self.name, "mask", mask)
        for side, layers in (("a", a), ("b", b)):
            if layers is not None and not layers:
                raise ValueError(f"{self.name}: {side} must hold at least one representation, got an empty list")
            for i, x in enumerate(layers or ()):
                check_matrix(self.name, f"{side}[{i}]", x)
                if x.shape[0] != a[0].shape[0]:
                    raise ValueError(
                        f"{self.name}: {side}[{i}] must have {a[0].shape[0]} rows like a[0], got {x.shape[0]}"
                    )
        check_mask(self.name, mask, a[0].shape[0])
        return _matrix(self, a, b, mask)


@jax.jit
def _matrix(measure: Measure, a: list[Array], b: list[Array] | None, mask: Array | None) -> Float[Array, "La Lb"]:
    dtype = accum_dtype(*a, *(b or ()))
    a, b = jax.tree.map(lambda x: x.astype(dtype), (a, b))
    signatures_a = measure.signature.many(a, mask)
    if b is None and measure.signature_y is None:
        return measure.score.matrix(signatures_a)
    signature_y = measure.signature_y or measure.signature
    return measure.score.matrix(signatures_a, signature_y.many(a if b is None else b, mask))


def _kernel_measure(name: str, score: KernelScore, kernel: Kernel, kernel_y: Kernel | None, **facts: Any) -> Measure:
    """A measure of the kernel family, with the invariances that follow from its kernels."""
    kernels = [kernel] if kernel_y is None else [kernel, kernel_y]
    signatures = [gram_signature(name, score, k) for k in kernels]
    invariances = {"permutation", "orthogonal"}
    centered, normalized = score.centering != "none", score.scaling == "cosine"
    if all(k.translation_centered if centered else k.translation_invariant for k in kernels):
        invariances.add("translation")
    if all(k.homogeneous if normalized else k.scale_free for k in kernels):
        invariances.add("scaling")
    if all(k.row_scale_free for k in kernels):
        invariances.add("row_scaling")
    return Measure(
        signature=signatures[0],
        score=score,
        signature_y=None if kernel_y is None else signatures[1],
        name=name,
        symmetric=kernel_y is None,
        invariances=frozenset(invariances),
        **facts,
    )


def kernel_alignment(*, kernel: Kernel = Linear(), kernel_y: Kernel | None = None) -> Measure:  # noqa: B008
    """`jaxalign.kernel_alignment` as a measure."""
    return _kernel_measure(
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
    return _kernel_measure(
        "cka",
        cka_score(estimator),
        kernel,
        kernel_y,
        options=estimator,
        bounds=(0.0, 1.0) if biased else (-1.0, 1.0),
        chance="grows to 1 with features / examples" if biased else "0, either sign",
        reference="Kornblith et al. 2019, arXiv:1905.00414" + ("" if biased else "; Song et al. 2012, JMLR 13"),
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
    return _kernel_measure(
        "hsic",
        hsic_score(estimator, scaling),
        kernel,
        kernel_y,
        options=f"{estimator},{scaling}" if biased else estimator,
        bounds=(0.0 if biased else -float("inf"), float("inf")),
        chance="above 0, of order 1/n" if biased else "0, either sign",
        reference="Gretton et al. 2005" + ("" if biased else "; Song et al. 2012, JMLR 13"),
    )


def mutual_knn(*, k: int = 10, metric: str = "cosine") -> Measure:
    """`jaxalign.mutual_knn` as a measure."""
    check_integer("mutual_knn", "k", k, minimum=1)
    check_choice("mutual_knn", "metric", metric, METRICS)
    invariances = {"scaling", "permutation", "orthogonal"}
    return Measure(
        signature=NeighborSignature(k, metric),
        score=OverlapScore(),
        name="mutual_knn",
        invariances=frozenset(invariances | ({"row_scaling"} if metric == "cosine" else {"translation"})),
        chance="k / (n - 1)",
        reference="Huh et al. 2024, arXiv:2405.07987",
    )


#: Every measure under its name, with default settings.
MEASURES: Mapping[str, Measure] = MappingProxyType(
    {measure.name: measure for measure in (kernel_alignment(), cka(), hsic(), mutual_knn())}
)
