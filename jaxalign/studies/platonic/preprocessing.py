"""What is done to activations before neighbors are looked for: outliers limited, then rows of length one.

Layers are read and prepared when they are used, so that models which do not fit in memory together can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from jaxalign._core.checks import check_choice, check_mask, describe
from jaxalign.features import Layers

#: Entries that are read at a time, about.
_BLOCK_ENTRIES = 1 << 24
_LARGEST = np.uint32(0x7F800000)  # the bits of infinity: what comes after is NaN


@dataclass(frozen=True)
class Preprocessing:
    r"""Limit every entry to $[-q, q]$, then divide every row by its length, in this order and in float32.

    The default is what the command line of platonic-rep does, and made the numbers that were published. What the
    paper describes, and `Alignment.score` of that code does, is `Preprocessing(exact=True)`.

    Attributes:
      quantile: $q$ is this quantile of the magnitudes; with 1 nothing is limited.
      exact: `True`: the entry of rank `floor(quantile * entries)` of all. `False`: a quantile of each example by
        itself, with interpolation, and $q$ the mean of these: a smaller number where few examples have the outliers.
      per: `"model"`: one $q$ for all layers of a model, as the published code has for layers of one width, which come
        as one tensor. `"layer"`: one each, as it has for layers that come as a list.
      normalize: divide rows by their length; a row of zeros stays.

    Example:
      >>> Preprocessing().definition
      'clamp[quantile=0.95,mean over examples,per=model] unit rows'
      >>> layers = Preprocessing(quantile=1)({"one": np.array([[3., 4.], [0., 0.]])})
      >>> np.asarray(layers["one"]).tolist()
      [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]

    Reference:
      Huh et al. (2024), arXiv:2405.07987, appendix A; `remove_outliers` and `prepare_features` of its code.
    """

    quantile: float = 0.95
    exact: bool = False
    per: str = "model"
    normalize: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.quantile, Real) or isinstance(self.quantile, bool):
            raise TypeError(f"Preprocessing: quantile must be a number, got {describe(self.quantile)}")
        if not 0 < self.quantile <= 1:
            raise ValueError(f"Preprocessing: quantile must be above 0 and at most 1, got {self.quantile}")
        check_choice("Preprocessing", "per", self.per, ("model", "layer"))

    @property
    def definition(self) -> str:
        """What is done, in one line."""
        parts = []
        if self.quantile < 1:
            how = "of all entries" if self.exact else "mean over examples"
            parts.append(f"clamp[quantile={self.quantile:g},{how},per={self.per}]")
        if self.normalize:
            parts.append("unit rows")
        return " ".join(parts) or "none"

    def __call__(self, layers: Mapping[str, Any], *, mask: np.ndarray | None = None) -> PreparedLayers:
        """The layers of one model, prepared when they are read.

        Args:
          layers: name -> `(n, d)` floating point, such as `jaxalign.features.load` returns.
          mask: `(n,)` booleans; rows that are `False` have no part in the limit, and may hold anything.

        Raises:
          ValueError: for layers that are not as `jaxalign.features.Layers` wants them, or a mask of another shape.
          TypeError: likewise.
        """
        known = layers if isinstance(layers, Layers) else Layers(layers)
        arrays = list(known.values())
        mask = None if mask is None else np.asarray(mask)
        check_mask("Preprocessing", mask, known.rows)
        if self.quantile == 1 or (mask is not None and not mask.any()):
            limits = [None] * len(arrays)
        elif self.per == "model":
            limits = [self._limit(arrays, mask)] * len(arrays)
        else:
            limits = [self._limit([array], mask) for array in arrays]
        prepared = {
            name: PreparedLayer(array, limit, self.normalize)
            for (name, array), limit in zip(known.items(), limits, strict=True)
        }
        return PreparedLayers(prepared, known)

    def _limit(self, arrays: Sequence[np.ndarray], mask: np.ndarray | None) -> np.float32:
        if self.exact:
            rows = len(arrays[0]) if mask is None else int(np.sum(mask))
            entries = rows * sum(array.shape[1] for array in arrays)
            return magnitude_at(arrays, min(int(self.quantile * entries), entries - 1), mask=mask)
        quantiles = [
            np.quantile(np.abs(np.concatenate(block, axis=1)), self.quantile, axis=1)
            for block in _row_blocks(arrays, mask)
        ]
        return np.float32(np.mean(np.concatenate(quantiles), dtype=np.float64))


@dataclass(frozen=True, eq=False)
class PreparedLayer:
    """One layer, prepared where rows of it are read: an array `(n, d)` of float32 to NumPy, and to `compare`.

    Attributes:
      array: as it came.
      limit: of magnitudes; None for none.
      normalize: divide rows by their length.
    """

    array: np.ndarray
    limit: np.float32 | None
    normalize: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Examples and features."""
        return self.array.shape

    @property
    def ndim(self) -> int:
        """2."""
        return self.array.ndim

    @property
    def dtype(self) -> np.dtype:
        """float32."""
        return np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self._prepared(self.array[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        found = self._prepared(self.array)
        return found if dtype is None else found.astype(dtype, copy=False)

    def _prepared(self, rows: np.ndarray) -> np.ndarray:
        z = np.array(rows, np.float32)
        if self.limit is not None:
            np.clip(z, -self.limit, self.limit, out=z)
        if self.normalize:
            _divide(z, np.abs(z).max(axis=-1, keepdims=True))  # so that squares neither overflow nor vanish
            _divide(z, np.linalg.norm(z, axis=-1, keepdims=True))
        return z


def _divide(z: np.ndarray, sizes: np.ndarray) -> None:
    np.divide(z, sizes, out=z, where=sizes > 0)


class PreparedLayers(Mapping[str, PreparedLayer]):
    """Layer name -> `PreparedLayer`, with ids and facts of the model."""

    def __init__(self, arrays: Mapping[str, PreparedLayer], source: Layers) -> None:
        self._arrays, self.ids, self.facts = dict(arrays), source.ids, source.facts

    def __getitem__(self, name: str) -> PreparedLayer:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def magnitude_at(arrays: Sequence[np.ndarray], rank: int, *, mask: np.ndarray | None = None) -> np.float32:
    """The entry with `rank` entries before it, of all magnitudes of several arrays in order; NaN where one is NaN.

    Of the rows of a mask where there is one.

    Two passes count the upper and then the lower half of the bits, which as integers are in the order of the numbers:
    nothing is sorted, and no more than a block is in memory.
    """
    upper = np.zeros(1 << 16, np.int64)
    for bits in _bits(arrays, mask):
        upper += np.bincount(bits >> 16, minlength=1 << 16)
        if bits.max() > _LARGEST:
            return np.float32(np.nan)
    below = np.cumsum(upper)
    first = int(np.searchsorted(below, rank, side="right"))
    rank -= int(below[first - 1]) if first else 0
    lower = np.zeros(1 << 16, np.int64)
    for bits in _bits(arrays, mask):
        lower += np.bincount(bits[bits >> 16 == first] & 0xFFFF, minlength=1 << 16)
    second = int(np.searchsorted(np.cumsum(lower), rank, side="right"))
    return np.float32(np.array(first << 16 | second, np.uint32).view(np.float32).item())


def _bits(arrays: Sequence[np.ndarray], mask: np.ndarray | None) -> Iterator[np.ndarray]:
    """Magnitudes as integers, block by block."""
    for array in arrays:
        for (block,) in _row_blocks([array], mask):
            yield np.ascontiguousarray(block).view(np.uint32).ravel() & 0x7FFFFFFF


def _row_blocks(arrays: Sequence[np.ndarray], mask: np.ndarray | None) -> Iterator[list[np.ndarray]]:
    """Consecutive rows of all arrays, those of the mask, in float32; no block is empty."""
    rows = max(1, _BLOCK_ENTRIES // sum(array.shape[1] for array in arrays))
    for start in range(0, len(arrays[0]), rows):
        part = slice(start, start + rows)
        if mask is None:
            yield [np.asarray(array[part], np.float32) for array in arrays]
        elif mask[part].any():
            yield [np.asarray(array[part][mask[part]], np.float32) for array in arrays]
