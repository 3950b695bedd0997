"""All that the outputs of two models say about how alike they are inside, as one record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from jaxalign._core.strict_json import without_nan

#: Below this divergence (nats), and above this dissimilarity, a divergence misleads.
SMALL_DIVERGENCE, LARGE_DISSIMILARITY = 0.1, 0.1


@dataclass(frozen=True)
class Identification:
    """How far two models are apart, by what their outputs determine; printed as a table.

    Numbers are None where something that they need was not given or is not defined.

    Attributes:
      inputs: how many there are.
      labels: how many are compared.
      dropped_labels: how many were left out as not finite.
      dimension: m of the first model.
      dimension2: of the other.
      llv: value of `llv_distance`.
      t1: its terms; t1 and t3 are about labels, t2 and t4 about inputs.
      t2: likewise.
      t3: likewise.
      t4: likewise.
      largest: the entry that the value comes from: term, kind and label or input, numbered as they were passed.
      weight: λ.
      sets: labels and inputs, numbered as they were passed.
      d_f: dissimilarity of embeddings.
      d_g: of unembeddings.
      d_fg: the larger.
      subset: the labels that d_f is from, numbered as they were passed.
      bound: on d_fg by theorem 4.7, `llv_bound`; 1 says nothing.
      bound_tight: on d_fg, `llv_bound_tight`.
      kl: divergence of the second from the first.
      kl_reversed: of the first from the second.
      kl_bound: on both, from the logit distance.
      logit_distance: of centered logits.
      cca_f: mean canonical correlation of embeddings.
      cca_bound: the least that `cca_f` can be, from the logit distance; 0 says nothing.
      cca_g: of unembeddings.
      same_label_order: in two dimensions, whether labels lie around the circle in the same order.
      s_min: least singular value of unembeddings' differences; with f and g.
      s_ratio: the least ratio to the largest one.
      rep_distance: of embeddings, in their units.
      rep_distance_bound: on it.
      notes: what to mind, in sentences.
    """

    inputs: int
    labels: int
    dropped_labels: int
    dimension: int
    dimension2: int
    llv: float
    t1: float
    t2: float
    t3: float
    t4: float
    largest: tuple[str, str, int]
    weight: float
    sets: dict[str, Any]
    d_f: float
    d_g: float
    d_fg: float
    subset: tuple[int, ...]
    bound: float
    bound_tight: float
    kl: float
    kl_reversed: float
    kl_bound: float
    logit_distance: float
    cca_f: float | None = None
    cca_bound: float | None = None
    cca_g: float | None = None
    same_label_order: bool | None = None
    s_min: float | None = None
    s_ratio: float | None = None
    rep_distance: float | None = None
    rep_distance_bound: float | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Numbers, lists and text as strict JSON has them: None for what is not finite."""
        return without_nan(asdict(self))

    def __str__(self) -> str:
        term, kind, index = self.largest
        where = "label" if term in ("t1", "t3") else "input"
        least = "" if self.cca_bound is None else f" (at least {self.cca_bound:.4g})"
        rows: list[tuple[str, str]] = [
            ("log-likelihood variance distance", f"{self.llv:.4g} ({term}, {kind} of {where} {index})"),
            ("  t1, t2, t3, t4", ", ".join(f"{t:.4g}" for t in (self.t1, self.t2, self.t3, self.t4))),
            ("dissimilarity d_{f,g}", f"{self.d_fg:.4g} (inputs {self.d_f:.4g}, labels {self.d_g:.4g})"),
            ("  at most", f"{self.bound_tight:.4g} (2 eps^2), {self.bound:.4g} (2 m eps)"),
            ("canonical correlation", f"inputs {_shown(self.cca_f)}{least}, labels {_shown(self.cca_g)}"),
            ("logit distance", f"{self.logit_distance:.4g}"),
            ("KL divergence, both ways", f"{self.kl:.4g}, {self.kl_reversed:.4g} (at most {self.kl_bound:.4g})"),
        ]
        if self.rep_distance is not None:
            bound = _shown(self.rep_distance_bound)
            rows.append(("distance of embeddings", f"{self.rep_distance:.4g} (at most {bound})"))
        if self.s_min is not None:
            rows.append(("s_min of unembeddings", f"{self.s_min:.4g} (ratio {_shown(self.s_ratio)})"))
        width = max(len(label) for label, _ in rows)
        title = f"{self.inputs} inputs, {self.labels} labels, dimension {self.dimension}"
        if self.dimension2 != self.dimension:
            title += f" and {self.dimension2}"
        if self.dropped_labels:
            title += f"; {self.dropped_labels} labels left out as not finite"
        lines = [title, "", *(f"  {label:<{width}}  {value}" for label, value in rows)]
        return "\n".join([*lines, *([""] if self.notes else []), *(f"  note: {note}" for note in self.notes)])


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def with_notes(result: Identification, found: Iterable[str]) -> Identification:
    """The record, with sentences on what misleads here, after those that were found on the way to it."""
    notes = [*found]
    kl = min(result.kl, result.kl_reversed)
    if kl < SMALL_DIVERGENCE and result.d_fg > LARGE_DISSIMILARITY:
        notes.append(
            f"the divergence is small ({kl:.2g}) and representations are not alike (d_fg {result.d_fg:.2g}): a small "
            "divergence, or equal accuracy, says nothing about representations"
        )
    if result.d_fg < 0.01 and result.logit_distance > SMALL_DIVERGENCE:
        notes.append(
            "d_fg sees no temperature and no biases, in which these models may differ: their logit distance is "
            f"{result.logit_distance:.2g}"
        )
    correlated = [value for value in (result.cca_f, result.cca_g) if value is not None]
    if correlated and min(correlated) > 0.99 and result.d_fg > LARGE_DISSIMILARITY:
        notes.append(
            "canonical correlations are near 1, but the models are not alike: embeddings may be turned one way and "
            "unembeddings the other, which correlations do not see"
        )
    if result.same_label_order is False:
        notes.append("labels lie around the circle in different orders: two kinds of solutions, not one with noise")
    if result.bound_tight >= 1:
        notes.append("the distance is too large for a bound on d_fg: both bounds are 1, which says nothing")
    elif result.bound >= 1:
        notes.append("the bound 2 m eps is 1, which says nothing; 2 eps^2 does say something")
    if result.dimension != result.dimension2:
        notes.append(
            f"models of {result.dimension} and {result.dimension2} dimensions: no invertible map makes one of "
            "the other; narrow_student says what that costs at least"
        )
    for count, what in ((result.inputs, "inputs"), (result.labels, "labels")):
        if count <= result.dimension + 1:
            notes.append(f"{count} {what} for {result.dimension} dimensions: any two models look alike in them")
    return Identification(**{**result.__dict__, "notes": tuple(notes)})
