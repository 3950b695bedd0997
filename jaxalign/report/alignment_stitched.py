"""What a head makes of a layer that was mapped to its own, for a page: bounds, predictions, is it linear."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxalign._core.numerics import accum_dtype
from jaxalign._core.typing import Array
from jaxalign.stitching.certificates.agreement import CertifiedAgreement, certified_agreement, known_lipschitz
from jaxalign.stitching.certificates.certificate import Certificate, certificate
from jaxalign.stitching.heads import as_head, output_shape
from jaxalign.stitching.losses import cross_entropy, squared
from jaxalign.stitching.maps import LinearStitch

#: Losses of numbers, not of classes: the largest output is then no prediction.
REGRESSION = ("squared", "distance", "huber")
#: How far a head that counts as linear may be from a linear one, of the largest output.
LINEAR = 1e-4
#: The least singular value of a kernel that has full rank, of the largest.
FULL_RANK = 1e-5


@dataclass(frozen=True, eq=False)
class Stitched:
    """As in `AlignmentReport`."""

    in_sample: Certificate | None = None
    held_out: Certificate | None = None
    agreement: CertifiedAgreement | None = None
    linear_probe: bool = False


def stitched(
    z1: Array,
    z2: Array,
    stitch: LinearStitch | None,
    *,
    y: Array | None,
    head: Any,
    risk: float | None,
    lipschitz: Any,
    loss: Any,
    mask: Array | None,
    reported: np.ndarray,
) -> Stitched:
    """Bounds in sample and held out, and the predictions that are certified.

    Args:
      z1: the layer to go on from.
      z2: the layer that the head reads.
      stitch: from the one to the other, fitted to other rows than those reported; None where nothing is held out.
      y: what the head should give, with a head; or None.
      head: as in `certificate`, or None.
      risk: mean loss of the intact model, where it is not measured with `y`.
      lipschitz: as in `certificate`.
      loss: likewise; None for the default.
      mask: which rows count.
      reported: numbers of rows that nothing was fitted to.
    """
    name = "alignment_report"
    labels = None if y is None or head is None else labels_of(y, mask)
    if loss is None:
        loss = cross_entropy if y is not None and bool(jnp.issubdtype(y.dtype, jnp.integer)) else squared
    given = {"risk": risk} if y is None or head is None else {"targets": y}
    settings = {**given, "head": head, "lipschitz": lipschitz, "loss": loss}
    inside, outside = certificate(z1, z2, **settings, mask=mask), None
    rows, mapping = mask, inside.misalignment.stitch
    if stitch is not None:
        mapping, others = stitch, np.zeros(z1.shape[0], bool)
        others[reported] = True
        rows = jnp.asarray(others)
        # The map came from other rows than these, which `certificate` cannot know.
        outside = replace(certificate(z1, z2, **settings, stitch=stitch, mask=rows), held_out=True)
    agreement = None
    if head is not None and known_lipschitz(name, lipschitz, head, z2) is not None:
        outputs = output_shape(name, "head", as_head(name, head), z2, "z2")
        classes = labels is not None or inside.loss not in REGRESSION
        if classes and outputs.ndim == 2 and outputs.shape[1] > 1:
            agreement = certified_agreement(z1, z2, head, stitch=mapping, lipschitz=lipschitz, labels=labels, mask=rows)
    return Stitched(inside, outside, agreement, head is not None and is_probe(head, z2, mask))


def labels_of(y: Array, mask: Array | None) -> Array | None:
    """Integer labels of integers, or of rows that are all one-hot where they count; None for other numbers."""
    if jnp.issubdtype(y.dtype, jnp.integer):
        return y if y.ndim == 1 else None
    values = np.asarray(y)
    if values.ndim != 2 or values.shape[1] < 2:
        return None
    kept = values if mask is None else values[np.asarray(mask)]
    one_hot = np.isin(kept, (0, 1)).all() and (kept.sum(axis=1) == 1).all()
    return jnp.asarray(values.argmax(axis=1), jnp.int32) if one_hot else None


def is_probe(head: Any, z2: Array, mask: Array | None) -> bool:
    """Whether a head acts as a linear one, and no output is a linear combination of the others.

    It is asked, not looked at: whatever it is made of, a linear map of these rows, of their opposites and of eight
    times both is taken for one.
    """
    whole = as_head("alignment_report", head)
    kept = np.ones(z2.shape[0], bool) if mask is None else np.asarray(mask)
    rows = np.asarray(z2, np.float64)[kept]
    unit = float(np.abs(rows).max())
    if not np.isfinite(unit) or unit == 0:
        return False
    dtype = accum_dtype(z2)
    far = np.concatenate([rows, -rows, 8 * rows, -8 * rows])
    inputs = np.concatenate([np.zeros((1, rows.shape[1])), unit * np.eye(rows.shape[1]), far])
    asked = jnp.asarray(inputs, dtype)
    if output_shape("alignment_report", "head", whole, asked, "z2").ndim != 2:
        return False
    outputs = np.asarray(whole(asked), np.float64)
    bias, kernel = outputs[0], (outputs[1 : rows.shape[1] + 1] - outputs[0]) / unit
    seen = outputs[rows.shape[1] + 1 :]
    if not np.isfinite(outputs).all() or not np.abs(seen - (far @ kernel + bias)).max() <= LINEAR * np.abs(seen).max():
        return False
    size = float(np.linalg.norm(kernel, 2))
    return size > 0 and int(np.linalg.matrix_rank(kernel, tol=FULL_RANK * size)) == kernel.shape[1]
