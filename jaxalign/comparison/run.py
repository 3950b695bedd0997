"""`compare`: all layers of one side with all of the other, each prepared once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.dtypes import canonicalize_dtype

from jaxalign._core.checks import as_array, check_integer, check_mask, describe
from jaxalign._core.typing import Array
from jaxalign._version import __version__
from jaxalign.comparison.plan import MAX_MEMORY, Unit, block_units
from jaxalign.comparison.progress import Tick, progress_bar
from jaxalign.comparison.result import Comparison
from jaxalign.comparison.sides import Layer, Side, check_same_ids, read_side
from jaxalign.comparison.store import Store, digest, side_facts
from jaxalign.measures import Measure
from jaxalign.signatures.batching import pad_features, padded_widths


def compare(
    reps_a: Any,
    reps_b: Any = None,
    *,
    measures: Measure | Sequence[Measure],
    ids_a: Any = None,
    ids_b: Any = None,
    mask: Any = None,
    max_memory: int | None = None,
    resume: str | Path | None = None,
    progress: bool | None = None,
) -> Comparison:
    """Compare every layer of one side with every layer of the other.

    Every representation is prepared once, however many pairs it is in. Scores that are inner
    products of kernel matrices come out of one sweep over all layers; with one side only,
    and a symmetric measure, out of half of it.

    Args:
      reps_a: a list of `(n, d)` arrays, a dict from layer to array, or a dict from model to
        either; row `i` is the same example everywhere, widths may differ. Memory-mapped
        arrays are read when their turn comes.
      reps_b: the other side, or None to compare `reps_a` with itself.
      measures: one or several, such as `jaxalign.measures.cka()`.
      ids_a: ids of the examples of `reps_a`, `(n,)`, integers or strings. What
        `jaxalign.features.load` returns brings its own. Ids of both sides must agree.
      ids_b: the same for `reps_b`.
      mask: `(n,)` booleans; rows that are `False` do not count, in all layers.
      max_memory: bytes that layers may take at a time (4 GiB by default); results and the
        layers you pass in are not counted.
      resume: a folder for finished pieces. Run again with the same folder and the same
        arguments, a comparison that was killed goes on where it was. Delete it afterwards.
      progress: show a progress bar; None shows one on a terminal when there is time for it.

    Returns:
      A `Comparison`.

    Raises:
      ValueError: for different numbers of rows, ids that disagree, a `resume` folder of
        another comparison, and what the measures refuse.
      TypeError: for layers that are not floating matrices, or measures that are not `Measure`.

    Example:
      >>> x = np.random.default_rng(0).normal(size=(30, 8))
      >>> result = compare({"wide": x, "narrow": x[:, :4]}, measures=measures.cka())
      >>> result.names_a
      ('wide', 'narrow')
    """
    chosen = _check_measures(measures)
    side_a = read_side("reps_a", reps_a, ids_a)
    side_b = side_a if reps_b is None else read_side("reps_b", reps_b, ids_b)
    if reps_b is None and ids_b is not None:
        raise ValueError("compare: ids_b must be None when there is no reps_b")
    if side_a.rows != side_b.rows:
        raise ValueError(
            f"compare: reps_a and reps_b must have the same number of rows, one per example, "
            f"got {side_a.rows} and {side_b.rows}"
        )
    check_same_ids("reps_a", side_a.ids, "reps_b", side_b.ids)
    mask = None if mask is None else as_array("compare", "mask", mask)
    check_mask("compare", mask, side_a.rows)
    if max_memory is None:
        max_memory = MAX_MEMORY
    check_integer("compare", "max_memory", max_memory, minimum=1)

    same = reps_b is None
    facts = {
        "measures": [measure.definition for measure in chosen.values()],
        "reps_a": side_facts(side_a),
        "reps_b": None if same else side_facts(side_b),
        "mask": None if mask is None else digest(np.asarray(mask)),
        "x64": bool(jax.config.read("jax_enable_x64")),
        "max_memory": max_memory,
        "version": __version__,
    }
    job = _Job(side_a, side_b, same, mask, max_memory, Store(resume, facts))
    units = {key: job.units(measure) for key, measure in chosen.items()}
    with progress_bar(sum(map(len, units.values())), show=progress) as tick:
        values = {key: job.run(key, measure, units[key], tick) for key, measure in chosen.items()}
    return Comparison(
        values=values,
        layers_a=tuple((layer.model, layer.layer) for layer in side_a.layers),
        layers_b=tuple((layer.model, layer.layer) for layer in side_b.layers),
        widths_a=side_a.widths,
        widths_b=side_b.widths,
        definitions={key: measure.definition for key, measure in chosen.items()},
        bounds={key: measure.bounds for key, measure in chosen.items()},
        chance={key: measure.chance for key, measure in chosen.items()},
        larger_is_closer={key: measure.larger_is_closer for key, measure in chosen.items()},
        same=same,
        info={
            "examples": side_a.rows,
            "examples_used": side_a.rows if mask is None else int(jnp.sum(mask)),
            "dtypes": sorted({str(layer.array.dtype) for layer in (*side_a.layers, *side_b.layers)}),
            "computed_in": sorted({str(v.dtype) for v in values.values()}),
            "ids_checked": side_a.ids is not None and side_b.ids is not None,
            "seed": None,
            "jaxalign": __version__,
            "jax": jax.__version__,
            "backend": jax.default_backend(),
        },
    )


def _check_measures(measures: Any) -> dict[str, Measure]:
    """Measures under the keys of the result: their name, or their definition where names repeat."""
    if isinstance(measures, Measure):
        measures = [measures]
    if isinstance(measures, str) or not isinstance(measures, Sequence) or not measures:
        raise TypeError(
            f"compare: measures must be a Measure or a list of them, such as jaxalign.measures.cka(), "
            f"got {describe(measures)}"
        )
    for measure in measures:
        if not isinstance(measure, Measure):
            hint = f"; jaxalign.measures.{measure.__name__}() makes one" if callable(measure) else ""
            raise TypeError(f"compare: measures must hold Measure objects, got {describe(measure)}{hint}")
    names = [measure.name for measure in measures]
    keys = [m.name if names.count(m.name) == 1 else m.definition for m in measures]
    if len(set(keys)) < len(keys):
        raise ValueError(f"compare: measures must differ, got {', '.join(keys)}")
    return dict(zip(keys, measures, strict=True))


class _Job:
    """One comparison: the layers, and where finished pieces are kept."""

    def __init__(self, a: Side, b: Side, same: bool, mask: Array | None, max_memory: int, store: Store):
        self.a, self.b, self.same, self.mask, self.max_memory, self.store = a, b, same, mask, max_memory, store

    def units(self, measure: Measure) -> list[Any]:
        """The pieces of work for one measure: layers to summarize, or blocks to sweep."""
        if measure.signature.compact:
            return [*self.a.layers, *(() if self._mirrored(measure) else self.b.layers)]
        return block_units(
            self.a.rows,
            self.a.widths,
            self.b.widths,
            mirrored=self._mirrored(measure),
            max_memory=self.max_memory,
        )

    def _mirrored(self, measure: Measure) -> bool:
        """Whether half of the matrix is enough."""
        return self.same and measure.symmetric

    def run(self, key: str, measure: Measure, units: list[Any], tick: Tick) -> np.ndarray:
        """The `(La, Lb)` scores of one measure."""
        run = self._from_signatures if measure.signature.compact else self._in_blocks
        return run(key, measure, units, tick)

    def _in_blocks(self, key: str, measure: Measure, units: list[Unit], tick: Tick) -> np.ndarray:
        """Scores of a measure whose signatures are as large as the layers: made block by block."""
        shape = (len(self.a.layers), len(self.b.layers))
        matrix: np.ndarray | None = None
        for unit in units:
            tick(0, now=f"{key}: layers {unit.rows.start + 1} to {unit.rows.stop} of {shape[0]}")
            piece = f"{_file_name(measure)}-{unit.name}"
            kept = self.store.load(piece)
            if kept is None:
                a = [layer.load("compare") for layer in self.a.layers[unit.rows.start : unit.rows.stop]]
                mirror = self._mirrored(measure) and unit.rows == unit.columns
                columns = self.b.layers[unit.columns.start : unit.columns.stop]
                b = None if mirror else [layer.load("compare") for layer in columns]
                kept = [np.asarray(measure.matrix(a, b, mask=self.mask))]
                self.store.save(piece, kept)
            if matrix is None:
                matrix = np.full(shape, np.nan, kept[0].dtype)
            matrix[unit.rows.start : unit.rows.stop, unit.columns.start : unit.columns.stop] = kept[0]
            if self._mirrored(measure):
                matrix[unit.columns.start : unit.columns.stop, unit.rows.start : unit.rows.stop] = kept[0].T
            tick()
        assert matrix is not None
        return matrix

    def _from_signatures(self, key: str, measure: Measure, units: list[Layer], tick: Tick) -> np.ndarray:
        """Scores of a measure with small signatures: one layer in memory at a time."""
        widths = padded_widths([layer.shape[1] for layer in units])
        signatures = []
        count = len(self.a.layers)
        for index, layer in enumerate(units):
            tick(0, now=f"{key}: {layer.name}")
            signature = measure.signature if index < count else measure.signature_y or measure.signature
            d = layer.shape[1]
            padded = jax.ShapeDtypeStruct((layer.shape[0], widths[d]), canonicalize_dtype(layer.array.dtype))
            structure = jax.tree.structure(jax.eval_shape(_sign, signature, padded, self.mask))
            piece = f"{_file_name(measure)}-layer{index}"
            kept = self.store.load(piece)
            if kept is None or len(kept) != structure.num_leaves:
                x = pad_features(layer.load("compare"), widths[d])
                kept = [np.asarray(leaf) for leaf in jax.tree.leaves(_sign(signature, x, self.mask))]
                self.store.save(piece, kept)
            signatures.append(jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in kept]))
            tick()
        others = None if self._mirrored(measure) else signatures[count:]
        return np.asarray(_score(measure.score, signatures[:count], others))


@jax.jit
def _sign(signature: Any, x: Array, mask: Array | None) -> Any:
    return signature(x, mask)


@jax.jit
def _score(score: Any, a: list[Any], b: list[Any] | None) -> Array:
    return score.matrix(a, b)


def _file_name(measure: Measure) -> str:
    """The measure's definition as part of a file name."""
    return "".join(c if c.isalnum() or c in "=.-" else "_" for c in measure.definition).strip("_")
