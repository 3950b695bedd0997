"""`jaxalign platonic`: a folder of features in, alignment beside competence and chance out."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxalign._core.atomic import atomic_path
from jaxalign._core.strict_json import without_nan
from jaxalign._version import __version__
from jaxalign.cli.console import results
from jaxalign.cli.errors import Problem, bad_input, bad_output
from jaxalign.cli.measure_spec import parse_measure
from jaxalign.cli.models import describe_models, load_models, usable_rows
from jaxalign.cli.output import OutputFolder, check_fresh, check_output_options, keeping_partial
from jaxalign.features import Layers
from jaxalign.features.files import SUFFIXES
from jaxalign.report.files import file_stem, write_figure
from jaxalign.report.tables import add_row, best_pairs, best_pairs_title, plain_table
from jaxalign.studies.panels import Drawn
from jaxalign.studies.platonic import (
    PlatonicStudy,
    Preprocessing,
    Trend,
    metric_agreement,
    platonic_study,
    scale_curve,
)
from jaxalign.studies.platonic.figures import agreement_figure, map_figure, scale_figure, trend_figure

DEFAULT_MEASURE = "mutual_knn:k=10"
PICTURES = ("png", "svg", "pdf")
#: Of these facts less is better.
LESS_IS_BETTER = ("loss", "bits_per_byte", "bpb", "perplexity", "error")
#: Pairs of models of a printed table.
SHOWN_ROWS = 20
#: Fewest models that a trend can be of.
FEWEST = 3
_SCALES = 6


@dataclass(frozen=True)
class Request:
    """What `jaxalign platonic --help` describes."""

    folder: str
    x: str = "*"
    y: str | None = None
    measures: tuple[str, ...] = ()
    quantile: float = 0.95
    exact: bool = False
    per_layer: bool = False
    calibrate: int = 0
    seed: int = 0
    alpha: float = 0.05
    fact: tuple[str, ...] = ()
    facts: str | None = None
    within: str | None = None
    scale: bool = False
    mask_nonfinite: bool = False
    out: str | None = None
    picture: str = "png"
    as_json: bool = False
    max_memory: int | None = None
    fresh: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class TrendRow:
    """A trend, and what it is of."""

    fact: str
    of: str
    measure: str
    calibrated: bool
    trend: Trend
    within: str | None

    @property
    def name(self) -> str:
        """The measure, and whether it is calibrated."""
        return f"{self.measure}, calibrated" if self.calibrated else self.measure

    def as_dict(self) -> dict[str, Any]:
        """As plain numbers and texts."""
        fields = {"fact": self.fact, "of": self.of, "measure": self.measure, "calibrated": self.calibrated}
        fields["within"] = self.within
        return {**fields, **without_nan({**self.trend._asdict(), "of_references": self.trend.of_references.tolist()})}


def run_platonic(request: Request) -> None:
    """Check everything, compute, print, write; in this order, so that nothing long fails late.

    Raises:
      Problem: with the exit status, for whatever can be said in a sentence.
    """
    check_output_options(request.out, quiet=request.quiet, as_json=request.as_json)
    check_fresh(request.out, fresh=request.fresh)
    if request.picture not in PICTURES:
        raise Problem(f"--format must be one of {', '.join(PICTURES)}, got {request.picture!r}")
    measures = [parse_measure(text) for text in request.measures or (DEFAULT_MEASURE,)]
    preprocessing = _preprocessing(request)
    x, y = _sides(request)
    models = {**x, **(y or {})}
    mask = usable_rows(models, mask_nonfinite=request.mask_nonfinite)
    known = _read_facts(request, x, y)
    facts = [
        {name: {**layers.facts, **known.get(name, {})} for name, layers in side.items()} for side in (x, y) if side
    ]
    chosen = [(fact, of) for fact, of in _facts_of(facts, request.fact) if fact.removeprefix("-") != request.within]
    _check_within(request.within, chosen, facts)
    folder = None if request.out is None else OutputFolder.prepare(request.out)
    if folder is not None and request.fresh:
        folder.discard_partial()
    if not request.quiet:
        print(*describe_models(models, mask), sep="\n", file=sys.stderr if request.as_json else sys.stdout)
    with keeping_partial(folder), bad_input():
        study = platonic_study(
            x,
            y,
            measures=measures,
            preprocessing=preprocessing,
            facts=known,
            calibrate=request.calibrate,
            key=request.seed,
            alpha=request.alpha,
            mask=mask,
            max_memory=request.max_memory,
            resume=None if folder is None else folder.partial,
            progress=False if request.quiet else None,
        )
    measured = [key for key in study.comparison.values if not study.pairs_without_score(key)]
    with bad_input():
        trends = _trends(study, chosen, measured, request)
    document = _document(study, trends, models, mask)
    if not (request.quiet or request.as_json):
        _print(study, trends)
    files = [] if folder is None else _write(study, trends, document, folder, request, models, mask)
    if files and not (request.quiet or request.as_json):
        print(f"\nwritten to {request.out}: {', '.join(files)}")
    if request.as_json:
        print(json.dumps({**document, "files": [f"{request.out}/{name}" for name in files]}))


def _preprocessing(request: Request) -> Preprocessing:
    with bad_input():
        per = "layer" if request.per_layer else "model"
        return Preprocessing(quantile=request.quantile, exact=request.exact, per=per)


def _sides(request: Request) -> tuple[dict[str, Layers], dict[str, Layers] | None]:
    """The models of both patterns, all of the same examples; names of both sides differ."""
    root = Path(request.folder)
    if not root.is_dir():
        raise Problem(f"{root}: is no folder")
    found = {"--x": _matching(root, "--x", request.x)}
    if request.y is not None:
        found["--y"] = _matching(root, "--y", request.y)
    both = set(found["--x"]) & set(found.get("--y", ()))
    if both:
        raise Problem(f"{min(both)} matches --x and --y: the same model on both sides says nothing")
    models = load_models([str(path) for paths in found.values() for path in paths])
    of_path = dict(zip([path for paths in found.values() for path in paths], models.items(), strict=True))
    sides = [dict(of_path[path] for path in paths) for paths in found.values()]
    if len(sides) == 1 and len(sides[0]) == 1:
        raise Problem(f"--x {request.x} matches one model only, {found['--x'][0]}; two can be compared")
    return sides[0], sides[1] if len(sides) > 1 else None


def _matching(root: Path, option: str, pattern: str) -> list[Path]:
    try:
        entries = sorted(root.glob(pattern))
    except (ValueError, NotImplementedError) as error:
        raise Problem(f"{option} {pattern!r} is no pattern of files in {root}: {error}") from None
    found = [path for path in entries if not path.name.startswith(".") and _is_model(path)]
    if not found:
        raise Problem(
            f"{option} {pattern}: no feature files in {root} ({', '.join(SUFFIXES)}, or folders of .npy files)"
        )
    return found


def _is_model(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return True
    return path.is_dir() and any(path.glob("*.npy"))


def _read_facts(request: Request, x: Mapping[str, Layers], y: Mapping[str, Layers] | None) -> dict[str, dict[str, Any]]:
    if request.facts is None:
        return {}
    path = Path(request.facts)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise Problem(f"{path}: is no JSON ({error})") from None
    if not isinstance(found, dict) or not all(isinstance(facts, dict) for facts in found.values()):
        raise Problem(f"{path}: must hold an object of objects, {{MODEL: {{NAME: NUMBER}}}}")
    unknown = [name for name in found if name not in x and name not in (y or {})]
    if unknown:
        raise Problem(f"{path}: there is no model {unknown[0]!r}, only {', '.join([*x, *(y or {})])}")
    return found


def _facts_of(sides: Sequence[Mapping[str, Mapping[str, Any]]], asked: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Facts, and of which side: those asked for, else every number that differs and that all models of a side have.

    Raises:
      Problem: for a fact that was asked for and that not all models of a side have.
    """
    facts = dict(zip("xy", sides, strict=False))
    shared = {
        of: [name for name in next(iter(models.values())) if all(_is_number(one.get(name)) for one in models.values())]
        for of, models in facts.items()
    }
    for name in asked:
        if not any(name.removeprefix("-") in names for names in shared.values()):
            known = sorted({one for names in shared.values() for one in names})
            listed = f"only {', '.join(known)}" if known else "nor any other; --facts FILE brings some"
            raise Problem(f"--fact {name}: not all models of a side have it as a number, {listed}")
    for of, models in facts.items():
        if len(models) < FEWEST:
            continue
        for name in asked or [f"-{name}" if name in LESS_IS_BETTER else name for name in shared[of]]:
            plain = name.removeprefix("-")
            if plain in shared[of] and (asked or len({one[plain] for one in models.values()}) > 1):
                yield name, of


