"""From batches to a state, and from a state to a result, for every accumulator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import check_integer, describe, nearest

R = TypeVar("R", covariant=True)

#: What the header of an `.npy` file says of bfloat16, for which the format has no name.
_OPAQUE = np.dtype("V2")


class Accumulator(Protocol[R]):
    """What is needed of data that come in pieces.

    Attributes:
      inputs: names of the arrays of a batch, as `update` takes them; last those that may be left out.
    """

    @property
    def inputs(self) -> tuple[str, ...]:
        """A class attribute or a field."""
        ...

    @property
    def init(self) -> Callable[..., Any]:
        """A method: the state of no rows, from the number of features of each array."""
        ...

    @property
    def update(self) -> Callable[..., Any]:
        """A method: a state with the rows of a batch added; takes a state and arrays, and a `mask` by keyword."""
        ...

    def result(self, state: Any) -> R:
        """What a state says."""
        ...


def stream(accumulator: Accumulator[R], batches: Iterable[Any]) -> R:
    """The result of an accumulator over all batches: one pass, one batch in memory at a time.

    Args:
      accumulator: such as `jaxalign.streaming.Misalignment()`.
      batches: anything to loop over that gives tuples `(x, y)` or `(x, y, targets)` of arrays with one row for each
        example, or dicts of them, which may have a `mask` as well. Batches of one length compile once.

    Returns:
      What `accumulator.result` returns.

    Raises:
      ValueError: for no batches, or one that does not fit; the message has its number, from 0.
      TypeError: for a batch that is no tuple, list or dict, or arrays of the wrong type.

    Example:
      >>> from jaxalign.streaming import Misalignment
      >>> x = np.arange(12.0, dtype=np.float32).reshape(6, 2) ** 2
      >>> round(stream(Misalignment(), row_blocks(x, 2 * x + 1, rows=4)).cka, 4)
      1.0
    """
    return accumulator.result(accumulate(accumulator, batches))


def accumulate(accumulator: Accumulator[Any], batches: Iterable[Any], *, state: Any = None) -> Any:
    """The state of an accumulator after all batches, to be kept, merged or gone on from.

    Args:
      accumulator: as for `stream`.
      batches: as for `stream`.
      state: to go on from; by default that of no rows, for as many features as the first batch has.

    Returns:
      A state: `accumulator.result` says what is in it.

    Raises:
      ValueError: for no batches and no state, or a batch that does not fit; the message has its number, from 0.
      TypeError: for a batch that is no tuple, list or dict, or arrays of the wrong type.

    Example:
      >>> from jaxalign.streaming import Misalignment
      >>> x = np.ones((3, 2), np.float32)
      >>> state = accumulate(Misalignment(), [(x, x)])
      >>> Misalignment().result(accumulate(Misalignment(), [(x, x)], state=state)).examples
      6.0
    """
    for number, batch in enumerate(batches):
        try:
            arrays, mask = batch_arrays(accumulator.inputs, batch)
            if state is None:
                state = accumulator.init(*(np.shape(array)[-1] if np.ndim(array) else 0 for array in arrays))
            state = accumulator.update(state, *arrays, mask=mask)
        except (ValueError, TypeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"stream: batch {number}: {error}") from error
    if state is None:
        raise ValueError("stream: batches must hold at least one, got none; an iterator can be looped over only once")
    return state


def batch_arrays(names: tuple[str, ...], batch: Any) -> tuple[list[Any], Any]:
    """The arrays of a batch in their order, and its mask or None.

    Raises:
      ValueError, TypeError: for a batch that has other arrays, or none for a name before others that it has.
    """
    if isinstance(batch, Mapping):
        for key in batch:
            if key not in (*names, "mask"):
                hint = nearest(str(key), (*names, "mask"))
                raise ValueError(f"keys must be among {', '.join((*names, 'mask'))}, got {key!r}{hint}")
        present = [name for name in names if batch.get(name) is not None]
        if present != list(names[: len(present)]):
            missing = next(name for name in names if name not in present)
            raise ValueError(f"{missing!r} must be given along with {present[-1]!r}")
        return [batch[name] for name in present], batch.get("mask")
    if not isinstance(batch, Sequence) or isinstance(batch, (str, bytes)):
        raise TypeError(f"must be a tuple of arrays ({', '.join(names)}) or a dict, got {describe(batch)}")
    if not 1 <= len(batch) <= len(names):
        raise ValueError(f"must have at most {len(names)} arrays ({', '.join(names)}), at least one, got {len(batch)}")
    return [array for array in batch if array is not None], None


def row_blocks(first: Any, *others: Any, rows: int = 8192) -> Iterator[tuple[np.ndarray, ...]]:
    """Consecutive rows of arrays or `.npy` files, side by side; files are mapped, and read as their rows are needed.

    Args:
      first: an array with one row for each example, or the path of an `.npy` file of one.
      others: more of them, of as many rows.
      rows: of a block; the last one may have fewer. At least 1.

    Returns:
      An iterator over tuples of NumPy arrays, one for each argument. bfloat16 as `jax.numpy.save` writes it is known.

    Raises:
      ValueError: for arrays of different lengths, or without rows; for Python objects in a file.
      OSError: when a file cannot be read.

    Example:
      >>> [block.shape for block, _ in row_blocks(np.zeros((5, 2)), np.zeros((5, 3)), rows=2)]
      [(2, 2), (2, 2), (1, 2)]
    """
    check_integer("row_blocks", "rows", rows, minimum=1)
    arrays = [_mapped(array) for array in (first, *others)]
    for i, array in enumerate(arrays):
        if not array.ndim or len(array) != len(arrays[0]) or not len(array):
            raise ValueError(
                f"row_blocks: argument {i} must have one row for each example, as many as the first, at least one; "
                f"shapes are {', '.join(str(a.shape) for a in arrays)}"
            )
    return (tuple(a[start : start + rows] for a in arrays) for start in range(0, len(arrays[0]), rows))


def _mapped(source: Any) -> np.ndarray:
    """An array as it is, a file as a map of it."""
    if not isinstance(source, (str, Path)):
        return source if isinstance(source, np.ndarray) else np.asarray(source)
    array = np.load(source, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError(f"row_blocks: {source} must be an .npy file of one array, got an archive of several")
    return array.view(jnp.bfloat16) if array.dtype == _OPAQUE else array
