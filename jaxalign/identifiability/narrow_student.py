"""What a model of fewer dimensions must lose against a wider one."""

from __future__ import annotations

import jax.numpy as jnp

from jaxalign._core.checks import as_array, check_mask, check_matrix
from jaxalign._core.jit import jit
from jaxalign._core.linalg import orthonormal_basis
from jaxalign._core.numerics import accum_dtype, binary_scale, center_columns, cross_matmul, row_count
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.identifiability.arguments import check_dimension, check_models, known_nan, raise_for_infinite
from jaxalign.identifiability.canonical import factors
from jaxalign.identifiability.log_probabilities import centered_logits, directions_seen
from jaxalign.identifiability.logit import logit_distance
from jaxalign.identifiability.selection import dimension


@pytree_dataclass
class StudentLoss:
    """What the logits of a student cannot be, given how its embeddings correlate with the teacher's.

    Attributes:
      bound: on the squared logit distance from below: `sum λ_i (1 - ρ_i²)`.
      floor: the same for the best student of that dimension: the sum of the eigenvalues beyond it.
      squared_distance: the squared logit distance, at least the bound.
      eigenvalues: λ of the covariance of the teacher's centered logits, `(m,)`, largest first.
      correlations: ρ, canonical correlations of embeddings, `(m,)`, largest first, 0 beyond the student's dimension
        and for directions that are not there.
    """

    bound: Scalar
    floor: Scalar
    squared_distance: Scalar
    eigenvalues: Float[Array, "m"]
    correlations: Float[Array, "m"]


@jit()
def logit_covariance_eigenvalues(
    logp: Float[Array, "n c"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, "r"]:
    r"""Eigenvalues of the covariance over inputs of the centered logits, divided by n, largest first.

    Args:
      logp: logits or log-probabilities, shape `(n, c)`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      Shape `(min(n, c),)`, at least 0; 0 for what rounding explains: of a model of dimension m, those beyond the m-th.

    Raises:
      ValueError: at trace time, on wrong shapes.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> [round(float(v), 4) for v in logit_covariance_eigenvalues(jnp.array([[1., -1.], [-1., 1.]]))]
      [2.0, 0.0]
    """
    check_matrix("logit_covariance_eigenvalues", "logp", logp)
    check_mask("logit_covariance_eigenvalues", mask, logp.shape[0])
    rows = center_columns(centered_logits(logp, mask=mask), mask)
    scale = binary_scale(rows)
    s = jnp.linalg.svd(rows * scale, compute_uv=False) / scale
    s = jnp.where(directions_seen(s, logp, mask), s, 0)
    return s * s / row_count(rows, mask)


def narrow_student(
    logp: Float[Array, "n c"],
    logp2: Float[Array, "n c"],
    *,
    m: int | None = None,
    m2: int | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> StudentLoss:
    r"""The least squared `logit_distance` that a student, narrower than its teacher, can have.

    $$\textstyle\sum_{i \le m} \lambda_i (1 - \rho_i^2) \le d_{logit}^2$$

    with eigenvalues λ of the covariance of the teacher's centered logits and canonical correlations ρ of embeddings,
    both centered. It is attained by the leading principal components of the teacher with its mean. The authors' code
    takes uncentered moments with centered correlations, for which it can fail.

    Args:
      logp: logits or log-probabilities of the teacher, shape `(n, c)`.
      logp2: of the student, same inputs and labels.
      m: dimension of the teacher; by default `recovered_rank`.
      m2: of the student, found likewise.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A `StudentLoss`; it says nothing, 0, when correlations are all 1. Inside `jit`, NaN for infinite values.

    Raises:
      ValueError: on wrong shapes, fewer than `m + 1` inputs or labels, and for values known not to be finite.
      TypeError: on non-floating input; without m and m2 inside `jit`.

    Example:
      >>> f = jnp.array([[1., 0.], [0., 1.], [-1., 0.], [0., -1.]])
      >>> g = jnp.array([[0., 0.], [1., 0.], [0., 1.], [1., 2.]])
      >>> student = f * jnp.array([[1., 0.]])
      >>> result = narrow_student(f @ g.T, student @ g.T, m=2, m2=1)
      >>> bool(result.floor <= result.bound <= result.squared_distance)
      True

    Reference:
      Theorem F.1 of arXiv:2602.15438, in the pairing with which it holds (derived for this project).
    """
    name = "narrow_student"
    logp, logp2 = as_array(name, "logp", logp), as_array(name, "logp2", logp2)
    mask = None if mask is None else as_array(name, "mask", mask)
    check_models(name, logp, logp2, mask)
    m, m2 = dimension(name, logp, m, mask), dimension(name, logp2, m2, mask)
    for size in (m, m2):
        check_dimension(name, size, *logp.shape)
    result = _narrow_student(logp, logp2, m=m, m2=m2, mask=mask)
    if known_nan(result):
        raise_for_infinite(name, mask, logp=logp, logp2=logp2)
    return result


@jit(static=("m", "m2"))
def _narrow_student(
    logp: Float[Array, "n c"],
    logp2: Float[Array, "n c"],
    *,
    m: int,
    m2: int,
    mask: Bool[Array, "n"] | None = None,
) -> StudentLoss:
    dtype = accum_dtype(logp, logp2)

    def basis(z: Array, size: int) -> Array:
        u, _, _ = factors(z.astype(dtype), size, mask)
        return orthonormal_basis(center_columns(u, mask))

    rho = jnp.linalg.svd(cross_matmul(basis(logp, m), basis(logp2, m2)), compute_uv=False)
    rho = jnp.pad(jnp.minimum(rho, 1)[:m], (0, max(0, m - rho.shape[0])))
    eigenvalues = logit_covariance_eigenvalues(logp.astype(dtype), mask=mask)[:m]
    return StudentLoss(
        bound=jnp.sum(eigenvalues * (1 - rho) * (1 + rho)),
        floor=jnp.sum(eigenvalues[m2:]),
        squared_distance=logit_distance(logp, logp2, mask=mask) ** 2,
        eigenvalues=eigenvalues,
        correlations=rho,
    )
