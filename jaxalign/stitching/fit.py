"""Training one stitching module."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxalign._core.checks import check_integer
from jaxalign._core.progress import is_shown, progress_bar
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.stitching.checkpoint import Checkpoints, data_digest, package_versions, program_digest
from jaxalign.stitching.fit_arguments import check_penalty, checked_key, checked_problem, checked_task
from jaxalign.stitching.held_out_rows import held_out_examples, held_out_share, look_steps, split_rows
from jaxalign.stitching.losses import Loss
from jaxalign.stitching.objective import Examples, Problem, Weights, mean_loss
from jaxalign.stitching.training import Training, advance, divergence_hint, row_order, start, train


@dataclass(frozen=True, eq=False)
class FitResult:
    """A trained stitching module, and how it came about.

    Attributes:
      module: the trained module: that of the last step; with `patience`, that of `best_step`; if training diverged, the
        last one whose loss was finite.
      losses: what was minimized, before each step, shape `(steps taken,)`; if training diverged, the last entry is that
        of the step at which it did.
      held_out_losses: mean losses of the held-out rows, without penalty, shape `(looks,)`.
      held_out_steps: after how many steps, shape `(looks,)`; the first is 0.
      best_step: the step with the least held-out loss; None without held-out rows.
      stopped_at: how many steps were taken.
      diverged_at: the step, from 0, whose loss was NaN or infinite, or that led to such parameters; None if there was
        none.
    """

    module: Any
    losses: np.ndarray
    held_out_losses: np.ndarray
    held_out_steps: np.ndarray
    best_step: int | None
    stopped_at: int
    diverged_at: int | None


@pytree_dataclass
class _Run:
    """All that a run needs to go on.

    Attributes:
      step: steps taken.
      training: where training is.
      losses: room for one a step.
      held_out: room for one a look, NaN before it.
      best: weights of the look with the least held-out loss.
      best_look: which look that was.
      finished: patience is at its end.
    """

    step: Any
    training: Training
    losses: Array
    held_out: np.ndarray
    best: Weights
    best_look: Any
    finished: Any


def fit(
    module: nnx.Module,
    x: Float[Array, "n *p"],
    y: Float[Array, "n *q"] | None = None,
    *,
    optimizer: optax.GradientTransformation,
    steps: int,
    head: Any = None,
    labels: Int[Array, "n *axes"] | Float[Array, "n *axes"] | None = None,
    loss: Loss | None = None,
    penalty: float = 0.0,
    key: Any = None,
    batch_size: int | None = None,
    accumulate: int = 1,
    mask: Bool[Array, "n"] | None = None,
    weights: Float[Array, "n"] | None = None,
    held_out: float | tuple[Any, Any] | None = None,
    evaluate_every: int | None = None,
    patience: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    progress: bool | None = None,
) -> FitResult:
    r"""Train a stitching module between the activations of one network and the rest of another.

    $$\min_s \; \frac{\sum_i w_i\, \ell(g(s(x_i)), t_i)}{\sum_i w_i} + \lambda \sum_K \|K\|_F^2$$

    with a head $g$, which is not trained, and targets $t$: the labels, if there are some; else $g(y)$, what the intact
    model makes of its own activations; without a head, $y$ itself. The penalty is on all parameters with two or more
    axes, so on kernels, not on biases and scales: with `Affine` and without a head the minimum is the ridge
    regression $(\Sigma_{xx} + \lambda)^{-1} \Sigma_{xy}$ on centered moments over $n$; of `LowRank` both factors are
    penalized, which is $2 \lambda$ times the nuclear norm of their product; of `Orthogonal` the rotation away from
    its start.

    Only `nnx.Param` is trained. Dropout and statistics of batches work as in any training, and are off for held-out
    rows. The same program serves other data of the same shape, and other heads of the same structure, as long as
    `optimizer` and `loss` are the same objects. Data that are sharded over devices by example (over automatic mesh
    axes) are trained on where they are.

    Args:
      module: any NNX module that maps `x`; it stays as it is.
      x: activations that come in, shape `(n, ..., p)`; row `i` is example `i`.
      y: activations that the head takes, same examples in the same order; may be left out with labels, which come
        before it.
      optimizer: an optax transformation, also those that search along a line.
      steps: how often it steps, at least 1.
      head: what comes after the module: a function, an NNX module (a copy is evaluated), or a pair of a Linen module
        and its variables; None for nothing.
      labels: integers or numbers, for which the loss is made, one row for each of `x`.
      loss: `squared`, `cross_entropy`, `kl_divergence` (without labels: to the predictions of the intact model), or any
        function from outputs and targets to one value for each example; by default cross-entropy for
        integer labels, else squared.
      penalty: $\lambda$, at least 0.
      key: a PRNG key, or an integer to make one from; needed with `batch_size` or a held-out fraction.
      batch_size: rows whose gradient is computed at a time, drawn without replacement in every epoch (what is left
        over at the end of an epoch is dropped); None for all of them, in every step.
      accumulate: gradients of so many batches are averaged for one step, as if the batch were as many times larger;
        without `batch_size`, all rows are cut into so many parts.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.
      weights: shape `(n,)`, at least 0; rows of weight 0 are padding.
      held_out: rows to look at, not to train on: their share between 0 and 1, drawn with `key`; or a pair `(x, y)`,
        with labels in place of `y` where there are labels.
      evaluate_every: steps between two looks at held-out rows; by default so that there are about 20. There is one
        before the first step and one after the last.
      patience: stop after so many looks in a row without a new least held-out loss, and take the module of the
        least; None trains to the end and takes the last.
      checkpoint: a folder to keep the state of the run in. The same call with the same folder goes on where it was,
        to the same numbers on the same machine; another call is refused.
      checkpoint_every: steps between two states that are kept; by default about a tenth of all.
      progress: show a progress bar; None shows one on a terminal.

    Returns:
      A `FitResult`: `.module`, `.losses` and more. If a loss or a new parameter is NaN or infinite, training stops
      there with a `RuntimeWarning`, and `.module` is the last one with a finite loss.

    Raises:
      ValueError: before anything is compiled: for rows, widths or labels that do not fit, settings out of range, or a
        checkpoint of another run.
      TypeError: for a module, optimizer or array that is none.

    Example:
      >>> from jaxalign.stitching import Affine
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> run = fit(Affine(3, 2, rngs=nnx.Rngs(0)), x, x[:, :2] + 1, optimizer=optax.adam(0.1), steps=200)
      >>> bool(run.losses[-1] < 1e-4), jnp.abs(run.module.bias[...] - 1).max().round(2).item()
      (True, 0.0)

    Reference:
      Lenc and Vedaldi (2015), arXiv:1411.5908; Bansal et al. (2021), arXiv:2106.07682; Csiszárik et al. (2021),
      arXiv:2110.14633.
    """
    check_integer("fit", "steps", steps, minimum=1)
    check_penalty("fit", "penalty", penalty)
    share = held_out_share(held_out)
    key = checked_key("fit", key, batch_size=batch_size, split=share is not None)
    looks = look_steps(steps, held_out, evaluate_every, patience)
    task, other = checked_task("fit", module, y, head=head, labels=labels, loss=loss, batch_size=batch_size)
    examples, loss = task.examples(x, other, mask, weights)
    looked_at = None
    if isinstance(held_out, tuple):
        looked_at = held_out_examples(replace(task, loss=loss), *held_out, like=examples)
    elif share is not None and key is not None:
        examples, looked_at = split_rows(examples, share, jax.random.fold_in(key, 0))
    graphdef, params, rest = nnx.split(module, nnx.Param, ...)
    problem = checked_problem(
        "fit",
        examples,
        task.head,
        graphdef,
        loss=loss,
        optimizer=optimizer,
        penalty=penalty,
        key=None if key is None else jax.random.fold_in(key, 1),
        batch_size=batch_size,
        accumulate=accumulate,
    )
    run = _first(problem, (params, rest), steps, len(looks))
    kept, every = None, steps
    if checkpoint is not None:
        every = -(-steps // 10) if checkpoint_every is None else checkpoint_every
        check_integer("fit", "checkpoint_every", every, minimum=1)
        look_every = int(looks[1]) if len(looks) else None
        facts = _facts(problem, run, looked_at, steps=steps, evaluate_every=look_every, patience=patience)
        kept = Checkpoints("fit", checkpoint, facts)
        run = kept.load(run) or run
    elif checkpoint_every is not None:
        raise ValueError("fit: checkpoint_every needs checkpoint, the folder to write to")
    try:
        run = _train(problem, run, looked_at, looks, steps, patience, kept, every, progress)
    finally:
        if kept is not None:
            kept.close()
    return _result(problem, run, looks, patience)


def _train(
    problem: Problem,
    run: _Run,
    looked_at: Examples | None,
    looks: np.ndarray,
    steps: int,
    patience: int | None,
    kept: Checkpoints | None,
    checkpoint_every: int,
    progress: bool | None,
) -> _Run:
    """The run at its end: of steps, of patience, or of finite losses."""
    tick_every = -(-steps // 50) if is_shown(steps, progress) else steps
    with progress_bar(steps, doing="training", show=progress) as tick:
        tick(int(run.step))
        while True:
            step = int(run.step)
            alive = bool(run.training.alive)
            if looked_at is not None and alive and step in looks and np.isnan(run.held_out[looks == step][0]):
                run = _look(problem, run, looked_at, int(np.flatnonzero(looks == step)[0]), patience)
            over = step == steps or bool(run.finished) or not alive
            if kept is not None and step and (over or step % checkpoint_every == 0):
                kept.save(step, run)
            if over:
                return run
            stops = [steps, *looks[looks > step][:1], *((step // n + 1) * n for n in (checkpoint_every, tick_every))]
            new, training, losses = train(
                problem, run.training, run.losses, jnp.asarray(step, jnp.int32), jnp.asarray(min(stops), jnp.int32)
            )
            run = replace(run, step=np.asarray(int(new)), training=training, losses=losses)
            tick(int(new) - step)


def _look(problem: Problem, run: _Run, looked_at: Examples, look: int, patience: int | None) -> _Run:
    """The run after the held-out rows were looked at."""
    value = float(mean_loss(problem, run.training.weights, looked_at))
    held_out = run.held_out.copy()
    held_out[look] = value if np.isfinite(value) else np.inf  # NaN stands for what was not looked at
    best, best_look = run.best, int(run.best_look)
    if look == 0 or held_out[look] < held_out[best_look]:
        best, best_look = run.training.weights, look
    finished = patience is not None and look - best_look >= patience
    return replace(run, held_out=held_out, best=best, best_look=np.asarray(best_look), finished=np.asarray(finished))


def _first(problem: Problem, weights: Weights, steps: int, looks: int) -> _Run:
    """The run before its first step."""
    dtype = jax.eval_shape(mean_loss, problem, weights, problem.examples).dtype
    return _Run(
        step=np.asarray(0),
        training=start(problem, weights),
        losses=jnp.full(steps, jnp.nan, dtype),
        held_out=np.full(looks, np.nan),
        best=weights,
        best_look=np.asarray(0),
        finished=np.asarray(False),
    )


def _result(problem: Problem, run: _Run, looks: np.ndarray, patience: int | None) -> FitResult:
    step, diverged = int(run.step), not bool(run.training.alive)
    looked = ~np.isnan(run.held_out)
    if diverged:
        last = run.losses[step - 1]
        what = "the parameters after step {} were" if bool(jnp.isfinite(last)) else "the loss of step {} was"
        warnings.warn(
            f"fit: {what.format(step - 1)} not finite; training stopped there, with the module of the last "
            f"finite loss. {divergence_hint(problem, last, first=step == 1)}",
            RuntimeWarning,
            stacklevel=3,
        )
    weights = run.best if patience is not None else run.training.weights
    return FitResult(
        module=nnx.merge(problem.graphdef, *weights, copy=True),
        losses=np.asarray(run.losses)[:step],
        held_out_losses=run.held_out[looked],
        held_out_steps=looks[looked],
        best_step=int(looks[int(run.best_look)]) if len(looks) else None,
        stopped_at=step - diverged,
        diverged_at=step - 1 if diverged else None,
    )


def _facts(problem: Problem, run: _Run, looked_at: Examples | None, **settings: Any) -> dict[str, Any]:
    """All that determines the numbers of a run, so that a checkpoint of another one is told from it."""
    order = None if problem.key is None else row_order(problem, jnp.asarray(0))
    return {
        **settings,
        "batch_size": problem.batch_size,
        "accumulate": problem.accumulate,
        "penalty": float(problem.penalty),
        "data": data_digest(problem.examples),
        "held-out data": data_digest(looked_at),
        "key": data_digest(problem.key),
        "start of the module": data_digest(run.training.weights),
        "parameters of the head": data_digest(problem.head),
        "module, head or loss": program_digest(mean_loss, problem, run.training.weights, problem.examples),
        "optimizer or what it steps on": program_digest(advance, problem, run.training, order, jnp.asarray(0)),
        "versions": package_versions(),
    }
