"""What bounds on stitching risk are made of: outputs and risks of both models, and how bounds are judged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxalign._core.numerics import fill_rows, widen
from jaxalign._core.typing import Array, Float, Scalar
from jaxalign.stitching.certificates.lipschitz_losses import LipschitzLoss, hinge, logistic, multiclass_hinge
from jaxalign.stitching.certificates.sharpened import sharpened_bound
from jaxalign.stitching.certificates.slopes import check_constant, largest_slope
from jaxalign.stitching.heads import as_head
from jaxalign.stitching.losses import cross_entropy, squared
from jaxalign.stitching.risk import apply_head, check_targets, example_losses
from jaxalign.stitching.rows import example_lengths


@dataclass(frozen=True)
class MeasuredTask:
    """Numbers of a stitched model on its task, NaN where they are not known; as in `Certificate`."""

    risk: float
    residual: float
    squared_loss: bool
    loss_lipschitz: float = math.nan
    stitched_risk: float = math.nan
    discrepancy: float = math.nan
    spread: float = math.nan
    baseline: float = math.nan
    local_lipschitz: float = math.nan
    sharpened: float = math.nan

    def bound(self, reach: float) -> float:
        """The most that outputs can cost that are `reach` away from those of the intact model."""
        if self.squared_loss:
            return (math.sqrt(self.risk) + reach) ** 2
        return self.risk + self.loss_lipschitz * reach

    def says_something(self, reach: float, bound: float) -> bool | None:
        """Whether a bound is below what a constant output costs; None where neither is known."""
        if math.isnan(reach) and math.isnan(bound):
            return False
        if not math.isnan(self.baseline):
            return bound < self.baseline
        if math.isnan(self.spread) or not math.isfinite(bound):
            return None if math.isnan(self.spread) else False
        if not self.squared_loss:
            return reach < self.spread
        # Targets are no farther from the outputs than the root of the risk: their spread is not below the difference.
        return bound < max(self.spread - math.sqrt(self.risk), 0.0) ** 2


def measured_task(
    function: str,
    head: Any,
    z2: Array,
    mapped: Array,
    shares: Float[Array, "n"],
    *,
    targets: Array | None,
    loss: LipschitzLoss | None,
    risk: Any,
    lipschitz: float | None,
    center: bool,
) -> MeasuredTask:
    """Outputs and risks of the intact and of the stitched model.

    Args:
      function: for messages.
      head: of both models, or None.
      z2: the layer that it reads; padding is filled.
      mapped: what the stitch makes of the other layer.
      shares: weights of the examples, of sum 1.
      targets: of the loss, or None.
      loss: None for the squared one.
      risk: of the intact model, where there are no targets.
      lipschitz: what is said to be the constant of the head.
      center: whether linear functions of the layer have a bias.

    Raises:
      ValueError: when slopes of the head are larger than that.
    """
    used = shares > 0
    moves, residual = _apart(shares, mapped, z2)
    residual = float(residual)
    if head is None:
        constant = math.nan if loss is None else loss.constant
        return MeasuredTask(float(risk), residual, squared_loss=loss is None, loss_lipschitz=constant)

    whole = as_head(function, head)
    raw = [apply_head(function, whole, z, source) for z, source in ((z2, "z2"), (mapped, "stitch"))]
    intact, stitched = map(widen, raw)
    power = 2 if loss is None else 1
    changes, change = _apart(shares, stitched, intact, power=power)
    check_constant(function, lipschitz, changes, moves, used, raw[0], z2)
    _, from_mean = _apart(shares, intact, power=power)
    discrepancy, spread = (float(v) ** (1 / power) for v in (change, from_mean))
    stitched_risk = baseline = sharpened = math.nan
    if targets is not None:
        check_targets(function, z2, targets)
        filled = fill_rows(targets, used)
        costs = squared if loss is None else loss.function
        risks = [example_losses(function, outputs, filled, costs) for outputs in (intact, stitched)]
        risk, stitched_risk = (float(jnp.sum(shares.astype(v.dtype) * v)) for v in risks)
        _check_targets_of(function, filled, intact, loss)
        baseline = _constant_risk(filled, shares, loss)
        if loss is None:
            sharpened = sharpened_bound(z2, intact, stitched, filled, shares, center=center)
    return MeasuredTask(
        risk=float(risk),
        stitched_risk=stitched_risk,
        discrepancy=discrepancy,
        spread=spread,
        baseline=baseline,
        residual=residual,
        local_lipschitz=largest_slope(changes, moves, used, lipschitz),
        loss_lipschitz=math.nan if loss is None else loss.for_outputs(intact),
        sharpened=sharpened,
        squared_loss=loss is None,
    )


@partial(jax.jit, static_argnames=("power",))
def _apart(
    shares: Float[Array, "n"], x: Array, y: Array | None = None, *, power: int = 2
) -> tuple[Float[Array, "n"], Scalar]:
    """How far each example is from the other, by default from the weighted mean, and the mean power of that."""
    x = widen(x)
    if y is None:
        y = jnp.tensordot(shares.astype(x.dtype), x, axes=1, precision=lax.Precision.HIGHEST)[None]
    lengths = example_lengths(x - widen(y)).astype(shares.dtype)
    return lengths, jnp.sum(shares * lengths**power)


def _check_targets_of(function: str, targets: Array, outputs: Array, loss: LipschitzLoss | None) -> None:
    """Raise for targets with which a loss would not have its constant; of the losses that are known here.

    Raises:
      ValueError: for labels out of range, probabilities of another sum than 1, signs that are none.
    """
    if loss is None:
        return
    values = np.asarray(targets, np.float64)
    if loss.function in (cross_entropy, multiclass_hinge) and jnp.issubdtype(targets.dtype, jnp.integer):
        if ((values < 0) | (values >= outputs.shape[-1])).any():
            raise ValueError(
                f"{function}: targets must be labels from 0 to {outputs.shape[-1] - 1}, one for each output, got "
                f"{int(values[(values < 0) | (values >= outputs.shape[-1])].flat[0])}"
            )
    elif loss.function is cross_entropy:
        sums = values.sum(axis=-1)
        if (values < 0).any() or (np.abs(sums - 1) > 1e-2).any():
            raise ValueError(
                f"{function}: targets must be probabilities of sum 1 for cross-entropy, got a row of sum "
                f"{sums.flat[np.abs(sums - 1).argmax()]:.4g}"
            )
    elif loss.function in (hinge, logistic) and not np.isin(values, (-1.0, 1.0)).all():
        raise ValueError(
            f"{function}: targets must be -1 or 1 for {loss.function.__name__}, got "
            f"{values[~np.isin(values, (-1.0, 1.0))].flat[0]:.4g}"
        )


def _constant_risk(targets: Array, shares: Array, loss: LipschitzLoss | None) -> float:
    """The risk of the best constant output, where it has a closed form."""
    if loss is None:
        return float(_apart(shares, targets.astype(shares.dtype))[1])
    if loss.function is cross_entropy and targets.ndim < 3:
        weights, labels = np.asarray(shares, np.float64), np.asarray(targets)
        if labels.ndim == 1:
            frequencies = np.bincount(labels[weights > 0], weights[weights > 0])
        elif jnp.issubdtype(targets.dtype, jnp.integer):
            return math.nan  # tokens
        else:
            frequencies = weights @ labels.astype(np.float64)
        frequencies = frequencies[frequencies > 0]
        return float(-(frequencies * np.log(frequencies)).sum())
    return math.nan


def judged(task: MeasuredTask, reaches: dict[str, float], *, degenerate: bool) -> tuple[str, str]:
    """What bounds are worth, and which of their ingredients makes them large; as in `Certificate`."""
    says = {tier: task.says_something(reach, task.bound(reach)) for tier, reach in reaches.items()}
    says["sharpened"] = task.says_something(math.nan, task.sharpened)
    if degenerate or math.isnan(task.risk) or math.isnan(task.residual):
        verdict = "degenerate"
    elif says["t3"] or says["t4"]:
        verdict = "certified"
    elif any(says.values()):
        verdict = "plausible"
    elif None in says.values():
        verdict = "undecided"
    else:
        verdict = "vacuous"
    known = [reaches[tier] for tier in ("t3", "t2", "t1") if not math.isnan(reaches[tier])]
    own = math.sqrt(task.risk) if task.squared_loss else task.risk
    weight = 1.0 if task.squared_loss else task.loss_lipschitz
    reach = known[0] if known else math.nan
    if own >= weight * reach:
        return verdict, "risk"
    if not math.isnan(reaches["t3"]) and own >= weight * reaches["t2"]:
        return verdict, "lipschitz"
    return verdict, "misalignment"
