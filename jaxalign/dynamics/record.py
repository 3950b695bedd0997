"""Training a network, and recording how it sees pairs of inputs on the way."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxalign._core.numerics import widen
from jaxalign._core.progress import is_shown, progress_bar
from jaxalign._core.typing import Array, Float, Int
from jaxalign.dynamics.record_arguments import Plan, checked_recording
from jaxalign.dynamics.recorded_steps import Data, Measured, Program, Training, look, start, train
from jaxalign.dynamics.recording import Recording, Recordings, of_member
from jaxalign.features.intermediates import Network, as_network


def half_mean_squared_error(outputs: Float[Array, "n *k"], targets: Float[Array, "n *k"]) -> Array:
    r"""The loss of the theory: $\frac12 \langle |\hat y - y^*|^2 \rangle$, a mean over rows and outputs.

    Args:
      outputs: of a network.
      targets: of the same shape.

    Example:
      >>> half_mean_squared_error(jnp.array([[1.0], [3.0]]), jnp.array([[1.0], [1.0]])).item()
      1.0
    """
    return jnp.mean((outputs - targets) ** 2) / 2


def record(
    model: Any,
    x: Float[Array, "n *features"],
    y: Float[Array, "n *k"],
    *,
    optimizer: optax.GradientTransformation,
    steps: int,
    layers: str | Sequence[str] = "hidden.*",
    pairs: Int[Array, "p 2"] | Sequence[tuple[int, int]] | None = None,
    at: Int[Array, "t"] | Sequence[int] | None = None,
    kept: Int[Array, "k"] | Sequence[int] = (),
    loss: Callable[[Any, Any], Array] = half_mean_squared_error,
    batch_size: int | None = None,
    key: Any = None,
    evaluate: bool = False,
    progress: bool | None = None,
) -> Recording:
    r"""Train a network, and record how close it puts pairs of inputs, in its layers and in its outputs.

    $$h = |h_j - h_i|^2,\quad y = |\hat y_j - \hat y_i|^2,\quad w = y - (\hat y_j - \hat y_i) \cdot (y^*_j - y^*_i)$$

    before every step and after the last, in one compiled program. When all rows are in every batch nothing is computed
    for it that training does not compute anyway. Time is counted in steps: with a learning rate `lr`, step `s` is at
    the time `s * lr` of gradient flow. Only parameters are trained (`nnx.Param`, the collection `params`); generators
    and statistics of batches advance as in any training. The same program serves other data and weights of the same
    shapes, as long as `optimizer` and `loss` are the same objects.

    Args:
      model: an NNX module, or a pair of a Linen module and its variables; it stays as it is.
      x: inputs, shape `(n, ...)`; row `i` is example `i`.
      y: targets, numbers of the shape of the outputs.
      optimizer: an optax transformation.
      steps: how often it steps, at least 1.
      layers: which hidden layers are recorded: a pattern of the names of submodules, or a list of them, as in
        `jaxalign.features.intermediates`. The layers of `MLP` and `CNN` are `hidden.0`, `hidden.1` and so on.
      pairs: rows i and j of each pair, shape `(P, 2)`; by default all with `i < j`, at most 1000.
      at: before which steps to record, increasing, from 0 to `steps`, which is after the last one; by default all of
        these, so that there are `steps + 1` entries.
      kept: steps, from 0 to `steps`, of which the activations and outputs of all rows are kept.
      loss: from outputs and targets to one number, or to one for each example, of which the mean is taken.
      batch_size: rows of one step, drawn without replacement in every epoch (what is left over at the end of an epoch
        is dropped); None for all of them in every step. What is recorded is of all rows, by a forward pass of its own.
      key: a PRNG key, or an integer to make one from; needed with `batch_size`, and for what a Linen module draws.
      evaluate: record an NNX module in evaluation mode (no dropout, stored statistics), by a forward pass of its own;
        otherwise as it is in training.
      progress: show a progress bar; None shows one on a terminal.

    Returns:
      A `Recording`. If training diverges there is a `RuntimeWarning` that names the step, and the arrays hold what was,
      NaN and infinite values included.

    Raises:
      ValueError: before anything is compiled: for rows or shapes that do not fit, layers that are not there, pairs or
        steps that are none, more than 1000 pairs if none are given, or settings out of range.
      TypeError: for a model, optimizer or array that is none.

    Example:
      >>> from flax import nnx
      >>> from jaxalign.dynamics.networks import MLP
      >>> from jaxalign.dynamics.settings import two_points
      >>> net = MLP(width=20, hidden=2, rngs=nnx.Rngs(0), gain=0.5)
      >>> run = record(net, *two_points(), optimizer=optax.sgd(0.1), steps=300)
      >>> run.h.shape, run.y[-1].round(3).tolist()
      ((301, 2, 1), [0.5])
      >>> steps, h, y, w = run.trajectory("hidden.1")

    Reference:
      van Rossem and Saxe (2024), arXiv:2402.09142: what is measured, on two points and with all data in every batch.
      Other pairs, minibatches and models are as in this project.
    """
    network, params, rest = as_network("record", model)
    program, data, plan = checked_recording(
        "record",
        (network, params, rest),
        x,
        y,
        steps=steps,
        layers=layers,
        pairs=pairs,
        at=at,
        kept=kept,
        key=key,
        optimizer=optimizer,
        loss=loss,
        batch_size=batch_size,
        evaluate=evaluate,
    )
    training, fields = _run(program, data, (params, rest), None, plan, progress)
    _warn_of_divergence("record", plan, fields["loss"], training)
    fields = {name: of_member(value, 0) for name, value in fields.items()}
    return Recording(**_shared(data, plan, program), **fields, model=network.model(training.params, training.rest))


def record_many(
    build: Callable[[Any], Any],
    members: Any,
    x: Float[Array, "n *features"],
    y: Float[Array, "n *k"],
    *,
    optimizer: optax.GradientTransformation | Callable[[Any], optax.GradientTransformation],
    steps: int,
    layers: str | Sequence[str] = "hidden.*",
    pairs: Int[Array, "p 2"] | Sequence[tuple[int, int]] | None = None,
    at: Int[Array, "t"] | Sequence[int] | None = None,
    kept: Int[Array, "k"] | Sequence[int] = (),
    loss: Callable[[Any, Any], Array] = half_mean_squared_error,
    batch_size: int | None = None,
    key: Any = None,
    evaluate: bool = False,
    together: bool | None = None,
    progress: bool | None = None,
) -> Recordings:
    """Train and record many networks of one structure, as `record` does, all at once.

    Args:
      build: makes a model from one member, such as `lambda key: MLP(50, 5, rngs=nnx.Rngs(key))`. It is called once,
        under `vmap`; models may differ in their weights only.
      members: a pytree of arrays with a common leading axis: keys (`jax.random.split(jax.random.key(0), 8)`), initial
        gains, learning rates, or several of them.
      x: inputs, the same for all.
      y: targets, the same for all.
      optimizer: an optax transformation, with a state for each member; or a function that makes one from a member, such
        as `lambda member: optax.sgd(member["lr"])`.
      steps: as in `record`.
      layers: as in `record`.
      pairs: as in `record`.
      at: as in `record`.
      kept: as in `record`.
      loss: as in `record`.
      batch_size: as in `record`; each member draws on its own.
      key: as in `record`; that of member `i` is `jax.random.fold_in(key, i)`.
      evaluate: as in `record`.
      together: take each step of all members at the same time (`vmap`), or train one member after the other, in one
        program either way. By default together, but on a CPU not with kernels of more than 10 000 entries.
      progress: as in `record`.

    Returns:
      `Recordings`: arrays have a leading axis of members; `.member(i)` is a `Recording`. There is a `RuntimeWarning`
      that names members which diverged.

    Raises:
      ValueError: as in `record`, and for members without a common leading axis.
      TypeError: as in `record`.

    Example:
      >>> from flax import nnx
      >>> from jaxalign.dynamics.networks import MLP
      >>> from jaxalign.dynamics.settings import two_points
      >>> build = lambda gain: MLP(width=20, hidden=2, rngs=nnx.Rngs(0), gain=gain)
      >>> runs = record_many(build, jnp.array([0.2, 2.0]), *two_points(), optimizer=optax.sgd(0.1), steps=300)
      >>> runs.h.shape, bool(runs.h[0, 0, 0, 0] < runs.h[1, 0, 0, 0])
      ((2, 301, 2, 1), True)

    Reference:
      van Rossem and Saxe (2024), arXiv:2402.09142.
    """
    members = jax.tree.map(jnp.asarray, members)
    sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(members)}
    if len(sizes) != 1 or sizes <= {(), (0,)}:
        raise ValueError(
            f"record_many: members must be arrays with a common leading axis, got shapes "
            f"{[leaf.shape for leaf in jax.tree.leaves(members)]}"
        )
    count = sizes.pop()[0]
    networks: list[Network] = []

    def make(member: Any) -> tuple[Any, Any]:
        network, params, rest = as_network("record_many", build(member))
        networks.append(network)
        return params, rest

    weights = jax.vmap(make)(members)
    one = jax.tree.map(lambda leaf: leaf[0], weights)
    program, data, plan = checked_recording(
        "record_many",
        (networks[0], *one),
        x,
        y,
        steps=steps,
        layers=layers,
        pairs=pairs,
        at=at,
        kept=kept,
        key=key,
        optimizer=optimizer,
        loss=loss,
        batch_size=batch_size,
        evaluate=evaluate,
        members=count,
        together=together,
    )
    training, fields = _run(program, data, weights, members, plan, progress)
    _warn_of_divergence("record_many", plan, fields["loss"], training)
    return Recordings(
        **_shared(data, plan, program), **fields, network=networks[0], weights=(training.params, training.rest)
    )


def _run(
    program: Program, data: Data, weights: tuple[Any, Any], member: Any, plan: Plan, progress: bool | None
) -> tuple[Training, dict[str, Any]]:
    """Training at its end, and what was recorded on the way, with a leading axis of members (one for one model)."""
    training = start(program, data, weights, member)
    points = len(plan.points)
    size = -(-points // 50) if is_shown(points, progress) else points
    parts = []
    with progress_bar(plan.steps, doing="training", show=progress) as tick:
        for first in range(0, points, size):
            schedule = plan.schedule(first, first + size)
            training, measured = train(program, data, training, schedule, member)
            parts.append(_with_members(program, measured))
            tick(int(schedule.next[-1] - schedule.step[0]))
    last, seen = look(program, data, training, jnp.asarray(plan.steps))
    parts.append(jax.tree.map(lambda a: a[:, None], _with_members(program, last)))
    rows = plan.rows()
    measured = jax.tree.map(lambda *a: np.concatenate(a, 1)[:, rows], *parts)
    fields: dict[str, Any] = {f.name: getattr(measured, f.name) for f in dataclasses.fields(Measured)}
    fields.update(activations={}, outputs=None)
    if program.kept:
        kept = _with_members(program, training.kept)
        if plan.kept[-1] == plan.steps:  # the end has no step of training, in which it would be kept
            seen = _with_members(program, seen)
            kept = jax.tree.map(lambda a, b: np.concatenate([a[:, : program.kept - 1], b[:, None]], 1), kept, seen)
        outputs, found = jax.tree.map(lambda a: a[:, : program.kept], kept)
        fields.update(outputs=outputs, activations=dict(zip(program.layers, found, strict=True)))
    return training, fields


def _with_members(program: Program, tree: Any) -> Any:
    """NumPy arrays with a leading axis of members."""
    return jax.tree.map(lambda a: np.asarray(a) if program.many else np.asarray(a)[None], tree)


def _shared(data: Data, plan: Plan, program: Program) -> dict[str, Any]:
    """What all members have in common."""
    pairs = np.asarray(data.pairs)

    def distances(rows: Array) -> np.ndarray:
        flat = np.asarray(widen(rows) if jnp.issubdtype(rows.dtype, jnp.floating) else rows.astype(float))
        flat = flat.reshape(len(flat), -1)
        return np.sum((flat[pairs[:, 1]] - flat[pairs[:, 0]]) ** 2, 1)

    return {
        "steps": plan.at,
        "layers": program.layers,
        "pairs": pairs,
        "dx2": distances(data.x),
        "dy2": distances(data.y),
        "kept_steps": plan.kept,
    }


def _warn_of_divergence(function: str, plan: Plan, losses: np.ndarray, training: Training) -> None:
    """Say so if a recorded loss or a parameter at the end is NaN or infinite; losses are `(M, T)`."""
    wrong = ~np.isfinite(losses)
    leaves = [np.asarray(jnp.isfinite(leaf)).reshape(len(losses), -1) for leaf in jax.tree.leaves(training.params)]
    lost = wrong.any(1) | ~np.all([leaf.all(1) for leaf in leaves], 0)
    if not lost.any():
        return
    first = int(np.argmax(lost))
    if wrong[first].any():
        found = int(np.argmax(wrong[first]))
        what = f"the loss before step {plan.at[found]} was not finite"
        if len(plan.at) != plan.steps + 1:
            what += ", the first recorded one that was not"
    else:
        what = f"the parameters after the last step, {plan.steps - 1}, were not finite"
    of = "" if function == "record" else f"members {np.flatnonzero(lost).tolist()} diverged; of member {first} "
    warnings.warn(
        f"{function}: {of}{what}. A smaller learning rate may help, or optax.clip_by_global_norm",
        RuntimeWarning,
        stacklevel=3,
    )
