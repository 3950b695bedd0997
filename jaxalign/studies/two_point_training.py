"""Networks of the authors of the two-point theory, trained and recorded."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxalign._core.checks import check_distinct, describe, nearest
from jaxalign._core.typing import Array
from jaxalign.dynamics import SETTINGS, Recording, Setting, record


def run_setting(name: str | Setting, **changes: Any) -> Setting:
    """A setting of the authors by name, as they trained it for trajectories: half the learning rate, twice the steps.

    Args:
      name: one of `jaxalign.dynamics.SETTINGS`, or a setting, of which nothing is halved.
      changes: fields of it that shall be others, such as `width=200`.

    Raises:
      ValueError: for an unknown name.
      TypeError: for what is neither, and fields that there are not.

    Example:
      >>> run_setting("default", width=200).epochs
      6000
    """
    if isinstance(name, Setting):
        return replace(name, **changes)
    check_settings("run_setting", "name", [name])
    setting = SETTINGS[name]
    return replace(replace(setting, lr=setting.lr / 2, epochs=2 * setting.epochs), **changes)


def check_settings(function: str, argument: str, names: Any) -> None:
    """Raise unless these are names of `SETTINGS`, at least one and none twice."""

    def check(function: str, argument: str, name: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{function}: {argument} must be names, got {describe(name)}")
        if name not in SETTINGS:
            choices = ", ".join(SETTINGS)
            raise ValueError(f"{function}: {argument} must be of {choices}, got {name!r}{nearest(name, SETTINGS)}")

    check_distinct(function, argument, names, check)


def train_setting(setting: Setting, key: Array, x: Any, y: Any, *, ends: bool = False) -> Recording:
    """Train a newly drawn network of a setting, and record all its hidden layers.

    Args:
      setting: the network, and how it is trained.
      key: for its weights, and what dropout drops.
      x: inputs, `(n, features)`.
      y: targets, `(n, outputs)`.
      ends: record the start and the end only, rather than every step.

    Raises:
      ValueError: for a network that diverged.
    """
    rngs = nnx.Rngs(jax.random.fold_in(key, 0), dropout=jax.random.fold_in(key, 1))
    return train_further(setting.network(rngs=rngs, inputs=x.shape[1], outputs=y.shape[1]), setting, x, y, ends=ends)


def train_further(network: Any, setting: Setting, x: Any, y: Any, *, ends: bool = False) -> Recording:
    """As `train_setting`, from a network that there is already.

    Raises:
      ValueError: for a network that diverged.
    """
    at = [0, setting.epochs] if ends else None
    x, y = (jnp.asarray(z, jnp.float32) for z in (x, y))
    recording = record(
        network, x, y, optimizer=_optimizer(setting.optimizer, setting.lr), steps=setting.epochs, at=at, progress=False
    )
    if not np.isfinite(recording.loss).all():
        raise ValueError(
            f"train_setting: the network diverged with a learning rate of {setting.lr:g} and a gain of {setting.gain:g}"
        )
    return recording


@cache
def _optimizer(name: str, rate: float) -> optax.GradientTransformation:
    """The same object for the same rate, so that networks of one shape share a program."""
    return {"sgd": optax.sgd, "adam": optax.adam}[name](rate)
