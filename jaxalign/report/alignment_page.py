"""How two layers are aligned, as numbers and as the page that they are printed on."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from jaxalign._core.strict_json import without_nan
from jaxalign.report.alignment_directions import SHARE
from jaxalign.report.alignment_directions import DirectionReport as DirectionReport
from jaxalign.stitching.certificates.agreement import CertifiedAgreement
from jaxalign.stitching.certificates.certificate import TIERS, Certificate
from jaxalign.task import TaskAlignment

#: Columns of a printed page, at most.
WIDTH = 96
#: Of its first column, and of those beside it.
LABEL, CELL = 38, 22


@dataclass(frozen=True, eq=False)
class AlignmentReport:
    """How two layers are aligned, how sure that is, and what it guarantees; printed as a page.

    Attributes:
      examples: how many count.
      held_out_examples: how many of them nothing was fitted to, for numbers that say so.
      widths: features of both layers.
      cka: linear CKA.
      cka_standard_error: by the delta method; not to be trusted at the chance level.
      cka_chance: its mean over all orders of the examples.
      cka_pvalue: how many of 199 random orders, and this one, score as high.
      kernel_alignment: without centering.
      forward: from the first layer to the second.
      backward: from the second to the first.
      in_sample: bounds on the risk of the second model's head after the map from the first, least squares, on the rows
        fitted to; None without a head or a Lipschitz constant.
      held_out: the same on rows not fitted to, by ridge regression; None also where nothing is held out.
      agreement: predictions certified unchanged, on rows held out if there are any; None without classes, a head of
        several outputs or its constant.
      linear_probe: whether the head is linear and reaches all of its outputs: then the best stitched model is no more
        than a linear probe of the first layer.
      task: how both layers suit the targets, in sample; None without them.
      notes: what to mind, in words.
    """

    examples: int
    held_out_examples: int
    widths: tuple[int, int]
    cka: float
    cka_standard_error: float
    cka_chance: float
    cka_pvalue: float
    kernel_alignment: float
    forward: DirectionReport
    backward: DirectionReport
    in_sample: Certificate | None
    held_out: Certificate | None
    agreement: CertifiedAgreement | None
    linear_probe: bool
    task: tuple[TaskAlignment, TaskAlignment] | None
    notes: tuple[str, ...]

    @property
    def cka_adjusted(self) -> float:
        """CKA with its chance level taken off: 0 at chance, 1 at best."""
        return (self.cka - self.cka_chance) / (1 - self.cka_chance) if self.cka_chance < 1 else math.nan

    @property
    def verdict(self) -> str | None:
        """That of the held-out certificate, of the other where nothing is held out; None without one."""
        bounds = self.held_out or self.in_sample
        return None if bounds is None else bounds.verdict

    def to_dict(self) -> dict[str, Any]:
        """All numbers as JSON has them, None for those not defined; without maps, and predictions as shares."""
        found: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                "examples", "held_out_examples", "widths", "cka", "cka_standard_error", "cka_chance", "cka_adjusted",
                "cka_pvalue", "kernel_alignment", "linear_probe", "verdict", "notes",
            )
        }  # fmt: skip
        for name in ("forward", "backward"):
            one = getattr(self, name)
            found[name] = {**asdict(one), "r_squared_range": one.r_squared_range}
        for name in ("in_sample", "held_out"):
            bounds = getattr(self, name)
            found[name] = None if bounds is None else bounds.to_dict()
        shares = ("certified_share", "agreement", "error", "error_bound", "margin_bound", "lipschitz")
        agreement = self.agreement
        found["agreement"] = None if agreement is None else {name: getattr(agreement, name) for name in shares}
        found["task"] = None if self.task is None else [_task_numbers(one) for one in self.task]
        return without_nan(found)

    def __str__(self) -> str:
        sections = [_head(self), _sentences(self), _directions(self)]
        if self.in_sample is not None:
            sections.append(_certificates(self))
        if self.task is not None:
            sections.append(_task(self.task))
        if self.notes:
            sections.append([line for note in self.notes for line in _wrapped(f"! {note}")])
        return "\n\n".join("\n".join(line.rstrip() for line in lines) for lines in sections if lines)


def _head(report: AlignmentReport) -> list[str]:
    one, other = report.widths
    held = f"{report.held_out_examples} of them held out" if report.held_out_examples else "none held out"
    title = f"Alignment of two layers of {one} and {other} features: {report.examples} examples, {held}"
    if math.isnan(report.cka):
        return [title, "", "CKA               not defined"]
    return [
        title,
        "",
        f"CKA               {report.cka:.4f} ± {report.cka_standard_error:.2g}   unrelated layers "
        f"{_short(report.cka_chance)}, adjusted {_short(report.cka_adjusted)}, p = {_short(report.cka_pvalue)}",
        f"kernel alignment  {report.kernel_alignment:.4f}           the same without centering",
    ]


def _sentences(report: AlignmentReport) -> list[str]:
    """What CKA alone allows, beside what is."""
    parts = []
    for arrow, one in (("first to second", report.forward), ("second to first", report.backward)):
        low, high = one.r_squared_range
        if not math.isnan(low):
            parts.append(f"from {_short(low)} to {_short(high)} {arrow}, where it is {_short(one.r_squared)}")
    return _wrapped(f"CKA {report.cka:.4f} alone allows an R² {', and '.join(parts)}.") if parts else []


def _directions(report: AlignmentReport) -> list[str]:
    """Affine maps both ways, side by side."""
    both = report.forward, report.backward
    rows = [("R², in sample", [_short(d.r_squared) for d in both])]
    rows.append(("  of unrelated layers", [_short(d.chance_r_squared) for d in both]))
    if report.held_out_examples:
        rows.append(("R², held out", [_short(d.held_out_r_squared) for d in both]))
    rows += [
        ("directions explained, counted alike", [_short(d.directions) for d in both]),
        (f"CKA that ensures an R² of {SHARE}", [_required(d.required_cka) for d in both]),
        ("misalignment, in sample", [_error(d.misalignment, d.standard_error) for d in both]),
        ("  of a variance of", [_cell(d.variance) for d in both]),
        ("  allowed by CKA alone", [_range(d.interval) for d in both]),
        ("  each row left out (PRESS)", [_cell(d.loo) for d in both]),
        ("  by cross-validation (GCV)", [_cell(d.gcv) for d in both]),
        ("  rows not seen worse by a factor of", [_cell(d.optimism) for d in both]),
        ("degrees of freedom for a row", [_cell(d.freedom_ratio) for d in both]),
        ("rank, condition of the source", [f"{d.rank}, {_cell(d.condition)}" for d in both]),
    ]
    return _table("Affine maps", ("first to second", "second to first"), rows)


def _certificates(report: AlignmentReport) -> list[str]:
    """Bounds on the stitched risk, in sample and held out."""
    both = {"in sample": report.in_sample, "held out": report.held_out}
    known = {where: bounds for where, bounds in both.items() if bounds is not None}
    shown = list(known.values())
    labels = {f"  {tier}  {label}": tier for tier, label in TIERS.items()}
    rows = [("verdict", [bounds.verdict for bounds in shown])]
    for label, name in ({"intact model": "risk", "best constant": "baseline"} | labels).items():
        numbers = [float(getattr(bounds, name)) for bounds in shown]
        if name == "t0" and not all(map(math.isnan, numbers)):
            rows.append(("stitched model, measured", list(map(_cell, numbers))))
        elif not all(map(math.isnan, numbers)):
            rows.append((label, list(map(_cell, numbers))))
        if name == "t0":
            rows.append(("stitched model, at most", [""] * len(shown)))
        if name == "t0" and not all(math.isnan(bounds.sharpened) for bounds in shown):
            rows.append(("      outputs, split by the layer", [_cell(bounds.sharpened) for bounds in shown]))
    rows.append(("dominated by", [bounds.dominant for bounds in shown]))
    constants = [(bounds.lipschitz, bounds.local_lipschitz) for bounds in shown]
    rows.append(("Lipschitz constant κ, slope seen", [f"{_cell(one)}, {_cell(other)}" for one, other in constants]))
    loss = shown[0].loss.replace("_", "-")
    lines = _table(f"Risk of the head ({loss} loss)", tuple(known), rows)
    counted = report.held_out or report.in_sample
    sentence = str(counted).splitlines()[0]
    lines += _wrapped(f"{sentence[0].upper()}{sentence[1:]}.")
    if report.agreement is not None:
        where = "held out" if report.held_out is not None else "in sample"
        lines += _wrapped(f"Predictions, {where}: {report.agreement}.")
    return lines


def _task(task: tuple[TaskAlignment, TaskAlignment]) -> list[str]:
    """How both layers suit the targets."""
    rows = [
        ("kernel-target alignment", [_short(float(one.alignment)) for one in task]),
        ("share of the targets in the span", [_short(float(one.power.explained)) for one in task]),
        ("  90 % of that in how many directions", [str(int(one.directions)) for one in task]),
        ("estimated risk of ridge (KARE)", [_cell(float(one.kare.best)) for one in task]),
        ("  of predicting the mean", [_cell(float(one.scale)) for one in task]),
        ("source norm", [_cell(float(one.source_norm)) for one in task]),
    ]
    return _table("Targets, about their mean", ("first layer", "second layer"), rows)


def _task_numbers(task: TaskAlignment) -> dict[str, float]:
    return {
        "kernel_target_alignment": float(task.alignment),
        "explained": float(task.power.explained),
        "directions": int(task.directions),
        "kare": float(task.kare.best),
        "kare_penalty": float(task.kare.best_penalty),
        "scale": float(task.scale),
        "source_norm": float(task.source_norm),
        "kta_risk_bound": float(task.bound.bound),
    }


def _table(title: str, names: Iterable[str], rows: list[tuple[str, list[str]]]) -> list[str]:
    lines = [(title, list(names)), *((f"  {label}", cells) for label, cells in rows)]
    return [f"{label:<{LABEL + 2}}" + "".join(f"{cell:<{CELL}}" for cell in cells) for label, cells in lines]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")


def _short(value: float) -> str:
    """Three decimals, six just below 1, where they would look like it; `-` for what is not defined."""
    if math.isnan(value):
        return "-"
    return f"{value:.6f}" if 0.9995 <= value < 1 - 5e-7 else f"{value:.3f}".replace("-0.000", "0.000")


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _error(value: float, error: float) -> str:
    return _cell(value) if math.isnan(value) or math.isnan(error) else f"{value:.4g} ± {error:.2g}"


def _range(ends: tuple[float, float]) -> str:
    return "-" if math.isnan(ends[0]) else f"{ends[0]:.4g} to {ends[1]:.4g}"


def _required(value: float) -> str:
    return "none is enough" if math.isinf(value) else _short(value)
