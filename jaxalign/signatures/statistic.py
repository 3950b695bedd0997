"""One number of a representation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import ClassVar

from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.signatures.batching import map_layers


@pytree_dataclass
class StatisticSignature:
    """Makes a number of a representation.

    Args:
      statistic: a function of `(x, mask=)` and keywords to a scalar, which zero features do not change.
      options: its keywords with their values.
    """

    statistic: Callable[..., Scalar] = field(metadata={"static": True})
    options: tuple[tuple[str, str | float], ...] = field(default=(), metadata={"static": True})

    #: A number: made once, and worth keeping.
    compact: ClassVar[bool] = True

    @property
    def ignores_zero_features(self) -> bool:
        """As asked of the statistic."""
        return True

    @property
    def definition(self) -> str:
        """Its name and options."""
        return ",".join([self.statistic.__name__, *(f"{option}={value}" for option, value in self.options)])

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Scalar:
        """The number of one representation, `(n, d)`."""
        return self.statistic(x, mask=mask, **dict(self.options))

    def many(self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None) -> list[Scalar]:
        """The numbers of several representations of the same examples."""
        return map_layers(lambda x: self(x, mask), layers)