def _check_within(
    within: str | None, facts: Sequence[tuple[str, str]], sides: Sequence[Mapping[str, Mapping[str, Any]]]
) -> None:
    """Before anything is computed: sides with trends must have the fact, and two models that agree on it.

    Raises:
      Problem: where they do not.
    """
    if within is None:
        return
    for of in sorted({of for _, of in facts}):
        values = {model: known.get(within) for model, known in dict(zip("xy", sides, strict=False))[of].items()}
        for model, value in values.items():
            if not isinstance(value, (str, int)):
                raise Problem(f"--within {within}: of {model} it must be a text or an integer, got {value!r}")
        if len(set(values.values())) == len(values):
            raise Problem(f"--within {within}: no two models agree on it, so that there is no trend among such")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))


def _trends(
    study: PlatonicStudy, facts: Sequence[tuple[str, str]], measures: Sequence[str], request: Request
) -> list[TrendRow]:
    """Of every fact, measure by measure, calibrated scores after scores as they are."""
    found = []
    for fact, of in facts:
        for measure in measures:
            for calibrated in (False, True) if measure in study.comparison.calibrations else (False,):
                how = {"measure": measure, "of": of, "calibrated": calibrated}
                trend = study.trend(fact, key=request.seed, within=request.within, **how)
                found.append(TrendRow(fact, of, measure, calibrated, trend, request.within))
    return found


