"""Which labels and inputs to compare two models on: those that bring them closest."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxalign._core.checks import as_array, check_integer
from jaxalign._core.jit import jit
from jaxalign._core.keys import as_key
from jaxalign._core.numerics import accum_dtype, center_columns, mask_rows, row_count, self_products
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.identifiability.arguments import (
    any_traced,
    as_indices,
    check_dimension,
    check_models,
    raise_for_infinite,
)
from jaxalign.identifiability.log_probabilities import recovered_rank
from jaxalign.identifiability.row_blocks import BLOCK_ENTRIES, log_partitions, map_in_groups
from jaxalign.identifiability.sets import Sets
from jaxalign.identifiability.variation import entries_of

#: Pivots whose terms are evaluated directly, after the covariances have ranked all of them.
FINALISTS = 16


def select_sets(
    logp: Float[Array, "n c"],
    logp2: Float[Array, "n c"],
    *,
    key: Array | int,
    m: int | None = None,
    tuples: int = 200,
    leave_out: int | None = 1,
    labels: Int[Array, "s"] | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> Sets:
    r"""Labels and inputs on which two models are closest, for `llv_distance` and `identifiability_distance`.

    Of the labels, a pivot $k$ and one more label $l$ that is left out, such that $T_1$ of `llv_distance` on all others
    is least. Of `tuples` disjoint sets of `m + 1` inputs, drawn without replacement, the one of least $T_2$; its first
    input is the pivot. The search starts from infinity (the authors' from 1, so that they keep the first set when all
    are above).

    All pairs of labels come from the covariances of both models, in $O(n c^2)$; the best 16 pivots are then evaluated
    directly, as covariances lose half of the digits. Of values that rounding cannot tell apart the first is taken.
    With a large vocabulary give some hundred candidates as `labels`.

    A distance on sets that are selected anew for every pair is no metric; fix them once, on a reference pair.

    Args:
      logp: logits or log-probabilities, shape `(n, c)`.
      logp2: those of the other model, same inputs and labels.
      key: `jax.random.key(0)` or an integer.
      m: dimension of the models, the number of inputs beside the pivot; by default `recovered_rank` of the first.
      tuples: how many sets of inputs are tried, at most; no more than `n // (m + 1)` are disjoint.
      leave_out: 1, or None to use all labels, which has to be said when there are only `m + 1`.
      labels: candidates, shape `(s,)`; all by default.
      mask: shape `(n,)`; `False` rows are padding, are not drawn, and may hold any value.

    Returns:
      `Sets`, with `s - 2` labels (`s - 1` when none is left out) and `m` inputs. Integers: no gradient.

    Raises:
      ValueError: on wrong shapes, fewer than `m + 1` inputs or labels, exactly `m + 1` labels with one to leave out,
        values that are not finite, and when no choice is defined: log-odds that are the same for all inputs, or inputs
        with the same probabilities.
      TypeError: on non-floating input; without `m` inside `jit`.

    Example:
      >>> f = jnp.array([[1., 0.], [0., 1.], [-1., 0.], [0., -1.]])
      >>> g = jnp.array([[0., 0.], [1., 0.], [0., 1.], [1., 2.]])
      >>> select_sets(f @ g.T, 2 * f @ g.T, key=0).labels.shape
      (2,)

    Reference:
      The code of Nielsen et al. (2025), arXiv:2506.03784; by covariances derived for this project.
    """
    name = "select_sets"
    logp, logp2 = as_array(name, "logp", logp), as_array(name, "logp2", logp2)
    mask = None if mask is None else as_array(name, "mask", mask)
    check_models(name, logp, logp2, mask)
    return selected_sets(name, logp, logp2, m=m, key=key, tuples=tuples, leave_out=leave_out, labels=labels, mask=mask)


def dimension(function: str, logp: Array, m: Any, mask: Array | None) -> int:
    """`m` as it was given, or what the model shows.

    Raises:
      TypeError: when it has to be found inside `jit`.
    """
    if m is not None:
        check_integer(function, "m", m, minimum=1)
        return int(m)
    if any_traced(logp, mask):
        raise TypeError(f"{function}: m must be given inside jit, where it cannot be found from the values")
    raise_for_infinite(function, mask, logp=logp)
    found = int(recovered_rank(logp, mask=mask))
    if found == 0:
        raise ValueError(f"{function}: logp must tell labels apart, got the same probabilities everywhere")
    return found


def selected_sets(
    function: str,
    logp: Array,
    logp2: Array,
    *,
    m: Any,
    key: Any,
    tuples: int,
    leave_out: int | None,
    labels: Any,
    mask: Array | None,
) -> Sets:
    """`select_sets`, for messages in the name of another function."""
    if key is None:
        raise ValueError(
            f"{function}: give a key to select labels and inputs with, or both of them: sets, or labels, label_pivot, "
            "inputs and input_pivot"
        )
    key = as_key(function, key)
    check_integer(function, "tuples", tuples, minimum=1)
    if leave_out not in (None, 1):
        raise ValueError(f"{function}: leave_out must be 1 or None, got {leave_out!r}")
    candidates = jnp.arange(logp.shape[1], dtype=jnp.int32)
    if labels is not None:
        candidates = as_indices(function, "labels", labels, logp.shape[1])
    m = dimension(function, logp, m, mask)
    rows = logp.shape[0] if mask is None or any_traced(mask) else int(jnp.sum(mask, dtype=jnp.int32))
    check_dimension(function, m, rows, candidates.shape[0])
    if leave_out and candidates.shape[0] == m + 1:
        raise ValueError(
            f"{function}: with m + 1 = {m + 1} labels none can be left out; pass leave_out=None to select_sets"
        )
    sets, t1, t2 = _select(logp, logp2, candidates, key=key, m=m, tuples=tuples, leave_out=bool(leave_out), mask=mask)
    if not any_traced(t1, t2) and not np.isfinite([t1, t2]).all():
        raise_for_infinite(function, mask, logp=logp, logp2=logp2)
        which, what = ("labels", "the log-odds of more than one pair of labels are the same for all inputs (psi = 0)")
        if np.isfinite(t1):
            which, what = "inputs", "each of the sets drawn has two inputs of the same probabilities (phi = 0)"
        raise ValueError(f"{function}: {which} must differ, but whatever is chosen {what}; leave them out")
    return sets


def _smallest(values: Array) -> Array:
    """The first index of what rounding cannot tell from the least."""
    least = jnp.min(values)
    slack = 64 * float(jnp.finfo(values.dtype).eps) * jnp.where(jnp.isfinite(least), jnp.abs(least), 0)
    return jnp.argmax(values <= least + slack).astype(jnp.int32)


def _row_values(row: Array, pivot: Array, leave_out: bool) -> tuple[Array, Array]:
    """The term of a pivot on all labels but itself and the worst, and which is the worst."""
    row = jnp.where(jnp.isnan(row), jnp.inf, row)
    row = jnp.where(jnp.arange(row.shape[0], dtype=jnp.int32) == pivot, -jnp.inf, row)
    worst = _smallest(-row)
    if not leave_out:
        return jnp.max(row), jnp.int32(-1)
    rest = jnp.where(jnp.arange(row.shape[0], dtype=jnp.int32) == worst, -jnp.inf, row)
    return jnp.max(rest), worst


@jit(static=("m", "tuples", "leave_out"))
def _select(
    logp: Float[Array, "n c"],
    logp2: Float[Array, "n c"],
    candidates: Int[Array, "s"],
    *,
    key: Array,
    m: int,
    tuples: int,
    leave_out: bool,
    mask: Bool[Array, "n"] | None = None,
) -> tuple[Sets, Array, Array]:
    dtype = accum_dtype(logp, logp2)
    logp, logp2 = (lax.stop_gradient(z) for z in (logp, logp2))
    pivot, worst, t1 = _best_labels(logp, logp2, candidates, leave_out, mask)
    places = jnp.arange(candidates.shape[0], dtype=jnp.int32)
    dropped = (places == pivot) | (places == worst)
    kept = candidates[jnp.argsort(dropped, stable=True)[: candidates.shape[0] - 1 - int(leave_out)]]

    n, c = logp.shape
    count = min(tuples, n // (m + 1))
    order = jax.random.uniform(key, (n,), jnp.float32)
    order = jnp.argsort(order if mask is None else jnp.where(mask, order, 2)).astype(jnp.int32)
    drawn = order[: count * (m + 1)].reshape(count, m + 1)

    def of_input(index: Array) -> tuple[Array, Array]:
        return jnp.take(logp, index, axis=0).astype(dtype), jnp.take(logp2, index, axis=0).astype(dtype)

    def term(members: Array) -> Array:
        entries = entries_of(of_input, members[0], members[1:])
        value = jnp.max(jnp.maximum(entries.rest, entries.pivot))
        counts = jnp.asarray(True) if mask is None else jnp.all(jnp.take(mask, members))
        return jnp.where(jnp.isnan(value) | ~counts, jnp.inf, value)

    together = max(1, BLOCK_ENTRIES // (2 * (m + 1) * c))
    values = map_in_groups(term, drawn, together)
    best = drawn[_smallest(values)]
    sets = Sets(
        label_pivot=candidates[pivot],
        labels=kept,
        input_pivot=best[0],
        inputs=best[1:],
        left_out=jnp.where(worst < 0, -1, candidates[worst]).astype(jnp.int32),
    )
    return sets, t1, jnp.min(values)


def _best_labels(
    logp: Array, logp2: Array, candidates: Array, leave_out: bool, mask: Array | None
) -> tuple[Array, Array, Array]:
    """Places among the candidates of the pivot and of the one left out (-1: none), and the term they give."""
    dtype = accum_dtype(logp, logp2)

    def columns(z: Array) -> Array:
        taken = jnp.take(z, candidates, axis=1).astype(dtype) - log_partitions(z, mask).astype(dtype)[:, None]
        return mask_rows(taken, mask)

    x, y = columns(logp), columns(logp2)
    places = jnp.arange(candidates.shape[0], dtype=jnp.int32)
    ranked, _ = jax.vmap(lambda row, k: _row_values(row, k, leave_out))(_terms_by_covariance(x, y, mask), places)
    finalists = jnp.sort(lax.top_k(-ranked, min(FINALISTS, ranked.shape[0]))[1]).astype(jnp.int32)

    def directly(pivot: Array) -> tuple[Array, Array]:
        entries = entries_of(lambda j: (jnp.take(x, j, axis=1), jnp.take(y, j, axis=1)), pivot, places, mask)
        return _row_values(jnp.maximum(entries.rest, entries.pivot), pivot, leave_out)

    values, worst = lax.map(directly, finalists)
    best = _smallest(values)
    return finalists[best], worst[best], values[best]


def _terms_by_covariance(x: Array, y: Array, mask: Array | None) -> Float[Array, "s s"]:
    """The larger of both entries of $T_1$ for each pivot (row) and label; infinite where too little is left of it."""
    freedom = row_count(x, mask) - 1
    x, y = center_columns(x, mask), center_columns(y, mask)
    covariances = [self_products(z) / freedom for z in (x, y)]
    variances = [jnp.diagonal(covariance) for covariance in covariances]
    crossed = jnp.sum(x * y, axis=0) / freedom
    tolerance = 64 * float(jnp.finfo(x.dtype).eps)

    def scale(covariance: Array, variance: Array) -> Array:
        total = variance[:, None] + variance[None, :]
        square = total - 2 * covariance
        return jnp.sqrt(jnp.where(square > tolerance * total, square, jnp.nan))

    psi, psi2 = (scale(*pair) for pair in zip(covariances, variances, strict=True))

    def entry(variance: Array, variance2: Array, cross: Array) -> Array:
        return variance / psi**2 + variance2 / psi2**2 - 2 * cross / (psi * psi2)

    rest = entry(*(v[None, :] for v in (*variances, crossed)))
    pivot = entry(*(v[:, None] for v in (*variances, crossed)))
    return jnp.sqrt(jnp.maximum(jnp.maximum(rest, pivot), 0))
