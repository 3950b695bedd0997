"""How far two representations are from one another up to what probabilities leave open: PLS-SVD of log-odds."""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import as_array, check_integer, describe
from jaxalign._core.jit import jit
from jaxalign._core.keys import as_key
from jaxalign._core.numerics import (
    accum_dtype,
)
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.identifiability.arguments import any_traced, check_models, known_nan, raise_for_infinite
from jaxalign.identifiability.pls_svd import distance_of_units, unit_columns, warn_if_few
from jaxalign.identifiability.row_blocks import BLOCK_ENTRIES, map_in_groups
from jaxalign.identifiability.selection import selected_sets
from jaxalign.identifiability.sets import Sets, given_sets, raise_without_scale

#: More subsets of labels than this are not gone through unasked.
MOST_SUBSETS = 10_000


@pytree_dataclass
class IdentifiabilityDistance:
    """How far apart representations are, of inputs and of labels.

    Attributes:
      value: the larger of the two.
      d_f: of embeddings of inputs: the largest over subsets of labels.
      d_g: of unembeddings of labels.
      subset: the labels that `d_f` is from.
      sets: labels and inputs.
    """

    value: Scalar
    d_f: Scalar
    d_g: Scalar
    subset: Int[Array, "m"]
    sets: Sets

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            **{name: float(getattr(self, name)) for name in ("value", "d_f", "d_g")},
            "subset": [int(label) for label in self.subset],
            "sets": self.sets.to_dict(),
        }


def identifiability_distance(
    logp: Float[Array, "n c"],
    logp2: Float[Array, "n c"],
    *,
    labels: Int[Array, "s"] | None = None,
    label_pivot: int | Int[Array, ""] | None = None,
    inputs: Int[Array, "t"] | None = None,
    input_pivot: int | Int[Array, ""] | None = None,
    sets: Sets | None = None,
    m: int | None = None,
    size: int | None = None,
    subsets: int | None = None,
    key: Array | int | None = None,
    tuples: int = 200,
    mask: Bool[Array, "n"] | None = None,
) -> IdentifiabilityDistance:
    r"""Dissimilarity of representations up to what probabilities leave open, from log-probabilities alone.

    $$d_{f,g} = \max(d_f, d_g), \qquad d_f = \max_{J \subset S_y} d_{SVD}(L_J^\top f, L_J'^\top f'), \qquad
      d_g = d_{SVD}(N^\top g, N'^\top g')$$

    with `pls_svd_distance` $d_{SVD}$, over subsets $J$ of as many labels as there are inputs. $L_J^\top f$ are the
    `log_odds` of $J$, $N^\top g$ the `log_ratios` of the inputs: both are the same for all models of the same
    probabilities.

    **It is blind** to a temperature and to biases of the head: 0 does not mean equal probabilities.

    Args:
      logp: logits or log-probabilities, shape `(n, c)`, a row for each input.
      logp2: those of the other model, same inputs and labels.
      labels: $S_y$, without the pivot: for large vocabularies some anchors.
      label_pivot: $y_0$.
      inputs: $S_x$, without the pivot.
      input_pivot: $x_0$.
      sets: all four, from `select_sets`; without them they are selected for this pair, by `key`.
      m: for the selection: dimension of the models, by default `recovered_rank` of the first.
      size: of the subsets $J$; by default the number of inputs. The bound `llv_bound_tight` holds for any.
      subsets: try this many, drawn by `key`, instead of all; the value is then at most that of all.
      key: for drawing subsets and selecting sets.
      tuples: for the selection.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      An `IdentifiabilityDistance`, all values in `[0, 1]`; unrelated models have 0.9 or more. Inside `jit`, NaN where
      it is not defined. Its gradient is finite.

    Raises:
      ValueError: on wrong shapes or sets, more than 10 000 subsets, values that are not finite, log-odds that are the
        same for all inputs, and inputs with the same probabilities.
      TypeError: on non-floating input.

    Warns:
      UninformativeWarning: with no more than `size + 1` inputs, or labels: `d_g` is of `c` rows only.

    Example:
      >>> f = jnp.array([[1., 0.], [0., 1.], [-1., 0.], [2., -1.]])
      >>> g = jnp.array([[0., 0.], [1., 0.], [0., 1.], [1., 2.]])
      >>> logits = f @ g.T
      >>> settings = dict(labels=[1, 2], label_pivot=0, inputs=[1, 2], input_pivot=0)
      >>> round(float(identifiability_distance(logits, 3 * logits + logits[:1], **settings).value), 4)
      0.0

    Reference:
      Section 4 of Nielsen et al. (2025), arXiv:2506.03784, evaluated as in the authors' code. From log-probabilities
      alone, and with subsets of any size: derived for this project.
    """
    name = "identifiability_distance"
    logp, logp2 = as_array(name, "logp", logp), as_array(name, "logp2", logp2)
    mask = None if mask is None else as_array(name, "mask", mask)
    check_models(name, logp, logp2, mask)
    chosen = given_sets(name, logp.shape, mask, sets, labels, label_pivot, inputs, input_pivot)
    if chosen is None:
        chosen = selected_sets(name, logp, logp2, m=m, key=key, tuples=tuples, leave_out=1, labels=None, mask=mask)
    size = chosen.inputs.shape[0] if size is None else size
    members = _subsets(name, chosen.labels.shape[0], size, subsets, key)
    warn_if_few(name, logp.shape[0], size, "inputs")
    warn_if_few(name, logp.shape[1], chosen.inputs.shape[0], "labels")
    result = _identifiability_distance(logp, logp2, members, sets=chosen, mask=mask)
    if known_nan(result):
        raise_for_infinite(name, mask, logp=logp, logp2=logp2)
        _raise_for_constant(name, {"logp": logp, "logp2": logp2}, chosen, mask)
    return result


