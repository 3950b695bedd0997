"""The two models of `jaxalign identify`: which layer of a file, through which head, and which rows count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.numerics import accum_dtype
from jaxalign.cli.errors import Problem
from jaxalign.cli.models import usable_rows
from jaxalign.cli.task_files import HeadFile, chosen_layers, head_for
from jaxalign.features import Layers
from jaxalign.features.layers import row_blocks

#: Layers that are taken for outputs when none is named.
OUTPUT_NAMES = ("logits", "log_probs", "logprobs", "logp")


@dataclass(frozen=True)
class Model:
    """One side of the comparison.

    Attributes:
      name: of the model.
      path: its file.
      layer: its layer: outputs, or embeddings when there is a head.
      array: numbers of the layer.
      head_path: the file of the head; None without.
      head: what is in it.
    """

    name: str
    path: str | None
    layer: str
    array: np.ndarray
    head_path: str | None
    head: HeadFile | None

    @property
    def labels(self) -> int:
        """How many labels the model has."""
        return self.array.shape[1] if self.head is None else self.head.kernel.shape[1]

    @property
    def biased(self) -> bool:
        """Whether the head has biases that tell labels apart."""
        return self.head is not None and bool(np.ptp(self.head.bias.astype(np.float64)) > 0)

    @property
    def title(self) -> str:
        """For the first line of a page."""
        through = "" if self.head_path is None else f" through {self.head_path}"
        return f"{self.name}, layer {self.layer!r}{through}"

    def to_dict(self) -> dict[str, Any]:
        """Where the numbers are from."""
        return {"name": self.name, "path": self.path, "layer": self.layer, "head": self.head_path}

    def parts(self) -> tuple[jax.Array, jax.Array]:
        """Embeddings and unembeddings, a bias as one more dimension of both: `(f, 1)` and `(g, b)`."""
        if self.head is None:
            raise TypeError(f"parts: {self.name} has no head")
        f, kernel, bias = (jnp.asarray(array) for array in (self.array, self.head.kernel, self.head.bias))
        dtype = accum_dtype(f, kernel, bias)
        f, g = f.astype(dtype), kernel.T.astype(dtype)
        if self.biased:
            f = jnp.concatenate([f, jnp.ones((f.shape[0], 1), dtype)], axis=1)
            g = jnp.concatenate([g, bias.astype(dtype)[:, None]], axis=1)
        return f, g


def choose_models(
    models: Mapping[str, Layers], *, layers: tuple[str | None, str | None], heads: tuple[str | None, str | None]
) -> tuple[Model, Model]:
    """The layer of each model, and its head, found to be about the same labels.

    Args:
      models: two, by name.
      layers: what `--layer` and `--layer2` name.
      heads: what `--head` and `--head2` name, both or neither.

    Raises:
      Problem: for layers that are not there or not the only ones, heads that do not fit, and different labels.
    """
    if (heads[0] is None) != (heads[1] is None):
        given, missing = ("--head", "--head2") if heads[1] is None else ("--head2", "--head")
        raise Problem(f"{given} needs {missing} beside it, the head of the other model; the same file if they share it")
    (name, one), (name2, two) = models.items()
    first = _model("--layer", name, one, layers[0], None, heads[0])
    second = _model("--layer2", name2, two, layers[1], layers[0], heads[1])
    if first.labels != second.labels:
        counts = [f"{_place(model)} has {model.labels}" for model in (first, second)]
        raise Problem(f"both models must have the same labels: {', '.join(counts)}")
    if first.labels < 2:
        raise Problem(f"{_place(first)} has a single label; at least 2 are needed")
    return first, second


def rows_that_count(first: Model, second: Model, *, mask_nonfinite: bool, drop_infinite: bool) -> np.ndarray | None:
    """A mask of the inputs that can be used, by the layers that were chosen; None when all can.

    Raises:
      Problem: when there are rows that cannot be used and are not to be left out.
    """
    if drop_infinite:
        for model in (first, second):
            _check_distributions(model)
        return None
    chosen = {model.name: Layers({model.layer: model.array}, source=model.path) for model in (first, second)}
    try:
        return usable_rows(chosen, mask_nonfinite=mask_nonfinite)
    except Problem as problem:
        if mask_nonfinite or first.head is not None:
            raise
        raise Problem(f"{problem} Or leave out labels of minus infinity, with --drop-infinite.") from None


def _place(model: Model) -> str:
    if model.head_path is not None:
        return model.head_path
    return f"{model.path}, layer {model.layer!r},"


def _model(option: str, name: str, layers: Layers, given: str | None, same: str | None, head_path: str | None) -> Model:
    layer = _layer(option, layers, given, same, head_path)
    head = None if head_path is None else head_for(head_path, layer, layers, option=option)
    return Model(name, layers.source, layer, layers[layer], head_path, head)


def _layer(option: str, layers: Layers, given: str | None, same: str | None, head_path: str | None) -> str:
    """The layer that was named for this model; else for the other; else the only one, or the usual one."""
    if given is not None:
        return chosen_layers(option, [given], layers)[0]
    if len(layers) == 1:
        return next(iter(layers))
    if same is not None:
        return chosen_layers(option, [same], layers)[0]
    if head_path is not None:
        return list(layers)[-1]
    usual = [layer for layer in OUTPUT_NAMES if layer in layers]
    if not usual:
        raise Problem(
            f"{layers.source}: no layer is called 'logits' or 'log_probs': name the one of the outputs with {option} "
            f"(it has {', '.join(layers)}), or give --head and --head2"
        )
    return usual[0]


def _check_distributions(model: Model) -> None:
    """Raise for what no label can be blamed for: NaN and plus infinity."""
    for start, block in row_blocks(model.array):
        bad = (np.isnan(block) | (block == np.inf)).any(axis=1)
        if bad.any():
            raise Problem(
                f"{model.path}: NaN or plus infinity in layer {model.layer!r}, row {start + int(np.argmax(bad))}: "
                "--drop-infinite leaves out labels of minus infinity only; correct the data"
            )
