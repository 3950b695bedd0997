"""Canonical correlations of representations that are not at hand, from log-probabilities."""

from __future__ import annotations

import warnings
from typing import Any

import jax.numpy as jnp

from jaxalign._core.checks import as_array
from jaxalign._core.jit import jit
from jaxalign._core.linalg import orthonormal_basis, thin_svd
from jaxalign._core.numerics import accum_dtype, center_columns, cross_matmul
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.identifiability.arguments import check_dimension, check_models, known_nan, raise_for_infinite
from jaxalign.identifiability.log_probabilities import centered_logits, directions_seen
from jaxalign.identifiability.selection import dimension
from jaxalign.signatures.whitened import UninformativeWarning


@pytree_dataclass
class MeanCCA:
    """Canonical correlations of both sides.

    Attributes:
      f: mean of those of embeddings of inputs.
      g: mean of those of unembeddings of labels.
      correlations_f: all of them, `(r,)` with the smaller dimension r, largest first; 0 for missing directions.
      correlations_g: the same of labels.
    """

    f: Scalar
    g: Scalar
    correlations_f: Float[Array, "r"]
    correlations_g: Float[Array, "r"]


def mean_cca_from_logprobs(
    logp: Float[Array, "n c"],
    logp2: Float[Array, "n c"],
    *,
    m: int | None = None,
    m2: int | None = None,
    mask: Bool[Array, "n"] | None = None,
) -> MeanCCA:
    r"""Mean canonical correlations of embeddings, and of unembeddings, of two models, from their log-probabilities.

    With the singular value decomposition $U S V^\top$ of the `centered_logits`, the first m columns of $U S$ are the
    embeddings, and those of $V$ the centered unembeddings, up to invertible linear maps, of which canonical
    correlations do not depend.

    $$m_{CCA} = \tfrac{1}{\min(m, m')} \textstyle\sum_i \rho_i$$

    Args:
      logp: logits or log-probabilities, shape `(n, c)`. The decomposition is of all of it: of a large vocabulary take
        some labels.
      logp2: those of the other model, same inputs and labels.
      m: dimension of the first model; by default `recovered_rank`. A head with a bias has one more: then the constant
        dimension is part of what is compared.
      m2: dimension of the other, found likewise.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A `MeanCCA`, values in `[0, 1]`. With both at 1, models can still differ in everything: embeddings turned one way
      and unembeddings the other (`constructions.opposite_rotations`). Inside `jit`, NaN for infinite values. Do not
      differentiate it where singular values of the centered logits coincide.

    Raises:
      ValueError: on wrong shapes, fewer than `m + 1` inputs or labels, and for values known not to be finite.
      TypeError: on non-floating input; without m and m2 inside `jit`.

    Warns:
      UninformativeWarning: when `m + 1` is the number of inputs, or of labels: then 1 for any models.

    Example:
      >>> f = jnp.array([[1., 0.], [0., 1.], [-1., 0.], [2., -1.]])
      >>> g = jnp.array([[0., 0.], [1., 0.], [0., 1.], [1., 2.]])
      >>> turned = f @ jnp.array([[1., 2.], [0., 1.]])
      >>> round(float(mean_cca_from_logprobs(f @ g.T, turned @ g.T, m=2, m2=2).f), 4)
      1.0

    Reference:
      Hotelling (1936); from log-probabilities derived for this project.
    """
    name = "mean_cca_from_logprobs"
    logp, logp2 = as_array(name, "logp", logp), as_array(name, "logp2", logp2)
    mask = None if mask is None else as_array(name, "mask", mask)
    check_models(name, logp, logp2, mask)
    sizes = _size(name, logp, m, mask), _size(name, logp2, m2, mask)
    for side, count in zip(("inputs", "labels"), logp.shape, strict=True):
        if count == max(sizes) + 1:
            warnings.warn(
                f"{name}: {count} {side} for {max(sizes)} dimensions: any two models have correlations of 1; "
                f"take more {side}",
                UninformativeWarning,
                stacklevel=2,
            )
    result = _mean_cca(logp, logp2, sizes=sizes, mask=mask)
    if known_nan(result):
        raise_for_infinite(name, mask, logp=logp, logp2=logp2)
    return result


def _size(function: str, logp: Array, m: Any, mask: Array | None) -> int:
    found = dimension(function, logp, m, mask)
    check_dimension(function, found, *logp.shape)
    return found


def factors(
    logp: Float[Array, "n c"], m: int, mask: Bool[Array, "n"] | None = None
) -> tuple[Float[Array, "n m"], Float[Array, "m"], Float[Array, "c m"]]:
    """Left vectors, singular values and right vectors of the centered logits, the first m; rounding gives 0."""
    u, s, vt = thin_svd(centered_logits(logp, mask=mask))
    seen = directions_seen(s, logp, mask)[None, :m]
    return jnp.where(seen, u[:, :m], 0), s[:m], jnp.where(seen, vt[:m].T, 0)


@jit(static=("sizes",))
def _mean_cca(
    logp: Float[Array, "n c"],
    logp2: Float[Array, "n c"],
    *,
    sizes: tuple[int, int],
    mask: Bool[Array, "n"] | None = None,
) -> MeanCCA:
    dtype = accum_dtype(logp, logp2)
    one, other = (factors(z.astype(dtype), m, mask) for z, m in zip((logp, logp2), sizes, strict=True))

    def correlations(x: Array, y: Array, mask: Array | None) -> Array:
        bases = (orthonormal_basis(center_columns(side, mask)) for side in (x, y))
        return jnp.minimum(jnp.linalg.svd(cross_matmul(*bases), compute_uv=False), 1)

    of_inputs, of_labels = correlations(one[0], other[0], mask), correlations(one[2], other[2], None)
    return MeanCCA(jnp.mean(of_inputs), jnp.mean(of_labels), of_inputs, of_labels)
