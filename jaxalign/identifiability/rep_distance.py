"""How far embeddings of one model are from those of another, mapped by what the unembeddings say."""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxalign._core.checks import as_array, check_integer, check_mask, check_matrix, describe
from jaxalign._core.jit import jit
from jaxalign._core.keys import as_key
from jaxalign._core.numerics import accum_dtype, gram_matmul, mask_rows, row_count, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.identifiability.arguments import known_nan
from jaxalign.identifiability.row_blocks import BLOCK_ENTRIES, map_in_groups

#: More subsets of labels than this are not gone through unasked.
MOST_SUBSETS = 20_000
#: Subsets that are looked at together.
GROUP = 256


@pytree_dataclass
class RepDistance:
    """A distance of embeddings, and how well the unembeddings determine it.

    Attributes:
      value: $d_{rep}$, in units of the embeddings of the first model.
      s_min: the least singular value of a matrix $L_J$ of the first model, over pivots and subsets.
      relative: the least ratio of the smallest to the largest singular value of one.
      worst: labels of that ratio, `(m + 1,)`.
    """

    value: Scalar
    s_min: Scalar
    relative: Scalar
    worst: Int[Array, "k"]


def rep_distance(
    f: Float[Array, "n m"],
    g: Float[Array, "c m"],
    f2: Float[Array, "n m"],
    g2: Float[Array, "c m"],
    *,
    subsets: int | None = None,
    key: Array | int | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> RepDistance:
    r"""Distance of embeddings after the linear maps that unembeddings determine.

    $$d_{rep}^2 = \mathrm{avg}_{y_0, J}\; \tfrac1n \textstyle\sum_i \|f(x_i) - A_J f'(x_i)\|^2, \qquad
      A_J = L_J^{-\top} L_J'^\top, \quad L_J = [g(y_j) - g(y_0)]_{j \in J}$$

    over all pivots and all sets J of m other labels. $A_J$ is the same for every pivot among the `m + 1` labels, so
    each set of `m + 1` is taken once. Of both models only $f^\top g$ enters, and g: $L_J^\top (f - A_J f')$ is a
    difference of log-odds.

    Args:
      f: embeddings of the first model, shape `(n, m)`.
      g: its unembeddings, shape `(c, m)`, with `c > m`.
      f2: embeddings of the other model, same inputs; of any width, which `g2` shares.
      g2: its unembeddings, same labels.
      subsets: take this many sets of labels, drawn by `key`, instead of all.
      key: `jax.random.key(0)` or an integer.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A `RepDistance`. Blind to invertible maps of the second model, not of the first, in whose units it is; not
      symmetric. Inside `jit`, NaN where an $L_J$ is singular. Its gradient is finite.

    Raises:
      ValueError: on wrong shapes, more than 20 000 sets, and for labels whose $L_J$ is known to be singular: a ratio
        of singular values of 1e-8 (in float32: 1e-6) or less.
      TypeError: on non-floating input.

    Example:
      >>> f = jnp.array([[1., 0.], [0., 1.], [1., 1.]])
      >>> g = jnp.array([[0., 0.], [1., 0.], [0., 1.], [2., 3.]])
      >>> a = jnp.array([[2., 1.], [0., 1.]])
      >>> round(float(rep_distance(f, g, f @ a, g @ jnp.linalg.inv(a).T).value), 4)
      0.0

    Reference:
      Logit distance bounds representational similarity, arXiv:2602.15438. That pivots agree was derived for this
      project; the authors draw pivots and sets apart, to the same average.
    """
    name = "rep_distance"
    f, g, f2, g2 = (as_array(name, a, v) for a, v in (("f", f), ("g", g), ("f2", f2), ("g2", g2)))
    mask = None if mask is None else as_array(name, "mask", mask)
    for argument, value in (("f", f), ("g", g), ("f2", f2), ("g2", g2)):
        check_matrix(name, argument, value)
    check_mask(name, mask, f.shape[0])
    alike = ((f, f2, 0, "rows"), (g, g2, 0, "rows"), (f, g, 1, "columns"), (f2, g2, 1, "columns"))
    for one, other, axis, what in alike:
        if one.shape[axis] != other.shape[axis]:
            raise ValueError(
                f"{name}: f and f2 must have a row for each input, g and g2 one for each label, and f and g (f2 and "
                f"g2) the same columns; got different {what} in {describe(one)} and {describe(other)}"
            )
    labels, m = g.shape
    if labels < m + 1:
        raise ValueError(f"{name}: m={m} dimensions need at least m + 1 = {m + 1} labels, got {labels}")
    result = _rep_distance(f, g, f2, g2, _label_sets(labels, m + 1, subsets, key), mask=mask)
    if known_nan(result.value):
        for argument, value in (("f", f), ("g", g), ("f2", f2), ("g2", g2)):
            rows = mask_rows(value, mask) if argument.startswith("f") else value
            if not bool(jnp.isfinite(rows).all()):
                raise ValueError(f"{name}: {argument} must be finite, got a value that is not")
        raise ValueError(
            f"{name}: g must be in general position, got differences of labels {np.asarray(result.worst).tolist()} "
            f"with a ratio of singular values of {float(result.relative):.1e}; leave labels out"
        )
    return result


def _label_sets(labels: int, size: int, count: Any, key: Any) -> Int[Array, "j k"]:
    total = math.comb(labels, size)
    if count is None:
        if total > MOST_SUBSETS:
            raise ValueError(
                f"rep_distance: {labels} labels have {total} sets of {size}; say how many to draw, by subsets= and key="
            )
        return jnp.asarray(np.array(list(itertools.combinations(range(labels), size)), np.int32))
    check_integer("rep_distance", "subsets", count, minimum=1)
    if key is None:
        raise ValueError("rep_distance: give a key to draw subsets with")
    keys = jax.random.split(as_key("rep_distance", key), count)
    return jax.vmap(lambda key: jax.random.permutation(key, labels)[:size])(keys).astype(jnp.int32)


@jit()
def _rep_distance(
    f: Float[Array, "n m"],
    g: Float[Array, "c m"],
    f2: Float[Array, "n p"],
    g2: Float[Array, "c p"],
    label_sets: Int[Array, "j k"],
    *,
    mask: Bool[Array, "n"] | None = None,
) -> RepDistance:
    dtype = accum_dtype(f, g, f2, g2)
    f, g, f2, g2 = (x.astype(dtype) for x in (f, g, f2, g2))
    # What probabilities see of the difference, and the rows of it for the labels.
    difference = gram_matmul(mask_rows(f, mask), g) - gram_matmul(mask_rows(f2, mask), g2)
    difference = difference - jnp.mean(difference, axis=1, keepdims=True)
    columns = difference / jnp.sqrt(row_count(difference, mask))
    m = g.shape[1]
    limit = max(1e-8, 8 * float(jnp.finfo(dtype).eps))
    # For a pivot among the labels of a set, all others.
    others = jnp.asarray([[j for j in range(m + 1) if j != pivot] for pivot in range(m + 1)], jnp.int32)

    def of_set(labels: Array) -> tuple[Array, Array, Array]:
        vectors = jnp.take(g, labels, axis=0)
        spans = vectors[others] - vectors[:, None, :]  # (pivot, m, m)
        s = jnp.linalg.svd(lax.stop_gradient(spans), compute_uv=False)
        ratio = jnp.min(s[:, -1] / jnp.where(s[:, 0] > 0, s[:, 0], 1))
        best = jnp.argmax(s[:, -1] / jnp.where(s[:, 0] > 0, s[:, 0], 1))
        sound = ratio > limit
        # Any pivot would do; the one of the best condition loses fewest digits.
        span = jnp.where(sound, spans[best], jnp.eye(m, dtype=dtype))
        values = jnp.take(columns, labels, axis=1)
        odds = jnp.take(values, others[best], axis=1) - jnp.take(values, best, axis=1)[:, None]
        mapped = jnp.linalg.solve(span, odds.T)
        return jnp.where(sound, jnp.sum(mapped * mapped), jnp.nan), jnp.min(s[:, -1]), ratio

    together = min(GROUP, max(1, BLOCK_ENTRIES // (difference.shape[0] * (m + 1))))
    squares, least, ratios = map_in_groups(of_set, label_sets, together)
    worst = jnp.argmin(ratios)
    return RepDistance(safe_sqrt(jnp.mean(squares)), jnp.min(least), ratios[worst], label_sets[worst])
