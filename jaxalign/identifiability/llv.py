"""The log-likelihood variance distance between two models."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import as_array, check_choice, check_ridge
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.identifiability.arguments import check_models, known_nan, raise_for_infinite
from jaxalign.identifiability.row_blocks import log_partitions
from jaxalign.identifiability.selection import selected_sets
from jaxalign.identifiability.sets import Sets, given_sets, raise_without_scale
from jaxalign.identifiability.variation import Entries, entries_of

#: How the four terms become one number.
REDUCTIONS = ("max", "sum", "mean")


class LargestEntry(NamedTuple):
    """What a distance is the value of: the term, `"rest"`, `"pivot"` or `"scale"`, and the label or input."""

    term: str
    kind: str
    number: int


@pytree_dataclass
class LLVDistance:
    """A distance, and what it is the largest of.

    Attributes:
      value: the distance.
      t1: how differently log-probabilities of a label vary over inputs.
      t2: how differently log-probabilities at an input vary over labels.
      t3: the largest difference of the scales of log-odds.
      t4: the largest difference of the scales of log-ratios.
      over_inputs: entries behind t1 and t3, one for each label of the sets; scales are ψ.
      over_labels: entries behind t2 and t4, one for each input of the sets; scales are φ.
      sets: the labels and inputs.
      weight: λ, of t3 and t4.
    """

    value: Scalar
    t1: Scalar
    t2: Scalar
    t3: Scalar
    t4: Scalar
    over_inputs: Entries
    over_labels: Entries
    sets: Sets
    weight: Scalar

    @property
    def largest(self) -> LargestEntry:
        """The entry that is largest, the weighted ones included; of equal ones the first. Not inside `jit`."""
        found: list[tuple[float, LargestEntry]] = []
        sides = (("t1", "t3", self.over_inputs, self.sets.labels), ("t2", "t4", self.over_labels, self.sets.inputs))
        for shape, size, entries, indices in sides:
            scaled = np.asarray(self.weight) * np.abs(np.asarray(entries.scale) - np.asarray(entries.scale2))
            terms = ((shape, "rest", entries.rest), (shape, "pivot", entries.pivot), (size, "scale", scaled))
            for term, kind, values in terms:
                best = int(np.argmax(np.asarray(values)))
                found.append((float(values[best]), LargestEntry(term, kind, int(indices[best]))))
        return max(found, key=lambda pair: pair[0])[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers; None for what is not finite."""
        names = ("value", "t1", "t2", "t3", "t4", "weight")
        numbers = {name: float(getattr(self, name)) for name in names}
        numbers = {name: number if math.isfinite(number) else None for name, number in numbers.items()}
        return {**numbers, "largest": self.largest._asdict(), "sets": self.sets.to_dict()}