def _print(study: PlatonicStudy, trends: list[TrendRow]) -> None:
    for key in study.comparison.values:
        table, left_out = best_pairs(study.comparison, key, limit=SHOWN_ROWS)
        print(f"\n{best_pairs_title(study.comparison, key)}")
        if key in study.chance:
            print(f"one pair of layers scores {study.chance[key]:.4f} by chance, the closest of many more")
        print()
        results().print(table)
        if left_out:
            print(f"and {left_out} more pairs of models; --out or --json gives all")
        without = study.pairs_without_score(key)
        if without:
            print(f"no layers of {len(without)} pairs of models have a score, so that there is no trend: ", end="")
            print(f"{without[0][0]} and {without[0][1]} the first")
    if not trends:
        print(f"\nno trends: they need a number that all models of a side have, and {FEWEST} models")
        return
    among = "" if trends[0].within is None else f" among models of the same {trends[0].within}"
    print(f"\nSpearman's rank correlation of alignment and competence{among}, 95 % by bootstrap over models:\n")
    table = plain_table(
        "alignment", "fact", "models", "rho", "from", "to", "p", numbers=("models", "rho", "from", "to", "p")
    )
    for row in trends:
        if row.measure in study.comparison.calibrations and not row.calibrated:
            continue  # in JSON
        side = "" if study.comparison.same else f" of {row.of}"
        numbers = (row.trend.rho, row.trend.low, row.trend.high, row.trend.pvalue)
        add_row(table, row.name, f"{row.fact}{side}", f"{row.trend.models}", *(f"{value:.3g}" for value in numbers))
    results().print(table)


