"""Everything that is known about how two layers are aligned, on one page."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign import measures
from jaxalign._core.checks import as_array, check_mask, check_matrix, describe
from jaxalign._core.keys import as_key
from jaxalign._core.numerics import center_columns
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.alignment.cca import canonical_correlations
from jaxalign.alignment.cka import cka
from jaxalign.alignment.kernel import kernel_alignment
from jaxalign.inference.chance import chance_level
from jaxalign.inference.permutation import permutation_test
from jaxalign.inference.standard_error import standard_error
from jaxalign.report.alignment_directions import direction
from jaxalign.report.alignment_notes import notes
from jaxalign.report.alignment_page import AlignmentReport
from jaxalign.report.alignment_stitched import Stitched, stitched
from jaxalign.signatures.whitened import UninformativeWarning
from jaxalign.stitching.certificates.lipschitz_losses import chosen_loss
from jaxalign.stitching.row_split import two_sides
from jaxalign.task import TaskAlignment, task_alignment

#: Random orders of the examples that CKA is set beside.
ORDERS = 199


def alignment_report(
    z1: Float[Array, "n p"],
    z2: Float[Array, "n q"],
    *,
    y: Float[Array, "n t"] | Int[Array, "n"] | None = None,
    head: Any = None,
    risk: float | None = None,
    lipschitz: Any = None,
    loss: Any = None,
    held_out: float | Int[Array, "m"] | Bool[Array, "n"] = 0.5,
    key: Array | int | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> AlignmentReport:
    r"""How two layers are aligned, how sure that is, and what it guarantees: one page.

    CKA with its error and its chance level; R² both ways, in sample and held out; what CKA alone allows R² to be,
    beside what it is; with the head of the second model, what it costs to feed it from the first layer, and bounds on
    that; with targets, how both layers suit them.

    | of all examples, in sample | of examples held out, by ridge regression fitted to the others |
    |---|---|
    | CKA, its error, chance level and p-value | `held_out_r_squared` |
    | all else about directions | `held_out`: bounds and measured risk, and the verdict |
    | `in_sample`: bounds, by least squares; `task` | `agreement` |

    Args:
      z1: activations of the layer to go on from, `(n, p)`. Rows only: of tokens and feature maps pool or flatten each
        example first (`jaxalign.preprocess`); tokens as rows would be no independent examples.
      z2: activations of the other model's layer, `(n, q)`, same examples in the same order.
      y: what the head should give: integer labels `(n,)`, or numbers `(n, t)`. Without a head, for `task` alone.
      head: what comes after `z2`, as in `stitching_error`.
      risk: mean loss of the second model, in place of `y`.
      lipschitz: a Lipschitz constant of the head, by default `lipschitz_bound(head)` where that knows it.
      loss: as in `certificate`; by default cross-entropy for integer labels, else squared.
      held_out: the share of the examples that nothing is fitted to; or their numbers, or a mask. 0 holds out none.
      key: a PRNG key, or an integer to make one from, for the share held out and for random orders. Without one the
        share is evenly spaced, which is wrong for examples that repeat with its period (views of one image in turn),
        and orders are the same at every call.
      mask: shape `(n,)`; examples with `False` are left out altogether.

    Returns:
      An `AlignmentReport`; `print` it. Layers that have no variance, too few rows or values that are not finite give a
      page that says so. Not for use inside `jit`.

    Raises:
      ValueError: for layers that are not paired rows, a head that does not fit, targets of another length or that are
        no labels, a risk or a loss without anything that they are for, fewer than 2 examples on a side of the split.
      TypeError: on non-floating input.

    Example:
      >>> x = jax.random.normal(jax.random.key(0), (100, 4))
      >>> report = alignment_report(x, x[:, :2] * 3 + 1, key=0)
      >>> round(report.forward.r_squared, 3), round(report.cka, 2), round(report.cka_pvalue, 3)
      (1.0, 0.68, 0.005)

    Reference:
      Put together for this project; parts say in their own pages where they come from.
    """
    name = "alignment_report"
    z1, z2 = as_array(name, "z1", z1), as_array(name, "z2", z2)
    mask = None if mask is None else as_array(name, "mask", mask)
    y = None if y is None else as_array(name, "y", y)
    _check_layers(z1, z2, mask)
    _check_task(y, head, risk, lipschitz, loss, examples=z1.shape[0], mask=mask)
    drawn = None if key is None else as_key(name, key)
    fitted, reported = two_sides(name, z1.shape[0], held_out, mask, drawn)
    with warnings.catch_warnings():
        # The page says it in its own words.
        warnings.simplefilter("ignore", UninformativeWarning)
        score = float(cka(z1, z2, mask=mask))
        about = {"score": score, "cosines": canonical_correlations(z1, z2, mask=mask), "mask": mask}
        forward, stitch = direction(z1, z2, **about, fitted=fitted, reported=reported)
        backward, _ = direction(z2, z1, **about, fitted=fitted, reported=reported)
        measure = measures.cka()
        chance = float(chance_level(measure, z1, z2, mask=mask))
        orders = 0 if drawn is None else jax.random.fold_in(drawn, 1)
        pvalue = float(permutation_test(measure, z1, z2, permutations=ORDERS, key=orders, mask=mask).pvalue)
        error = float(standard_error(measure, z1, z2, mask=mask))
        bounds = Stitched()
        if head is not None or lipschitz is not None:
            bounds = stitched(
                z1, z2, stitch, y=y, head=head, risk=risk, lipschitz=lipschitz, loss=loss, mask=mask, reported=reported
            )
        task = None if y is None else (_suits(z1, y, mask), _suits(z2, y, mask))
    held = fitted is not reported
    return AlignmentReport(
        examples=z1.shape[0] if mask is None else int(np.asarray(mask).sum()),
        held_out_examples=len(reported) if held else 0,
        widths=(z1.shape[1], z2.shape[1]),
        cka=score,
        cka_standard_error=error,
        cka_chance=chance,
        cka_pvalue=pvalue,
        kernel_alignment=float(kernel_alignment(z1, z2, mask=mask)),
        forward=forward,
        backward=backward,
        in_sample=bounds.in_sample,
        held_out=bounds.held_out,
        agreement=bounds.agreement,
        linear_probe=bounds.linear_probe,
        task=task,
        notes=notes(
            score=score,
            chance=chance,
            pvalue=pvalue,
            forward=forward,
            backward=backward,
            held_out=held,
            bounds=bounds.held_out or bounds.in_sample,
            linear_probe=bounds.linear_probe,
        ),
    )


def _check_layers(z1: Array, z2: Array, mask: Array | None) -> None:
    """Raise unless they are rows of the same examples."""
    check_matrix("alignment_report", "z1", z1)
    check_matrix("alignment_report", "z2", z2)
    if z1.shape[0] != z2.shape[0]:
        raise ValueError(
            "alignment_report: z1 and z2 must have the same number of rows, one per example, "
            f"got {z1.shape[0]} and {z2.shape[0]}"
        )
    check_mask("alignment_report", mask, z1.shape[0])


def _check_task(
    y: Array | None, head: Any, risk: Any, lipschitz: Any, loss: Any, *, examples: int, mask: Array | None
) -> None:
    """Raise for what does not go together, rather than leave some of it out of the page."""
    name = "alignment_report"
    bounded = head is not None or lipschitz is not None
    for argument, value in (("risk", risk), ("loss", loss)):
        if value is not None and not bounded:
            raise ValueError(f"{name}: {argument} goes with head or lipschitz, which bounds are made of; got neither")
    if head is not None and y is None and risk is None:
        raise ValueError(f"{name}: head goes with y or risk, what it should give or what it costs; got neither")
    if head is not None and y is not None and risk is not None:
        raise ValueError(f"{name}: with a head the risk is measured with y; give one of both, got y and risk={risk}")
    if head is None and lipschitz is not None and risk is None:
        raise ValueError(f"{name}: lipschitz without a head goes with risk, what the second model costs; got none")
    if loss is not None:
        chosen_loss(name, loss)
    if y is None:
        return
    if y.ndim == 0 or y.shape[0] != examples:
        raise ValueError(f"{name}: y must have one row for each of the {examples} examples, got {describe(y)}")
    if jnp.issubdtype(y.dtype, jnp.integer):
        kept = np.asarray(y) if mask is None else np.asarray(y)[np.asarray(mask)]
        if kept.size and kept.min() < 0:
            raise ValueError(f"{name}: y must be labels from 0 on, got {int(kept.min())}; leave examples out by mask")


def _suits(z: Array, y: Array, mask: Array | None) -> TaskAlignment:
    """How a layer suits the targets, its mean taken off; labels as one-hot vectors of the classes that there are."""
    dtype = z.dtype if z.dtype in (jnp.float32, jnp.float64) else jnp.float32
    if jnp.issubdtype(y.dtype, jnp.integer):
        labels = np.asarray(y)
        classes = np.unique(labels if mask is None else labels[np.asarray(mask)])
        y = jnp.asarray(labels[..., None] == classes, dtype)
    rows = y.reshape(y.shape[0], -1).astype(dtype)
    return task_alignment(center_columns(z.astype(dtype), mask), center_columns(rows, mask), mask=mask)
