"""What a stitched model can cost at most: bounds on its risk, from the measured one to what an alignment alone says."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import jax

from jaxalign._core.checks import as_array, describe
from jaxalign._core.numerics import accum_dtype, fill_rows
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.stitching.certificates.agreement import known_lipschitz
from jaxalign.stitching.certificates.interval import misalignment_interval
from jaxalign.stitching.certificates.lipschitz_losses import chosen_loss
from jaxalign.stitching.certificates.misalignment import (
    Misalignment,
    misalignment,
    misalignment_of_map,
    rows_per_example,
    split_masks,
)
from jaxalign.stitching.certificates.spectrum import spectra_and_alignment
from jaxalign.stitching.certificates.tiers import judged, measured_task
from jaxalign.stitching.risk import as_stitch
from jaxalign.stitching.rows import check_layers, paired_rows, row_shares

#: What each tier is, for the table.
TIERS = {
    "t0": "measured",
    "t1": "outputs, without labels",
    "t2": "local Lipschitz constant",
    "t3": "Lipschitz constant (theorem 1)",
    "t4": "spectra and alignment alone",
}


@dataclass(frozen=True, eq=False)
class Certificate:
    r"""Upper bounds on the risk of a stitched model, each cheaper and looser than the one before; printed as a table.

    Numbers are NaN where something that they need was not given.

    Attributes:
      t0: the risk itself, of these examples.
      t1: from how far the outputs of the stitched model are from those of the intact one; needs no labels but for
        `risk`.
      t2: from the misalignment and the largest slope that the head has between these examples and what the stitch
        makes of them. Like t1, it says nothing of other examples.
      t3: from the misalignment and the Lipschitz constant of the head: theorem 1. Whatever the head, and for any
        distribution.
      t4: t3 with the largest misalignment that the spectra of both layers and their alignment allow: without an
        example. For least-squares maps measured on the rows they were fitted to.
      sharpened: t1 with errors and changes split into what is a linear function of the layer and what is not; between
        t0 and t1. For the squared loss, with targets, where an example is one row.
      risk: of the intact model.
      baseline: of the best constant output; a bound above it says nothing. Squared loss and cross-entropy, with
        targets.
      spread: how far the outputs of the intact model are from their mean, as the loss counts it: what a bound may add
        before it is above the risk of nothing known, where there are no targets.
      misalignment: of the map, on these examples.
      residual: the same of the map as it is computed, with its rounding; bounds are made of it.
      interval: the range that spectra and alignment of these examples allow for least squares; the misalignment of
        another map, or of one that was fitted to other examples, may be above it.
      alignment: kernel alignment of the layers; CKA for maps with a bias.
      discrepancy: distance of the outputs of both models, the root of the mean square (the mean for Lipschitz losses).
      lipschitz: κ of the head.
      local_lipschitz: the largest slope seen, at most κ.
      loss_lipschitz: of the loss, with respect to the outputs of an example; NaN for the squared loss.
      loss: its name.
      held_out: whether examples are others than those that the map was fitted to; False for a map that was given, of
        which it is not known.
      verdict: `"certified"`: t3 or t4 is below the baseline; without targets, below what the spread of the outputs less
        the root of the risk leaves of it (for a Lipschitz loss: adds less than the spread). `"plausible"`: t1 or t2 is,
        which is a fact about these examples only. `"vacuous"`: none is. `"degenerate"`: more than one degree of freedom
        for two rows, or NaN. `"undecided"`: neither head nor targets are there to compare with.
      dominant: what makes t3 (else t2, t1) large: `"risk"` of the intact model; `"misalignment"`; or `"lipschitz"`:
        with the slope that was seen, the misalignment would add less than the risk.
    """

    t0: float
    t1: float
    t2: float
    t3: float
    t4: float
    sharpened: float
    risk: float
    baseline: float
    spread: float
    misalignment: Misalignment
    residual: float
    interval: tuple[float, float]
    alignment: float
    discrepancy: float
    lipschitz: float
    local_lipschitz: float
    loss_lipschitz: float
    loss: str
    held_out: bool
    verdict: str
    dominant: str

    @property
    def tiers(self) -> dict[str, float]:
        """The bounds by name, from the tightest on."""
        return {name: getattr(self, name) for name in TIERS}

    @property
    def best(self) -> float:
        """The least bound that does not need targets of the stitched model: t1 or looser; NaN without any."""
        bounds = [self.sharpened, *(bound for name, bound in self.tiers.items() if name != "t0")]
        known = [bound for bound in bounds if not math.isnan(bound)]
        return min(known) if known else math.nan

    def to_dict(self) -> dict[str, Any]:
        """All numbers, without the map."""
        numbers = asdict(self)
        numbers["misalignment"] = float(self.misalignment)
        numbers["normalized_misalignment"] = float(self.misalignment.normalized)
        return numbers

    def __str__(self) -> str:
        lines = [f"{self.verdict}: {self._sentence()}", ""]
        rows = [(label, self.tiers[name]) for name, label in TIERS.items()]
        rows.insert(1, ("outputs, split by the layer", self.sharpened))
        rows += [("risk of the intact model", self.risk), ("risk of the best constant", self.baseline)]
        width = max(len(label) for label, _ in rows)
        for label, value in rows:
            if not math.isnan(value):
                lines.append(f"  {label:<{width}}  {value:.4g}")
        lines += [
            "",
            f"  misalignment {float(self.misalignment):.4g} of {float(self.misalignment.variance):.4g}; "
            f"alignment {self.alignment:.4f} allows least squares {self.interval[0]:.4g} to {self.interval[1]:.4g}",
        ]
        constants = {"κ": self.lipschitz, "κ seen": self.local_lipschitz, "loss L": self.loss_lipschitz}
        known = [f"{name} {value:.4g}" for name, value in constants.items() if not math.isnan(value)]
        lines += [f"  {', '.join(known)}"] if known else []
        return "\n".join(lines)

    def _sentence(self) -> str:
        where = "held-out examples" if self.held_out else "these examples"
        if self.verdict == "certified":
            bound = self.t3 if not math.isnan(self.t3) else self.t4
            return f"risk at most {bound:.4g} on {where}, whatever the head does within its Lipschitz constant"
        if self.verdict == "plausible":
            return f"risk at most {self.best:.4g} on {where}, which says nothing of others"
        if self.verdict == "undecided":
            return f"risk at most {self.best:.4g} on {where}; whether that is little only a head or targets can tell"
        if self.verdict == "degenerate":
            return "too many degrees of freedom for these rows, or numbers that are not defined"
        return f"no bound is below what a constant output costs; the {self.dominant} dominates"


def certificate(
    z1: Float[Array, "n *axes p"],
    z2: Float[Array, "n *axes q"],
    *,
    risk: float | Scalar | None = None,
    targets: Float[Array, "n *axes"] | Int[Array, "n *axes"] | None = None,
    head: Any = None,
    lipschitz: Any = None,
    loss: Any = "squared",
    stitcher: str = "affine",
    ridge: float | Scalar = 0.0,
    rank: int | None = None,
    center: bool | None = None,
    stitch: Any = None,
    held_out: float | Int[Array, "m"] | Bool[Array, "n"] | None = None,
    key: Array | int | None = None,
    mask: Bool[Array, "n"] | None = None,
    weights: Float[Array, "n"] | None = None,
) -> Certificate:
    r"""What it can cost at most to feed one model's head from another model's layer, and how sure that is.

    $$R(g_2 \circ s \circ f_1) \;\le\; \big(\sqrt{R_2} + \mathrm{disc}\big)^2
      \;\le\; \big(\sqrt{R_2} + \kappa_{loc}\sqrt{\tilde A}\big)^2
      \;\le\; \big(\sqrt{R_2} + \kappa\sqrt{\tilde A}\big)^2
      \;\le\; \big(\sqrt{R_2} + \kappa\sqrt{\tilde A_{max}}\big)^2$$

    with the mean square $\mathrm{disc}^2$ of the change in outputs; for a loss of Lipschitz constant $L$ it is
    $R_2 + L\,\mathrm{disc}$ and so on, with the mean change.

    Args:
      z1: activations of the layer to go on from: rows `(n, p)`, tokens `(n, t, p)` or feature maps `(n, h, w, p)`.
      z2: those of the layer that the head reads, same examples in the same order.
      risk: R₂, mean loss of the intact model; measured when `targets` are given instead.
      targets: labels or numbers, one row for each example, as the loss takes them; with a head.
      head: the rest of the target model, as in `stitching_error`; without one only t3 and t4 are known.
      lipschitz: κ, a Lipschitz constant of the head from all activations of an example to all its outputs, in the
        Euclidean norm: a number or a `LipschitzBound`; by default `lipschitz_bound(head)` where that knows the head.
      loss: `"squared"`, `"cross_entropy"`, `"distance"`, `"huber"`, `"hinge"`, `"logistic"`, `"multiclass_hinge"`, one
        of the functions `squared` and `cross_entropy`, or a `LipschitzLoss`.
      stitcher: as in `misalignment`, but with a bias by default.
      ridge: likewise.
      rank: likewise.
      center: likewise.
      stitch: a map that was fitted before, as in `stitching_error`, in place of a stitcher and its settings.
      held_out: as in `misalignment`; bounds are then on the risk of examples that the map has not seen. t4 is about
        maps fitted to the same examples, and is NaN.
      key: with a share held out.
      mask: shape `(n,)`; examples with `False` may hold any value.
      weights: shape `(n,)`, at least 0; only their ratios matter.

    Returns:
      A `Certificate`. Its bounds are on the risk of the map that it holds, and so on that of the best map of its class
      as well. They hold for these examples as a fact of arithmetic; for the population they need examples that are
      held out, and the standard error of `misalignment`. Not for use inside `jit`; `stitching_bound` is.

    Raises:
      ValueError: for layers that are not paired, neither or both of `risk` and `targets`, a negative risk, neither a
        head nor a constant, and a constant that is below a slope of the head between two of these activations.
      TypeError: for a head or a stitch that cannot be called, a loss of which no constant is known.

    Example:
      >>> import jax.numpy as jnp
      >>> z1 = jnp.array([[1.], [1.], [-1.], [-1.]])
      >>> z2 = jnp.array([[1., 1.], [1., -1.], [-1., 1.], [-1., -1.]])
      >>> y = jnp.array([[2., 3.], [2., -3.], [-2., 3.], [-2., -3.]])
      >>> result = certificate(z1, z2, targets=y, head=lambda z: 2 * z, lipschitz=2.0)
      >>> [round(bound, 2) for bound in result.tiers.values()], result.verdict
      ([9.0, 9.0, 9.0, 9.0, 9.0], 'certified')

    Reference:
      t3 is theorem 1 of Insulla et al. (2025), arXiv:2502.14047; the other tiers, Lipschitz losses and the split
      of t1 were derived for this project.
    """
    name = "certificate"
    z1, z2 = as_array(name, "z1", z1), as_array(name, "z2", z2)
    check_layers(name, z1, z2, names=("z1", "z2"))
    mask = None if mask is None else as_array(name, "mask", mask)
    weights = None if weights is None else as_array(name, "weights", weights)
    targets = None if targets is None else as_array(name, "targets", targets)
    chosen = chosen_loss(name, loss)
    _check_task(risk, targets, head, lipschitz)
    affine = stitch is not None or stitcher == "affine" or bool(center)
    least_squares = stitch is None and held_out is None and stitcher in ("linear", "affine")

    # The map, and the examples that bounds are about.
    if stitch is None:
        settings = {"stitcher": stitcher, "ridge": ridge, "rank": rank, "center": center}
        found = misalignment(z1, z2, **settings, held_out=held_out, key=key, mask=mask, weights=weights)
        mapping = found.stitch
        if held_out is not None:
            _, mask = split_masks(name, z2.shape[:1], held_out, key, mask)
    elif held_out is not None:
        raise ValueError(f"{name}: a stitch that is given is not fitted; pass only the rows to measure it on, by mask")
    else:
        found = mapping = as_stitch(name, stitch)
    shares, z1, z2 = _counted(z1, z2, mask, weights)
    mapped = mapping(z1)
    if mapped.shape != z2.shape:
        raise ValueError(f"{name}: stitch must map z1 to the shape of z2, {tuple(z2.shape)}, got {describe(mapped)}")
    if not isinstance(found, Misalignment):
        found = misalignment_of_map(mapped, z2, shares)
    low, high, alignment = (float(v) for v in _range(z1, z2, mask, weights, center=affine))

    # The task, and the bounds.
    kappa = known_lipschitz(name, lipschitz, head, z2)
    task = measured_task(
        name, head, z2, mapped, shares, targets=targets, loss=chosen, risk=risk, lipschitz=kappa, center=affine
    )
    kappa = math.nan if kappa is None else kappa
    # What rounding adds to the map counts, too.
    largest = max(high, task.residual) if least_squares else math.nan
    reaches = {
        "t1": task.discrepancy,
        "t2": task.local_lipschitz * math.sqrt(task.residual),
        "t3": kappa * math.sqrt(task.residual),
        "t4": kappa * math.sqrt(largest),
    }
    verdict, dominant = judged(task, reaches, degenerate=bool(found.degenerate))
    return Certificate(
        t0=task.stitched_risk,
        **{tier: task.bound(reach) for tier, reach in reaches.items()},
        sharpened=task.sharpened,
        risk=task.risk,
        baseline=task.baseline,
        spread=task.spread,
        misalignment=found,
        residual=task.residual,
        interval=(low, high),
        alignment=alignment,
        discrepancy=task.discrepancy,
        lipschitz=kappa,
        local_lipschitz=task.local_lipschitz,
        loss_lipschitz=task.loss_lipschitz,
        loss="squared" if chosen is None else getattr(chosen.function, "__name__", "loss"),
        held_out=held_out is not None,
        verdict=verdict,
        dominant=dominant,
    )


def _check_task(risk: Any, targets: Array | None, head: Any, lipschitz: Any) -> None:
    """Raise unless bounds can be made of what is given."""
    if (risk is None) == (targets is None):
        given = "neither" if risk is None else "both"
        raise ValueError(f"certificate: give the risk of the intact model, or targets to measure it with; got {given}")
    if head is None and lipschitz is None:
        raise ValueError("certificate: give a head, or a Lipschitz constant of it; got neither")
    if head is None and targets is not None:
        raise ValueError("certificate: targets need the head that they are for; without one give risk=")
    if risk is None:
        return
    if isinstance(risk, str) or getattr(risk, "shape", ()) != ():
        raise TypeError(f"certificate: risk must be one number, got {describe(risk)}")
    if not 0 <= float(risk) < math.inf:
        raise ValueError(f"certificate: risk must be at least 0 and finite, got {float(risk)}")


@jax.jit
def _counted(z1: Array, z2: Array, mask: Array | None, weights: Array | None) -> tuple[Float[Array, "n"], Array, Array]:
    """Weights of sum 1, and layers with padding filled."""
    shares = row_shares("certificate", z2.shape[:1], accum_dtype(z1, z2), mask=mask, weights=weights)
    return shares, fill_rows(z1, shares > 0), fill_rows(z2, shares > 0)


@partial(jax.jit, static_argnames=("center",))
def _range(
    z1: Array, z2: Array, mask: Array | None, weights: Array | None, *, center: bool
) -> tuple[Scalar, Scalar, Scalar]:
    """The least and the largest misalignment that spectra and alignment allow, of examples, and the alignment."""
    rows, _ = paired_rows("certificate", z1, z2, affine=center, mask=mask, weights=weights)
    eig1, eig2, alignment = spectra_and_alignment(rows)
    low, high = misalignment_interval(eig1, eig2, alignment)
    rows_an_example = rows_per_example(rows.shares.reshape(z2.shape[:-1]))
    return rows_an_example * low, rows_an_example * high, alignment