def llv_distance(
    logp: Float[Array, "n c"],
    logp2: Float[Array, "n c"],
    *,
    labels: Int[Array, "s"] | None = None,
    label_pivot: int | Int[Array, ""] | None = None,
    inputs: Int[Array, "t"] | None = None,
    input_pivot: int | Int[Array, ""] | None = None,
    sets: Sets | None = None,
    m: int | None = None,
    key: Array | int | None = None,
    tuples: int = 200,
    weight: float | Scalar = 1e-5,
    reduce: str = "max",
    mask: Bool[Array, "n"] | None = None,
) -> LLVDistance:
    r"""Log-likelihood variance distance of two models, from their log-probabilities.

    $$d = \max(T_1, T_2, \lambda T_3, \lambda T_4), \qquad
      \psi_j = \mathrm{std}_x \log\tfrac{p(y_j \mid x)}{p(y_0 \mid x)}, \quad
      \phi_i = \mathrm{std}_y \log\tfrac{p(y \mid x_i)}{p(y \mid x_0)}$$
    $$T_1 = \max_{j \in S_y,\, y \in \{y_j, y_0\}} \mathrm{std}_x
      \Big(\tfrac{\log p(y \mid x)}{\psi_j} - \tfrac{\log p'(y \mid x)}{\psi'_j}\Big), \quad
      T_3 = \max_j |\psi_j - \psi'_j|$$

    and $T_2$, $T_4$ likewise with inputs and labels exchanged, and φ. Standard deviations are divided by `n - 1`, which
    only $T_3$ and $T_4$ notice. Log-probabilities are not normalized again on the labels chosen.

    Labels and inputs are either given, the four lists or `sets`, or selected for this very pair by `select_sets`, with
    a `key`. **For given sets it is a metric** (where log-probabilities are finite, λ > 0, and labels omit at most one).
    **For selected ones it is not**: the selection minimizes the distance, and the triangle inequality fails. To compare
    many models, select once and pass the sets.

    Args:
      logp: log-probabilities, or logits, which become that: shape `(n, c)`, a row for each input.
      logp2: those of the other model, same inputs and labels.
      labels: $S_y$, without the pivot. Of a large vocabulary some hundred; the value depends on which.
      label_pivot: $y_0$.
      inputs: $S_x$, without the pivot.
      input_pivot: $x_0$.
      sets: all four, from `select_sets`.
      m: for the selection: dimension of the models, by default `recovered_rank` of the first.
      key: for the selection, `jax.random.key(0)` or an integer.
      tuples: for the selection: how many sets of inputs are tried.
      weight: λ, at least 0. At 0, models of different probabilities can have distance 0.
      reduce: `"max"`; `"sum"`: $T_1 + T_2 + \lambda T_3 + \lambda T_4$; `"mean"`: the largest of the four, of which
        $T_1$, $T_3$ and $T_4$ are means over j and i.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      An `LLVDistance`, at least 0; unrelated models have about 1 to 2. Depends on probabilities only, and so is blind
      to invertible maps of embeddings. Inside `jit`, NaN where it is not defined. The gradient is finite. At distance 0
      there is none, as for any norm: what comes is some finite vector, 0 but for what rounding makes of $T_3$.

    Raises:
      ValueError: on wrong shapes or sets; for values that are known not to be finite, or known to have ψ = 0 or φ = 0:
        log-odds of a label that are the same for all inputs, or two inputs with the same probabilities.
      TypeError: on non-floating input.

    Example:
      >>> f = jnp.array([[1., 0.], [0., 1.], [-1., 0.], [0., -1.]])
      >>> g = jnp.array([[0., 0.], [1., 0.], [0., 1.], [1., 2.]])
      >>> logits = f @ g.T
      >>> result = llv_distance(logits, 2 * logits, labels=[1, 2], label_pivot=0, inputs=[1, 2], input_pivot=0)
      >>> round(float(result.value), 4), result.largest.term
      (0.105, 't1')

    Reference:
      Definition 4.4 of Nielsen et al. (2025), arXiv:2506.03784; λ, selection and the variants of `reduce` as in the
      authors' code. That selected sets make it no metric, and that λ = 0 does not, was derived for this project.
    """
    name = "llv_distance"
    check_choice(name, "reduce", reduce, REDUCTIONS)
    check_ridge(name, weight, argument="weight")
    logp, logp2 = as_array(name, "logp", logp), as_array(name, "logp2", logp2)
    mask = None if mask is None else as_array(name, "mask", mask)
    check_models(name, logp, logp2, mask)
    chosen = given_sets(name, logp.shape, mask, sets, labels, label_pivot, inputs, input_pivot)
    if chosen is None:
        chosen = selected_sets(name, logp, logp2, m=m, key=key, tuples=tuples, leave_out=1, labels=None, mask=mask)
    elif key is not None:
        raise ValueError(f"{name}: a key is for selecting sets; these are given")
    result = _llv_distance(logp, logp2, sets=chosen, weight=weight, reduce=reduce, mask=mask)
    if known_nan(result):
        raise_for_infinite(name, mask, logp=logp, logp2=logp2)
        for model, scale in (("logp", "scale"), ("logp2", "scale2")):
            missing = (jnp.isnan(getattr(entries, scale)) for entries in (result.over_inputs, result.over_labels))
            raise_without_scale(name, model, chosen, *missing)
    return result


@jit(static=("reduce",))
def _llv_distance(
    logp: Float[Array, "n c"],
    logp2: Float[Array, "n c"],
    *,
    sets: Sets,
    weight: float | Scalar,
    reduce: str,
    mask: Bool[Array, "n"] | None = None,
) -> LLVDistance:
    dtype = accum_dtype(logp, logp2)
    models = [(z, log_partitions(z, mask).astype(dtype)) for z in (logp, logp2)]

    (one, partition), (other, partition2) = models

    def column(z: Array, partition: Array, label: Array) -> Array:
        values = jnp.take(z, label, axis=1).astype(dtype) - partition
        return values if mask is None else jnp.where(mask, values, 0)

    def of_label(label: Array) -> tuple[Array, Array]:
        return column(one, partition, label), column(other, partition2, label)

    def of_input(index: Array) -> tuple[Array, Array]:
        return jnp.take(one, index, axis=0).astype(dtype), jnp.take(other, index, axis=0).astype(dtype)

    over_inputs = entries_of(of_label, sets.label_pivot, sets.labels, mask)
    over_labels = entries_of(of_input, sets.input_pivot, sets.inputs)
    shape1, shape2 = (jnp.maximum(entries.rest, entries.pivot) for entries in (over_inputs, over_labels))
    size1, size2 = (jnp.abs(entries.scale - entries.scale2) for entries in (over_inputs, over_labels))
    over = jnp.mean if reduce == "mean" else jnp.max
    t1, t2, t3, t4 = over(shape1), jnp.max(shape2), over(size1), over(size2)
    weight = jnp.asarray(weight, dtype)
    terms = jnp.stack([t1, t2, weight * t3, weight * t4])
    value = jnp.sum(terms) if reduce == "sum" else jnp.max(terms)
    return LLVDistance(value, t1, t2, t3, t4, over_inputs, over_labels, sets, weight)
