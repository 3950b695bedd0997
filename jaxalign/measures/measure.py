"""What a measure is: a signature, a score and what is known about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax

from jaxalign._core.checks import as_array, as_layers, check_pair
from jaxalign._core.numerics import accum_dtype
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.alignment.reordering import Recomputed, Reordering, reordering

#: What may be done to one input without changing a score, in words that `invariances` uses.
INVARIANCES = MappingProxyType(
    {
        "translation": "adding a vector to every row",
        "scaling": "multiplying everything by one positive number",
        "row_scaling": "multiplying each row by a positive number of its own",
        "permutation": "reordering the features",
        "orthogonal": "any orthogonal map of the features",
        "feature_scaling": "multiplying each feature by a positive number of its own",
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


def static(**kwargs: Any) -> Any:
    """A field of a measure that is a fact about it, not a number of it."""
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
      metric: the triangle inequality holds, and 0 is between inputs alike up to the invariances only.
      needs_more_examples: with no more examples than features the value says nothing, as every
        such input is alike.
      same_features: both inputs must have the same features: classes, to which they give scores.
      paired: each example is compared with itself in the other input; otherwise two clouds of points are, the order
        of their examples does not matter, and there is nothing to permute.
      invariances: what one input may undergo without changing the score, from `INVARIANCES`.
      chance: what unrelated inputs score.
      reference: where it is defined.
    """

    signature: Signature
    score: Score
    signature_y: Signature | None = None
    name: str = static(default="measure")
    options: str = static(default="")
    bounds: tuple[float, float] = static(default=(0.0, 1.0))
    larger_is_closer: bool = static(default=True)
    symmetric: bool = static(default=True)
    metric: bool = static(default=False)
    needs_more_examples: bool = static(default=False)
    same_features: bool = static(default=False)
    paired: bool = static(default=True)
    invariances: frozenset[str] = static(default=frozenset())
    chance: str = static(default="")
    reference: str = static(default="")

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
        return _matrix(self, *as_layers(self.name, a, b, mask))

    def reordering(
        self, a: Sequence[Float[Array, "n _p"]], b: Sequence[Float[Array, "n _q"]], mask: Bool[Array, "n"] | None = None
    ) -> Reordering:
        """All scores as a function of the order of the examples of `b`, for use within `jit`.

        Called with `indices`, it returns `matrix(a, [y[indices] for y in b])`, mostly without any signature being
        made again. Rows that do not count must stay where they are.

        Args:
          a: representations of one side, arrays of one floating type.
          b: those of the other.
          mask: which rows count.
        """
        signature_y = self.signature_y or self.signature
        signatures = self.signature.many(a, mask)
        if getattr(signature_y, "depends_on_order", False):
            return Recomputed(self.score, signature_y, signatures, list(b), mask)
        return reordering(self.score, signatures, signature_y.many(b, mask))


@jax.jit
def _matrix(measure: Measure, a: list[Array], b: list[Array] | None, mask: Array | None) -> Float[Array, "La Lb"]:
    dtype = accum_dtype(*a, *(b or ()))
    a, b = jax.tree.map(lambda x: x.astype(dtype), (a, b))
    signatures_a = measure.signature.many(a, mask)
    if b is None and measure.signature_y is None:
        return measure.score.matrix(signatures_a)
    signature_y = measure.signature_y or measure.signature
    return measure.score.matrix(signatures_a, signature_y.many(a if b is None else b, mask))
