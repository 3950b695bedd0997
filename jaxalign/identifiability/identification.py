"""All comparisons of two models at once."""

from __future__ import annotations

import math
import warnings
from typing import Any

import jax.numpy as jnp

from jaxalign._core.checks import as_array
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.identifiability.arguments import any_traced, check_models
from jaxalign.identifiability.bounds import cca_bound, kl_bound, llv_bound, llv_bound_tight, rep_distance_bound
from jaxalign.identifiability.canonical import mean_cca_from_logprobs
from jaxalign.identifiability.divergence import kl_divergence
from jaxalign.identifiability.label_order import label_order_from_logprobs
from jaxalign.identifiability.linear_dissimilarity import identifiability_distance
from jaxalign.identifiability.linear_map import linear_map_between
from jaxalign.identifiability.llv import llv_distance
from jaxalign.identifiability.log_probabilities import finite_labels, log_probs, take_labels
from jaxalign.identifiability.logit import logit_distance
from jaxalign.identifiability.narrow_student import logit_covariance_eigenvalues
from jaxalign.identifiability.record import Identification, with_notes
from jaxalign.identifiability.rep_distance import rep_distance
from jaxalign.identifiability.selection import dimension, selected_sets
from jaxalign.identifiability.sets import Sets, given_sets
from jaxalign.signatures.whitened import UninformativeWarning

#: At most this many sets of labels for `rep_distance`, and labels for canonical correlations.
DRAWN_SETS, MOST_LABELS = 500, 2048