def _subsets(function: str, labels: int, size: Any, count: Any, key: Any) -> Int[Array, "j m"]:
    """Places of the members of every subset, in lexicographic order, or drawn."""
    check_integer(function, "size", size, minimum=1)
    if size > labels:
        raise ValueError(f"{function}: labels must be at least {size}, the size of a subset, got {labels}")
    total = math.comb(labels, size)
    if count is None:
        if total > MOST_SUBSETS:
            raise ValueError(
                f"{function}: {labels} labels have {total} subsets of {size}; draw some, by subsets="
                + (" and key=" if key is None else "")
            )
        return jnp.asarray(np.array(list(itertools.combinations(range(labels), size)), np.int32))
    check_integer(function, "subsets", count, minimum=1)
    if key is None:
        raise ValueError(f"{function}: give a key to draw subsets with")
    keys = jax.random.split(jax.random.fold_in(as_key(function, key), 1), count)
    drawn = jax.vmap(lambda key: jax.random.permutation(key, labels)[:size])(keys)
    return jnp.sort(drawn, axis=1).astype(jnp.int32)


@jit()
def _identifiability_distance(
    logp: Float[Array, "n c"],
    logp2: Float[Array, "n c"],
    members: Int[Array, "j m"],
    *,
    sets: Sets,
    mask: Bool[Array, "n"] | None = None,
) -> IdentifiabilityDistance:
    dtype = accum_dtype(logp, logp2)
    odds, ratios = zip(*(_features(z, sets, mask, dtype) for z in (logp, logp2)), strict=True)
    d_g = distance_of_units(*ratios)

    def of_subset(places: Array) -> Array:
        return distance_of_units(*(jnp.take(columns, places, axis=1) for columns in odds))

    together = max(1, BLOCK_ENTRIES // (4 * logp.shape[0] * members.shape[1]))
    distances = map_in_groups(of_subset, members, together)
    d_f = jnp.max(distances)
    subset = sets.labels[members[jnp.argmax(distances)]]
    return IdentifiabilityDistance(jnp.maximum(d_f, d_g), d_f, d_g, subset, sets)


def _features(logp: Array, sets: Sets, mask: Array | None, dtype: Any) -> tuple[Array, Array]:
    """Standardized log-odds `(n, s)` and log-ratios `(c, m)`."""

    def differences(rows: Array, pivot: Array) -> tuple[Array, Array]:
        sizes = jnp.maximum(jnp.abs(rows), jnp.abs(pivot)[:, None])
        return rows - pivot[:, None], sizes

    pivot = jnp.take(logp, sets.label_pivot, axis=1).astype(dtype)
    odds = differences(jnp.take(logp, sets.labels, axis=1).astype(dtype), pivot)
    first = jnp.take(logp, sets.input_pivot, axis=0).astype(dtype)
    ratios = differences(jnp.take(logp, sets.inputs, axis=0).astype(dtype).T, first)
    return unit_columns(odds[0], mask, odds[1]), unit_columns(ratios[0], None, ratios[1])


def _raise_for_constant(function: str, models: dict[str, Array], sets: Sets, mask: Array | None) -> None:
    """Name the label or the input without a spread, where it is known."""
    if any_traced(sets, mask, *models.values()):
        return
    for name, value in models.items():
        raise_without_scale(
            function, name, sets, *(jnp.isnan(columns) for columns in _features(value, sets, mask, accum_dtype(value)))
        )
    raise ValueError(f"{function}: not defined for these values, got NaN from {describe(models['logp'])}")
