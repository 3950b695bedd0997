"""Measures with small signatures: one for each layer, made with one layer in memory at a time."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxalign._core.progress import Tick
from jaxalign._core.typing import Array
from jaxalign.comparison.job import Job, piece_name
from jaxalign.comparison.sides import Layer
from jaxalign.measures import Measure, Signature
from jaxalign.signatures.batching import padded_widths


class KeptSignatures:
    """The scores of one measure by way of signatures that are kept.

    Args:
      job: the comparison.
      key: the measure's name in the result, for progress.
      measure: the measure.

    Raises:
      ValueError, TypeError: when the measure refuses the layers, such as for `k >= n`, or two of them together.
    """

    def __init__(self, job: Job, key: str, measure: Measure):
        self.job, self.key, self.measure = job, key, measure
        signature_y = measure.signature_y or measure.signature
        self.work: list[tuple[Layer, Signature]] = [(layer, measure.signature) for layer in job.a.layers]
        if not job.same or measure.signature_y is not None:
            self.work += [(layer, signature_y) for layer in job.b.layers]
        widths = [layer.shape[1] for layer, _ in self.work]
        padded = all(signature.ignores_zero_features for _, signature in self.work)
        self.widths = padded_widths(widths) if padded else dict(zip(widths, widths, strict=True))
        self.made: list[Any] = []
        self.forms = [self._form(layer, signature) for layer, signature in self.work]
        jax.eval_shape(_score, measure.score, *self._sides(self.forms))

    @property
    def steps(self) -> int:
        """How many times `run` ticks."""
        return len(self.work)

    def run(self, tick: Tick) -> np.ndarray:
        """The `(La, Lb)` scores."""
        signatures = []
        for index, ((layer, signature), form) in enumerate(zip(self.work, self.forms, strict=True)):
            tick(0, now=f"{self.key}: {layer.name}")
            like, structure = jax.tree.flatten(form)
            piece = f"{piece_name(self.measure)}-layer{index}"
            kept = self.job.store.load(piece, like)
            if kept is None:
                x = self.job.load(layer, width=self.widths[layer.shape[1]])
                kept = [np.asarray(leaf) for leaf in jax.tree.leaves(_sign(signature, x, self.job.mask))]
                self.job.store.save(piece, kept)
            signatures.append(jax.tree.unflatten(structure, jax.device_put(kept)))
            tick()
        self.made = signatures
        return np.asarray(_score(self.measure.score, *self._sides(signatures)))

    @property
    def sides(self) -> tuple[list[Any], list[Any]]:
        """The signatures of the rows and of the columns, once `run` has made them."""
        count = len(self.job.a.layers)
        return self.made[:count], self.made[count:] or self.made[:count]

    def _sides(self, signatures: list[Any]) -> tuple[list[Any], list[Any] | None]:
        """Those of both sides, of all that was worked for; None for the second where half of the matrix is enough."""
        count = len(self.job.a.layers)
        rows, columns = signatures[:count], signatures[count:]
        return rows, None if self.job.mirrored(self.measure) else columns or rows

    def _form(self, layer: Layer, signature: Signature) -> Any:
        """Shapes and types of a signature; nothing is computed."""
        dtype = self.job.dtype if self.job.dtype == np.float64 else layer.dtype
        padded = jax.ShapeDtypeStruct((layer.shape[0], self.widths[layer.shape[1]]), dtype)
        return jax.eval_shape(_sign, signature, padded, self.job.mask)


@jax.jit
def _sign(signature: Any, x: Array, mask: Array | None) -> Any:
    return signature(x, mask)


@jax.jit
def _score(score: Any, a: list[Any], b: list[Any] | None) -> Array:
    return score.matrix(a, b)
