"""What `lipschitz_bound` returns: a constant, and the layers it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field

from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Scalar


@pytree_dataclass
class LayerBound:
    """The constant of one layer.

    Attributes:
      constant: not below the Lipschitz constant of the layer, from l2 to l2.
      kind: what the layer is, such as `Linear 768 -> 3072`.
      exact: whether the layer has no smaller constant; rounding, which is upward, and activations that are never
        near their steepest point do not count.
      note: why it is not exact, or how it was found.
      parts: for a layer that is made of others, those; `constant` is then made of theirs.
    """

    constant: float | Scalar
    kind: str = field(metadata={"static": True})
    exact: bool = field(default=True, metadata={"static": True})
    note: str = field(default="", metadata={"static": True})
    parts: tuple[LayerBound, ...] = ()


@pytree_dataclass
class LipschitzBound:
    """An upper bound of the Lipschitz constant of a network, from l2 to l2; `float()` of it is the bound.

    Attributes:
      value: the product of the constants of the layers, rounded up.
      layers: one `LayerBound` each. They are exact or not; the product is an upper bound in any case.
    """

    value: Scalar
    layers: tuple[LayerBound, ...]

    def __float__(self) -> float:
        return float(self.value)

    def rows(self) -> list[tuple[str, str, float, bool, str]]:
        """The table: name, kind, constant, exact, note. Parts of layer `2` are `2.0`, `2.1` and so on."""
        return [
            (name, layer.kind, float(layer.constant), layer.exact, layer.note) for name, layer in _walk(self.layers, "")
        ]

    def __str__(self) -> str:
        rows = self.rows()
        names = max((len(row[0]) for row in rows), default=0)
        kinds = max((len(row[1]) for row in rows), default=0)
        lines = [f"Lipschitz constant at most {float(self.value):.6g}"]
        for name, kind, constant, exact, note in rows:
            sign, reason = ("=" if exact else "<="), (f"  ({note})" if note else "")
            lines.append(f"  {name:<{names}}  {kind:<{kinds}}  {sign:>2} {constant:.6g}{reason}")
        return "\n".join(lines)


def _walk(layers: tuple[LayerBound, ...], prefix: str) -> Iterator[tuple[str, LayerBound]]:
    for index, layer in enumerate(layers):
        yield f"{prefix}{index}", layer
        yield from _walk(layer.parts, f"{prefix}{index}.")
