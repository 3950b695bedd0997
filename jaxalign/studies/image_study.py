"""Models of images from several seeds, and how far every two of them are apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxalign._core.atomic import atomic_path
from jaxalign._core.strict_json import without_nan
from jaxalign.studies.cifar10 import Cifar10
from jaxalign.studies.digits import Digits
from jaxalign.studies.image_models import BATCH, LEARNING_RATE, STEPS, ImageModels, train_image_models
from jaxalign.studies.model_pairs import ModelPairs, compare_models

SEEDS = tuple(range(10))
#: Of ten models on the digits: accuracies of 0.83 to 0.93 in two dimensions, after half a minute on a core.
DIGITS_NETWORK, DIGITS_STEPS, DIGITS_LEARNING_RATE = "cnn", 2000, 1e-3
_FORMAT = 1
_COLUMNS = {"d_LLV": "llv", "d_fg": "d_fg", "m_CCA(f)": "cca_f", "m_CCA(g)": "cca_g", "KL": "kl", "back": "kl_reversed"}


@dataclass(frozen=True, eq=False)
class ImageStudy:
    """Models of images from several seeds, and every pair of them.

    Attributes:
      data: `"digits"` or `"cifar10"`.
      names: of the labels.
      train: how many images models were trained on.
      batch: how many are in a batch.
      learning_rate: of Adam.
      labels: of the images held out, shape `(n_test,)`, int32.
      models: what they make of the images held out.
      pairs: every two of them, on these images.
      orders: of labels around the circle, shape `(s, c)`; None unless models have two dimensions.
    """

    data: str
    names: tuple[str, ...]
    train: int
    batch: int
    learning_rate: float
    labels: np.ndarray
    models: ImageModels
    pairs: ModelPairs
    orders: np.ndarray | None

    @property
    def dimension(self) -> int:
        """m, of embeddings."""
        return self.models.f.shape[2]

    @property
    def loss_differences(self) -> np.ndarray:
        """Of each pair, how far apart negative log-likelihoods on the images held out are, nats, shape `(p,)`."""
        return np.abs(self.models.nll[self.pairs.first] - self.models.nll[self.pairs.second])

    def to_dict(self) -> dict[str, Any]:
        """All but embeddings, as strict JSON has it: None for what is not finite."""
        models = self.models
        return {
            "format": _FORMAT,
            "data": self.data,
            "names": list(self.names),
            "train": self.train,
            "test": len(self.labels),
            "network": models.network,
            "width": models.width,
            "dimension": self.dimension,
            "steps": models.steps,
            "batch": self.batch,
            "learning_rate": self.learning_rate,
            "seeds": models.seeds.tolist(),
            "accuracy": without_nan(models.accuracy.tolist()),
            "nll": without_nan(models.nll.tolist()),
            "orders": None if self.orders is None else self.orders.tolist(),
            "pairs": without_nan(self.pairs.to_dict() | {"loss_difference": self.loss_differences.tolist()}),
        }

    def save(self, folder: str | Path) -> list[Path]:
        """Write `DATA-mM.json`, and `DATA-mM.npz` with `f`, `g`, `seeds` and `labels`; the paths of both.

        Raises:
          OSError: when one cannot be written; its former content is then still there.
        """
        stem = Path(folder) / f"{self.data}-m{self.dimension}"
        numbers, arrays = stem.with_suffix(".json"), stem.with_suffix(".npz")
        with atomic_path(numbers) as temporary:
            text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8")
        with atomic_path(arrays) as temporary:
            models = self.models
            np.savez(temporary, f=models.f, g=models.g, seeds=models.seeds, labels=self.labels)
        return [numbers, arrays]

    def __str__(self) -> str:
        models, pairs = self.models, self.pairs
        title = (
            f"{self.data}: {models.network} of width {models.width} to {self.dimension} dimensions, "
            f"{models.steps} steps on {self.train} images; {len(self.labels)} held out"
        )
        rows = [["seed", "accuracy", "NLL", *([] if self.orders is None else ["labels around the circle"])]]
        for i, seed in enumerate(models.seeds):
            order = [] if self.orders is None else [" ".join(map(str, self.orders[i]))]
            rows.append([str(seed), f"{models.accuracy[i]:.3f}", f"{models.nll[i]:.3f}", *order])
        head = ["seeds", *_COLUMNS, "|dNLL|", *([] if pairs.same_order is None else ["order"])]
        values = np.stack([*(getattr(pairs, name) for name in _COLUMNS.values()), self.loss_differences], axis=1)
        of_pairs = [head]
        for i, (first, second) in enumerate(zip(pairs.first, pairs.second, strict=True)):
            order = [] if pairs.same_order is None else ["same" if pairs.same_order[i] else "another"]
            who = f"{models.seeds[first]}, {models.seeds[second]}"
            of_pairs.append([who, *(f"{value:.3f}" for value in values[i]), *order])
        of_pairs.append(["median", *(f"{value:.3f}" for value in np.median(values, axis=0)), *([""] * (len(head) - 8))])
        return "\n".join([title, "", *_aligned(rows), "", *_aligned(of_pairs)])


def image_study(
    data: Digits | Cifar10,
    *,
    dimension: int = 2,
    seeds: Sequence[int] = SEEDS,
    network: str | None = None,
    width: int | None = None,
    steps: int | None = None,
    batch: int = BATCH,
    learning_rate: float | None = None,
    together: bool = True,
    progress: Callable[[str], None] | None = None,
) -> ImageStudy:
    """Train models of images from several seeds, and compare every two of them on the images held out.

    Distances are in the precision of JAX: in 64 bits where `jax_enable_x64` is on.

    Args:
      data: as from `load_digits` or `load_cifar10`.
      dimension: m, of embeddings, at most the number of labels less two.
      seeds: of initial weights, at least two.
      network: by default the paper's `"resnet18"` for CIFAR-10, and `"cnn"` for the digits.
      width: of the network, see `train_image_models`.
      steps: of training, by default the paper's 20 000 for CIFAR-10, and 2000 for the digits.
      batch: images of a batch.
      learning_rate: of Adam, by default the paper's 0.0001 for CIFAR-10, and 0.001 for the digits.
      together: whether all seeds are trained in one program, see `train_image_models`.
      progress: called with lines of text while models are trained.

    Returns:
      Models and pairs.

    Raises:
      ValueError: for fewer than two seeds, too large a dimension, and as `train_image_models`.
      TypeError: as `train_image_models`.

    Example:
      >>> from jaxalign.studies import load_digits
      >>> study = image_study(load_digits(), seeds=[0, 1, 2], network="mlp", width=8, steps=20)
      >>> len(study.pairs), study.orders.shape
      (3, (3, 10))

    Reference:
      Nielsen et al. (2025), arXiv:2506.03784, figures 3 (left) and 5, appendices F.4 and F.5.
    """
    small = isinstance(data, Digits)
    if len(seeds) < 2:
        raise ValueError(f"image_study: seeds must be at least two, got {seeds!r}")
    classes = int(data.y_train.max()) + 1
    if dimension > classes - 2:
        raise ValueError(f"image_study: dimension must be at most {classes - 2} with {classes} labels, got {dimension}")
    rate = learning_rate if learning_rate is not None else DIGITS_LEARNING_RATE if small else LEARNING_RATE
    models = train_image_models(
        *(data.x_train, data.y_train, data.x_test, data.y_test),
        seeds=seeds,
        dimension=dimension,
        network=network if network is not None else DIGITS_NETWORK if small else "resnet18",
        width=width,
        steps=steps if steps is not None else DIGITS_STEPS if small else STEPS,
        batch=batch,
        learning_rate=rate,
        together=together,
        progress=progress,
    )
    pairs, orders = compare_models(models.log_probs(), m=int(dimension), key=0)
    names = None if isinstance(data, Digits) else data.names
    return ImageStudy(
        data="digits" if small else "cifar10",
        names=tuple(str(label) for label in range(classes)) if names is None else names,
        train=len(data.y_train),
        batch=int(batch),
        learning_rate=float(rate),
        labels=data.y_test,
        models=models,
        pairs=pairs,
        orders=orders,
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