def _document(
    study: PlatonicStudy, trends: list[TrendRow], models: Mapping[str, Layers], mask: np.ndarray | None
) -> dict[str, Any]:
    """What `platonic.json` holds and `--json` prints."""
    comparison = study.comparison
    return {
        "models_x": list(study.models_x),
        "models_y": None if comparison.same else list(study.models_y),
        "sources": {name: layers.source for name, layers in models.items()},
        "facts": {**study.facts_x, **study.facts_y},
        "preprocessing": study.preprocessing,
        "measures": dict(comparison.definitions),
        "masked_rows": [] if mask is None else np.flatnonzero(~mask).tolist(),
        "chance_of_one_pair": dict(study.chance),
        "best": {key: [without_nan(pair._asdict()) for pair in comparison.best(key)] for key in comparison.values},
        "trends": [row.as_dict() for row in trends],
        "info": dict(comparison.info),
        "jaxalign": __version__,
    }


def _write(
    study: PlatonicStudy,
    trends: list[TrendRow],
    document: dict[str, Any],
    folder: OutputFolder,
    request: Request,
    models: Mapping[str, Layers],
    mask: np.ndarray | None,
) -> list[str]:
    """Data first, then one picture after the other; each file appears when it is complete."""
    with bad_output():
        with atomic_path(folder.path / "platonic.json") as path:
            path.write_text(json.dumps(document, indent=1), encoding="utf-8")
        study.comparison.save(folder.path / "comparison.npz")
        written = ["platonic.json", "comparison.npz"]
        for key in study.comparison.values:
            name = f"{'models' if len(study.comparison.values) == 1 else f'models-{file_stem(key)}'}.{request.picture}"
            write_figure(study.comparison.plot(key, by="model"), folder.path / name)
            written.append(name)
        for name, drawn in _pictures(study, trends, request, models, mask):
            write_figure(drawn.figure, folder.path / f"{name}.{request.picture}")
            with atomic_path(folder.path / f"{name}.npz") as path, path.open("wb") as stream:
                np.savez_compressed(stream, **drawn.arrays)  # type: ignore[arg-type]
            written += [f"{name}.{request.picture}", f"{name}.npz"]
    shutil.rmtree(folder.partial, ignore_errors=True)
    return written


def _pictures(
    study: PlatonicStudy,
    trends: list[TrendRow],
    request: Request,
    models: Mapping[str, Layers],
    mask: np.ndarray | None,
) -> Iterator[tuple[str, Drawn]]:
    comparison, first = study.comparison, study.comparison.measure()
    of_first = [row for row in trends if row.measure == first and row.calibrated == bool(request.calibrate)]
    for row in of_first:
        side = "" if comparison.same else f"-{row.of}"
        how = {"of": row.of, "calibrated": row.calibrated, "within": row.within}
        drawn = trend_figure(study, row.fact, key=request.seed, **how)
        yield f"trend-{file_stem(row.fact.removeprefix('-'))}{side}", drawn
    whole = not study.pairs_without_score(first)
    if comparison.same and whole and len(study.models_x) > 2 and first in study.chance:
        yield "map", map_figure(study, of_first[0].fact if of_first else None)
    scored = set(comparison.model_pairs(first)).difference(
        *(study.pairs_without_score(key) for key in comparison.values)
    )
    if len(comparison.values) > 1 and len(scored) >= FEWEST:
        yield "agreement", agreement_figure(metric_agreement(study))
    if request.scale:
        pairs = [pair for pair in comparison.best(first) if pair.layer_a is not None]
        if not pairs:
            return
        best = max(pairs, key=lambda pair: pair.value if comparison.larger_is_closer[first] else -pair.value)
        prepare, rows = _preprocessing(request), slice(None) if mask is None else mask
        x = prepare(models[best.model_a], mask=mask)[str(best.layer_a)][rows]
        y = prepare(models[best.model_b], mask=mask)[str(best.layer_b)][rows]
        yield "scale", _scale(x, y, request.seed)


def _scale(x: np.ndarray, y: np.ndarray, seed: int) -> Drawn:
    """Ten neighbors, and one in twenty of the examples, over samples from 64 examples to all."""
    most = len(x)
    sizes = np.unique(np.geomspace(min(64, most), most, _SCALES).astype(int)).tolist()
    shared = scale_curve(x, y, sizes, key=seed, share=0.05)
    return scale_figure({"k = 10": scale_curve(x, y, sizes, key=seed), "k = 5 % of the examples": shared})
