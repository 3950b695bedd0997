"""Do networks of different architecture come to the same representation, and when?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxalign._core.checks import check_integer, check_positive
from jaxalign._core.keys import as_key
from jaxalign._core.typing import Array
from jaxalign.dynamics import SETTINGS, alignment_trajectory, record
from jaxalign.measures.measure import Measure
from jaxalign.studies.digits import CLASSES, load_digits
from jaxalign.studies.two_point_training import check_settings

#: Architectures of `SETTINGS` that learn digits with the same optimizer.
ARCHITECTURES = ("default", "relu", "elu", "tanh", "swish", "skip", "cnn")
_HIDDEN = 4
_MOMENTS = 25
_BATCH = 100


def alignment_over_training(
    architectures: Sequence[str] = ARCHITECTURES,
    *,
    key: Array | int,
    measure: Measure | None = None,
    seeds: int = 2,
    width: int = 64,
    steps: int = 600,
    lr: float = 1e-3,
) -> dict[str, np.ndarray]:
    """Networks of several architectures learn the digits: how alike is their last hidden layer, from step to step?

    Each is compared with its own end, with the same architecture from other initial weights, and with all other
    architectures at the same step. Without learning, which is the first moment,
    networks are as alike as the images alone make them: that is what the rest has to be seen against.

    Args:
      architectures: names of `jaxalign.dynamics.SETTINGS`, of which activation, gain, skip and kind are taken; all have
        4 hidden layers of one width.
      key: for all initial weights.
      measure: any of `jaxalign.measures`; linear CKA by default.
      seeds: networks of each architecture, at least 2.
      width: of hidden layers.
      steps: of Adam, with 100 images in each.
      lr: its learning rate.

    Returns:
      `names` and `seeds`, of all networks, `(m,)`; `steps`, `(moments,)`; `loss`, `(m, moments)`; `between`, scores of
      all networks with each other at each moment, `(moments, m, m)`; `own_end`, of each with its own end,
      `(m, moments)`; `accuracy` on images held out, in the end, `(m,)`.

    Raises:
      ValueError: for unknown architectures, numbers out of range, and a network that diverged.
      TypeError: for numbers of another type.
      ImportError: without scikit-learn.

    Reference:
      Made for this project, after the claim of van Rossem and Saxe (2024), arXiv:2402.09142.
    """
    name = "alignment_over_training"
    check_settings(name, "architectures", architectures)
    check_integer(name, "seeds", seeds, minimum=2)
    check_integer(name, "width", width, minimum=1)
    check_integer(name, "steps", steps, minimum=1)
    check_positive(name, "lr", lr)
    key, digits = as_key(name, key), load_digits()
    x, held_out = (jnp.asarray(z.reshape(len(z), -1)) for z in (digits.x_train, digits.x_test))
    targets = jax.nn.one_hot(digits.y_train, CLASSES)
    moments = np.unique(np.concatenate([[0], np.geomspace(1, steps, _MOMENTS).astype(int)])).tolist()
    optimizer = optax.adam(lr)
    names, paths, losses, accuracies = [], [], [], []
    for architecture, one in zip(architectures, jax.random.split(key, len(architectures)), strict=True):
        setting = replace(SETTINGS[architecture], width=width, hidden=_HIDDEN, layer=_HIDDEN - 1)
        for seed in jax.random.split(one, seeds):
            weights, batches = jax.random.split(seed)
            network = setting.network(rngs=nnx.Rngs(weights), inputs=x.shape[1], outputs=CLASSES)
            recording = record(
                network,
                x,
                targets,
                optimizer=optimizer,
                steps=steps,
                layers=setting.layer_name,
                pairs=[(0, 1)],
                at=moments,
                kept=moments,
                batch_size=_BATCH,
                key=batches,
                progress=False,
            )
            if not np.isfinite(recording.loss).all():
                raise ValueError(f"{name}: {architecture} diverged with a learning rate of {lr:g}")
            names.append(architecture)
            paths.append(recording.activations[setting.layer_name])
            losses.append(recording.loss)
            accuracies.append(np.mean(np.argmax(recording.model(held_out), axis=1) == digits.y_test))
    between = np.ones((len(moments), len(paths), len(paths)))
    for i, j in combinations(range(len(paths)), 2):
        between[:, i, j] = between[:, j, i] = alignment_trajectory(paths[i], paths[j], measure=measure)
    return {
        "names": np.array(names),
        "seeds": np.tile(np.arange(seeds), len(architectures)),
        "steps": np.array(moments),
        "loss": np.stack(losses),
        "between": between,
        "own_end": np.stack([alignment_trajectory(path, measure=measure) for path in paths]),
        "accuracy": np.array(accuracies),
    }
