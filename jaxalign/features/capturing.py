"""`capture`: the layers of a model on many examples, batch by batch, in memory or to a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import check_choice, check_integer, describe
from jaxalign._core.progress import progress_bar
from jaxalign.features.batches import Batch, Batches
from jaxalign.features.intermediates import matching
from jaxalign.features.layers import FLOATING, Layers
from jaxalign.features.pooling import Pool
from jaxalign.features.runners import as_runner
from jaxalign.features.unfinished import Unfinished
from jaxalign.preprocess.tokens import POOLINGS


def capture(
    model: Any,
    batches: Any,
    *,
    layers: str | Sequence[str] = "*",
    pool: Pool = "mean",
    inputs: str | Sequence[str] | None = None,
    channels: str | None = None,
    mask: str = "attention_mask",
    ids: Any = None,
    labels: Any = None,
    facts: Mapping[str, Any] | None = None,
    dtype: Any = jnp.float32,
    batch_size: int = 64,
    evaluate: bool = True,
    out: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Layers:
    """Run a model on examples, and keep what its layers put out: one matrix a layer, one row an example.

    The model is called as it is, nothing has to be sown or changed for it, and it stays as it was. Activations are
    pooled on the device, so that a batch of all positions is never on the host.

    Args:
      model: an NNX module; a pair of a Linen module and its variables; a PyTorch module; or a function that names its
        values with `jax.ad_checkpoint.checkpoint_name`, or returns a mapping of them. Further arguments of a model:
        hand in a function that calls it, which may return a mapping. Of PyTorch models with `output_hidden_states`,
        those of Hugging Face, `hidden_states.0` and so on are layers, too.
      batches: one array of all examples, cut into batches of `batch_size`; or an iterable of batches, each an array, a
        tuple of what the model takes in order, or a mapping by name, such as a tokenizer makes.
      layers: a pattern of names as for file names (`*`, `?`, `[...]`), or a list of them, of `list_layers`. What has no
        row for each example, or is not floating point, is no layer.
      pool: what becomes of positions, of tokens or of pixels, all axes between the first and the last: `"mean"`,
        `"max"`, `"first"`, `"last"` (of those that `mask` calls real), `"cls"` (at position 0), `"flatten"` (every
        position a feature), or a function from activations and mask (None without) to `(examples, features)`.
      channels: where features are in what has positions: `"last"`, or `"first"`, right after examples. None: last,
        but first in what has four axes or more in a PyTorch model, unless it is one of timm that says otherwise.
        Convolutions of PyTorch over sequences, with three axes, need `"first"`.
      inputs: which entries of a mapping the model takes, one name for a model of one argument; None for all.
      mask: the entry of a mapping that says which tokens are real, `(examples, tokens)`, 1 or True for these. It is
        used for layers with a position for each token; an array has no mask.
      ids: which example each row is, `(n,)`, integers or strings, or the name of an entry of every batch.
      labels: what each example is of, likewise.
      facts: what is known of the model, such as its loss; its name and number of `parameters` are added.
      dtype: what layers are kept in: float16, bfloat16, float32 or float64.
      batch_size: rows of a batch, where batches are one array.
      evaluate: put an NNX or PyTorch module in evaluation mode for it (no dropout, stored statistics). Linen modules
        and functions say themselves how they are evaluated.
      out: a `.safetensors` or `.npz` file that layers are written to, batch by batch; what is returned is then mapped
        from it. If the work is stopped, the same call goes on after the last whole batch (see below).
      progress: show a progress bar; None shows one on a terminal.

    Returns:
      `Layers`, in the order in which layers finish, with ids if there are any.

    Raises:
      ValueError: for a pattern that matches nothing (nearest names are given), no batches, batches of other entries, a
        row whose mask has no real token, numbers that float16 does not have, or ids of another number.
        `FeatureFileError` when there is an unfinished capture of another model, other examples or other settings.
      TypeError: for models, batches, or types that are none.
      OSError: when the file cannot be written.

    Note:
      What is not finished is in a folder beside `out`, named `.NAME.unfinished`: rows of each layer, and a journal with
      a checksum of the weights and of every batch. Going on, rows that do not have their checksum are computed again,
      and so is the last whole batch: if it comes out otherwise than before, by more than 1 % of the largest number of a
      feature, the model is another one, which is an error. Of functions, whose weights are not known, that is all.

    Example:
      >>> from flax import nnx
      >>> model = nnx.Sequential(nnx.Linear(4, 8, rngs=nnx.Rngs(0)), nnx.relu, nnx.Linear(8, 2, rngs=nnx.Rngs(1)))
      >>> capture(model, np.ones((100, 4), np.float32), ids=np.arange(100))
      Layers(100 rows, int64 ids: 'layers.0' float32 (100, 8), 'layers.2' float32 (100, 2))

    Reference:
      Made for this project.
    """
    name = "capture"
    runner = as_runner(name, model)
    if channels is not None:
        check_choice(name, "channels", channels, ("first", "last"))
    if not callable(pool):
        check_choice(name, "pool", pool, (*POOLINGS, "flatten"))
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"{name}: dtype must be a floating type, got {describe(dtype)}") from None
    if dtype not in FLOATING:
        raise TypeError(f"{name}: dtype must be float16, bfloat16, float32 or float64, got {dtype}")
    if dtype == np.float64 and not jax.config.read("jax_enable_x64"):
        raise TypeError(f"{name}: dtype float64 needs jax.config.update('jax_enable_x64', True)")
    check_integer(name, "batch_size", batch_size, minimum=1)
    columns = {"ids": ids, "labels": labels}
    entries = {column: entry for column, entry in columns.items() if isinstance(entry, str)}
    parts = Batches(batches, inputs=inputs, mask=mask, columns=entries, size=batch_size, as_input=runner.as_input)
    facts = {**runner.facts, **(facts or {})}
    given = {column: values for column, values in columns.items() if column not in entries}
    _check_beside(given, facts, len(batches) if hasattr(batches, "shape") else None)
    settings = {"pool": _described(pool), "channels": channels, "dtype": dtype.name}
    store = Kept() if out is None else Unfinished(out, {**settings, "model": runner.digest})
    names: tuple[str, ...] = ()
    widths: list[int] = []
    found: dict[str, list[np.ndarray]] = {column: [] for column in entries}
    with progress_bar(len(parts), doing="capturing", show=progress) as tick:
        for place, batch in enumerate(parts):
            if not names:
                shapes = runner.shapes(batch.x, evaluate=evaluate)
                names = tuple(matching(name, [n for n, z in shapes.items() if _is_layer(z, batch.rows)], layers))
                store.begin(names)
            for column, values in batch.columns.items():
                found[column].append(values)
            if not store.has(place, batch):
                rows = runner.rows(batch, names, pool=pool, channels=channels, dtype=dtype, evaluate=evaluate)
                widths = widths or [array.shape[1] for array in rows]
                for layer, width, array in zip(names, widths, rows, strict=True):
                    if dtype == np.float16 and np.isinf(array).any():
                        raise ValueError(
                            f"{name}: layer {layer!r} has numbers beyond those of float16 in batch {place}; "
                            "keep it in bfloat16 or float32 with dtype="
                        )
                    if array.shape != (batch.rows, width):
                        raise ValueError(
                            f"{name}: layer {layer!r} must have shape ({batch.rows}, {width}) in batch {place}, with a "
                            f"row for each example and as many features as before, got {array.shape}; leave it out "
                            "with layers=, or pool otherwise"
                        )
                store.add(place, batch, rows)
            tick()
    if not names:
        raise ValueError(f"{name}: batches must hold at least one, got none")
    columns |= {column: np.concatenate(values) for column, values in found.items()}
    return store.finish(**columns, facts=facts)


def list_layers(model: Any, x: Any, *, layers: str | Sequence[str] = "*") -> dict[str, tuple[tuple[int, ...], str]]:
    """Layers of a model by name, with the shape and type of what they put out; nothing is computed.

    Args:
      model: a module or a function, as in `capture`.
      x: one batch, an array, a tuple or a mapping, or `jax.ShapeDtypeStruct` in place of arrays.
      layers: a pattern of names, or a list of them.

    Returns:
      Name -> shape and type, in the order in which layers finish.

    Raises:
      ValueError: for a pattern that matches nothing.
      TypeError: for a model or an input that is none.

    Example:
      >>> from flax import nnx
      >>> model = nnx.Sequential(nnx.Linear(4, 8, rngs=nnx.Rngs(0)), nnx.relu, nnx.Linear(8, 2, rngs=nnx.Rngs(1)))
      >>> list_layers(model, np.ones((3, 4), np.float32))
      {'layers.0': ((3, 8), 'float32'), 'layers.2': ((3, 2), 'float32')}
    """
    runner = as_runner("list_layers", model)
    x = runner.as_input("list_layers", x)
    rows, shapes = jax.tree.leaves(x)[0].shape[0], runner.shapes(x, evaluate=True)
    found = {name: (z.shape, str(z.dtype)) for name, z in shapes.items() if _is_layer(z, rows)}
    return {name: found[name] for name in matching("list_layers", found, layers)}


def _is_layer(value: Any, rows: int) -> bool:
    """Whether there are activations with a row for each example."""
    return (
        value.ndim > 0 and value.shape[0] == rows and 0 not in value.shape and jnp.issubdtype(value.dtype, jnp.floating)
    )


def _check_beside(columns: Mapping[str, Any], facts: Mapping[str, Any], rows: int | None) -> None:
    """Raise for ids, labels and facts that no file could have, before anything is computed."""
    known = {column: np.asarray(values) for column, values in columns.items() if values is not None}
    count = rows or max((len(values) for values in known.values() if values.ndim), default=1)
    Layers({"any": np.zeros((count, 1), np.float32)}, ids=known.get("ids"), labels=known.get("labels"), facts=facts)


def _described(pool: Pool) -> str:
    return pool if isinstance(pool, str) else getattr(pool, "__qualname__", type(pool).__name__)


class Kept:
    """Layers in memory."""

    def begin(self, names: Sequence[str]) -> None:
        """Say which layers there are."""
        self._names, self._rows = tuple(names), [[] for _ in names]

    def has(self, place: int, batch: Batch) -> bool:
        """Whether a batch need not be computed: never."""
        return False

    def add(self, place: int, batch: Batch, rows: Sequence[np.ndarray]) -> None:
        """Keep what a batch gave."""
        for kept, array in zip(self._rows, rows, strict=True):
            kept.append(array)

    def finish(self, **beside: Any) -> Layers:
        """All of it, with ids, labels and facts."""
        arrays = {name: np.concatenate(kept) for name, kept in zip(self._names, self._rows, strict=True)}
        return Layers(arrays, **beside)
