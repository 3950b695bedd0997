"""Networks of the zoo stitched into one another at their last hidden layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.keys import as_key
from jaxalign._core.typing import Array, Float
from jaxalign.stitching import best_ridge
from jaxalign.stitching.row_split import two_sides
from jaxalign.studies.digits import CLASSES, load_digits
from jaxalign.studies.zoo import ZooModel


@dataclass(frozen=True, eq=False)
class ZooStitching:
    """Shares of images that stitched networks get wrong; no map was fitted to these images, and no network.

    Attributes:
      sources: names of the networks that are gone on from, `s` of them.
      targets: names of those whose heads go on, `t` of them: networks that were trained.
      errors: `(s, t)`, of the source up to its last hidden layer, a map, and the head of the target; of a network into
        itself, with a map that is fitted as any other.
      intact: `(t,)`, of the targets themselves.
      shuffled: `(t,)`, of maps that were fitted to images paired at random: what the head says to no information.
      probes: `(s,)`, of ridge regressions from the last hidden layers of the sources straight to the digits.
      images: how many the shares are of.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    errors: np.ndarray
    intact: np.ndarray
    shuffled: np.ndarray
    probes: np.ndarray
    images: int


def stitch_zoo(models: Sequence[ZooModel], *, key: Array | int) -> ZooStitching:
    """Stitch every network into every trained one: last hidden layer into last hidden layer, then the target's head.

    Maps are ridge regressions with the penalty of least cross-validation error, fitted on half of the images that the
    zoo was not trained on, and judged on the other half.

    Args:
      models: members of the zoo, some of them trained, with heads.
      key: a PRNG key, or an integer to make one from, for the halves and the random pairs.

    Raises:
      ValueError: when no member was trained, or one has no head.

    Example:
      >>> from jaxalign.studies import train_zoo
      >>> models = train_zoo(architectures=["mlp"], widths=[8], seeds=[0], epochs=2)
      >>> result = stitch_zoo(models, key=0)
      >>> result.errors.shape, result.images, bool(result.errors[0, 0] < result.shuffled[0])
      ((1, 1), 298, True)
    """
    targets = [model for model in models if model.epochs]
    if not targets:
        raise ValueError("stitch_zoo: models must hold at least one trained network, got none")
    labels = load_digits().y_test
    split_key, order_key = jax.random.split(as_key("stitch_zoo", key))
    fit, test = two_sides("stitch_zoo", len(labels), 0.5, None, split_key)
    order = np.asarray(jax.random.permutation(order_key, len(fit)))
    hidden = {model.name: jnp.asarray(model.layers[model.last_hidden_layer]) for model in models}
    width = max(CLASSES, *(layer.shape[1] for layer in hidden.values()))

    def mapped(x: Float[Array, "n p"], y: Float[Array, "m q"], rows: np.ndarray) -> Float[Array, "k q"]:
        """Held-out rows of `x` where `y` would be; features of 0 change nothing and make all widths one program."""
        stitch = best_ridge(_widened(x[rows], width), _widened(y, width))
        return stitch(_widened(x[test], width))[:, : y.shape[1]]

    def wrong(scores: Float[Array, "n c"]) -> float:
        return float(np.mean(np.argmax(scores, axis=1) != labels[test]))

    errors, intact, shuffled = np.empty((len(models), len(targets))), [], []
    for column, target in enumerate(targets):
        if target.head is None:
            raise ValueError(f"stitch_zoo: models must have heads, {target.name} has none")
        y = hidden[target.name]
        for row, x in enumerate(hidden.values()):
            errors[row, column] = wrong(target.head(mapped(x, y[fit], fit)))
        intact.append(wrong(target.head(y[test])))
        shuffled.append(wrong(target.head(mapped(y, y[fit], fit[order]))))
    digits = jax.nn.one_hot(labels[fit], CLASSES, dtype=jnp.float32)
    return ZooStitching(
        sources=tuple(hidden),
        targets=tuple(target.name for target in targets),
        errors=errors,
        intact=np.asarray(intact),
        shuffled=np.asarray(shuffled),
        probes=np.asarray([wrong(mapped(x, digits, fit)) for x in hidden.values()]),
        images=len(test),
    )


def _widened(x: Float[Array, "n d"], width: int) -> Float[Array, "n w"]:
    """With features of 0 up to `width`."""
    return jnp.pad(x, ((0, 0), (0, width - x.shape[1])))
