"""The two-point theory on the handwritten digits: which distances are left in the end, and one pair on its way."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxalign._core.checks import check_distinct, check_integer, check_positive
from jaxalign._core.keys import as_key
from jaxalign._core.typing import Array
from jaxalign.dynamics import SETTINGS, Recordings, record, record_many, smoothed_distance_matrix
from jaxalign.studies.digits import CLASSES, Digits, load_digits
from jaxalign.studies.two_point_runs import FittedRun, fit_recording

_MOMENTS = 400  # of a pair on its way


def digit_distances(
    *, key: Array | int, networks: int = 3, epochs: Sequence[int] = (0, 5, 20, 100), per_class: int = 10
) -> dict[str, np.ndarray]:
    """Squared distances among digits in a trained layer, beside the pattern that the theory predicts for large data.

    The prediction is one number for each two classes; distances in the network are a mean over several, each divided by
    its mean distance. Between classes the pattern is there early, and fades while the layer brings all classes to the
    same distance.

    Args:
      key: for initial weights and batches.
      networks: how many.
      epochs: after how many passes through the training images to look, increasing.
      per_class: how many images of each digit are compared.

    Returns:
      `labels`, `(n,)`, in order; `theory`, `(n, n)`; `network`, `(moments, n, n)`; `epochs` and the mean `loss`,
      `(moments,)`; `correlation` of theory and network, `(moments, 2)`: over all pairs of images, and over those of two
      classes.

    Raises:
      ValueError, TypeError: for numbers out of range.
      ImportError: without scikit-learn.

    Reference:
      As van Rossem and Saxe (2024), arXiv:2402.09142, with other images; that it fades was found in this project.
    """
    name = "digit_distances"
    check_integer(name, "networks", networks, minimum=1)
    check_integer(name, "per_class", per_class, minimum=2)
    check_distinct(name, "epochs", epochs, lambda *value: check_integer(*value, minimum=0))
    if list(epochs) != sorted(epochs):
        raise ValueError(f"{name}: epochs must increase, got {epochs}")
    key, digits, setting = as_key(name, key), load_digits(), SETTINGS["mnist_structure"]
    x, targets = _standardized(digits)
    per_epoch = len(x) // (setting.batch_size or len(x))
    moments = [passes * per_epoch for passes in epochs]
    recordings = record_many(
        lambda key: setting.network(rngs=nnx.Rngs(key), inputs=x.shape[1], outputs=CLASSES),
        jax.random.split(jax.random.fold_in(key, 0), networks),
        x,
        targets,
        optimizer=optax.adam(setting.lr),
        steps=max(1, moments[-1]),
        layers=setting.layer_name,
        pairs=[(0, 1)],
        at=moments,
        kept=moments,
        batch_size=setting.batch_size,
        key=jax.random.fold_in(key, 1),
        progress=False,
    )
    rows = np.concatenate([np.flatnonzero(digits.y_train == digit)[:per_class] for digit in range(CLASSES)])
    labels = digits.y_train[rows]
    theory = np.asarray(smoothed_distance_matrix(x, targets))[np.ix_(rows, rows)]
    network = _mean_distances(recordings, setting.layer_name, rows)
    pairs = np.triu_indices(len(rows), 1)
    apart = labels[pairs[0]] != labels[pairs[1]]
    correlation = [
        [np.corrcoef(theory[pairs][chosen], matrix[pairs][chosen])[0, 1] for chosen in (slice(None), apart)]
        for matrix in network
    ]
    return {
        "labels": labels,
        "theory": theory,
        "network": network,
        "epochs": np.asarray(epochs),
        "loss": recordings.loss.mean(axis=0),
        "correlation": np.asarray(correlation),
    }


def digit_pair(*, key: Array | int, digits: tuple[int, int] = (0, 1), epochs: int = 200, lr: float = 0.1) -> FittedRun:
    """One image of each of two digits while a network learns all of them, and the theory fitted as if they were alone.

    Args:
      key: for initial weights and batches.
      digits: two different ones.
      epochs: passes through the training images.
      lr: learning rate. The authors' 0.003 is for many more steps.

    Returns:
      A `FittedRun` of some 400 moments; its loss is that of the pair.

    Raises:
      ValueError: for a digit that is none, twice the same one, and numbers out of range.
      TypeError: for numbers of another type.
      ImportError: without scikit-learn.

    Reference:
      As van Rossem and Saxe (2024), arXiv:2402.09142, with other images.
    """
    name = "digit_pair"
    check_integer(name, "epochs", epochs, minimum=1)
    check_positive(name, "lr", lr)
    check_distinct(name, "digits", digits, lambda *value: check_integer(*value, minimum=0))
    if len(digits) != 2 or max(digits) >= CLASSES:
        raise ValueError(f"{name}: digits must be two from 0 to {CLASSES - 1}, got {digits}")
    key, images, setting = as_key(name, key), load_digits(), SETTINGS["mnist_trajectory"]
    x, targets = _standardized(images)
    steps = epochs * (len(x) // (setting.batch_size or len(x)))
    pair = [int(np.flatnonzero(images.y_train == digit)[0]) for digit in digits]
    recording = record(
        setting.network(rngs=nnx.Rngs(jax.random.fold_in(key, 0)), inputs=x.shape[1], outputs=CLASSES),
        x,
        targets,
        optimizer=optax.sgd(lr),
        steps=steps,
        pairs=[(pair[0], pair[1])],
        at=np.unique(np.linspace(0, steps, min(_MOMENTS, steps + 1)).astype(int)).tolist(),
        batch_size=setting.batch_size,
        key=jax.random.fold_in(key, 1),
        progress=False,
    )
    return fit_recording(recording, layer=setting.layer_index)


def _standardized(digits: Digits) -> tuple[Array, Array]:
    """Training images as rows, with mean 0 and variance 1 over all pixels together, and classes as rows of a unit."""
    x = digits.x_train.reshape(len(digits.x_train), -1)
    return jnp.asarray((x - x.mean()) / x.std()), jax.nn.one_hot(digits.y_train, CLASSES)


def _mean_distances(recordings: Recordings, layer: str, rows: np.ndarray) -> np.ndarray:
    """Squared distances in a layer at each kept step, `(moments, rows, rows)`, a mean over networks of equal weight."""
    found = []
    for moment in np.swapaxes(recordings.activations[layer][:, :, rows], 0, 1):
        squared = np.sum((moment[:, :, None] - moment[:, None]) ** 2, axis=-1)
        found.append(np.mean(squared / squared.mean(axis=(1, 2), keepdims=True), axis=0))
    return np.stack(found)
