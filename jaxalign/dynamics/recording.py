"""What is recorded of training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxalign._core.checks import check_choice, describe
from jaxalign.features.intermediates import Network


@dataclass(frozen=True, eq=False)
class Recording:
    """Training of one model, as the theory sees it.

    All arrays are NumPy arrays. `T` counts recorded steps, `L` layers, `P` pairs, `K` kept steps. Entry `t` is what
    was before step `steps[t]`, which is after as many steps: 0 is the start, and the last possible one the end.

    Attributes:
      steps: recorded steps, `(T,)`.
      layers: names of the recorded layers, in the order in which they finish.
      pairs: rows i and j of each pair, `(P, 2)`.
      h: squared distances of activations, a sum over units, `(T, L, P)`.
      y: squared distances of outputs, `(T, P)`.
      w: `y` less the product of the differences of outputs and of targets, `(T, P)`.
      loss: on all rows, `(T,)`.
      mean_error: squared distance of the mean output of each pair to its mean target, `(T, P)`.
      dx2: squared distances of inputs, `(P,)`.
      dy2: squared distances of targets, `(P,)`.
      model: the trained model, of the kind that was given.
      kept_steps: steps of which more is kept, `(K,)`.
      activations: those of each layer at these steps, name -> `(K, rows, ...)`.
      outputs: those at these steps, `(K, rows, ...)`; None without such steps.
    """

    steps: np.ndarray
    layers: tuple[str, ...]
    pairs: np.ndarray
    h: np.ndarray
    y: np.ndarray
    w: np.ndarray
    loss: np.ndarray
    mean_error: np.ndarray
    dx2: np.ndarray
    dy2: np.ndarray
    model: Any
    kept_steps: np.ndarray
    activations: dict[str, np.ndarray]
    outputs: np.ndarray | None

    def trajectory(self, layer: str | int, pair: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What one layer makes of one pair, to fit or to plot.

        Args:
          layer: its name, or its place among the recorded layers, from 0; -1 is the last.
          pair: its place in `pairs`.

        Returns:
          `steps`, `h`, `y` and `w`, each `(T,)`.

        Raises:
          ValueError: for a layer that was not recorded.
          IndexError: for a pair that was not.
        """
        if isinstance(layer, str):
            check_choice("Recording.trajectory", "layer", layer, self.layers)
            layer = self.layers.index(layer)
        elif isinstance(layer, bool) or not isinstance(layer, (int, np.integer)):
            raise TypeError(f"Recording.trajectory: layer must be a name or an integer, got {describe(layer)}")
        elif not -len(self.layers) <= layer < len(self.layers):
            raise ValueError(
                f"Recording.trajectory: layer must be less than the number of layers, {len(self.layers)}, got {layer}"
            )
        return self.steps, self.h[:, layer, pair], self.y[:, pair], self.w[:, pair]


@dataclass(frozen=True, eq=False)
class Recordings:
    """Training of many models, as the theory sees it.

    As a `Recording`, with a leading axis of `M` members wherever they differ; `recordings.member(i)` is one, and
    iterating gives one after the other.

    Attributes:
      steps: recorded steps, `(T,)`.
      layers: names of the recorded layers.
      pairs: rows of each pair, `(P, 2)`.
      h: `(M, T, L, P)`.
      y: `(M, T, P)`.
      w: `(M, T, P)`.
      loss: `(M, T)`.
      mean_error: `(M, T, P)`.
      dx2: `(P,)`.
      dy2: `(P,)`.
      network: the structure of all models.
      weights: their parameters, and what else they hold, with a leading axis of members.
      kept_steps: `(K,)`.
      activations: name -> `(M, K, rows, ...)`.
      outputs: `(M, K, rows, ...)`; None without such steps.
    """

    steps: np.ndarray
    layers: tuple[str, ...]
    pairs: np.ndarray
    h: np.ndarray
    y: np.ndarray
    w: np.ndarray
    loss: np.ndarray
    mean_error: np.ndarray
    dx2: np.ndarray
    dy2: np.ndarray
    network: Network
    weights: tuple[Any, Any]
    kept_steps: np.ndarray
    activations: dict[str, np.ndarray]
    outputs: np.ndarray | None

    def __len__(self) -> int:
        return len(self.h)

    def __iter__(self) -> Iterator[Recording]:
        return map(self.member, range(len(self)))

    def member(self, index: int) -> Recording:
        """The recording of one member.

        Raises:
          IndexError: for a member that there is not.
        """
        index = range(len(self))[index]  # JAX takes the last one for any that is too large
        params, rest = jax.tree.map(lambda leaf: leaf[index], self.weights)
        own = ("h", "y", "w", "loss", "mean_error", "activations", "outputs")
        return Recording(
            steps=self.steps,
            layers=self.layers,
            pairs=self.pairs,
            dx2=self.dx2,
            dy2=self.dy2,
            kept_steps=self.kept_steps,
            model=self.network.model(params, rest),
            **{name: of_member(getattr(self, name), index) for name in own},
        )


def of_member(recorded: Any, index: int) -> Any:
    """The part of one member of arrays with a leading axis of members: of one, of each in a dictionary, or of none."""
    if isinstance(recorded, dict):  # `jax.tree.map` would sort the names
        return {name: array[index] for name, array in recorded.items()}
    return None if recorded is None else recorded[index]
