"""What `jaxalign identify` gives to the library, and what it adds to the notes."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.cli.errors import Problem
from jaxalign.cli.identify_models import Model
from jaxalign.identifiability import (
    Identification,
    Sets,
    finite_labels,
    identify,
    identify_representations,
    log_probs,
    most_variable_labels,
    recovered_rank,
    take_labels,
)
from jaxalign.identifiability.linear_dissimilarity import MOST_SUBSETS

#: Subsets of labels that are drawn where there are too many to go through.
DRAWN_SUBSETS = 1000


@dataclass(frozen=True)
class Outputs:
    """Two models as the library takes them.

    Attributes:
      logp: logits or log-probabilities of both.
      parts: embeddings and unembeddings, `f, g, f2, g2`; None where they are not at hand or not determined.
      mask: which inputs count; None for all.
      notes: what has to be said about them.
    """

    logp: tuple[jax.Array, jax.Array]
    parts: tuple[jax.Array, ...] | None
    mask: jax.Array | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choices:
    """What was asked for; None where the default goes by the models."""

    dimension: int | None
    numbers: np.ndarray | None
    anchors: int | None
    sets: Sets | None
    drop_infinite: bool
    subsets: int | None
    tuples: int
    weight: float
    seed: int


def outputs_of(first: Model, second: Model, mask: np.ndarray | None, *, only_logp: bool) -> Outputs:
    """Log-probabilities of both models, with embeddings and unembeddings where labels determine them.

    Args:
      first: one model.
      second: the other.
      mask: which inputs count; None for all.
      only_logp: whether embeddings are left aside.
    """
    rows = None if mask is None else jnp.asarray(mask)
    if first.head is None:
        return Outputs((jnp.asarray(first.array), jnp.asarray(second.array)), None, rows)
    parts = *first.parts(), *second.parts()
    logp = log_probs(*parts[:2]), log_probs(*parts[2:])
    wide = max(parts[1].shape[1], parts[3].shape[1])
    if only_logp:
        return Outputs(logp, None, rows)
    if wide >= first.labels:
        note = (
            f"{first.labels} labels do not determine embeddings of {wide} dimensions: probabilities alone were "
            "compared, and d_f and cca_f are of what they determine"
        )
        return Outputs(logp, None, rows, (note,))
    notes = [
        f"the head of {model.name} has a bias, which counts as one more dimension: (f, 1) and (g, b)"
        for model in (first, second)
        if model.biased
    ]
    return Outputs(logp, parts, rows, tuple(notes))


def identification(outputs: Outputs, choices: Choices) -> tuple[Identification, int | None]:
    """The record with all notes, and how many subsets of labels were drawn; None for all of them.

    Raises:
      Problem: for labels that are too few.
      ValueError: as `identify`.
    """
    subsets, notes = choices.subsets, list(outputs.notes)
    kept, numbers = _kept(outputs, choices)
    labels = _candidates(kept, numbers, outputs, choices)
    m = _dimension(kept[0], outputs, choices)
    if m:
        many = _subsets(m, kept[0].shape[1] if labels is None else labels.shape[0], choices)
        if subsets is None and many > MOST_SUBSETS:
            subsets = DRAWN_SUBSETS
            notes.append(f"d_f is the largest of {subsets} subsets of labels, of {many:.2g}; --subsets draws more")
    common: dict[str, Any] = {
        "key": choices.seed,
        "sets": choices.sets,
        "labels": labels,
        "tuples": choices.tuples,
        "weight": choices.weight,
        "subsets": subsets,
        "mask": outputs.mask,
    }
    if outputs.parts is not None:
        f, g, f2, g2 = outputs.parts
        result = identify_representations(f, g, f2, g2, **common)
    else:
        result = identify(*kept, m=choices.dimension, **common)
    if numbers is not None:
        result = _renumbered(result, numbers, dropped=outputs.logp[0].shape[1] - len(numbers))
    return dataclasses.replace(result, notes=(*result.notes, *notes)), subsets


def _kept(outputs: Outputs, choices: Choices) -> tuple[tuple[jax.Array, jax.Array], np.ndarray | None]:
    """Both models on the labels that are finite in both, and which these are; None when all are."""
    if not choices.drop_infinite:
        return outputs.logp, None
    finite = finite_labels(*outputs.logp)
    if finite.shape[0] < 2:
        raise Problem(
            f"--drop-infinite leaves {finite.shape[0]} labels: all others are minus infinity for some input, in one "
            "model or the other"
        )
    if finite.shape[0] == outputs.logp[0].shape[1]:
        return outputs.logp, None
    one, other = (take_labels(z, finite) for z in outputs.logp)
    return (one, other), np.asarray(finite)


def _candidates(
    kept: tuple[jax.Array, jax.Array], numbers: np.ndarray | None, outputs: Outputs, choices: Choices
) -> jax.Array | None:
    """Places of the labels to choose sets from; None for all."""
    count = kept[0].shape[1]
    if choices.anchors is not None:
        if choices.anchors > count:
            raise Problem(f"--anchors: {count} labels are finite, got {choices.anchors}")
        return most_variable_labels(*kept, count=choices.anchors, mask=outputs.mask)
    if choices.numbers is None:
        return None
    if numbers is None:
        return jnp.asarray(choices.numbers)
    finite = choices.numbers[np.isin(choices.numbers, numbers)]
    return jnp.asarray(np.searchsorted(numbers, finite).astype(np.int32))


def _renumbered(result: Identification, numbers: np.ndarray, *, dropped: int) -> Identification:
    """The record of a comparison on some labels, with the numbers that these had among all."""
    sets = {**result.sets, "labels": [int(numbers[place]) for place in result.sets["labels"]]}
    subset = tuple(int(numbers[place]) for place in result.subset)
    for name in ("label_pivot", "left_out"):
        sets[name] = None if sets[name] is None else int(numbers[sets[name]])
    term, kind, index = result.largest
    largest = term, kind, int(numbers[index]) if term in ("t1", "t3") else index
    return dataclasses.replace(result, sets=sets, subset=subset, largest=largest, dropped_labels=dropped)


def _dimension(logp: jax.Array, outputs: Outputs, choices: Choices) -> int:
    """Of the first model."""
    if outputs.parts is not None:
        return outputs.parts[1].shape[1]
    if choices.dimension is not None:
        return choices.dimension
    return int(recovered_rank(logp, mask=outputs.mask))


def _subsets(m: int, count: int, choices: Choices) -> int:
    """How many subsets of labels there are to go through, after so many candidates were found to be enough."""
    if choices.sets is not None:
        return math.comb(choices.sets.labels.shape[0], choices.sets.inputs.shape[0])
    if count < m + 1:
        raise Problem(
            f"dimension {m} takes at least {m + 1} labels, there are {count} to choose sets from; "
            "a smaller --dimension takes fewer"
        )
    return math.comb(count - (1 if count == m + 1 else 2), m)
