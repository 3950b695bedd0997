"""One of two features, by context: what a layer keeps of the feature that does not matter."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxalign._core.checks import check_integer
from jaxalign._core.keys import as_key
from jaxalign._core.typing import Array, Float, Int
from jaxalign.dynamics import Setting, record

#: The authors' settings of a large, a small and a very small initial scale.
CONTEXT_SETTINGS = ("orthogonal_high", "orthogonal_low", "orthogonal_very_low")
_BLOB = 0.25  # width of a blob, the distance of neighboring pixels
_BATCH = 60
_AXES = 3


@dataclass(frozen=True, eq=False)
class ContextTask:
    """Blobs at the places of a grid, in two contexts.

    Attributes:
      x: images of one blob and the context as two bits, `(n, pixels² + 2)`, float32.
      y: the feature that matters in the context, `(n, 1)`, in `[0, 1]`.
      features: where the blob is, down and across, `(n, 2)`, in `[0, 1]`.
      context: which feature matters, `(n,)`, 0 or 1.
    """

    x: Float[np.ndarray, "n p"]
    y: Float[np.ndarray, "n 1"]
    features: Float[np.ndarray, "n 2"]
    context: Int[np.ndarray, "n"]


def make_context_task(*, side: int = 30, pixels: int = 5) -> ContextTask:
    """The task: in the first context say how far down the blob is, in the second how far across.

    Args:
      side: places along each side of the grid, at least 2; there are `2 side²` inputs.
      pixels: along each side of an image, at least 2.

    Raises:
      ValueError, TypeError: for sizes below 2.

    Example:
      >>> task = make_context_task()
      >>> task.x.shape, task.y.shape
      ((1800, 27), (1800, 1))

    Reference:
      As in the published notebooks of van Rossem and Saxe (2024), arXiv:2402.09142; the size of a blob is ours.
    """
    check_integer("make_context_task", "side", side, minimum=2)
    check_integer("make_context_task", "pixels", pixels, minimum=2)
    places, centers = np.linspace(0, 1, side), np.linspace(0, 1, pixels)
    features = np.stack(np.meshgrid(places, places, indexing="ij"), axis=-1).reshape(-1, 2)
    down, across = (np.exp(-((z[:, None] - centers) ** 2) / (2 * _BLOB**2)) for z in features.T)
    images = (down[:, :, None] * across[:, None, :]).reshape(side * side, -1)
    context = np.repeat([0, 1], side * side)
    x = np.hstack([np.tile(images, (2, 1)), np.eye(2)[context]]).astype(np.float32)
    features = np.tile(features, (2, 1))
    y = np.take_along_axis(features, context[:, None], axis=1).astype(np.float32)
    return ContextTask(x, y, features, context)


def context_representations(
    setting: Setting, *, key: Array | int, task: ContextTask | None = None
) -> dict[str, np.ndarray]:
    """Train a network on the task: what does its layer make of the feature that does not matter in a context?

    Inputs that differ in nothing that matters should merge from small initial weights, as pairs with the same target
    do, and stay apart from large ones. Trained in batches of 60: with all inputs in each step the settings of small
    weights learn nothing in their number of epochs.

    Args:
      setting: such as `jaxalign.dynamics.SETTINGS["orthogonal_low"]`; its epochs are passes through the inputs.
      key: for the initial weights and the batches.
      task: of `make_context_task`.

    Returns:
      `projection`, the three principal components of the layer, which are its classical multidimensional scaling,
      `(n, 3)`; `share`, of the variance of the layer within each context the part that each feature explains by itself,
      `(2 contexts, 2 features)`, in `[0, 1]`, and `share_start`, the same before training; `loss`, start and end.

    Raises:
      ValueError: for a network that diverged.

    Reference:
      van Rossem and Saxe (2024), arXiv:2402.09142, and their published notebooks; shares are ours.
    """
    task = make_context_task() if task is None else task
    key = as_key("context_representations", key)
    network = setting.network(rngs=nnx.Rngs(jax.random.fold_in(key, 0)), inputs=task.x.shape[1])
    ends = [0, setting.epochs * (len(task.x) // _BATCH)]
    recording = record(
        network,
        jnp.asarray(task.x),
        jnp.asarray(task.y),
        optimizer=optax.sgd(setting.lr),
        steps=ends[1],
        layers=setting.layer_name,
        pairs=[(0, 1)],
        at=ends,
        kept=ends,
        batch_size=_BATCH,
        key=jax.random.fold_in(key, 1),
        progress=False,
    )
    if not np.isfinite(recording.loss).all():
        raise ValueError(f"context_representations: the network diverged with a learning rate of {setting.lr:g}")
    start, end = recording.activations[setting.layer_name]
    centered = end - end.mean(axis=0)
    axes = np.linalg.svd(centered, full_matrices=False)[2][:_AXES]
    return {
        "projection": centered @ axes.T,
        "share": feature_shares(end, task),
        "share_start": feature_shares(start, task),
        "loss": recording.loss,
    }


def feature_shares(representation: Float[np.ndarray, "n p"], task: ContextTask) -> Float[np.ndarray, "2 2"]:
    """Parts of the variance within each context that each feature explains by itself (its main effect)."""
    side = len(np.unique(task.features[:, 0]))
    shares = np.zeros((2, 2))
    for context in (0, 1):
        grid = representation[task.context == context].astype(float)
        grid = (grid - grid.mean(axis=0)).reshape(side, side, -1)
        for feature in (0, 1):
            shares[context, feature] = side * np.sum(grid.mean(axis=1 - feature) ** 2) / np.sum(grid**2)
    return shares
