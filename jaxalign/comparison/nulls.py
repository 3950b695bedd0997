"""Scores in random orders of the examples, for every pair of layers of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.digests import digest
from jaxalign._core.progress import Tick
from jaxalign._core.typing import Array
from jaxalign.alignment.kernel_reordering import MATRIX_BYTES, stored_bytes
from jaxalign.alignment.reordering import reordering
from jaxalign.comparison.job import Job, piece_name
from jaxalign.comparison.kept import KeptSignatures
from jaxalign.comparison.plan import Block, block_bytes, cut_into_blocks
from jaxalign.inference.calibration import check_significance
from jaxalign.inference.null import (
    check_null,
    check_orders,
    design,
    draw_scores,
    examples_of,
    examples_that_count,
    prepare,
)
from jaxalign.inference.schemes import Scheme
from jaxalign.measures import Measure

#: Orders looked at between two ticks, at most.
ORDERS = 512


@dataclass(frozen=True)
class Calibrating:
    """How a comparison is calibrated.

    Attributes:
      permutations: how many random orders.
      alpha: level of thresholds.
      key: what orders are made from.
      scheme: which orders there are.
    """

    permutations: int
    alpha: float
    key: Array
    scheme: Scheme

    @property
    def name(self) -> str:
        """A name for files: another one for other orders."""
        leaves, structure = jax.tree.flatten(self.scheme)
        return digest(self.key, np.asarray(str(structure)), *leaves)


class NullScores:
    """The scores of one measure in random orders, in blocks of layers and in pieces of some orders.

    Every block sees the same orders, so that scores of different pairs belong together.

    Args:
      job: the comparison.
      key: the measure's name in the result, for progress.
      measure: the measure.
      how: how it is calibrated.
      kept: where the signatures of the measure are kept, once they have been made.

    Raises:
      ValueError: for a measure without a null distribution, and too few orders for the level.
    """

    def __init__(self, job: Job, key: str, measure: Measure, how: Calibrating, kept: KeptSignatures | None):
        self.job, self.key, self.measure, self.how, self.kept = job, key, measure, how, kept
        check_null("compare", measure)
        orders = check_orders("compare", measure, how.scheme, job.a.rows, job.mask)
        check_significance("compare", how.permutations, how.alpha, None, orders, name="calibrate")
        self.mirrored = job.mirrored(measure)
        self.blocks = cut_into_blocks(*job.shape, mirrored=self.mirrored, fits=self._fits)
        rows, self.columns = design(how.scheme, how.permutations)
        self.parts = -(-rows * self.columns // ORDERS)
        self.count = -(-rows // self.parts)

    @property
    def steps(self) -> int:
        """How many times `run` ticks."""
        return len(self.blocks) * self.parts

    def run(self, tick: Tick) -> np.ndarray:
        """The `(B, La, Lb)` scores."""
        null = np.full((self.how.permutations, *self.job.shape), np.nan, self.job.dtype)
        for block in self.blocks:
            scores = self._scores(block, tick)
            if self.mirrored and block.rows == block.columns:
                upper = np.triu(np.ones(scores.shape[1:], bool))
                scores = np.where(upper, scores, scores.swapaxes(1, 2))
            null[np.ix_(range(len(null)), block.rows, block.columns)] = scores
            if self.mirrored and block.rows != block.columns:
                null[np.ix_(range(len(null)), block.columns, block.rows)] = scores.swapaxes(1, 2)
        return null

    def _scores(self, block: Block, tick: Tick) -> np.ndarray:
        scores, pieces = None, []
        shape = (self.count, self.columns, len(block.rows), len(block.columns))
        like = jax.ShapeDtypeStruct(shape, self.job.dtype)
        for part in range(self.parts):
            tick(0, now=f"{self.key}: {self.how.permutations} random orders of the examples")
            piece = f"{piece_name(self.measure)}-null-{self.how.name}-{block.name}-{part}"
            kept = self.job.store.load(piece, [like])
            if kept is None:
                if scores is None:
                    scores = self._prepared(block)
                kept = [np.asarray(self._drawn(scores, part)).astype(self.job.dtype)]
                self.job.store.save(piece, kept)
            pieces.append(kept[0])
            tick()
        table = np.concatenate(pieces)
        return table.reshape(-1, *shape[2:])[1 : self.how.permutations + 1]

    def _prepared(self, block: Block) -> Array:
        if self.kept is not None:
            rows, columns = self.kept.sides
            return _reordering(self.measure.score, [rows[i] for i in block.rows], [columns[j] for j in block.columns])
        a = [self.job.load(self.job.a.layers[i]) for i in block.rows]
        alike = self.job.same and block.rows == block.columns
        b = None if alike else [self.job.load(self.job.b.layers[j]) for j in block.columns]
        return prepare(self.measure, a, b, self.job.mask)

    def _drawn(self, scores: Array, part: int) -> Array:
        n = examples_of(self.measure, self.job.a.rows)
        return draw_scores(
            scores,
            self.how.scheme,
            self.how.key,
            jnp.uint32(part * self.count),
            examples_that_count(self.job.mask, n),
            n=n,
            count=self.count,
            columns=self.columns,
        )

    def _fits(self, rows: range, columns: range) -> bool:
        if self.kept is not None:
            return True
        n, size = self.job.a.rows, self.job.dtype.itemsize
        widths = [*(self.job.a.widths[i] for i in rows), *(self.job.b.widths[j] for j in columns)]
        matrices = stored_bytes(n, len(rows), len(columns), size)
        return block_bytes(n, size, widths) <= self.job.max_memory and matrices <= MATRIX_BYTES


@jax.jit
def _reordering(score: Any, a: list[Any], b: list[Any]) -> Any:
    return reordering(score, a, b)
