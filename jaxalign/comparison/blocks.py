"""Measures with signatures as large as the layers: scores block by block, nothing kept but scores."""

from __future__ import annotations

import jax
import numpy as np

from jaxalign._core.progress import Tick
from jaxalign.comparison.job import Job, piece_name
from jaxalign.comparison.plan import PIECE_COST, Block, block_bytes, cut_into_blocks
from jaxalign.comparison.sweep import count_parts, sweep_in_parts
from jaxalign.engines.planner import moment_cost, tile_cost
from jaxalign.measures import Measure
from jaxalign.signatures.batching import padded_widths
from jaxalign.signatures.gram import GramSignature


class BlockScores:
    """The scores of one measure in blocks that fit in memory.

    Where products of features are enough, blocks are cut small to be kept, since that costs
    little. Otherwise each block evaluates the kernels of its layers anew: blocks are as large
    as memory allows, and long ones keep how far they got.

    Args:
      job: the comparison.
      key: the measure's name in the result, for progress.
      measure: the measure.
    """

    def __init__(self, job: Job, key: str, measure: Measure):
        self.job, self.key, self.measure = job, key, measure
        self.mirrored = job.mirrored(measure)
        self.by_features = self._by_features()
        self.blocks = cut_into_blocks(*job.shape, mirrored=self.mirrored, fits=self._fits)
        self.parts = [self._parts(block) for block in self.blocks]

    @property
    def steps(self) -> int:
        """How many times `run` ticks."""
        return sum(self.parts)

    def run(self, tick: Tick) -> np.ndarray:
        """The `(La, Lb)` scores."""
        matrix = np.full(self.job.shape, np.nan, self.job.dtype)
        for block, parts in zip(self.blocks, self.parts, strict=True):
            tick(0, now=f"{self.key}: layers {block.rows.start + 1} to {block.rows.stop} of {self.job.shape[0]}")
            piece = f"{piece_name(self.measure)}-{block.name}"
            like = jax.ShapeDtypeStruct((len(block.rows), len(block.columns)), self.job.dtype)
            kept = self.job.store.load(piece, [like])
            if kept is None:
                kept = [self._scores(block, parts, piece, tick)]
                self.job.store.save(piece, kept)
                self.job.store.drop(f"{piece}-part")
            else:
                tick(parts)
            matrix[np.ix_(block.rows, block.columns)] = kept[0]
            if self.mirrored:
                matrix[np.ix_(block.columns, block.rows)] = kept[0].T
        return matrix

    def _scores(self, block: Block, parts: int, piece: str, tick: Tick) -> np.ndarray:
        a = [self.job.load(layer) for layer in self.job.a.layers[block.rows.start : block.rows.stop]]
        if not self._diagonal(block):
            b = [self.job.load(layer) for layer in self.job.b.layers[block.columns.start : block.columns.stop]]
        else:
            b = None if self.mirrored else a
        if parts > 1:
            return sweep_in_parts(
                self.measure, a, b, self.job.mask, parts=parts, store=self.job.store, piece=f"{piece}-part", tick=tick
            )
        scores = np.asarray(self.measure.matrix(a, b, mask=self.job.mask))
        tick()
        return scores

    def _diagonal(self, block: Block) -> bool:
        """Whether both sides of a block are the same layers."""
        return self.job.same and block.rows == block.columns

    def _widths(self, rows: range, columns: range) -> tuple[list[int], list[int]]:
        """Features of the layers on both sides of a block; the second is empty for a block of one side with itself."""
        a, b = self.job.a.widths, self.job.b.widths
        alike = self.job.same and rows == columns
        return [a[i] for i in rows], [] if alike else [b[j] for j in columns]

    def _by_features(self) -> bool:
        """Whether the kernel is an inner product, and products of features cost less than of examples."""
        n = self.job.a.rows
        for signature in (self.measure.signature, self.measure.signature_y or self.measure.signature):
            if not isinstance(signature, GramSignature) or not signature.kernel.dot_product:
                return False
        a, b = self._widths(*map(range, self.job.shape))
        return moment_cost(n, a, b) <= tile_cost(n, a, b)

    def _fits(self, rows: range, columns: range) -> bool:
        n, (a, b) = self.job.a.rows, self._widths(rows, columns)
        padded = padded_widths([*a, *b])
        if block_bytes(n, self.job.dtype.itemsize, [padded[d] for d in (*a, *b)]) > self.job.max_memory:
            return False
        return not self.by_features or moment_cost(n, a, b) <= PIECE_COST

    def _parts(self, block: Block) -> int:
        """In how many parts the sweep of a block is made."""
        if self.by_features:
            return 1
        n, (a, b) = self.job.a.rows, self._widths(block.rows, block.columns)
        return count_parts(self.measure, n, tile_cost(n, a, b) / PIECE_COST)