def identify(
    logp: Float[Array, "n c"],
    logp2: Float[Array, "n c"],
    *,
    key: Array | int,
    m: int | None = None,
    sets: Sets | None = None,
    labels: Int[Array, "s"] | None = None,
    tuples: int = 200,
    weight: float = 1e-5,
    drop_infinite: bool = False,
    subsets: int | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> Identification:
    """How alike two models are, by all that their outputs determine, with bounds and with warnings of what misleads.

    Args:
      logp: logits or log-probabilities, shape `(n, c)`, a row for each input.
      logp2: those of the other model, same inputs and labels.
      key: for drawing sets of inputs: `jax.random.key(0)` or an integer.
      m: dimension of both models; by default `recovered_rank` of each. Labels and inputs are as many as the first
        model needs.
      sets: labels and inputs, as from `select_sets`; by default selected for this pair.
      labels: candidates for the selection, see `most_variable_labels`.
      tuples: for the selection.
      weight: λ of `llv_distance`.
      drop_infinite: leave out labels that are not finite in both, and take probabilities given the others.
      subsets: of labels, to draw for `identifiability_distance`; by default all when they are at most 10 000.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      An `Identification`. Not for use inside `jit`.

    Raises:
      ValueError: as the functions that it calls, and for probabilities of which the logarithm was not taken.
      TypeError: on non-floating input, and inside `jit`.

    Example:
      >>> f = jnp.array([[1., 0.], [0., 1.], [-1., 0.], [2., -1.]])
      >>> g = jnp.array([[0., 0.], [1., 0.], [0., 1.], [1., 2.]])
      >>> result = identify(f @ g.T, 3 * f @ g.T, key=0)
      >>> result.dimension, round(result.d_fg, 4), round(result.cca_f, 4)
      (2, 0.0, 1.0)

    Reference:
      Nielsen et al. (2025), arXiv:2506.03784; arXiv:2602.15438; the notes were made for this project.
    """
    return _identify(logp, logp2, None, key, m, sets, labels, tuples, weight, drop_infinite, subsets, mask)


def identify_representations(
    f: Float[Array, "n m"],
    g: Float[Array, "c m"],
    f2: Float[Array, "n m"],
    g2: Float[Array, "c m"],
    *,
    key: Array | int,
    sets: Sets | None = None,
    labels: Int[Array, "s"] | None = None,
    tuples: int = 200,
    weight: float = 1e-5,
    subsets: int | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> Identification:
    """`identify` of two models whose embeddings and unembeddings are at hand, with what only these show.

    Args:
      f: embeddings of the first model, shape `(n, m)`; the head without bias.
      g: its unembeddings, shape `(c, m)`.
      f2: embeddings of the other model, same inputs.
      g2: its unembeddings, same labels.
      key: as in `identify`, and for drawing sets of labels for `rep_distance` where there are many.
      sets: as in `identify`.
      labels: likewise.
      tuples: likewise.
      weight: likewise.
      subsets: likewise.
      mask: likewise.

    Returns:
      An `Identification` with `s_min`, `s_ratio`, `rep_distance` and its bound; these are None when unembeddings are
      not in general position, with a note.

    Raises:
      ValueError: as the functions that it calls.
      TypeError: on non-floating input, and inside `jit`.

    Example:
      >>> f = jnp.array([[1., 0.], [0., 1.], [-1., 0.], [2., -1.]])
      >>> g = jnp.array([[0., 0.], [1., 0.], [0., 1.], [1., 3.]])
      >>> result = identify_representations(f, g, 2 * f, g / 2, key=0)
      >>> round(result.rep_distance, 4), round(result.s_min, 4)
      (0.0, 0.2588)

    Reference:
      As `identify`.
    """
    models = log_probs(f, g), log_probs(f2, g2)
    m = int(as_array("identify_representations", "g", g).shape[1])
    return _identify(*models, (f, g, f2, g2), key, m, sets, labels, tuples, weight, False, subsets, mask)


def _identify(
    logp: Any,
    logp2: Any,
    parts: tuple[Any, ...] | None,
    key: Any,
    m: Any,
    sets: Sets | None,
    labels: Any,
    tuples: int,
    weight: float,
    drop_infinite: bool,
    subsets: int | None,
    mask: Any,
) -> Identification:
    name = "identify" if parts is None else "identify_representations"
    logp, logp2 = as_array(name, "logp", logp), as_array(name, "logp2", logp2)
    mask = None if mask is None else as_array(name, "mask", mask)
    check_models(name, logp, logp2, mask)
    if any_traced(logp, logp2, mask):
        raise TypeError(f"{name}: values must be known, got traced ones; call it outside jit")
    for argument, value in (("logp", logp), ("logp2", logp2)):
        if bool(_are_probabilities(value, mask=mask)):
            raise ValueError(
                f"{name}: {argument} must be logits or log-probabilities, got probabilities (no row is negative "
                "anywhere, and each sums to 1); take their logarithm"
            )
    numbers, dropped = jnp.arange(logp.shape[1], dtype=jnp.int32), 0
    if drop_infinite:
        if sets is not None or labels is not None:
            raise ValueError(f"{name}: drop_infinite cannot go with sets or labels, which number all labels")
        numbers = finite_labels(logp, logp2, mask=mask)
        dropped = logp.shape[1] - numbers.shape[0]
        if not numbers.shape[0]:
            raise ValueError(f"{name}: no label is finite in both models for every input")
        if dropped:
            logp, logp2 = take_labels(logp, numbers), take_labels(logp2, numbers)
    m2 = parts[3].shape[1] if parts is not None else dimension(name, logp2, m, mask)
    m = dimension(name, logp, m, mask)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UninformativeWarning)  # what they say is in the notes
        chosen = given_sets(name, logp.shape, mask, sets, None, None, None, None)
        if chosen is None:
            few = (logp.shape[1] if labels is None else len(labels)) == m + 1
            leave_out = None if few else 1
            chosen = selected_sets(
                name, logp, logp2, m=m, key=key, tuples=tuples, leave_out=leave_out, labels=labels, mask=mask
            )
        found = llv_distance(logp, logp2, sets=chosen, weight=weight, mask=mask)
        apart = identifiability_distance(logp, logp2, sets=chosen, subsets=subsets, key=key, mask=mask)
        shapes = max(float(found.t1), float(found.t2))
        logits = logit_distance(logp, logp2, mask=mask)
        values: dict[str, Any] = {"cca_f": None, "cca_bound": None, "cca_g": None, "same_label_order": None}
        if logp.shape[1] <= MOST_LABELS:
            correlations = mean_cca_from_logprobs(logp, logp2, m=m, m2=m2, mask=mask)
            values.update(cca_f=float(correlations.f), cca_g=float(correlations.g))
            if m == m2:
                least = logit_covariance_eigenvalues(logp, mask=mask)[m - 1]
                values["cca_bound"] = float(cca_bound(logits, eigenvalue=least, m=m))
            if m == m2 == 2:
                order, order2 = (label_order_from_logprobs(z, mask=mask) for z in (logp, logp2))
                values["same_label_order"] = bool(jnp.array_equal(order, order2))
        values.update(_of_parts(parts, key, logits, mask))
        bound, bound_tight = float(llv_bound(shapes, m)), float(llv_bound_tight(shapes))
        notes = _on_correlations((logp, logp2), (m, m2), mask)
    largest = found.largest
    index = int(numbers[largest.number]) if largest.term in ("t1", "t3") else largest.number
    members = chosen.to_dict()
    members["labels"] = [int(numbers[label]) for label in members["labels"]]
    for single in ("label_pivot", "left_out"):
        members[single] = None if members[single] is None else int(numbers[members[single]])
    result = Identification(
        inputs=logp.shape[0] if mask is None else int(jnp.sum(mask, dtype=jnp.int32)),
        labels=int(logp.shape[1]),
        dropped_labels=dropped,
        dimension=m,
        dimension2=m2,
        llv=float(found.value),
        **{term: float(getattr(found, term)) for term in ("t1", "t2", "t3", "t4")},
        largest=(largest.term, largest.kind, index),
        weight=float(found.weight),
        sets=members,
        **{term: float(getattr(apart, term)) for term in ("d_f", "d_g")},
        d_fg=float(apart.value),
        subset=tuple(int(numbers[label]) for label in apart.subset),
        bound=bound,
        bound_tight=bound_tight,
        kl=float(kl_divergence(logp, logp2, mask=mask)),
        kl_reversed=float(kl_divergence(logp2, logp, mask=mask)),
        kl_bound=float(kl_bound(logits)),
        logit_distance=float(logits),
        **{label: value for label, value in values.items() if label != "note"},
    )
    return with_notes(result, [*([values["note"]] if "note" in values else []), *notes])


@jit()
def _are_probabilities(logp: Float[Array, "n c"], *, mask: Bool[Array, "n"] | None = None) -> Bool[Array, ""]:
    """Whether rows are of probabilities, of which logarithms were not taken."""
    sums, least = jnp.sum(logp, axis=1, dtype=accum_dtype(logp)), jnp.min(logp, axis=1)
    alike = (least >= 0) & (jnp.abs(sums - 1) < 0.01)
    return jnp.all(alike if mask is None else alike | ~mask)


def _on_correlations(models: tuple[Array, Array], sizes: tuple[int, int], mask: Any) -> list[str]:
    """What keeps canonical correlations below 1 where models are alike."""
    notes = []
    if models[0].shape[1] > MOST_LABELS:
        return notes
    for which, logp, size in zip(("first", "other"), models, sizes, strict=True):
        varying = int(jnp.sum(logit_covariance_eigenvalues(logp, mask=mask) > 0, dtype=jnp.int32))
        if varying < size:
            notes.append(
                f"of {size} dimensions of the {which} model only {varying} vary over inputs, as with a bias in its "
                "head: of the others no canonical correlation is left, and cca_f is below 1 for equal models too"
            )
    return notes


def _of_parts(parts: tuple[Any, ...] | None, key: Any, logits: Array, mask: Any) -> dict[str, Any]:
    """What embeddings and unembeddings show, or why they do not."""
    if parts is None:
        return {}
    f, g, f2, g2 = parts
    labels, m = g.shape
    subsets = None if math.comb(labels, m + 1) <= DRAWN_SETS else DRAWN_SETS
    try:
        linear_map_between(g, g2)
        found = rep_distance(f, g, f2, g2, subsets=subsets, key=None if subsets is None else key, mask=mask)
    except ValueError as error:
        return {"note": str(error)}
    bound = rep_distance_bound(logits, s_min=found.s_min, m=m, classes=labels)
    return {
        "s_min": float(found.s_min),
        "s_ratio": float(found.relative),
        "rep_distance": float(found.value),
        "rep_distance_bound": float(bound),
    }
