"""The linear map between embeddings that unembeddings determine."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.checks import as_array, check_matrix, describe
from jaxalign._core.jit import jit
from jaxalign._core.least_squares import decompose, ridge_coefficients
from jaxalign._core.numerics import accum_dtype, center_columns, matmul, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Int, Scalar
from jaxalign.identifiability.arguments import any_traced, as_indices, check_apart


@pytree_dataclass
class LinearMap:
    """`f = A f'`, in rows `f2 @ A.T`, as far as unembeddings say.

    Attributes:
      matrix: A, `(m, m')`.
      singular_values: of the differences of unembeddings of the first model, `(m,)`, largest first.
      residual: how much of the differences of the first model's log-odds the map does not explain: the length of
        $L^\top A - L'^\top$ over that of $L'$; 0 for models of equal probabilities.
    """

    matrix: Float[Array, "m p"]
    singular_values: Float[Array, "m"]
    residual: Scalar

    @property
    def s_min(self) -> Scalar:
        """The least singular value: what errors are divided by."""
        return self.singular_values[-1]

    @property
    def condition(self) -> Scalar:
        """The largest over the least singular value."""
        return self.singular_values[0] / self.singular_values[-1]


def linear_map_between(
    g: Float[Array, "c m"],
    g2: Float[Array, "c p"],
    *,
    labels: Int[Array, "s"] | None = None,
    label_pivot: int | Int[Array, ""] | None = None,
) -> LinearMap:
    r"""The map $A$ with $f = A f'$ between embeddings of two models of equal probabilities, from their unembeddings.

    $$L^\top A = L'^\top, \qquad L = [g(y_j) - g(y_0)]_j$$

    solved by least squares. With m labels and a pivot it is $A = L^{-\top} L'^\top$; without them differences are from
    the mean over all labels. There is no translation.

    Args:
      g: unembeddings of the first model, shape `(c, m)`.
      g2: of the other, shape `(c, m')`, same labels.
      labels: at least m of them, without the pivot; all by default.
      label_pivot: $y_0$; with labels.

    Returns:
      A `LinearMap`.

    Raises:
      ValueError: on wrong shapes, too few labels, and for differences that are known to be singular: a ratio of
        singular values of 1e-8 (in float32: 1e-6) or less.
      TypeError: on non-floating input.

    Example:
      >>> g2, a = jnp.array([[0., 0.], [1., 0.], [0., 1.], [2., -1.]]), jnp.array([[2., 1.], [0., 1.]])
      >>> g = g2 @ jnp.linalg.inv(a) + jnp.array([[3., -1.]])
      >>> linear_map_between(g, g2, labels=[1, 2], label_pivot=0).matrix.round(4).tolist()
      [[2.0, 1.0], [0.0, 1.0]]

    Reference:
      Theorem 2.2 of Nielsen et al. (2025), arXiv:2506.03784; by least squares over all labels derived for this project.
    """
    name = "linear_map_between"
    g, g2 = as_array(name, "g", g), as_array(name, "g2", g2)
    for argument, value in (("g", g), ("g2", g2)):
        check_matrix(name, argument, value)
    if g.shape[0] != g2.shape[0]:
        raise ValueError(
            f"{name}: g and g2 must have a row for each label, the same in both, got {describe(g)} and {describe(g2)}"
        )
    if (labels is None) != (label_pivot is None):
        raise ValueError(f"{name}: labels and label_pivot must be given together")
    count = g.shape[0]
    if labels is None or label_pivot is None:
        chosen = pivot = None
    else:
        chosen = as_indices(name, "labels", labels, count)
        pivot = as_indices(name, "label_pivot", label_pivot, count, shape=())
        check_apart(name, "label_pivot", pivot, "labels", chosen)
        count = chosen.shape[0] + 1
    if count < g.shape[1] + 1:
        raise ValueError(f"{name}: m={g.shape[1]} dimensions need at least m + 1 labels, pivot included, got {count}")
    result = _linear_map_between(g, g2, labels=chosen, label_pivot=pivot)
    if not any_traced(result) and not bool(result.s_min > _limit(g) * result.singular_values[0]):
        values = [f"{float(s):.3g}" for s in result.singular_values]
        raise ValueError(
            f"{name}: differences of g must span all {g.shape[1]} dimensions, got singular values {', '.join(values)}"
        )
    return result


def _limit(g: Array) -> float:
    return max(1e-8, 8 * float(jnp.finfo(accum_dtype(g)).eps))


@jit()
def _linear_map_between(
    g: Float[Array, "c m"],
    g2: Float[Array, "c p"],
    *,
    labels: Int[Array, "s"] | None,
    label_pivot: Int[Array, ""] | None,
) -> LinearMap:
    dtype = accum_dtype(g, g2)

    def differences(vectors: Array) -> Array:
        if labels is None or label_pivot is None:
            return center_columns(vectors)
        return jnp.take(vectors, labels, axis=0) - jnp.take(vectors, label_pivot, axis=0)[None, :]

    one, other = (differences(vectors.astype(dtype)) for vectors in (g, g2))
    matrix = ridge_coefficients(one, other, jnp.zeros((), dtype), decompose(one))
    left = other - matmul(one, matrix)
    residual = safe_divide(safe_sqrt(jnp.sum(left * left)), safe_sqrt(jnp.sum(other * other)))
    return LinearMap(matrix, jnp.linalg.svd(one, compute_uv=False), residual)
