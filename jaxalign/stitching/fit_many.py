"""Training one kind of stitching module from many seeds and with many penalties, in one program."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxalign._core.checks import check_integer, describe
from jaxalign._core.numerics import accum_dtype
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.stitching.fit_arguments import checked_key, checked_keys, checked_penalties, checked_problem, checked_task
from jaxalign.stitching.held_out_rows import held_out_examples
from jaxalign.stitching.losses import Loss
from jaxalign.stitching.objective import Weights, mean_loss
from jaxalign.stitching.training import divergence_hint, start, train


@dataclass(frozen=True, eq=False)
class FitMany:
    """Trained stitching modules that differ in their seed and their penalty.

    Members are in the order of keys, and for each key in that of penalties.

    Attributes:
      losses: what was minimized, before each step, shape `(members, steps)`; NaN after the step at which a member
        diverged.
      held_out_losses: of the trained modules on the held-out rows, without penalty, shape `(members,)`; None without
        such rows.
      seeds: which of the keys each member had, shape `(members,)`.
      penalties: which penalty each member had, shape `(members,)`.
      diverged: whose loss or parameters were NaN or infinite after some step, shape `(members,)`.
      graphdef: the structure of all modules.
      weights: their parameters and what else they hold, with a leading axis of members.
    """

    losses: np.ndarray
    held_out_losses: np.ndarray | None
    seeds: np.ndarray
    penalties: np.ndarray
    diverged: np.ndarray
    graphdef: nnx.GraphDef
    weights: Weights

    def member(self, index: int) -> Any:
        """The trained module of one member."""
        return nnx.merge(self.graphdef, *jax.tree.map(lambda leaf: leaf[index], self.weights), copy=True)

    def best_index(self) -> int:
        """The member with the least held-out loss; without held-out rows, with the least last training loss.

        Raises:
          ValueError: when training diverged for all.
        """
        losses = self.losses[:, -1] if self.held_out_losses is None else self.held_out_losses
        losses = np.where(self.diverged | ~np.isfinite(losses), np.nan, losses)
        if np.all(np.isnan(losses)):
            raise ValueError("FitMany.best_index: training diverged for all members")
        return int(np.nanargmin(losses))

    def best(self) -> Any:
        """The trained module of the member `best_index()`."""
        return self.member(self.best_index())


def fit_many(
    make: Callable[[Array], nnx.Module],
    x: Float[Array, "n *p"],
    y: Float[Array, "n *q"] | None = None,
    *,
    keys: Array | Sequence[Any],
    penalties: Sequence[float] | Float[Array, "m"] = (0.0,),
    optimizer: optax.GradientTransformation,
    steps: int,
    head: Any = None,
    labels: Int[Array, "n *axes"] | Float[Array, "n *axes"] | None = None,
    loss: Loss | None = None,
    batch_size: int | None = None,
    accumulate: int = 1,
    mask: Bool[Array, "n"] | None = None,
    weights: Float[Array, "n"] | None = None,
    held_out: tuple[Any, Any] | None = None,
) -> FitMany:
    r"""Train a module from every key and with every penalty, as `fit` does, all at once.

    $$\min_{s_{km}} \frac{\sum_i w_i\, \ell(g(s_{km}(x_i)), t_i)}{\sum_i w_i} + \lambda_m \sum_K \|K\|_F^2$$

    Args:
      make: makes the module from a key, such as `lambda key: Affine(8, 4, rngs=nnx.Rngs(key))`; modules may differ in
        their weights only.
      x: activations that come in, shape `(n, ..., p)`.
      y: activations that the head takes, same examples in the same order; may be left out with labels.
      keys: PRNG keys, or integers to make them from; each is for the module and for the order of its batches.
      penalties: of the squared entries of all kernels, each at least 0.
      optimizer: an optax transformation; its state is separate for each member.
      steps: how often it steps, at least 1.
      head: what comes after the module, as in `fit`.
      labels: what the loss is made for, as in `fit`.
      loss: as in `fit`.
      batch_size: rows whose gradient is computed at a time, drawn for each key on its own; None for all of them.
      accumulate: how many batches make one step.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.
      weights: shape `(n,)`, at least 0; rows of weight 0 are padding.
      held_out: a pair `(x, y)`, with labels in place of `y` where there are labels, to choose the best member by.

    Returns:
      A `FitMany`: `.losses` `(members, steps)`, `.member(i)`, `.best()` and more. A member whose loss or new
      parameters are NaN or infinite stops there with its last good weights, and there is a `RuntimeWarning`.

    Raises:
      ValueError: for rows, widths or labels that do not fit, settings out of range, or modules of different structure.
      TypeError: for a module, key, optimizer or array that is none.

    Example:
      >>> from jaxalign.stitching import Affine
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> settings = {"optimizer": optax.adam(0.1), "steps": 200}
      >>> make = lambda key: Affine(3, 2, rngs=nnx.Rngs(key))
      >>> runs = fit_many(make, x, x[:, :2], keys=[0, 1], penalties=[0.0, 1.0], **settings)
      >>> runs.losses.shape, int(runs.penalties[runs.best_index()])
      ((4, 200), 0)
    """
    check_integer("fit_many", "steps", steps, minimum=1)
    key_list, penalty_list = checked_keys("fit_many", keys), checked_penalties("fit_many", penalties)
    if not key_list or not penalty_list:
        raise ValueError("fit_many: keys and penalties must hold at least one each")
    checked_key("fit_many", key_list[0], batch_size=batch_size)
    modules = [make(key) for key in key_list]
    task, other = checked_task("fit_many", modules[0], y, head=head, labels=labels, loss=loss, batch_size=batch_size)
    examples, loss = task.examples(x, other, mask, weights)
    parts = [nnx.split(module, nnx.Param, ...) for module in modules]
    graphdef = parts[0][0]
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), part[1:]) for part in parts]
    if any(part[0] != graphdef or shape != shapes[0] for part, shape in zip(parts, shapes, strict=True)):
        raise ValueError("fit_many: make must give modules that differ in their weights only")
    seeds, chosen = (np.asarray(a).ravel() for a in np.indices((len(key_list), len(penalty_list))))
    every = jax.tree.map(lambda *leaves: jnp.stack(leaves)[seeds], *(part[1:] for part in parts))
    looked_at = None
    if held_out is not None:
        if not isinstance(held_out, tuple) or len(held_out) != 2:
            raise TypeError(f"fit_many: held_out must be a pair (x, y), got {describe(held_out)}")
        looked_at = held_out_examples(replace(task, loss=loss), *held_out, like=examples)
    penalty = jnp.asarray(penalty_list, accum_dtype(examples.x))[chosen]
    problem = checked_problem(
        "fit_many",
        examples,
        task.head,
        graphdef,
        loss=loss,
        optimizer=optimizer,
        penalty=penalty,
        key=jnp.stack([jax.random.fold_in(key, 1) for key in key_list])[seeds],
        batch_size=batch_size,
        accumulate=accumulate,
    )
    first = jax.vmap(lambda weights: start(problem, weights))(every)
    dtype = jax.eval_shape(mean_loss, problem, parts[0][1:], examples).dtype
    losses = jnp.full((len(seeds), steps), jnp.nan, dtype)
    _, training, losses = train(
        problem, first, losses, jnp.asarray(0, jnp.int32), jnp.asarray(steps, jnp.int32), many=True
    )
    diverged = ~np.asarray(training.alive)
    if np.any(diverged):
        hint = divergence_hint(problem, losses[int(np.argmax(diverged)), 0], first=True)
        warnings.warn(
            f"fit_many: the loss or the parameters of members {np.flatnonzero(diverged).tolist()} were not finite; "
            f"they stopped, with the weights of the last finite loss. {hint}",
            RuntimeWarning,
            stacklevel=2,
        )
    looks = None
    if looked_at is not None:
        looks = np.asarray(jax.vmap(lambda weights: mean_loss(problem, weights, looked_at))(training.weights))
    return FitMany(
        losses=np.asarray(losses),
        held_out_losses=looks,
        seeds=seeds,
        penalties=np.asarray(penalty_list)[chosen],
        diverged=diverged,
        graphdef=graphdef,
        weights=training.weights,
    )
