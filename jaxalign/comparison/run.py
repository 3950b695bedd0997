"""`compare`: all layers of one side with all of the other, each prepared once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxalign._core.checks import as_array, check_integer, check_mask, describe
from jaxalign._core.digests import digest
from jaxalign._core.keys import as_key
from jaxalign._core.progress import progress_bar
from jaxalign._version import __version__
from jaxalign.comparison.blocks import BlockScores
from jaxalign.comparison.calibrate import with_chance
from jaxalign.comparison.ids import check_same_ids
from jaxalign.comparison.job import Job, settings
from jaxalign.comparison.kept import KeptSignatures
from jaxalign.comparison.nulls import Calibrating, NullScores
from jaxalign.comparison.plan import MAX_MEMORY
from jaxalign.comparison.result import Comparison
from jaxalign.comparison.sides import read_side
from jaxalign.comparison.store import Store, side_facts
from jaxalign.inference.schemes import Free, Scheme
from jaxalign.measures import MEASURES, Measure


def compare(
    reps_a: Any,
    reps_b: Any = None,
    *,
    measures: Measure | Sequence[Measure],
    calibrate: int = 0,
    key: Any = None,
    alpha: float = 0.05,
    scheme: Scheme = Free(),  # noqa: B008 (immutable)
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
      calibrate: how many random orders of the examples to calibrate scores with, such as 1000: each is scored like
        the data, for all pairs of layers. 0 does not calibrate.
      key: a PRNG key, or an integer, that random orders are made from; needed with `calibrate`.
      alpha: level of thresholds: what chance exceeds with this probability.
      scheme: which orders there are, where examples come in groups or depend on one another: see
        `jaxalign.inference`.
      ids_a: ids of the examples of `reps_a`, `(n,)`, all different, integers or strings. What
        `jaxalign.features.load` returns brings its own. Ids of both sides must agree.
      ids_b: the same for `reps_b`.
      mask: `(n,)` booleans; rows that are `False` do not count, in all layers.
      max_memory: bytes that layers may take at a time (4 GiB by default); results and the
        layers you pass in are not counted, and one pair of layers is held in any case. To calibrate
        scores that look at all pairs of examples, matrices of examples take up to 4 GiB more.
      resume: a folder for finished pieces. Run again with the same folder and the same layers,
        measures and mask, a comparison that was killed goes on where it was, with another
        `max_memory` if need be. Layers are recognized by their numbers (of a layer of more
        than 256 MiB, by 256 evenly spread blocks of rows). Delete the folder afterwards.
      progress: show a progress bar; None shows one on a terminal when there is time for it.

    Returns:
      A `Comparison`. Calibrated, it has `pvalues`, `adjusted` (all pairs of layers at once), `thresholds` and
      `calibrated` scores, and `best()` says how far the closest layers are beyond the closest by chance.

    Raises:
      ValueError: for different numbers of rows, ids that disagree, a `resume` folder of
        another comparison, too few random orders for the level, and what the measures refuse, such as `k >= n`;
        before anything is computed.
      TypeError: for layers that are not floating matrices, measures that are not `Measure`, a key that is none.
      OSError: when the `resume` folder cannot be written.

    Example:
      >>> x = np.random.default_rng(0).normal(size=(30, 8))
      >>> from jaxalign.measures import cka
      >>> result = compare({"wide": x, "narrow": x[:, :4]}, measures=cka())
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

    how = _check_calibration(calibrate, key, alpha, scheme)
    same = reps_b is None
    facts = {}
    if resume is not None:
        facts = {
            "measures": [settings(measure) for measure in chosen.values()],
            "reps_a": side_facts(side_a),
            "reps_b": None if same else side_facts(side_b),
            "mask": None if mask is None else digest(mask),
            "x64": bool(jax.config.read("jax_enable_x64")),
            "version": __version__,
        }
    job = Job(side_a, side_b, same, mask, max_memory, Store(resume, facts))
    work = {name: _plan(job, name, measure) for name, measure in chosen.items()}
    nulls = {} if how is None else {name: _chance(job, name, chosen[name], how, work[name]) for name in work}
    steps = sum(scores.steps for scores in (*work.values(), *nulls.values()))
    with progress_bar(steps, doing="comparing", show=progress) as tick:
        values = {name: scores.run(tick) for name, scores in work.items()}
        by_chance = {name: scores.run(tick) for name, scores in nulls.items()}
    result = Comparison(
        values=values,
        layers_a=tuple((layer.model, layer.layer) for layer in side_a.layers),
        layers_b=tuple((layer.model, layer.layer) for layer in side_b.layers),
        widths_a=side_a.widths,
        widths_b=side_b.widths,
        definitions={key: measure.definition for key, measure in chosen.items()},
        bounds={key: measure.bounds for key, measure in chosen.items()},
        chance={key: measure.chance for key, measure in chosen.items()},
        larger_is_closer={key: measure.larger_is_closer for key, measure in chosen.items()},
        symmetric={key: measure.symmetric for key, measure in chosen.items()},
        same=same,
        info={
            "examples": side_a.rows,
            "examples_used": side_a.rows if mask is None else int(np.sum(np.asarray(mask))),
            "dtypes": sorted({str(layer.array.dtype) for layer in job.layers}),
            "computed_in": sorted({str(v.dtype) for v in values.values()}),
            "ids_checked": side_a.identified and side_b.identified,
            "seed": _seed(key) if how else None,
            "jaxalign": __version__,
            "jax": jax.__version__,
            "backend": jax.default_backend(),
            **({"permutations": calibrate, "alpha": alpha} if how else {}),
        },
    )
    for name, null in by_chance.items():
        result = with_chance(result, name, chosen[name], null, alpha)
    return result


def _check_calibration(permutations: int, key: Any, alpha: float, scheme: Scheme) -> Calibrating | None:
    """How to calibrate; None where nobody asked for it."""
    check_integer("compare", "calibrate", permutations, minimum=0)
    if not permutations:
        return None
    if key is None:
        raise ValueError("compare: calibrate needs a key, such as jax.random.key(0), or an integer; got key=None")
    return Calibrating(permutations, alpha, as_key("compare", key), scheme)


def _seed(key: Any) -> int | list[int]:
    """What a key was made from, or the numbers that it is made of."""
    if isinstance(key, (int, np.integer)):
        return int(key)
    return [int(number) for number in np.ravel(jax.random.key_data(as_key("compare", key)))]


def _plan(job: Job, key: str, measure: Measure) -> KeptSignatures | BlockScores:
    """How the scores of a measure are made; refuses what the measure refuses before any work is done."""
    if not measure.signature.compact:
        return BlockScores(job, key, measure)
    try:
        return KeptSignatures(job, key, measure)
    except (ValueError, TypeError) as error:
        raise type(error)(f"compare: {measure.definition}: {error}") from None


def _chance(job: Job, key: str, measure: Measure, how: Calibrating, scores: KeptSignatures | BlockScores) -> NullScores:
    """How a measure is calibrated, with signatures that are kept where there are any."""
    return NullScores(job, key, measure, how, scores if isinstance(scores, KeptSignatures) else None)


def _check_measures(measures: Any) -> dict[str, Measure]:
    """Measures under the keys of the result: their name, or their definition where names repeat."""
    if isinstance(measures, Measure):
        measures = [measures]
    if isinstance(measures, (str, Mapping)) or not isinstance(measures, Sequence):
        raise TypeError(
            f"compare: measures must be a Measure or a list of them, such as jaxalign.measures.cka(), "
            f"got {describe(measures)}{_factory(measures)}"
        )
    if not measures:
        raise ValueError("compare: measures must hold at least one measure, such as jaxalign.measures.cka(), got none")
    for measure in measures:
        if not isinstance(measure, Measure):
            raise TypeError(f"compare: measures must hold Measure objects, got {describe(measure)}{_factory(measure)}")
    names = [measure.name for measure in measures]
    keys = [m.name if names.count(m.name) == 1 else m.definition for m in measures]
    if len(set(keys)) < len(keys):
        raise ValueError(f"compare: measures must differ, got {', '.join(keys)}")
    return dict(zip(keys, measures, strict=True))


def _factory(value: Any) -> str:
    """What to write instead of the name of a measure, or of the function of that name."""
    if isinstance(value, Mapping):
        return "; pass a list of its values"
    name = value if isinstance(value, str) else getattr(value, "__name__", "")
    close = [name] if name in MEASURES else difflib.get_close_matches(name, list(MEASURES), n=1, cutoff=0.5)
    return f"; did you mean jaxalign.measures.{close[0]}()?" if close else ""
