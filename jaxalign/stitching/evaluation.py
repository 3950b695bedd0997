"""A stitch on held-out rows: its risk, that of both models, and that of maps which know nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import as_array, describe
from jaxalign._core.keys import as_key
from jaxalign._core.numerics import accum_dtype
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.stitching.controls import Stitcher, best_ridge, control_maps, fitted
from jaxalign.stitching.heads import Head, as_head
from jaxalign.stitching.losses import Loss, zero_one
from jaxalign.stitching.maps import LinearStitch
from jaxalign.stitching.risk import MeanRisk, apply_head, check_targets, example_losses, mean_risk
from jaxalign.stitching.row_split import two_sides
from jaxalign.stitching.rows import check_layers


@dataclass(frozen=True, eq=False)
class MapEvaluation:
    """What the head makes of the activations that one map gives it.

    Attributes:
      risk: mean loss.
      accuracy: share of the predictions that are right; NaN unless targets are integer labels.
      agreement: share of the predictions that are those of the intact model; likewise.
      misalignment: mean squared distance of mapped activations from those of the target layer, of one row, token or
        pixel; NaN for models that do not go through that layer.
      r_squared: 1 less the misalignment over that of the mean of the rows fitted on; can be negative.
    """

    risk: MeanRisk
    accuracy: float
    agreement: float
    misalignment: float = math.nan
    r_squared: float = math.nan

    def to_dict(self) -> dict[str, float]:
        """The numbers by name."""
        return {
            "risk": float(self.risk),
            "standard_error": float(self.risk.standard_error),
            "accuracy": self.accuracy,
            "agreement": self.agreement,
            "misalignment": self.misalignment,
            "r_squared": self.r_squared,
        }


@dataclass(frozen=True, eq=False)
class StitchEvaluation:
    """A stitched model beside both models and controls, on rows that nothing was fitted to; printed as a table.

    Attributes:
      stitch: the map that was fitted, as it was evaluated: of an NNX module a copy, with stored statistics and without
        dropout.
      stitched: the stitched model: source up to its layer, the map, the head of the target.
      intact: the target model: the same head on its own activations.
      source: the source model, with its own head; None without one.
      probe: ridge regression from the source layer straight to the targets, one-hot for labels (then without a risk);
        None where targets have not one row for each of the source. Beside a linear head it tells what the stitched
        model knows from the source alone.
      controls: maps in place of the stitch; see `control_maps`.
      excess: risk of `stitched` less that of `intact`, with the error of the paired difference: what changing the
        representation costs the head. Can be negative.
      excess_over_source: less that of `source`: what changing the head costs the representation; None without one.
      fitted_rows: row numbers that maps were fitted on.
      held_out_rows: those that everything here was computed on; the same when nothing was held out.
    """

    stitch: Callable[[Array], Array]
    stitched: MapEvaluation
    intact: MapEvaluation
    source: MapEvaluation | None
    probe: MapEvaluation | None
    controls: dict[str, MapEvaluation]
    excess: MeanRisk
    excess_over_source: MeanRisk | None
    fitted_rows: np.ndarray
    held_out_rows: np.ndarray

    @property
    def in_sample(self) -> bool:
        """Whether the numbers are of the rows that maps were fitted on, and so too good."""
        return np.array_equal(self.fitted_rows, self.held_out_rows)

    @property
    def accuracy_drop(self) -> float:
        """The stitching penalty: accuracy of the intact model less that of the stitched one; NaN without labels."""
        return self.intact.accuracy - self.stitched.accuracy

    @property
    def models(self) -> dict[str, MapEvaluation]:
        """Everything that was evaluated, by name, in the order of the table."""
        models = {
            "stitched": self.stitched,
            "intact target": self.intact,
            "source model": self.source,
            "linear probe": self.probe,
            **self.controls,
        }
        return {name: model for name, model in models.items() if model is not None}

    def to_dict(self) -> dict[str, Any]:
        """All numbers, without the map and the rows."""
        over_source = self.excess_over_source
        return {
            "models": {name: model.to_dict() for name, model in self.models.items()},
            "excess": float(self.excess),
            "excess_standard_error": float(self.excess.standard_error),
            "excess_over_source": None if over_source is None else float(over_source),
            "accuracy_drop": self.accuracy_drop,
            "examples_fitted": len(self.fitted_rows),
            "examples_held_out": 0 if self.in_sample else len(self.held_out_rows),
            "in_sample": self.in_sample,
        }

    def __str__(self) -> str:
        columns = ("risk", "±", "accuracy", "agreement", "misalignment", "R²")
        lines = [["", *columns]]
        for name, model in self.models.items():
            lines.append([name, *("" if value != value else f"{value:.4g}" for value in model.to_dict().values())])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rows = [f"{line[0]:<{widths[0]}}  " + "  ".join(map(str.rjust, line[1:], widths[1:])) for line in lines]
        count = len(self.held_out_rows)
        where = "examples fitted on, so too good" if self.in_sample else "held-out examples"
        excess = f"{float(self.excess):.4g} ± {float(self.excess.standard_error):.2g}"
        return "\n".join([*(row.rstrip() for row in rows), f"{count} {where}; excess risk {excess}"])


def evaluate_stitch(
    x: Float[Array, "n *axes p"],
    y: Float[Array, "n *axes q"],
    head: Any = None,
    targets: Float[Array, "n *axes"] | Int[Array, "n *axes"] | None = None,
    *,
    key: Array | int,
    stitcher: Stitcher = best_ridge,
    source_head: Any = None,
    loss: Loss | None = None,
    held_out: float | Int[Array, "m"] | Bool[Array, "n"] = 0.5,
    mask: Bool[Array, "n"] | None = None,
) -> StitchEvaluation:
    r"""Fit a map between two layers, and report on other rows what it costs the head that comes after it.

    $$\text{excess} = R_2(g_2 \circ s \circ f_1) - R_2(g_2 \circ f_2), \qquad
      \text{over source} = R_2(g_2 \circ s \circ f_1) - R_1(g_1 \circ f_1)$$

    The two differ: the first changes the representation and keeps the head, the second the other way round. Beside
    them stand controls that are fitted in the same way: a head may do well on anything of the right mean.

    Args:
      x: activations of the source layer, examples first: rows, tokens or feature maps.
      y: activations of the target layer, of the same kind, same examples.
      head: the rest of the target model, as in `stitching_error`; None for nothing: then `y` itself are the targets,
        with squared loss.
      targets: integer labels or numbers, one row for each example; with a head.
      key: a PRNG key, or an integer to make one from, for the held-out rows and for controls.
      stitcher: any function of `x` and `y` that returns a map, such as
        `functools.partial(jaxalign.stitching.ridge, penalty=0.1)`; by default the best of a path of ridge regressions.
      source_head: the rest of the source model.
      loss: as in `stitching_error`.
      held_out: the share of the examples to report on, drawn with `key`; or their row numbers, or a mask of them.
        Nothing is fitted to them. 0 reports on the rows fitted on, and says so.
      mask: shape `(n,)`; examples with `False` are left out altogether.

    Returns:
      A `StitchEvaluation`. Not for use inside `jit`.

    Raises:
      ValueError: for layers that are not paired, targets of another length, labels that the head has no output for,
        widths that do not fit, fewer than 2 examples on a side of the split; with `held_out=0`, for a
        `LinearStitch` with `overfit`: more than one degree of freedom for two rows.
      TypeError: for a head or a stitcher that cannot be called.

    Example:
      >>> x = jax.random.normal(jax.random.key(0), (200, 4))
      >>> y = x[:, ::-1] * 2 + 1
      >>> labels = jnp.argmax(y, axis=1)
      >>> result = evaluate_stitch(x, y, lambda z: z, labels, key=0)
      >>> result.stitched.accuracy, result.controls["mean"].accuracy < 0.5
      (1.0, True)

    Reference:
      Bansal et al. (2021), arXiv:2106.07682; the two kinds of excess: Insulla et al. (2025), arXiv:2502.14047. The set
      of controls was put together for this project.
    """
    x, y = as_array("evaluate_stitch", "x", x), as_array("evaluate_stitch", "y", y)
    check_layers("evaluate_stitch", x, y)
    if (head is None) != (targets is None):
        raise ValueError("evaluate_stitch: head and targets go together; give both, or neither")
    headless = head is None
    targets = y if targets is None else as_array("evaluate_stitch", "targets", targets)
    check_targets("evaluate_stitch", x, targets)
    split_key, control_key = jax.random.split(as_key("evaluate_stitch", key))
    fit_rows, test_rows = two_sides("evaluate_stitch", x.shape[0], held_out, mask, split_key)
    x_fit, y_fit, targets_fit = x[fit_rows], y[fit_rows], targets[fit_rows]

    stitch = fitted("evaluate_stitch", stitcher, x_fit, y_fit)
    if fit_rows is test_rows:
        _refuse_overfit(stitch)
    controls = control_maps(stitcher, x_fit, y_fit, key=control_key)
    head = as_head("evaluate_stitch", _unchanged if headless else head)
    jury = _HeldOut.of(x[test_rows], y[test_rows], head, targets[test_rows], loss, controls["mean"])
    if jury.labeled:
        _check_labels(targets[np.union1d(fit_rows, test_rows)], jury.intact.shape[-1])
    stitched, stitched_losses = jury.map(stitch)
    intact, intact_losses = jury.outputs(jury.intact)
    source = over_source = None
    if source_head is not None:
        source_head = as_head("evaluate_stitch", source_head)
        source, source_losses = jury.outputs(apply_head("evaluate_stitch", source_head, jury.x, "the source layer"))
        over_source = mean_risk(stitched_losses - source_losses)
    return StitchEvaluation(
        stitch=stitch,
        stitched=stitched,
        intact=intact,
        source=source,
        probe=None if headless else jury.probe(x_fit, targets_fit),
        controls={name: jury.map(control)[0] for name, control in controls.items()},
        excess=mean_risk(stitched_losses - intact_losses),
        excess_over_source=over_source,
        fitted_rows=fit_rows,
        held_out_rows=test_rows,
    )


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """Held-out examples, and how models are judged on them.

    Attributes:
      x: the source layer.
      y: the target layer.
      head: what comes after that.
      targets: one row for each example.
      loss: None for the default.
      intact: what the head makes of `y`.
      spread: misalignment of the mean of the rows fitted on.
      labeled: whether targets are the number of the right output.
    """

    x: Array
    y: Array
    head: Head
    targets: Array
    loss: Loss | None
    intact: Array
    spread: float
    labeled: bool

    @classmethod
    def of(cls, x: Array, y: Array, head: Head, targets: Array, loss: Loss | None, mean: Any) -> _HeldOut:
        intact = apply_head("evaluate_stitch", head, y, "the target layer")
        labeled = jnp.issubdtype(targets.dtype, jnp.integer) and targets.shape == intact.shape[:-1]
        return cls(x, y, head, targets, loss, intact, _misalignment(mean(x), y), labeled)

    def map(self, stitch: Any) -> tuple[MapEvaluation, Float[Array, "n"]]:
        """A map in front of the head, and its losses."""
        mapped = stitch(self.x)
        if getattr(mapped, "shape", None) != self.y.shape:
            raise ValueError(
                f"evaluate_stitch: stitcher must return a map onto the target layer, {self.y.shape} for these "
                f"examples, got one onto {describe(mapped)}"
            )
        evaluation, losses = self.outputs(self.head(mapped))
        misalignment = _misalignment(mapped, self.y)
        r_squared = 1 - misalignment / self.spread if self.spread > 0 else math.nan
        return replace(evaluation, misalignment=misalignment, r_squared=r_squared), losses

    def outputs(self, outputs: Array) -> tuple[MapEvaluation, Float[Array, "n"]]:
        """A model by its outputs, and its losses."""
        losses = example_losses("evaluate_stitch", outputs, self.targets, self.loss)
        return MapEvaluation(mean_risk(losses), *self._predictions(outputs)), losses

    def probe(self, x: Array, targets: Array) -> MapEvaluation | None:
        """Ridge regression on targets of the rows fitted on."""
        if self.labeled and targets.shape == x.shape[:-1]:
            outputs = best_ridge(x, jax.nn.one_hot(targets, self.intact.shape[-1], dtype=accum_dtype(x)))(self.x)
            unknown = jnp.asarray(math.nan, outputs.dtype)
            return MapEvaluation(MeanRisk(unknown, unknown, unknown), *self._predictions(outputs))
        if jnp.issubdtype(targets.dtype, jnp.floating) and targets.shape[:-1] == x.shape[:-1]:
            return self.outputs(best_ridge(x, targets)(self.x))[0]
        return None

    def _predictions(self, outputs: Array) -> tuple[float, float]:
        """Accuracy and agreement with the intact model."""
        if not self.labeled or outputs.shape != self.intact.shape:
            return math.nan, math.nan
        wrong, other = (np.asarray(zero_one(outputs, truth), float) for truth in (self.targets, self.intact))
        return 1 - float(wrong.mean()), 1 - float(other.mean())


def _misalignment(mapped: Array, y: Array) -> float:
    """Mean squared distance of rows."""
    return float(jnp.mean(jnp.sum((mapped - y.astype(mapped.dtype)) ** 2, axis=-1)))


def _check_labels(labels: Array, outputs: int) -> None:
    lowest, highest = int(jnp.min(labels)), int(jnp.max(labels))
    if lowest < 0 or highest >= outputs:
        wrong = lowest if lowest < 0 else highest
        raise ValueError(
            f"evaluate_stitch: targets must be labels from 0 to {outputs - 1}, of the {outputs} outputs of the head, "
            f"got {wrong}"
        )


def _refuse_overfit(stitch: Any) -> None:
    """Raise when a map that says so has too many degrees of freedom to be judged by its own rows."""
    if isinstance(stitch, LinearStitch) and bool(stitch.overfit):
        freedom = float(stitch.degrees_of_freedom)
        known = f"{freedom:.4g}" if freedom == freedom else f"about {int(stitch.rank) + 1}"
        raise ValueError(
            f"evaluate_stitch: held_out must not be 0 for a map with {known} degrees of freedom for "
            f"{float(stitch.examples):.4g} rows, more than one for two: it says nothing about other rows; "
            "hold out some, or take a larger penalty or a smaller rank"
        )


def _unchanged(x: Array) -> Array:
    return x
